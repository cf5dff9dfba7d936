"""The echo server that the cases were recorded against, with the same observable answers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

#: The one request header that changes from request to request, so recordings leave it out.
_NOT_ECHOED = "x-request-id"
#: Seconds that `/sleep` takes: longer than the timeout of those who call it.
_SLEEP = 0.5
#: Between parts of a body, so that each is read on its own.
_CHUNK_PAUSE = 0.1
_EVENT_PAUSE = 0.05

_USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


class EchoUpstream:
    """The server, on a free port of 127.0.0.1, in threads of its own, until it is left.

    Any path echoes the request as JSON, but for `/auth-allow` and `/auth-deny` (an authorization
    service), `/sleep`, `/chunks`, `/trailers`, `/sse` and `/v1/chat/completions` (a language
    model, also streaming).
    """

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_port

    def __enter__(self) -> EchoUpstream:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Echo(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    # An upstream that hangs must not outlive its test by much.
    timeout = 60

    def log_message(self, format: str, *args: object) -> None:
        """Be silent."""

    def handle(self) -> None:
        """Serve the connection; that the other side cuts it is what some cases are about."""
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True

    def _answer(self) -> None:
        body, trailers = self._read()
        path = self.path.partition("?")[0]
        if path.startswith("/auth-deny"):
            extra = (("x-auth-reason", "nope"), ("www-authenticate", 'Basic realm="up"'))
            self._send(b"denied by auth service", status=403, extra=extra)
        elif path.startswith("/auth-allow"):
            self._send(b"ok", extra=(("x-auth-user", "alice"), ("x-user-id", "42")))
        elif path.startswith("/sleep"):
            time.sleep(_SLEEP)
            self._send(b"slept")
        elif path.startswith("/sse"):
            self._stream_chat()
        elif path.startswith("/v1/chat/completions"):
            if b'"stream": true' in body or b'"stream":true' in body:
                self._stream_chat()
            else:
                self._chat(body)
        elif path.startswith("/trailers"):
            self._abc((("trailer", "x-up-trailer"),), b"x-up-trailer: t1\r\n")
        elif path.startswith("/chunks"):
            self._abc()
        else:
            self._echo(body, trailers)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer  # noqa: N815

    def _read(self) -> tuple[bytes, dict[str, str]]:
        """The request's body and trailers."""
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length", 0))), {}
        body = b""
        while size := self._chunk_size():
            body += self.rfile.read(size)
            self.rfile.readline()
        trailers: dict[str, str] = {}
        while line := self.rfile.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            trailers[name.lower()] = value.strip()
        return body, trailers

    def _chunk_size(self) -> int:
        line = self.rfile.readline()
        if not line:
            raise ConnectionAbortedError
        return int(line.partition(b";")[0], 16)

    def _fields(self) -> list[list[str]]:
        pairs = ([name.lower(), value] for name, value in self.headers.items())
        return sorted(pair for pair in pairs if pair[0] != _NOT_ECHOED)

    def _echo(self, body: bytes, trailers: dict[str, str]) -> None:
        echo = {
            "method": self.command,
            "path": self.path,
            "headers": self._fields(),
            "body": body.decode("latin-1"),
            "trailers": trailers,
        }
        self._send_json(echo, extra=(("x-upstream", "echo"),))

    def _chat(self, body: bytes) -> None:
        message = {"role": "assistant", "content": "Hello"}
        self._send_json(
            {
                "id": "c1",
                "object": "chat.completion",
                "model": "m1",
                "choices": [{"index": 0, "message": message}],
                "usage": _USAGE,
                "echo_body": body.decode("latin-1"),
                "echo_headers": self._fields(),
            }
        )

    def _stream_chat(self) -> None:
        deltas = [{"index": 0, "delta": {"content": text}} for text in ("Hel", "lo")]
        events = [{"choices": [delta]} for delta in deltas] + [{"choices": [], "usage": _USAGE}]
        head = {"id": "c1", "object": "chat.completion.chunk", "model": "m1"}
        texts = [json.dumps({**head, **event}) for event in events]
        self._begin(200, (("content-type", "text/event-stream"), ("transfer-encoding", "chunked")))
        self._chunks([b"data: %s\n\n" % text.encode() for text in texts], _EVENT_PAUSE)
        self._chunks([b"data: [DONE]\n\n"])
        self.wfile.write(b"0\r\n\r\n")

    def _abc(self, extra: Sequence[tuple[str, str]] = (), trailers: bytes = b"") -> None:
        fields = (("content-type", "text/plain"), ("transfer-encoding", "chunked"))
        self._begin(200, (*fields, *extra))
        self._chunks((b"aaa", b"bbb", b"ccc"), _CHUNK_PAUSE)
        self.wfile.write(b"0\r\n%s\r\n" % trailers)

    def _chunks(self, parts: Iterable[bytes], pause: float = 0) -> None:
        for part in parts:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            time.sleep(pause)

    def _send_json(self, value: dict[str, Any], extra: Sequence[tuple[str, str]] = ()) -> None:
        self._send(json.dumps(value).encode(), kind="application/json", extra=extra)

    def _send(
        self,
        body: bytes,
        *,
        status: int = 200,
        kind: str = "text/plain",
        extra: Sequence[tuple[str, str]] = (),
    ) -> None:
        fields = (("content-type", kind), ("content-length", str(len(body))), *extra)
        self._begin(status, fields)
        self.wfile.write(body)

    def _begin(self, status: int, fields: Sequence[tuple[str, str]]) -> None:
        # Neither `date` nor `server`: a proxy adds its own.
        self.send_response_only(status)
        for name, value in fields:
            self.send_header(name, value)
        self.end_headers()
