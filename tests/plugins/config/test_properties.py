"""Whatever a file says, it is a configuration or a `ConfigError`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anywasm.core.errors import ConfigError
from anywasm.plugins.config import AppConfig, load_config, load_filter_config

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
FILTERS = [
    "clusters",
    "endpoints",
    "routes",
    "filters",
    "cluster",
    "direct_response",
    "prefix",
    "tls",
    "capabilities",
    "plugin_config",
    "failure_policy",
]
ENVOY = [
    "@type",
    "value",
    "static_resources",
    "filter_chains",
    "typed_config",
    "http_filters",
    "config",
    "vm_config",
    "code",
    "local",
    "filename",
    "routeConfig",
    "virtual_hosts",
    "load_assignment",
    "transport_socket",
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


def mapping(
    below: st.SearchStrategy[Any], **known: st.SearchStrategy[Any]
) -> st.SearchStrategy[Any]:
    return st.one_of(st.fixed_dictionaries({}, optional=known), below)


def several(item: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(item, max_size=2)


def typed(kind: str, **known: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({"@type": st.just(f"x/y.{kind}")}, optional=known)


def filters(below: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    route = mapping(
        below, prefix=scalars, path=scalars, cluster=scalars, direct_response=below, timeout=scalars
    )
    plugin = mapping(
        below,
        name=st.sampled_from("pq"),
        vm_config=st.just({"path": "p"}),
        capabilities=below,
        failure_policy=scalars,
        reload_backoff=mapping(below, base=scalars, max=scalars),
    )
    cluster = mapping(below, name=scalars, endpoints=several(scalars), tls=below)
    listener = mapping(
        below,
        name=st.sampled_from("ab"),
        address=st.just("127.0.0.1:0"),
        filters=several(st.sampled_from("pqr")),
        plugins=several(st.sampled_from("pqr")),
        routes=several(route),
        tls=below,
        access_log=below,
    )
    return mapping(
        below, listeners=several(listener), plugins=several(plugin), clusters=several(cluster)
    )


def envoy(below: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    any_value = st.one_of(
        typed("StringValue", value=scalars),
        typed("BytesValue", value=scalars),
        typed("Struct", value=below),
        below,
    )
    vm = mapping(
        below,
        runtime=scalars,
        code=mapping(below, local=mapping(below, filename=scalars), remote=below),
        configuration=any_value,
        environment_variables=mapping(below, key_values=below, host_env_keys=several(scalars)),
    )
    config = mapping(
        below,
        name=scalars,
        vm_config=vm,
        configuration=any_value,
        reload_config=below,
        fail_open=scalars,
        failure_policy=scalars,
        capability_restriction_config=mapping(below, allowed_capabilities=below),
        allow_on_headers_stop_iteration=mapping(scalars, value=scalars),
    )
    wasm = typed("wasm.v3.Wasm", config=config)
    http_filter = mapping(
        below, name=scalars, typed_config=st.one_of(wasm, typed("Router"), typed("TypedStruct"))
    )
    route = mapping(
        below,
        match=mapping(below, prefix=scalars, path=scalars),
        route=mapping(below, cluster=scalars, timeout=scalars),
        direct_response=mapping(below, status=scalars, body=mapping(below, inline_string=scalars)),
        response_headers_to_add=several(mapping(below, header=mapping(below, key=scalars))),
    )
    host = mapping(below, name=scalars, domains=st.just(["*"]), routes=several(route))
    log = mapping(below, typed_config=typed("FileAccessLog", path=scalars, log_format=below))
    manager = typed(
        "HttpConnectionManager",
        http_filters=several(http_filter),
        route_config=mapping(below, virtual_hosts=several(host)),
        upgrade_configs=several(below),
        access_log=several(log),
        stream_idle_timeout=scalars,
        max_request_headers_kb=scalars,
    )
    tls = mapping(below, typed_config=typed("DownstreamTlsContext", common_tls_context=below))
    network_filter = mapping(below, typed_config=manager)
    chain = mapping(
        below,
        filters=st.lists(network_filter, min_size=1, max_size=1),
        transport_socket=tls,
    )
    place = mapping(
        below, socket_address=mapping(below, address=scalars, port_value=scalars), pipe=below
    )
    listener = mapping(
        below,
        name=scalars,
        address=place,
        filter_chains=st.lists(chain, min_size=1, max_size=1),
        per_connection_buffer_limit_bytes=scalars,
    )
    endpoint = mapping(below, lb_endpoints=several(mapping(below, endpoint=below)))
    upstream_tls = typed("UpstreamTlsContext", sni=scalars, common_tls_context=below)
    cluster = mapping(
        below,
        name=scalars,
        type=scalars,
        load_assignment=mapping(below, endpoints=several(endpoint)),
        circuit_breakers=below,
        transport_socket=mapping(below, typed_config=upstream_tls),
        typed_extension_protocol_options=below,
    )
    resources = mapping(below, listeners=several(listener), clusters=several(cluster))
    bootstrap = st.fixed_dictionaries({"static_resources": resources}, optional={"node": below})
    return st.one_of(bootstrap, wasm)


def wasm_plugin(below: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    rule = mapping(below, ingress=below, config=below, config_disable=scalars)
    variable = mapping(below, name=scalars, value=scalars, valueFrom=scalars)
    spec = mapping(
        below,
        url=st.one_of(scalars, st.sampled_from(["file:///a", "file:", "oci://a", "file://[x"])),
        phase=scalars,
        priority=scalars,
        pluginConfig=below,
        defaultConfig=below,
        matchRules=several(rule),
        failStrategy=scalars,
        vmConfig=mapping(below, env=several(variable)),
    )
    known = {
        "kind": st.just("WasmPlugin"),
        "apiVersion": st.just("extensions.istio.io/v1alpha1"),
        "metadata": mapping(below, name=scalars),
    }
    return st.fixed_dictionaries(known, optional={"spec": spec})


def load(path: Path) -> None:
    wrong = f"{path}: nothing"
    try:
        assert isinstance(load_config(path).config, AppConfig)
    except ConfigError as error:
        wrong = str(error)
    assert wrong.startswith(str(path))


relaxed = settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@relaxed
@given(
    st.one_of(
        documents(OWN),
        st.dictionaries(st.sampled_from(OWN), documents(OWN), max_size=6),
        documents(LAYOTTO),
        layotto(documents(LAYOTTO)),
        filters(documents(FILTERS)),
        envoy(documents(ENVOY)),
        wasm_plugin(documents(ENVOY)),
    )
)
def test_any_values(tmp_path: Path, data: Any) -> None:
    (tmp_path / "a.json").write_text(json.dumps(data))
    load(tmp_path / "a.json")
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(data, allow_unicode=True), "utf-8")
    load(tmp_path / "a.yaml")


@relaxed
@given(st.one_of(wasm_plugin(documents(ENVOY)), envoy(documents(ENVOY)), documents(OWN)))
def test_any_filters(data: Any) -> None:
    wrong = ""
    try:
        filters = load_filter_config(data).filters
    except ConfigError as error:
        filters, wrong = (), str(error)
    assert bool(filters) is not bool(wrong)


@relaxed
@given(st.one_of(st.binary(), st.text(alphabet="{}[],:\"'&*!|>-?# \n\tab01\\u~<").map(str.encode)))
def test_any_bytes(tmp_path: Path, data: bytes) -> None:
    for name in ("a.yaml", "a.json"):
        (tmp_path / name).write_bytes(data)
        load(tmp_path / name)
