from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from anywasm.cli.run.plugin import Given, make_plugin, read_given
from anywasm.cli.run.server import filter_server
from anywasm.core.errors import ConfigError
from anywasm.core.registry import get_wasm_engine
from anywasm.plugins.config import Address
from anywasm.sdk import guest_bytes, guest_path

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Serving = Callable[..., AbstractContextManager[Any]]

ADD_HEADER = guest_path("add_header")
FREE = ("--listen", "127.0.0.1:0")


def _guest(text: str) -> bytes:
    return bytes(
        wasmtime.wat2wasm(f"""
          (module
            (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
            (import "env" "proxy_get_buffer_bytes"
              (func $buffer (param i32 i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "malloc") (param i32) (result i32) (i32.const 4096))
            (func (export "proxy_abi_version_0_2_1"))
            {text})
        """)
    )


#: Logs the configuration that it reads, and refuses an empty one.
READER = _guest("""
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (drop (call $buffer (i32.const 7) (i32.const 0) (local.get 1) (i32.const 16) (i32.const 20)))
    (drop (call $log (i32.const 2) (i32.load (i32.const 16)) (i32.load (i32.const 20))))
    (i32.ne (local.get 1) (i32.const 0)))
""")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("guests") / "reader.wasm"
    path.write_bytes(READER)
    return path


class Upstream(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        answer = f"{self.path} at {self.headers['host']} with {body.decode()}".encode()
        self.send_response(201)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def upstream() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def _lines(server: Any, count: int) -> list[str]:
    return [server.process.stdout.readline().rstrip("\n") for _ in range(count)]


def test_a_filter_in_front_of_an_upstream_is_reloaded_while_it_runs(
    serving: Serving, upstream: str, tmp_path: Path
) -> None:
    module = tmp_path / "tag.wasm"
    module.write_bytes(guest_bytes("add_header"))
    with serving("run", str(module), "--upstream", f"http://{upstream}", *FREE) as server:
        port = server.port("run")
        what, curl, reload = _lines(server, 3)
        version = get_wasm_engine("wasmtime").version
        assert what == (
            f"{module} filters in front of http://{upstream}, on wasmtime {version} "
            "(proxy-wasm 0.2.1, profile envoy, inline)"
        )
        assert curl == f"    curl -i http://127.0.0.1:{port}/"
        assert "taken up" in reload
        answer = subprocess.run(
            f"{curl}a?b=c -sS -d hello", shell=True, capture_output=True, check=True, text=True
        ).stdout
        assert answer.startswith("HTTP/1.1 201 ")
        assert "\nx-anywasm: hello\n" in answer
        assert answer.endswith(f"\n/a?b=c at {upstream} with hello")

        changed = tmp_path / "new"
        changed.write_bytes(guest_bytes("add_header").replace(b"hello", b"howdy"))
        changed.rename(module)
        server.until("version 2 serves")
        assert (
            "\nx-anywasm: howdy\n"
            in subprocess.run(
                f"{curl} -sS -d x", shell=True, capture_output=True, check=True, text=True
            ).stdout
        )
        os.kill(server.process.pid, signal.SIGTERM)
        assert server.process.wait(30) == 0
        assert server.process.stdout.read() == ""


def test_without_an_upstream_it_answers_and_writes_an_access_log(serving: Serving) -> None:
    args = ("--no-watch", "--access-log", "--engine", "wasm3", "--log-level", "warning")
    with serving("run", str(ADD_HEADER), *args, *FREE, text_log=True) as server:
        what, curl = _lines(server, 2)
        assert "filters in front of a 200 that says ok" in what
        assert ", on wasm3 " in what
        port = int(curl.rpartition(":")[2].rstrip("/"))
        status, body, headers = server.ask(port, "/x")
        assert (status, body, headers["x-anywasm"]) == (200, b"ok\n", "hello")
        (line,) = _lines(server, 1)  # and no word about reloading before it
        assert '"GET /x HTTP/1.1" 200 ' in line
        os.kill(server.process.pid, signal.SIGINT)
        assert server.process.wait(30) == 0
        assert server.process.stderr.read() == ""


def test_a_layotto_function_is_served_as_a_function(serving: Serving) -> None:
    with serving("run", str(guest_path("function_2")), *FREE) as server:
        port = server.port("run")
        what, curl, _ = _lines(server, 3)
        assert " serves as the function id_2, on wasmtime " in what
        assert curl == f"    curl -i -H 'id: id_2' http://127.0.0.1:{port}/"
        assert server.ask(port, "/?name=x", {"id": "id_1"})[0] == 404
        # It asks a store that a configuration would name, so the answer is its own refusal.
        status, body, _ = server.ask(port, "/?name=x", {"id": "id_2"})
        assert (status, body) == (502, b'{"error":"the state store of id_2 failed"}')


def test_a_configuration_on_standard_input_is_read_as_it_is(serving: Serving, reader: Path) -> None:
    text = '{"b": 1.0,\t"a": [] }'
    with serving("run", str(reader), "-c", "-", *FREE, stdin=subprocess.PIPE) as server:
        server.process.stdin.write(text)
        server.process.stdin.close()
        server.process.stdin = None
        assert json.loads(server.until("anywasm.guest"))["event"] == f"reader: {text}"


WASM_PLUGIN = """
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: tag}
spec:
  url: oci://example.com/tag:1
  sha256: "%s"
  priority: 3
  phase: AUTHN
  failStrategy: FAIL_OPEN
  pluginName: the_root
  pluginConfig: {a: [1, 2]}
  imagePullPolicy: Always
"""


def test_the_settings_of_a_wasm_plugin_apply(
    serving: Serving, reader: Path, tmp_path: Path
) -> None:
    path = tmp_path / "plugin.yaml"
    path.write_text(WASM_PLUGIN % ("0" * 64))
    with serving("run", str(reader), "--config", str(path), *FREE) as server:
        event = json.loads(server.until("anywasm.guest"))
        assert (event["plugin"], event["event"]) == ("tag", 'tag: {"a":[1,2]}')
        warnings = [
            event["event"] for event in map(json.loads, server.lines) if event["level"] == "warning"
        ]
        assert warnings == [f"{path}:13: spec.imagePullPolicy: has no effect here"]


ENVOY = """
"@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
config:
  name: tag
  rootId: the_root
  failurePolicy: FAIL_RELOAD
  %s:
    vm_id: shared
    runtime: envoy.wasm.runtime.wasmtime
    code: {remote: {http_uri: {uri: "https://example.com/x.wasm"}, sha256: "%s"}}
  configuration:
    "@type": type.googleapis.com/google.protobuf.StringValue
    value: the configuration
"""


@pytest.mark.parametrize("key", ["vmConfig", "vm_config"])
def test_the_settings_of_an_envoy_filter_apply_but_for_the_module(key: str) -> None:
    given = Given((ENVOY % (key, "0" * 64)).encode())
    (plugin,) = make_plugin(ADD_HEADER, given, {}).filters
    assert plugin.name == "tag"
    assert plugin.root_id == "the_root"
    assert plugin.failure_policy == "fail_reload"
    assert plugin.plugin_config == b"the configuration"
    assert plugin.vm_config.vm_id == "shared"
    assert plugin.vm_config.path == ADD_HEADER
    assert plugin.vm_config.sha256 is None


@pytest.mark.parametrize(
    "content", [b"", b"a: 1\n", b"\xff\xfe", b"{", b"a: [", b'"x"', b"a\n---\n"]
)
def test_options_count_more_and_what_describes_no_filter_is_for_the_guest(content: bytes) -> None:
    options = {"engine": "wasm3", "root_id": "r", "failure_policy": "fail_open", "profile": "envoy"}
    (plugin,) = make_plugin(ADD_HEADER, Given(content), options).filters
    assert plugin.plugin_config == content
    for given in (Given(content), Given((ENVOY % ("vm_config", "")).encode())):
        (plugin,) = make_plugin(ADD_HEADER, given, options).filters
        assert plugin.vm_config.engine == "wasm3"
        assert plugin.vm_config.path == ADD_HEADER
        assert (plugin.root_id, plugin.failure_policy, plugin.profile) == (
            "r",
            "fail_open",
            "envoy",
        )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (WASM_PLUGIN + "---\n" + WASM_PLUGIN.replace("{name: tag}", "{name: b}"), r"\(tag, b\)"),
        (WASM_PLUGIN.replace("FAIL_OPEN", "FAIL"), "x.yaml:10: spec.failStrategy: must be one of"),
        ("kind: WasmPlugin\napiVersion: extensions.istio.io/v1\nspec: 1\n", "x.yaml:3: spec: must"),
        ("config: {vm_config: 1}\n'@type': x.wasm.v3.Wasm\n", "config.vm_config: must be a mapp"),
        ("config: 1\n'@type': x.wasm.v3.Wasm\n", "x.yaml:1: config: must be a mapping"),
        ("config:\n'@type': x.wasm.v3.Wasm\nmore: 1", "x.yaml:3: more: is not known"),
    ],
)
def test_a_description_that_is_wrong(text: str, words: str) -> None:
    given = Given(text.replace("%s", "").encode(), Path("x.yaml"))
    with pytest.raises(ConfigError, match=words):
        make_plugin(ADD_HEADER, given, {})


@pytest.mark.parametrize(
    ("url", "host", "address", "tls"),
    [
        ("http://127.0.0.1:9000", "127.0.0.1:9000", Address("127.0.0.1", 9000), False),
        ("http://localhost/", "localhost", Address("localhost", 80), False),
        ("https://example.com", "example.com", Address("example.com", 443), True),
        ("http://[::1]:81", "[::1]:81", Address("::1", 81), False),
    ],
)
def test_upstreams(url: str, host: str, address: Address, tls: bool) -> None:
    (plugin,) = make_plugin(ADD_HEADER, Given(), {}).filters
    config = filter_server(plugin, Address("127.0.0.1", 0), url, access_log=False)
    (cluster,) = config.clusters
    assert cluster.endpoints == (address,)
    assert (cluster.tls is not None) == tls
    assert config.listeners[0].routes[0].host_rewrite == host


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:9000",
        "ftp://a",
        "http://",
        "http://:80",
        "http://a:0",
        "http://a:x",
        "http://a:70000",
        "http://1.2.3",
        "http://a/b",
        "http://a?b",
        "http://user@a",
        "http://[::1",
        "http://a b",
        "",
    ],
)
def test_what_is_no_upstream(url: str) -> None:
    (plugin,) = make_plugin(ADD_HEADER, Given(), {}).filters
    with pytest.raises(ConfigError, match=r"--upstream .*: must be http://HOST"):
        filter_server(plugin, Address("127.0.0.1", 0), url, access_log=False)


def test_where_a_configuration_comes_from(tmp_path: Path) -> None:
    assert read_given(None, ' {"a": 1}') == Given(b' {"a": 1}')
    assert read_given(None, None) == Given()
    with pytest.raises(ConfigError, match="exclude each other"):
        read_given("-", "{}")
    with pytest.raises(ConfigError, match=r"--config-json: not valid JSON: .* takes any text"):
        read_given(None, "{a: 1}")
    with pytest.raises(ConfigError, match=f"--config {tmp_path}: cannot be read: Is a directory"):
        read_given(str(tmp_path), None)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("{reader}", "--engine", "v8"), 2, "unknown WebAssembly engine 'v8'"),
        (("{reader}", "--listen", "8080"), 2, '--listen 8080: must be "host:port"'),
        (("{reader}", "--upstream", "a:1"), 2, "--upstream a:1: must be http://HOST[:PORT]"),
        (("{reader}", "-c", "no.json"), 2, "--config no.json: cannot be read: No such file"),
        (("{reader}", "--failure-policy", "fail"), 2, "--failure-policy"),
        (("{function}", "--access-log"), 2, "--access-log: only for filters; this module is a"),
        (("{malformed}",), 1, "malformed module at byte 0x0"),
        (("{plain}",), 1, "plain.wasm: no proxy-wasm module (exports no proxy_abi_version_*)"),
        # It refuses an empty configuration.
        (("{reader}",), 1, "plugin 'reader' cannot start: the guest refused to start"),
    ],
)
def test_what_cannot_be_run_is_told_in_a_line(
    run: Run, reader: Path, tmp_path: Path, args: tuple[str, ...], code: int, words: str
) -> None:
    (tmp_path / "malformed.wasm").write_bytes(b"(module)")
    (tmp_path / "plain.wasm").write_bytes(b"\0asm\1\0\0\0")
    paths = {"reader": reader, "function": guest_path("function_1")}
    paths |= {name: tmp_path / f"{name}.wasm" for name in ("malformed", "plain")}
    result = run("run", *(arg.format(**paths) for arg in args), *FREE[: 2 * ("8080" not in args)])
    assert result.returncode == code
    assert words in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_an_engine_that_is_not_there(run: Run) -> None:
    result = run("run", str(ADD_HEADER), *FREE, without=("wasmtime",))
    assert result.returncode == 1
    assert "pip install 'anywasm[wasmtime]'" in result.stderr.splitlines()[-1]
