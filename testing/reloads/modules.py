"""Modules in many versions."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from anywasm.sdk import guest_path


class Modules:
    """A module in as many versions as are asked for, and a web server that has the newest."""

    def __init__(self, name: str) -> None:
        self._wasm = guest_path(name).read_bytes()
        self._count = 0
        self.newest = self.next()
        modules = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = modules.newest
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/filter.wasm"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def next(self) -> bytes:
        """Another version: with a number in a custom section."""
        self._count += 1
        number = f"{self._count:08}".encode()
        self.newest = self._wasm + bytes([0, 2 + len(number), 1]) + b"v" + number
        return self.newest

    def write(self, path: Path) -> None:
        """Put another version in the place of a file, at once."""
        beside = path.with_suffix(".new")
        beside.write_bytes(self.next())
        beside.replace(path)
