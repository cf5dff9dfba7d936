"""Whatever a file says, it is a configuration or a `ConfigError`."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anywasm.core.errors import ConfigError
from anywasm.plugins.config import load_config

OWN = [
    "listeners",
    "plugins",
    "state_stores",
    "management",
    "name",
    "address",
    "limits",
    "vm_config",
    "engine",
    "path",
    "url",
    "md5",
    "env",
    "configuration",
    "timeouts",
    "call",
    "type",
    "watch",
    "instance_num",
    "token",
]
LAYOTTO = [
    "servers",
    "listeners",
    "stream_filters",
    "filter_chains",
    "filters",
    "type",
    "config",
    "name",
    "address",
    "vm_config",
    "engine",
    "path",
    "md5",
    "cpu",
    "instance_num",
    "from_wasm_plugin",
    "wasm_global_plugins",
    "plugin_name",
    "tls_context",
    "grpc_config",
    "state",
    "metadata",
    "redisHost",
    "redisPassword",
    "db",
    "keyPrefix",
    "app",
    "app_id",
    "bind_port",
    "network",
]
WORDS = "Layotto wasm_filter grpc redis in-memory 127.0.0.1:1 :1 wasmtime 1s p x"

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(WORDS.split()),
)


def documents(keys: list[str]) -> st.SearchStrategy[Any]:
    key = st.one_of(st.sampled_from(keys), st.text(max_size=5))
    return st.recursive(
        scalars,
        lambda below: st.one_of(
            st.lists(below, max_size=3), st.dictionaries(key, below, max_size=6)
        ),
        max_leaves=30,
    )


def layotto(below: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The right nesting, with anything inside."""

    def mapping(**known: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.one_of(st.fixed_dictionaries({}, optional=known), below)

    function = mapping(
        vm_config=mapping(engine=scalars, path=scalars, md5=scalars, cpu=scalars, url=scalars),
        instance_num=scalars,
        from_wasm_plugin=scalars,
        name=scalars,
    )
    stream_filter = mapping(
        type=st.sampled_from(["Layotto", "wasm_filter", "other"]),
        config=st.one_of(st.dictionaries(st.text(max_size=3), function, max_size=2), below),
    )
    metadata = mapping(redisHost=scalars, redisPassword=scalars, db=scalars, keyPrefix=scalars)
    store = mapping(type=st.sampled_from(["redis", "in-memory", "x"]), metadata=metadata)
    grpc = mapping(state=st.dictionaries(st.text(max_size=3), store, max_size=2), app=below)
    network_filter = mapping(type=st.just("grpc"), config=mapping(grpc_config=grpc))
    chain = mapping(filters=st.lists(network_filter, max_size=2), tls_context=below)
    listener = mapping(
        name=scalars,
        address=scalars,
        stream_filters=st.lists(stream_filter, max_size=2),
        filter_chains=st.lists(chain, max_size=1),
    )
    server = mapping(listeners=st.lists(listener, max_size=3), default_log_level=scalars)
    return mapping(servers=st.lists(server, max_size=2), wasm_global_plugins=below)


def load(path: Path) -> None:
    with contextlib.suppress(ConfigError):
        load_config(path)


relaxed = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@relaxed
@given(
    st.one_of(
        documents(OWN),
        st.dictionaries(st.sampled_from(OWN), documents(OWN), max_size=6),
        documents(LAYOTTO),
        layotto(documents(LAYOTTO)),
    )
)
def test_any_values(tmp_path: Path, data: Any) -> None:
    (tmp_path / "a.json").write_text(json.dumps(data))
    load(tmp_path / "a.json")
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(data, allow_unicode=True), "utf-8")
    load(tmp_path / "a.yaml")


@relaxed
@given(st.one_of(st.binary(), st.text(alphabet="{}[],:\"'&*!|>-?# \n\tab01\\u~<").map(str.encode)))
def test_any_bytes(tmp_path: Path, data: bytes) -> None:
    for name in ("a.yaml", "a.json"):
        (tmp_path / name).write_bytes(data)
        load(tmp_path / name)
