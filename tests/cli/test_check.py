from __future__ import annotations

import hashlib
import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from anywasm.abi.pairs import encode_pairs
from anywasm.core.registry import engine_statuses, get_wasm_engine
from anywasm.sdk import guest_bytes, guest_path

Run = Callable[..., "subprocess.CompletedProcess[str]"]

ADD_HEADER = str(guest_path("add_header"))
FUNCTIONS = tuple(str(guest_path(name)) for name in ("function_1", "function_2"))


def _wat(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def _guest(text: str) -> bytes:
    return _wat(f"""
      (module
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        {text}
        (memory (export "memory") 1)
        (func (export "malloc") (param i32) (result i32) (i32.const 4096))
        (func (export "proxy_abi_version_0_2_1")))
    """)


OWN: dict[str, Any] = {
    "listeners": [
        {
            "name": "gateway",
            # Nothing could listen there.
            "address": "192.0.2.1:1",
            "filters": ["add_header"],
            "routes": [{"cluster": "shop"}],
            "access_log": {"path": "access.log"},
        },
        {"name": "functions", "address": "127.0.0.1:1"},
    ],
    "plugins": [
        {"name": "add_header", "vm_config": {"path": ADD_HEADER}, "profile": "higress"},
        {
            "name": "first",
            "vm_config": {"engine": "wasm3", "path": FUNCTIONS[0]},
            "instance_num": 3,
        },
    ],
    "clusters": [{"name": "shop", "endpoints": ["127.0.0.1:1"]}],
    "state_stores": {"state_demo": {"type": "redis", "url": "redis://127.0.0.1:1"}},
}

WASM_FILTER = {
    "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
    "config": {
        "name": "tag",
        "root_id": "tag",
        "vm_config": {
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": ADD_HEADER}},
        },
    },
}
ENVOY = {
    "static_resources": {
        "listeners": [
            {
                "name": "main",
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": 10000}},
                "filter_chains": [
                    {
                        "filters": [
                            {
                                "name": "envoy.filters.network.http_connection_manager",
                                "typed_config": {
                                    "@type": "type.googleapis.com/envoy.extensions.filters."
                                    "network.http_connection_manager.v3.HttpConnectionManager",
                                    "stat_prefix": "ingress",
                                    "http_filters": [
                                        {
                                            "name": "envoy.filters.http.wasm",
                                            "typed_config": WASM_FILTER,
                                        },
                                        {
                                            "name": "envoy.filters.http.router",
                                            "typed_config": {
                                                "@type": "type.googleapis.com/envoy.extensions."
                                                "filters.http.router.v3.Router"
                                            },
                                        },
                                    ],
                                    "route_config": {
                                        "virtual_hosts": [
                                            {
                                                "name": "all",
                                                "domains": ["*"],
                                                "routes": [
                                                    {
                                                        "match": {"prefix": "/"},
                                                        "direct_response": {"status": 200},
                                                    }
                                                ],
                                            }
                                        ]
                                    },
                                },
                            }
                        ]
                    }
                ],
            }
        ]
    }
}
LAYOTTO = {
    "servers": [
        {
            "listeners": [
                {
                    "name": "main",
                    "address": "127.0.0.1:2045",
                    "stream_filters": [
                        {
                            "type": "Layotto",
                            "config": {
                                name: {
                                    "name": name,
                                    "instance_num": 1,
                                    "vm_config": {"engine": "wasmtime", "path": path},
                                }
                                for name, path in zip(("function1", "function2"), FUNCTIONS)
                            },
                        },
                        {
                            "type": "grpc",
                            "config": {
                                "state": {
                                    "state_demo": {
                                        "type": "redis",
                                        "metadata": {"redisHost": "127.0.0.1:1"},
                                    }
                                }
                            },
                        },
                    ],
                }
            ]
        }
    ]
}
WASM_PLUGIN = {
    "apiVersion": "extensions.istio.io/v1alpha1",
    "kind": "WasmPlugin",
    "metadata": {"name": "tag"},
    "spec": {"url": Path(ADD_HEADER).as_uri(), "pluginConfig": {"a": 1}},
}

GOOD: dict[str, tuple[Any, dict[str, tuple[str, str | None, str, str]]]] = {
    "own": (
        OWN,
        {
            "add_header": ("filter", None, "higress", "wasmtime"),
            "first": ("function", "id_1", "envoy", "wasm3"),
        },
    ),
    "envoy": (ENVOY, {"tag": ("filter", None, "envoy", "wasmtime")}),
    "filter": (WASM_FILTER, {"tag": ("filter", None, "envoy", "wasmtime")}),
    "layotto": (
        LAYOTTO,
        {
            "function1": ("function", "id_1", "envoy", "wasmtime"),
            "function2": ("function", "id_2", "envoy", "wasmtime"),
        },
    ),
    "wasm_plugin": (WASM_PLUGIN, {"tag": ("filter", None, "envoy", "wasmtime")}),
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    def make(data: Any) -> Path:
        path = tmp_path / "config.json"
        path.write_text(json.dumps(data, indent=1))
        return path

    return make


@pytest.mark.parametrize(("data", "expected"), GOOD.values(), ids=GOOD)
def test_good_configurations_of_every_shape(
    run: Run, write: Callable[[Any], Path], data: Any, expected: dict[str, tuple[str, ...]]
) -> None:
    path = write(data)
    result = run("check", "-c", str(path), "--json")
    assert (result.returncode, result.stderr) == (0, "")
    report = json.loads(result.stdout)
    assert report["good"] is True
    assert report["problems"] == []
    found = {
        plugin["name"]: tuple(plugin[key] for key in ("kind", "id", "profile", "engine"))
        for plugin in report["plugins"]
    }
    assert found == expected
    for plugin in report["plugins"]:
        assert plugin["good"] is True
        assert plugin["abi_version"] == "0.2.1"
        assert plugin["engine_version"] == get_wasm_engine(plugin["engine"]).version
        assert plugin["execution"] == ("inline" if plugin["kind"] == "filter" else "thread")
        assert plugin["compile_ms"] > 0
        assert plugin["start_ms"] > 0
    # Nothing was made that a server would make.
    assert [item.name for item in path.parent.iterdir()] == ["config.json"]


def test_a_plugin_is_a_line_and_notices_are_told(run: Run, write: Callable[[Any], Path]) -> None:
    path = write(ENVOY)
    result = run("check", "-c", str(path), columns=40)
    assert result.returncode == 0
    line, summary = result.stdout.splitlines()
    version = get_wasm_engine("wasmtime").version
    assert line.startswith(
        f"ok      tag: filter on wasmtime {version}, proxy-wasm 0.2.1, profile envoy, inline; "
        "compiled in "
    )
    assert summary == (
        f"{path}: good; listeners: 1, clusters: 0, state stores: 0, plugins: 1, failed: 0"
    )
    (notice,) = result.stderr.splitlines()
    assert notice.startswith(f"{path}:")
    assert 'envoy.wasm.runtime.v8 is not there; the engine is "wasmtime"' in notice


def test_all_that_is_wrong_beside_the_plugins_is_told_at_once(
    run: Run, write: Callable[[Any], Path], tmp_path: Path
) -> None:
    (tmp_path / "empty.pem").write_text("")
    listener = OWN["listeners"][0]
    path = write(
        {
            **OWN,
            "listeners": [
                {
                    **listener,
                    "tls": {"cert_file": "no.pem", "key_file": "empty.pem"},
                    "access_log": {"path": "no/access.log", "format": "%NO_SUCH%"},
                },
                {
                    "name": "b",
                    "address": "127.0.0.1:2",
                    "tls": {"cert_file": "empty.pem", "key_file": "empty.pem"},
                },
            ],
            "clusters": [
                {"name": "shop", "endpoints": ["127.0.0.1:1"], "tls": {"ca_file": "empty.pem"}}
            ],
            "state_stores": {"a": {"type": "etcd"}, "b": {"type": "redis", "url": "redis://x:y"}},
        }
    )
    result = run("check", "-c", str(path))
    assert result.returncode == 2
    lines = result.stderr.splitlines()
    text = path.read_text().splitlines()
    expected = [
        ('"type": "etcd"', 'state_stores.a.type: unknown type "etcd"; known: memory, redis'),
        ('"b": {', "state_stores.b: url: is not understood"),
        ('"name": "shop"', f"clusters[0]: CA file '{tmp_path}/empty.pem' cannot be used"),
        ("no.pem", f"listeners[0].tls.cert_file: {tmp_path}/no.pem cannot be read: No such file"),
        (
            "NO_SUCH",
            "listeners[0].access_log.format: access log format: unknown operator %NO_SUCH%",
        ),
        ("access.log", f"listeners[0].access_log.path: {tmp_path}/no/access.log cannot be written"),
        ('"tls": {', "listeners[1].tls: listener 'b': the certificate cannot be used"),
    ]
    assert len(lines) == len(expected)
    for line, (at, words) in zip(lines, expected):
        assert words in line
        number = int(line.removeprefix(f"{path}:").partition(":")[0])
        # The value's own line, or that of the mapping it begins.
        assert at in text[number - 1] or at in text[number]
    # The plugins are good all the same, and that is told too.
    first, second, summary = result.stdout.splitlines()
    assert first.startswith("ok      add_header: ")
    assert second.startswith("ok      first: ")
    assert ": NOT good; " in summary


GUESTS = {
    "malformed": b"\0asm\1\0\0\0\x7f",
    "empty": b"",
    "no_abi": b"\0asm\1\0\0\0",
    "imports": _guest('(import "env" "proxy_no_such" (func (param i32)))'),
    "refuses": _guest("""
        (data (i32.const 0) "the key\\0a'header' is missing")
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
          (drop (call $log (i32.const 4) (i32.const 0) (i32.const 27)))
          (i32.const 0))
    """),
    "traps": _guest('(func (export "proxy_on_vm_start") (param i32 i32) (result i32) unreachable)'),
    "pinned": guest_bytes("add_header"),
    "good": guest_bytes("add_header"),
}
SHA256 = hashlib.sha256(GUESTS["pinned"]).hexdigest()
FAILURES = {
    "malformed": "malformed module at byte 0x8",
    "empty": "empty.wasm is empty",
    "no_abi": "missing or unknown proxy-wasm ABI: it exports no proxy_abi_version_*",
    "imports": "imports what this host does not provide to proxy-wasm 0.2.1: env.proxy_no_such",
    "refuses": "the guest refused to start: proxy_on_configure returned false",
    "traps": "cannot start: proxy_on_vm_start: wasm trap: wasm `unreachable` instruction",
    "pinned": f"has sha256 {SHA256}, but {'0' * 64} is pinned; pin the new checksum",
    "missing": "missing.wasm: No such file or directory",
}


def test_each_plugin_that_fails_is_told_with_its_place(
    run: Run, write: Callable[[Any], Path], tmp_path: Path
) -> None:
    for name, wasm in GUESTS.items():
        (tmp_path / f"{name}.wasm").write_bytes(wasm)
    names = [*FAILURES, "good"]
    plugins: list[dict[str, Any]] = [
        {"name": name, "vm_config": {"path": f"{name}.wasm"}} for name in names
    ]
    plugins[names.index("pinned")]["vm_config"]["sha256"] = "0" * 64
    path = write(
        {
            "listeners": [
                {"name": "a", "address": "127.0.0.1:1", "filters": names, "routes": []},
            ],
            "plugins": plugins,
        }
    )
    text = path.read_text().splitlines()
    result = run("check", "-c", str(path), columns=40)
    assert (result.returncode, result.stderr) == (1, "")
    lines = result.stdout.splitlines()
    for index, (name, words) in enumerate(FAILURES.items()):
        (line,) = [line for line in lines if line.startswith(f"FAILED  {name}: {path}:")]
        assert words in line
        assert f": plugins[{index}]: " in line
        number = int(line.partition(f"{path}:")[2].partition(":")[0])
        assert f'"name": "{name}"' in text[number]
    refused = next(index for index, line in enumerate(lines) if "FAILED  refuses" in line)
    assert lines[refused + 1] == "        the guest logged error: the key 'header' is missing"
    assert lines[-2].startswith("ok      good: ")
    assert lines[-1].endswith("plugins: 9, failed: 8")


def _calling(upstream: str) -> bytes:
    """A guest that starts only where it may tick and its call to `upstream` is taken."""
    headers = encode_pairs(((b":method", b"GET"), (b":path", b"/"), (b":authority", b"a")))
    data = "".join(f"\\{byte:02x}" for byte in headers)
    return _guest(f"""
        (import "env" "proxy_http_call" (func $call
          (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_set_tick_period_milliseconds"
          (func $tick (param i32) (result i32)))
        (data (i32.const 0) "{upstream}")
        (data (i32.const 64) "{data}")
        (func (export "proxy_on_tick") (param i32) unreachable)
        (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32) unreachable)
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
          (i32.eqz (i32.or
            (call $tick (i32.const 1))
            (call $call (i32.const 0) (i32.const {len(upstream)})
              (i32.const 64) (i32.const {len(headers)}) (i32.const 0) (i32.const 0)
              (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 512)))))
    """)


def test_guests_may_call_out_while_they_start_and_nothing_is_connected_to(
    run: Run, write: Callable[[Any], Path], tmp_path: Path
) -> None:
    for name in ("known", "unknown"):
        (tmp_path / f"{name}.wasm").write_bytes(_calling(name))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        listener = {"name": "a", "address": f"127.0.0.1:{port}", "filters": ["known", "unknown"]}
        path = write(
            {
                "listeners": [listener],
                "plugins": [
                    {"name": name, "vm_config": {"path": f"{name}.wasm"}}
                    for name in ("known", "unknown")
                ],
                "clusters": [{"name": "known", "endpoints": [f"127.0.0.1:{port}"]}],
                "state_stores": {"s": {"type": "redis", "url": f"redis://127.0.0.1:{port}"}},
            }
        )
        result = run("check", "-c", str(path), "--json")
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    # What is told to the guest is what it would be told while serving.
    assert result.returncode == 1
    known, unknown = json.loads(result.stdout)["plugins"]
    assert known["error"] is None
    assert "proxy_on_configure returned false" in unknown["error"]


ENGINES = [s.name for s in engine_statuses() if s.vm is not None and s.vm.capabilities.wasm]


def test_filters_and_functions_start_and_end_on_every_engine(
    run: Run, write: Callable[[Any], Path]
) -> None:
    plugins: list[dict[str, Any]] = [
        {"name": f"{kind}_{number}_{name}", "vm_config": {"engine": name, "path": path, **more}}
        for name in ENGINES
        for number in (1, 2)
        # The filters of an engine share a VM.
        for kind, path, more in (
            ("filter", ADD_HEADER, {"vm_id": "one"}),
            ("function", FUNCTIONS[1], {}),
        )
    ]
    filters = [plugin["name"] for plugin in plugins if plugin["name"].startswith("filter")]
    listeners = [{"name": "a", "address": "127.0.0.1:1", "filters": filters}]
    result = run("check", "-c", str(write({"listeners": listeners, "plugins": plugins})))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.count("\nok ") == len(plugins) - 1


def test_a_configuration_that_cannot_be_read(run: Run, write: Callable[[Any], Path]) -> None:
    path = write({"listenrs": [], "log_level": "loud"})
    as_text = run("check", "-c", str(path))
    assert (as_text.returncode, as_text.stdout) == (2, "")
    lines = as_text.stderr.splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"{path}:") for line in lines)
    as_json = run("check", "-c", str(path), "--json")
    assert (as_json.returncode, as_json.stderr) == (2, "")
    data = json.loads(as_json.stdout)
    assert data["problems"] == lines
    assert data["good"] is False
    assert data["plugins"] == []


def test_guests_of_the_null_engine_and_an_engine_that_is_not_there(
    run: Run, write: Callable[[Any], Path], tmp_path: Path
) -> None:
    (tmp_path / "function_2").write_text("function_2")
    path = write(
        {
            "listeners": [{"name": "a", "address": "127.0.0.1:1"}],
            "plugins": [
                {"name": "a", "vm_config": {"engine": "null", "path": "function_2"}},
                {"name": "b", "vm_config": {"engine": "wasmtime", "path": FUNCTIONS[0]}},
            ],
        }
    )
    setup = "anywasm.testing.quickstart:register_quickstart"
    result = run("check", "-c", str(path), "--setup", setup, without=("wasmtime",))
    assert result.returncode == 1
    first, second, _ = result.stdout.splitlines()
    assert first.startswith("ok      a: function id_2 on null ")
    assert second.startswith(f"FAILED  b: {path}:")
    assert "pip install 'anywasm[wasmtime]'" in second
