"""The reference names every key with its real default, and its examples work."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel

from anywasm.plugins.config import (
    AbiLimitsConfig,
    AccessLogConfig,
    AppConfig,
    ClusterConfig,
    ClusterTlsConfig,
    DirectResponseConfig,
    FetchConfig,
    LimitsConfig,
    ListenerConfig,
    ListenerTlsConfig,
    LoadedConfig,
    ManagementConfig,
    PluginConfig,
    ReloadBackoffConfig,
    RouteConfig,
    TimeoutsConfig,
    VmConfig,
)
from anywasm.plugins.config.units import parse_duration, parse_size
from anywasm.server.state.memory import MemoryOptions
from anywasm.server.state.redis_options import RedisOptions

PAGE = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text("utf-8")

TABLES = [
    ("## Top level", AppConfig),
    ("## `listeners[]`", ListenerConfig),
    ("### `listeners[].limits`", LimitsConfig),
    ("## `plugins[]`", PluginConfig),
    ("### `plugins[].vm_config`", VmConfig),
    ("### `plugins[].vm_config.fetch`", FetchConfig),
    ("### `plugins[].timeouts`", TimeoutsConfig),
    ("### `listeners[].routes[]`", RouteConfig),
    ("### `listeners[].routes[].direct_response`", DirectResponseConfig),
    ("### `listeners[].tls`", ListenerTlsConfig),
    ("### `listeners[].access_log`", AccessLogConfig),
    ("### `plugins[].reload_backoff`", ReloadBackoffConfig),
    ("## `clusters[]`", ClusterConfig),
    ("### `clusters[].tls`", ClusterTlsConfig),
    ("## `abi_limits`", AbiLimitsConfig),
    ("## `management`", ManagementConfig),
    ("`redis` (Redis or Valkey", RedisOptions),
    ("`memory`:", MemoryOptions),
]


@pytest.mark.parametrize(("heading", "model"), TABLES, ids=lambda value: str(value)[:24])
def test_each_key_is_described(heading: str, model: type[BaseModel]) -> None:
    section = PAGE[PAGE.index(f"\n{heading}") :]
    table = section[section.index("\n|") :].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|([^|]*)\|", table, re.M)
    assert [key for key, _, _ in rows] == list(model.model_fields)
    for key, kind, default in rows:
        field = model.model_fields[key]
        text = default.strip().strip("`")
        assert (text == "required") == (field.is_required() or (model, key) == (VmConfig, "path"))
        if kind.strip() == "duration":
            assert parse_duration(text) == field.default, key
        elif kind.strip() == "size" and field.default is not None:
            assert parse_size(text) == field.default, key
        elif kind.strip() == "boolean" and field.default is not None:
            assert text == str(field.default).lower(), key
        elif kind.strip() == "number":
            assert int(text) == field.default, key


EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)


PLUGINS = [["function1", "function2"], ["auth", "transformer"]]


def test_the_examples_can_be_loaded(load: Callable[..., LoadedConfig]) -> None:
    loaded = [load(example) for example in EXAMPLES]
    assert [[plugin.name for plugin in item.config.plugins] for item in loaded] == PLUGINS
    assert all(item.notices == () for item in loaded)
