"""Plugins from URLs through the management API: what fails changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

Serve = Callable[[bytes], str]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Serve modules; each has a URL of its own."""
    monkeypatch.setenv("ANYWASM_CACHE_DIR", str(tmp_path / "cache"))
    served: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = served[int(self.path.strip("/").partition("?")[0])]
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    def give(body: bytes) -> str:
        served.append(body)
        return f"http://127.0.0.1:{server.server_address[1]}/{len(served) - 1}?signature=secret"

    yield give
    server.shutdown()
    thread.join()
    server.server_close()


def test_install_update_and_what_fails(managing: Any, guest: Any, serve: Serve) -> None:
    running = managing()

    def plugin(body: bytes, **vm: Any) -> dict[str, Any]:
        return {"name": "f", "vm_config": {"url": serve(body), **vm}}

    first = guest("f", guest.answers("first")).read_bytes()
    refusing = guest("f", guest.answers("third"), start="unreachable").read_bytes()
    bad = [
        (plugin(b"no module"), "a WebAssembly binary begins with"),
        (plugin(b""), "is empty"),
        (plugin(first, sha256="0" * 64), "is pinned"),
        (plugin(refusing), "proxy_on_configure"),
        ({"name": "f", "vm_config": {"url": "http://127.0.0.1:9/", "fetch": {"retries": 0}}}, "9/"),
    ]
    for body, told in bad:
        answer = running.manage("install", body)
        assert answer.status == 422
        assert told in answer.json["error"]
        assert "secret" not in answer.json["error"]
    assert running.manage("list").json == {"plugins": []}
    answer = running.manage("install", plugin(first))
    assert answer.status == 200
    assert answer.json["path"].endswith("/4")
    for body, told in bad:
        answer = running.manage("update", body)
        assert answer.status == 422
        assert running.ask(id="f").body == b"first"
        (item,) = running.manage("list").json["plugins"]
        assert told in item["last_error"]
        assert item["circuit"]["state"] == "closed"
    second = guest("f", guest.answers("second")).read_bytes()
    assert running.manage("update", plugin(second)).status == 200
    assert running.ask(id="f").body == b"second"
    assert running.manage("uninstall", {"name": "f"}).status == 200
    assert running.ask(id="f").status == 404
