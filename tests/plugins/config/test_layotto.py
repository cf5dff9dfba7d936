from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anywasm.abi.pairs import decode_pairs
from anywasm.plugins.config import Address, LoadedConfig

Load = Callable[..., LoadedConfig]
Refused = Callable[..., list[str]]

FUNCTION_1 = "demo/faas/code/golang/client/function_1.wasm"
FUNCTION_2 = "demo/faas/code/golang/server/function_2.wasm"


def function(name: str, path: str) -> dict[str, Any]:
    return {
        "name": name,
        "instance_num": 1,
        "vm_config": {"engine": "wasmtime", "path": path},
    }


def proxy(router: str) -> list[dict[str, Any]]:
    config = {
        "downstream_protocol": "Http1",
        "upstream_protocol": "Http1",
        "router_config_name": router,
    }
    return [{"filters": [{"type": "proxy", "config": config}]}]


QUICKSTART: dict[str, Any] = {
    "servers": [
        {
            "default_log_path": "stdout",
            "listeners": [
                {
                    "name": "grpc",
                    "address": "0.0.0.0:34904",
                    "bind_port": True,
                    "filter_chains": [
                        {
                            "filters": [
                                {
                                    "type": "grpc",
                                    "config": {
                                        "server_name": "runtime",
                                        "grpc_config": {
                                            "rpcs": {
                                                "mosn": {
                                                    "config": {
                                                        "channel": [
                                                            {
                                                                "size": 16,
                                                                "protocol": "http",
                                                                "listener": "wasm",
                                                            }
                                                        ]
                                                    }
                                                }
                                            },
                                            "state": {
                                                "state_demo": {
                                                    "type": "redis",
                                                    "metadata": {
                                                        "redisHost": "localhost:6379",
                                                        "redisPassword": "",
                                                    },
                                                }
                                            },
                                        },
                                    },
                                }
                            ]
                        }
                    ],
                },
                {
                    "name": "wasm",
                    "address": "0.0.0.0:2045",
                    "bind_port": True,
                    "filter_chains": proxy("function_router"),
                    "stream_filters": [
                        {
                            "type": "Layotto",
                            "config": {
                                "function1": function("function1", FUNCTION_1),
                                "function2": function("function2", FUNCTION_2),
                            },
                        }
                    ],
                },
                {
                    "name": "wasm_filter",
                    "address": "0.0.0.0:34998",
                    "bind_port": True,
                    "filter_chains": proxy("wasm_router"),
                    "stream_filters": [{"type": "wasm_filter"}],
                },
            ],
            "routers": [{"router_config_name": "wasm_router"}],
        }
    ],
    "cluster_manager": {"tls_context": {}, "clusters": []},
}

GRPC = ("servers", 0, "listeners", 0, "filter_chains", 0, "filters", 0, "config", "grpc_config")
WASM = ("servers", 0, "listeners", 1)
FILTER = (*WASM, "stream_filters", 0)
ITEM = (*FILTER, "config", "function1")
STORE = (*GRPC, "state", "state_demo")
MANAGEMENT = ("servers", 0, "listeners", 2)


def changed(*changes: tuple[tuple[str | int, ...], Any]) -> str:
    """The quickstart with values replaced; `...` removes one."""
    data = copy.deepcopy(QUICKSTART)
    for path, value in changes:
        parent: Any = data
        for part in path[:-1]:
            parent = parent[part]
        if value is ...:
            del parent[path[-1]]
        else:
            parent[path[-1]] = value
    return json.dumps(data, indent=2)


def test_the_quickstart_is_translated(load: Load, tmp_path: Path) -> None:
    loaded = load(changed(), "config.json")
    config = loaded.config
    (listener,) = config.listeners
    assert (listener.name, listener.address) == ("wasm", Address("0.0.0.0", 2045))
    assert listener.plugins is None
    one, two = config.plugins
    assert (one.name, two.name) == ("function1", "function2")
    assert (one.instance_num, one.vm_config.engine) == (1, "wasmtime")
    assert one.vm_config.path == Path.cwd() / FUNCTION_1
    assert decode_pairs(one.plugin_config) == [(b"name", b"function1")]
    assert decode_pairs(two.vm_config.configuration) == [
        (b"Engine", b"wasmtime"),
        (b"Path", FUNCTION_2.encode()),
        (b"Url", b""),
        (b"Md5", b""),
        (b"Cpu", b"0"),
        (b"Mem", b"0"),
    ]
    store = config.state_stores["state_demo"]
    assert (store.type, store.options) == ("redis", {"url": "redis://localhost:6379/0"})
    assert store.place.startswith(f"{tmp_path}/config.json:")
    assert config.management is not None
    assert config.management.address == Address("127.0.0.1", 34998)
    starts = [
        'servers[0].listeners[0]: listener "grpc" (0.0.0.0:34904) is not served: only WASM funct',
        "servers[0].listeners[2].address: the management API listens on 127.0.0.1:34998 instead",
        "cluster_manager: these blocks have no effect: cluster_manager",
    ]
    notices = [notice.partition(": ")[2] for notice in loaded.notices]
    assert len(notices) == len(starts)
    assert all(notice.startswith(start) for notice, start in zip(notices, starts)), notices


def test_a_token_opens_the_management_api(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYWASM_MANAGEMENT_TOKEN", "s3cret")
    loaded = load(changed(), "config.json")
    assert loaded.config.management is not None
    assert loaded.config.management.address == Address("0.0.0.0", 34998)
    assert not any("TOKEN" in notice for notice in loaded.notices)


def test_text_beside_the_known_keys_is_the_functions_configuration(load: Load) -> None:
    item = {
        "vm_config": {"path": "x"},
        "greeting": "hello\0 ü",
        "number": 7,
        "nested": {"text": "dropped"},
        "empty": "",
    }
    config = load(changed((ITEM, item)), "config.json").config
    assert decode_pairs(config.plugins[0].plugin_config) == [
        (b"greeting", "hello\0 ü".encode()),
        (b"empty", b""),
    ]


@pytest.mark.parametrize("number", [0, -3, None, ...])
def test_without_a_number_there_is_an_instance_per_cpu(load: Load, number: object) -> None:
    config = load(changed(((*ITEM, "instance_num"), number)), "config.json").config
    assert config.plugins[0].instance_num == os.cpu_count()


def test_modules_are_looked_for_in_the_working_directory_first(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    text = changed(((*ITEM, "vm_config", "path"), "f.wasm"))

    def found() -> Path | None:
        return load(text, "config.json").config.plugins[0].vm_config.path

    assert found() == work / "f.wasm"
    (tmp_path / "f.wasm").touch()
    assert found() == tmp_path / "f.wasm"
    (work / "f.wasm").touch()
    assert found() == work / "f.wasm"


def test_a_function_may_use_a_global_plugin(load: Load) -> None:
    plugins = [
        {"plugin_name": "shared", "instance_num": 4, "vm_config": {"path": "/shared.wasm"}},
        {"plugin_name": "forgotten", "vm_config": {"path": "/forgotten.wasm"}},
    ]
    item = {"from_wasm_plugin": "shared", "instance_num": 9, "vm_config": {"path": "/x"}, "k": "v"}
    loaded = load(changed((("wasm_global_plugins",), plugins), (ITEM, item)), "config.json")
    plugin = loaded.config.plugins[0]
    assert (plugin.name, plugin.instance_num) == ("function1", 4)
    assert plugin.vm_config.path == Path("/shared.wasm")
    assert decode_pairs(plugin.plugin_config) == [(b"k", b"v")]
    assert any("wasm_global_plugins[1]: is not loaded" in notice for notice in loaded.notices)


def test_one_name_in_two_listeners_makes_two_plugins(load: Load) -> None:
    listeners = QUICKSTART["servers"][0]["listeners"]
    second = {**copy.deepcopy(listeners[1]), "name": "more", "address": ":2046"}
    text = changed((("servers", 0, "listeners"), [listeners[1], second]))
    config = load(text, "config.json").config
    assert [str(listener.address) for listener in config.listeners] == [
        "0.0.0.0:2045",
        "0.0.0.0:2046",
    ]
    names = [plugin.name for plugin in config.plugins]
    assert names == ["function1", "function2", "more.function1", "more.function2"]


@pytest.mark.parametrize(
    ("store", "app", "options"),
    [
        ({"metadata": {"redisHost": "h"}}, {}, {"url": "redis://h:6379/0"}),
        (
            {"metadata": {"redisHost": "my_redis:1", "redisPassword": "p@ss:/w ö", "db": "3"}},
            {},
            {"url": "redis://:p%40ss%3A%2Fw%20%C3%B6@my_redis:1/3"},
        ),
        (
            {"metadata": {"redisHost": "[::1]:1", "enableTLS": "true"}},
            {},
            {"url": "rediss://[::1]:1/0?ssl_cert_reqs=none"},
        ),
        (
            {"metadata": {"redisHost": "h", "keyPrefix": "Name"}},
            {},
            {"url": "redis://h:6379/0", "key_prefix": "redis||"},
        ),
        (
            {"metadata": {"redisHost": "h", "keyPrefix": "appid"}},
            {"app_id": "app1"},
            {"url": "redis://h:6379/0", "key_prefix": "app1||"},
        ),
        (
            {"metadata": {"redisHost": "h", "keyPrefix": "own"}},
            {},
            {"url": "redis://h:6379/0", "key_prefix": "own||"},
        ),
        (
            {"metadata": {"redisHost": "h", "keyPrefix": "none"}},
            {},
            {"url": "redis://h:6379/0"},
        ),
    ],
)
def test_a_store_that_is_named_after_its_type(
    load: Load, store: dict[str, Any], app: dict[str, Any], options: dict[str, Any]
) -> None:
    text = changed(((*GRPC, "state"), {"redis": store}), ((*GRPC, "app"), app))
    found = load(text, "config.json").config.state_stores
    assert {name: (it.type, it.options) for name, it in found.items()} == {
        "redis": ("redis", options)
    }


def test_the_in_memory_store(load: Load) -> None:
    config = load(changed(((*STORE, "type"), "in-memory")), "config.json").config
    assert config.state_stores["state_demo"].type == "memory"


@pytest.mark.parametrize(
    ("change", "notice"),
    [
        (((*STORE, "type"), "etcd"), 'state store of type "etcd" is not served; supported types: '),
        (((*STORE, "secret_ref"), [{"key": "x"}]), "secret_ref: secrets are not injected"),
        (((*GRPC, "hellos"), {}), "grpc_config: these components are not served: hellos"),
        ((("tracing",), {}), "cluster_manager: these blocks have no effect: cluster_manager, trac"),
        (((*ITEM, "vm_config", "cpu"), 50), "vm_config.cpu: cpu and mem have no effect"),
        (((*ITEM, "vm_config", "mem"), 50), "vm_config.mem: cpu and mem have no effect"),
        (((*ITEM, "root_context_id"), 2), "root_context_id: has no effect: the root context is 1"),
        (
            ((*MANAGEMENT, "stream_filters", 0, "type"), "actuator_filter"),
            'stream_filters[0]: stream filter of type "actuator_filter" is not served',
        ),
        (
            ((*MANAGEMENT, "bind_port"), False),
            'listeners[2]: listener "wasm_filter" (0.0.0.0:34998) is not served: bind_port is fal',
        ),
    ],
    ids=lambda value: str(value[0][-1]) if isinstance(value, tuple) else "",
)
def test_what_has_no_effect_is_named_once(
    load: Load, change: tuple[tuple[str | int, ...], Any], notice: str
) -> None:
    notices = load(changed(change), "config.json").notices
    assert sum(notice in line for line in notices) == 1, notices


def test_unknown_keys_of_a_function_are_left_to_it(load: Load) -> None:
    before = load(changed(), "config.json").notices
    item = {**function("function1", FUNCTION_1), "anything": {"at": "all"}}
    item["vm_config"]["unknown"] = 1
    after = load(changed((ITEM, item)), "config.json").notices
    assert [line.partition(" ")[2] for line in after] == [line.partition(" ")[2] for line in before]


PLACE = "servers[0].listeners[1].stream_filters[0].config.function1"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((ITEM, "x"), f'{PLACE}: config not a map: must be a mapping with a "vm_config"'),
        (((*ITEM, "vm_config"), ...), f"{PLACE}.vm_config: nil vm config: required, but missing"),
        (((*ITEM, "vm_config"), None), f"{PLACE}.vm_config: nil vm config: required, but missing"),
        (((*ITEM, "vm_config"), []), f"{PLACE}.vm_config: must be a mapping"),
        (
            ((*ITEM, "vm_config"), {"url": "ftp://x"}),
            f"{PLACE}.vm_config.url: must be https://, http:// or oci://",
        ),
        (((*ITEM, "vm_config"), {}), f"{PLACE}.vm_config.path: required, but missing"),
        (((*ITEM, "vm_config", "path"), 7), f"{PLACE}.vm_config.path: must be text, not 7"),
        (
            ((*ITEM, "vm_config", "engine"), "wasmtiem"),
            f'{PLACE}.vm_config.engine: unknown engine "wasmtiem"; known: wasmtime',
        ),
        (
            ((*ITEM, "vm_config", "md5"), "abc"),
            f"{PLACE}.vm_config.md5: must be 32 hexadecimal digits",
        ),
        (((*ITEM, "vm_config", "cpu"), "x"), f"{PLACE}.vm_config.cpu: must be a whole number"),
        (((*ITEM, "instance_num"), "1"), f"{PLACE}.instance_num: must be a whole number"),
        (((*ITEM, "instance_num"), 9999), f"{PLACE}.instance_num: must be less than or equal"),
        (
            ((*ITEM, "from_wasm_plugin"), "x"),
            f"{PLACE}.from_wasm_plugin: plugin not found among wasm_global_plugins; known: none",
        ),
        (
            ((*FILTER, "type"), "other"),
            'servers: no listener has a stream filter of type "Layott',
        ),
        (
            ((*FILTER, "config"), []),
            "servers[0].listeners[1].stream_filters[0].config: must be a",
        ),
        (((*WASM, "address"), "nowhere"), "servers[0].listeners[1].address: must be "),
        (((*WASM, "address"), 2045), "servers[0].listeners[1].address: must be text"),
        (
            ((*WASM, "filter_chains", 0, "tls_context"), {"status": True}),
            "servers[0].listeners[1].filter_chains[0].tls_context: TLS is not served",
        ),
        (
            ((*WASM, "stream_filters"), [{"type": "Layotto"}, {"type": "wasm_filter"}]),
            'servers[0].listeners[1].stream_filters: "Layotto" and "wasm_filter" need a listener',
        ),
        (((*STORE, "metadata"), {}), "grpc_config.state.state_demo.metadata.redisHost: required"),
        (((*STORE, "metadata", "redisHost"), "a b"), 'metadata.redisHost: must be "host:port"'),
        (((*STORE, "metadata", "redisPassword"), 7), "metadata.redisPassword: must be text"),
        (((*STORE, "metadata", "db"), "x"), "metadata.db: must be the number of a database"),
        ((("servers",), {}), "servers: must be a list"),
        ((("servers", 0), 7), "servers[0]: must be a mapping"),
    ],
    ids=lambda value: "" if isinstance(value, tuple) else str(value)[-40:],
)
def test_a_mistake_is_named_with_its_place(
    refused: Refused, change: tuple[tuple[str | int, ...], Any], message: str
) -> None:
    lines = refused(changed(change), "config.json")
    assert any(message in line for line in lines), lines
    assert all(line.startswith("config.json:") for line in lines)


def test_the_line_in_the_file_is_named(refused: Refused) -> None:
    text = changed(((*ITEM, "vm_config", "engine"), "wasmtiem"))
    line = text[: text.index("wasmtiem")].count("\n") + 1
    (message,) = refused(text, "config.json")
    assert message.startswith(f"config.json:{line}: {PLACE}.vm_config.engine: ")
