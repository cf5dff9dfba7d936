"""What the access log says of each request, and what nobody can make it say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anywasm.core.errors import ConfigError
from anywasm.server.filters import AccessLog

Chained = Callable[..., Any]

FORMAT = (
    "%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %RESPONSE_FLAGS%"
    " %PLUGIN% %BYTES_RECEIVED% %BYTES_SENT% %ROUTE_NAME% %UPSTREAM_CLUSTER%\n"
)


def log(path: Path, format: str = FORMAT) -> dict[str, Any]:
    return {"access_log": {"path": str(path), "format": format}}


@pytest.mark.parametrize(
    ("target", "word", "line"),
    [
        ("/direct", "1c", "200 direct_response - - 0 6 - -"),
        ("/u", "1c", "200 via_upstream - - 3 2 - up"),
        ("/u", "1l", "201 mine - a 0 5 - up"),
        ("/u", "2t", "503 wasm_fail_stream - a 3 0 - up"),
        ("/u", "4l", "201 mine - a 3 5 - up"),
        ("/u", "1x", "0 wasm_close_stream - a 0 0 - up"),
        ("/u", "1p", "504 response_timeout - - 3 24 - up"),
        (
            "/gone",
            "1c",
            "503 upstream_reset_before_response_started{connection_termination} UC - 3 95 - up",
        ),
    ],
)
def test_what_has_happened(
    chained: Chained, tools: Any, tmp_path: Path, target: str, word: str, line: str
) -> None:
    def serve(wire: Any) -> None:
        while (head := wire.head()) is not None and "gone" not in head.line:
            wire.body(head)
            wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    path = tmp_path / "access.log"
    chain = chained("ab", serve, route={"timeout": 0.5}, **log(path))
    chain.send(f"POST {target} HTTP/1.1\nhost: x\ncontent-length: 3\nx-a: {word}", b"abc").head()
    tools.eventually(lambda: path.read_text().endswith("\n"))
    assert path.read_text() == f"POST {target} {line}\n"


def test_a_client_that_went_away(chained: Chained, tools: Any, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    chain = chained("ab", **log(path))
    wire = chain.send("GET / HTTP/1.1\nhost: x\nx-a: 1p")
    tools.eventually(lambda: "request_headers" in chain.log.said("a"))
    wire.socket.close()
    tools.eventually(lambda: path.read_text().endswith("\n"))
    assert path.read_text() == "GET / 0 downstream_remote_disconnect DC - 0 0 - up\n"


def test_nobody_else_writes_lines_or_fields(chained: Chained, tools: Any, tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    chain = chained("a", **log(path, '"%REQ(X-EVIL)%" "%REQ(USER-AGENT):5%"\n'))
    head = 'GET / HTTP/1.1\nhost: x\nuser-agent: 123456789\nx-evil: a" "b\\x0a\x85\xa0\tc'
    chain.send(head).answer()
    tools.eventually(lambda: path.read_text().endswith("\n"))
    assert path.read_text() == '"a\\x22 \\x22b\\x5cx0a\\x85\\xa0\\x09c" "12345"\n'


def test_formats_and_files_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown operator %NOPE%"):
        AccessLog(str(tmp_path / "log"), "%NOPE%")
    with pytest.raises(ConfigError, match="No such file"):
        AccessLog(str(tmp_path / "no" / "log"), "%PROTOCOL%")


def test_streams_are_counted_by_listener_and_class(chained: Chained, tools: Any) -> None:
    chain = chained("a")
    for _ in range(3):
        assert chain.ask("/").status == 200
    assert chain.ask("/", headers={"x-a": "1t"}).status == 503
    metrics = chain.running.server.metrics
    tools.eventually(lambda: b'code_class="5xx"' in metrics.render())

    def count(kind: str) -> float:
        wanted = f'anywasm_stream_seconds_count{{code_class="{kind}",listener="main"}} '
        return float(metrics.render().decode().partition(wanted)[2].split("\n")[0])

    tools.eventually(lambda: (count("2xx"), count("5xx")) == (3, 1))
