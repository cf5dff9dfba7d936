"""Functions of C runtimes that compilers import from `env`, beside the ABI's own.

Emscripten tells when memory grew, and compares threads; proxy-wasm-cpp-host offers both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from anywasm.core.types import FuncType, ValueType

_I32 = ValueType.I32


@dataclass(frozen=True, slots=True)
class RuntimeFunction:
    """An import that needs no guest."""

    type: FuncType
    function: Callable[..., Any]


def _notify_memory_growth(memory: int) -> None:
    """Nothing to do: memory is looked up anew when it has grown."""


def _pthread_equal(left: int, right: int) -> int:
    return int(left == right)


RUNTIME_FUNCTIONS = {
    "emscripten_notify_memory_growth": RuntimeFunction(FuncType((_I32,)), _notify_memory_growth),
    "pthread_equal": RuntimeFunction(FuncType((_I32, _I32), (_I32,)), _pthread_equal),
}
