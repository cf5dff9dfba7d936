from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anywasm.sdk.build import build_guest

PAGE = Path(__file__).parents[2] / "docs" / "write-a-guest.md"
GREET, ADD_HEADER = re.findall(r"```c\n(.*?)```", PAGE.read_text(), re.DOTALL)


def build(folder: Path, source: str, caplog: pytest.LogCaptureFixture) -> bytes:
    path = folder / "guest.c"
    path.write_text(source)
    wasm = build_guest(path).read_bytes()
    assert not caplog.records
    return wasm


def test_function_of_the_page_greets(
    start: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host = start(build(tmp_path, GREET, caplog))
    host.guest.call("proxy_get_id")
    assert host.buffers[8] == b"greet"
    host.buffers[0] = b"name=you"
    assert host.guest.call("proxy_on_request_body", 2, 8, 1) == 0
    assert host.buffers[1] == b"Hello, you!\n"
    host.buffers[0] = b"nobody"
    assert host.guest.call("proxy_on_request_body", 3, 6, 1) == 1
    assert host.guest.call("proxy_on_request_headers", 4, 6, 1) == 1
    assert [code for code, *_ in host.told("respond")] == [400, 400]


def test_filter_of_the_page_adds_its_header(
    start: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host = start(build(tmp_path, ADD_HEADER, caplog))
    assert host.guest.call("proxy_on_response_headers", 2, 1, 0) == 0
    assert host.calls == [("add", 2, b"x-anywasm", b"hello")]
