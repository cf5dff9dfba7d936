"""What guests log is in the host's log, under the plugin's name."""

from __future__ import annotations

import logging
from typing import Any

import pytest

LEVELS = (5, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)


def logs(guest: Any, level: int) -> str:
    action: str = guest.answers("x")
    return f"(drop (call $log (i32.const {level}) «line {level}»)) {action}"


def records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "anywasm.guest"]


def test_levels(serving: Any, guest: Any, engine: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(1, "anywasm.guest")
    plugins = [guest.plugin(f"p{level}", logs(guest, level), engine) for level in range(6)]
    running = serving(plugins, log_level="debug")
    for level in range(6):
        assert running.ask(id=f"p{level}").status == 200
    # What is less severe than the log level does not leave the ABI.
    assert [
        (record.levelno, record.getMessage(), getattr(record, "plugin", None))
        for record in records(caplog)
    ] == [(LEVELS[level], f"p{level}: line {level}", f"p{level}") for level in range(1, 6)]


def test_lines_of_the_start(serving: Any, guest: Any, caplog: pytest.LogCaptureFixture) -> None:
    start = "(drop (call $log (i32.const 3) «starting»))"
    serving([guest.plugin("early", guest.answers("x"), start=start)])
    assert [record.getMessage() for record in records(caplog)] == ["early: starting"]


def test_percent_signs_and_bytes_that_are_no_text(
    serving: Any, guest: Any, caplog: pytest.LogCaptureFixture
) -> None:
    action = guest.answers("x")
    action = f"(drop (call $log (i32.const 4) «100% %s \\xff»)) {action}"
    running = serving([guest.plugin("odd", action)])
    assert running.ask(id="odd").status == 200
    assert records(caplog)[0].getMessage().startswith("odd: 100% %s ")


def test_reason_of_a_failed_call_is_logged_for_the_plugin(
    serving: Any, tools: Any, caplog: pytest.LogCaptureFixture
) -> None:
    running = serving(tools.quickstart("wasmtime"))
    running.ask("/?name=book1", "id_1")
    told = [record.getMessage() for record in records(caplog)]
    assert any("unknown state store 'state_demo'" in line for line in told)
    assert {getattr(record, "plugin", None) for record in records(caplog)} == {
        "function_1",
        "function_2",
    }
