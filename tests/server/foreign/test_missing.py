"""A host without the library for expressions."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from anywasm.abi.enums import LogLevel
from anywasm.core.hooks import plugin_manager
from anywasm.server.foreign import CEL_FUNCTIONS, CelFunctions, offer_cel


def test_a_missing_library_is_told_once(calling: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Python's own way to say that there is no such module.
    monkeypatch.setitem(sys.modules, "cel", None)
    caller, functions = calling(), CelFunctions()
    for function in (functions.create, functions.evaluate, functions.delete):
        assert function(caller.stream, b"1234") == 1
    assert functions.evaluate(caller.stream, b"abc") == 2
    assert functions.delete(caller.stream, b"abc") == 2
    [(level, line)] = caller.lines
    assert level == LogLevel.WARN
    assert "pip install 'anywasm[cel]'" in line
    assert [caller.call(name, "1234") for name in CEL_FUNCTIONS] == [1, 1, 1]


def test_functions_are_offered_once() -> None:
    offer_cel()
    first = [item for item in plugin_manager().get_plugins() if isinstance(item, CelFunctions)]
    offer_cel()
    again = [item for item in plugin_manager().get_plugins() if isinstance(item, CelFunctions)]
    assert len(first) == 1
    assert first == again
