"""A Higress filter chooses among the hosts of a cluster."""

from __future__ import annotations

import asyncio
import http.client
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from wasmtime import wat2wasm

from anywasm.plugins.config import AppConfig
from anywasm.server.server import Server


def _module(choose: str, address: str) -> bytes:
    """A filter that calls `choose` with the address when the request's headers come."""
    if choose == "foreign":
        declared = (
            '(import "env" "proxy_call_foreign_function" (func $call '
            "(param i32 i32 i32 i32 i32 i32) (result i32)))"
        )
        name = "set_override_upstream_host"
        call = (
            f"(call $call (i32.const 0) (i32.const {len(name)}) "
            f"(i32.const 100) (i32.const {len(address)}) (i32.const 0) (i32.const 0))"
        )
    else:
        declared = (
            '(import "env" "proxy_set_upstream_override_host" '
            "(func $call (param i32 i32) (result i32)))"
        )
        name = ""
        call = f"(call $call (i32.const 100) (i32.const {len(address)}))"
    return bytes(
        wat2wasm(
            f"""(module {declared} (memory (export "memory") 1)
            (data (i32.const 0) "{name}") (data (i32.const 100) "{address}")
            (func (export "proxy_abi_version_0_2_100"))
            (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
            (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
              (drop {call}) (i32.const 0)))"""
        )
    )


@contextmanager
def _upstream(name: str) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(name)))
            self.end_headers()
            self.wfile.write(name.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answers(module: Path, ports: list[int]) -> Counter[str]:
    """What eight requests through the filter are answered, in a server of their own."""
    config = AppConfig.model_validate(
        {
            "watch": False,
            "clusters": [{"name": "up", "endpoints": [f"127.0.0.1:{port}" for port in ports]}],
            "plugins": [{"name": "chooser", "vm_config": {"path": str(module)}}],
            "listeners": [
                {
                    "name": "gateway",
                    "address": "127.0.0.1:0",
                    "filters": ["chooser"],
                    "routes": [{"cluster": "up"}],
                }
            ],
        }
    )

    def ask(place: tuple[str, int]) -> str:
        connection = http.client.HTTPConnection(*place, timeout=10)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    async def serve() -> Counter[str]:
        server = Server(config)
        try:
            await server.start()
            place = server.listeners["gateway"].addresses[0]
            assert isinstance(place, tuple)
            return Counter([await asyncio.to_thread(ask, place) for _ in range(8)])
        finally:
            await server.stop()

    return asyncio.run(serve())


@pytest.mark.parametrize("choose", ["foreign", "import"])
@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (lambda ports: f"127.0.0.1:{ports[1]}", {"b"}),
        (lambda ports: f"127.0.0.1:{ports[0]}", {"a"}),
        # Nobody gets out of the configuration.
        (lambda ports: "127.0.0.1:1", {"a", "b"}),
    ],
)
def test_a_filter_chooses_the_host(
    tmp_path: Path, choose: str, address: Callable[[list[int]], str], expected: set[str]
) -> None:
    with _upstream("a") as first, _upstream("b") as second:
        ports = [first, second]
        module = tmp_path / "chooser.wasm"
        module.write_bytes(_module(choose, address(ports)))
        answers = _answers(module, ports)
    assert sum(answers.values()) == 8
    assert set(answers) <= expected
