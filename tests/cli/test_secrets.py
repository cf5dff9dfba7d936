"""What must stay secret is in no line and no answer of a real server that tells all it knows."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from anywasm.sdk import guest_path

Serving = Callable[..., AbstractContextManager[Any]]

#: Each a word of its own, so that the one that leaked is named.
TOKEN, GUESS, CLIENT = "secret-token", "secret-guess", "secret-client"
STORE, SHARED = "secret-store", "secret-shared"
REGISTRY, SIGNATURE = "secret-registry", "secret-signature"


@pytest.fixture
def refusing() -> Iterator[tuple[int, list[str]]]:
    """The port of a server that repeats in its refusal what it was sent, and what that was."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("authorization", ""))
            body = f"{self.path} {seen[-1]}".encode()
            self.send_response(403, "no " + SIGNATURE)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_address[1], seen
    server.shutdown()
    thread.join()
    server.server_close()


def settings() -> dict[str, Any]:
    """A server that can reach none of its stores, which is worth many words."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        closed = holder.getsockname()[1]
    store = {"type": "redis", "url": f"redis://u:{STORE}@127.0.0.1:{closed}"}
    return {
        "listeners": [{"name": "main", "address": "127.0.0.1:0", "access_log": {}}],
        "plugins": [
            {"name": name, "vm_config": {"path": str(guest_path(name))}}
            for name in ("function_1", "function_2")
        ],
        "state_stores": {"state_demo": store},
        "shared_store": {"type": "redis", "url": f"redis://:{SHARED}@127.0.0.1:{closed}/0"},
        "management": {"address": "127.0.0.1:0", "token": TOKEN},
        "log_level": "debug",
    }


@pytest.mark.parametrize("workers", ["1", "2"])
def test_no_secret_is_told(
    serving: Serving, tmp_path: Path, refusing: tuple[int, list[str]], workers: str
) -> None:
    port, seen = refusing
    path = tmp_path / "config.json"
    path.write_text(json.dumps(settings()))
    fetch = {"username": "u", "password_env": "REGISTRY_PASSWORD", "retries": 0}
    sources = [
        f"http://127.0.0.1:{port}/m.wasm?signature={SIGNATURE}",
        f"oci://127.0.0.1:{port}/image:tag",
    ]
    told: list[bytes] = []
    env = {**os.environ, "REGISTRY_PASSWORD": REGISTRY, "PYTHONASYNCIODEBUG": "1"}
    with serving("start", "-c", str(path), "--workers", workers, env=env) as server:
        main = server.port()
        (line,) = (line for line in server.lines if "management API on" in line)
        management = int(json.loads(line)["event"].rpartition(":")[2])

        def ask(port: int, target: str, secret: str, body: object = None) -> int:
            headers = {"authorization": f"Bearer {secret}", "cookie": CLIENT, "id": "id_1"}
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
                method, data = ("GET", None) if body is None else ("POST", json.dumps(body))
                connection.request(method, target, data, headers)
                response = connection.getresponse()
                told.append(str(response.getheaders()).encode() + response.read())
                return response.status

        for _ in range(2):
            ask(main, "/?name=book1", CLIENT)
            with closing(socket.create_connection(("127.0.0.1", main), 20)) as connection:
                connection.sendall(
                    b"GET / HTTP/1.1\r\nAuthorization : %b\r\n\r\n" % CLIENT.encode()
                )
                told.append(connection.recv(65536))
        for target in ("/wasm/list", "/metrics", "/healthz", "/readyz"):
            assert ask(management, target, GUESS) == 401
            assert ask(management, target, TOKEN) == 200
        for number, url in enumerate(sources):
            vm = {"url": url, "fetch": {**fetch, "plain_http": number == 1}}
            body = {"name": f"remote-{number}", "vm_config": vm}
            assert ask(management, "/wasm/install", TOKEN, body) == 422
            vm["fetch"] = {**fetch, "password": REGISTRY}  # no such key
            assert ask(management, "/wasm/install", TOKEN, body) == 400
        # A broken configuration is told about, too.
        broken = {**settings(), "workers": [TOKEN], "state_stores": {"s": f"redis://:{STORE}@h"}}
        path.write_text(json.dumps(broken))
        server.process.send_signal(1)
        server.until("reload")
        server.process.terminate()
        output, errors = server.process.communicate(timeout=30)
    basic = base64.b64encode(f"u:{REGISTRY}".encode()).decode()
    assert f"Basic {basic}" in seen
    text = "".join([*server.lines, output, errors, *(item.decode("latin-1") for item in told)])
    assert "function_1" in text
    for secret in (TOKEN, GUESS, CLIENT, STORE, SHARED, REGISTRY, SIGNATURE, basic):
        assert secret not in text
