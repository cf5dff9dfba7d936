"""Writes the source of wrappers, and compiles it."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Sequence
from math import copysign
from typing import Any

from anywasm.core.marshal.rules import RANGES, bad_arguments, bad_result
from anywasm.core.types import ValueType


def as_tuple(names: Sequence[str]) -> str:
    """A tuple display or target of these names."""
    return f"({', '.join(names)}{',' if len(names) == 1 else ''})"


def range_check(name: str, type: ValueType) -> str:
    """The line that refuses an int outside its type's range."""
    low, high = RANGES[type]
    return f"if not {low} <= {name} <= {high}: raise OverflowError"


def indent(lines: Sequence[str], depth: int) -> list[str]:
    """The lines, `depth` levels deeper."""
    return ["    " * depth + line for line in lines]


def _vector(value: Any) -> bytes:
    """The bytes of a vector; raises TypeError for what is none."""
    raw = memoryview(value).tobytes()
    if len(raw) != 16:
        raise TypeError
    return raw


def build(lines: Sequence[str], title: str) -> Callable[..., Any]:
    """Compile a source that defines `make`, and return that."""
    source = "\n".join(lines) + "\n"
    file = f"<anywasm {title}>"
    # Tracebacks and debuggers show the generated lines.
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    names: dict[str, Any] = {
        "bad_arguments": bad_arguments,
        "bad_result": bad_result,
        # Of a number with itself: that number as a float. Unlike float(), it takes no text.
        "copysign": copysign,
        "vector": _vector,
    }
    exec(compile(source, file, "exec"), names)  # noqa: S102 (written above, from types alone)
    return names["make"]  # type: ignore[no-any-return]


def call_wrapper(
    params: Sequence[str], store: Sequence[str], body: Sequence[str], head: str
) -> list[str]:
    """An export's wrapper: through the gate, arguments stored, the body, and out again."""
    taken = [
        "try:",
        f"    {as_tuple(params) if params else '()'} = args",
        *indent(store, 1),
        "except (TypeError, ValueError, OverflowError):",
        "    raise bad_arguments(name, type, args) from None",
    ]
    return [
        head,
        "    acquire, release = gate.acquire, gate.release",
        "    def call(*args):",
        "        if not acquire(False): gate.refuse()",
        "        try:",
        # Only now: before, another thread could close the instance after the look at it.
        "            if gate.alert: gate.check()",
        *indent(taken, 3),
        *indent(body, 3),
        "        finally:",
        "            release()",
        "    return call",
    ]
