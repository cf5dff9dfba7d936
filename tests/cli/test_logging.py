"""What guests write into the log cannot look like lines of the host, or command a terminal."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LINE = "first\n2026-01-01 [error] the host fails\r\x1b[31mred\u2028\x85\x00\ttab é"

SCRIPT = """
import sys
from anywasm.abi.enums import LogLevel
from anywasm.cli.logging import configure_logging
from anywasm.server.guest_log import log_guest

configure_logging("info", json=sys.argv[1] == "json")
log_guest(LogLevel.INFO, "plugin", sys.argv[2].encode().decode("unicode_escape"))
"""


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_guests_line_is_one_event(form: str) -> None:
    escaped = LINE.encode("unicode_escape").decode()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, form, escaped], capture_output=True, check=True, timeout=60
    )
    lines = done.stderr.decode().split("\n")
    if form == "json":
        assert json.loads(lines[0])["event"] == f"plugin: {LINE}"
        assert lines[1:] == [""]
    else:
        assert "plugin: first" in lines[0]
        assert lines[1].startswith(
            "    2026-01-01 [error] the host fails\\r\\x1b[31mred\\u2028\\x85\\x00\ttab é"
        )
        assert lines[2:] == [""]
