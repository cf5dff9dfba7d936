"""The table of WASI functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from anywasm.abi.table import HostFunction, Phase, Signature
from anywasm.core.errors import MemoryBoundsError
from anywasm.core.types import FuncType, ValueType

if TYPE_CHECKING:
    from anywasm.abi.guest import Guest

#: Both generations of the module name; the functions are the same.
WASI_MODULES = frozenset({"wasi_snapshot_preview1", "wasi_unstable"})

_TYPES = {"i": ValueType.I32, "I": ValueType.I64}


class Errno(IntEnum):
    """The WASI error numbers that this host gives."""

    SUCCESS = 0
    BADF = 8
    #: What Envoy answers for fd_readdir, taking it for ENOTDIR (which is 54 in WASI).
    EXIST = 20
    FAULT = 21
    INVAL = 28
    NOENT = 44
    NOSYS = 52
    NOTSUP = 58
    NOTCAPABLE = 76


@dataclass(frozen=True, slots=True)
class WasiFunction:
    """One row: a function of WASI preview 1.

    Attributes:
        name: Its name.
        type: Its WebAssembly type.
        implementation: `(guest, *raw arguments) -> errno`; it may raise `MemoryBoundsError`.
        phases: The restricted phases in which it may be called.
    """

    name: str
    type: FuncType
    implementation: Callable[..., int | None]
    phases: Phase

    def bind(self, guest: Guest) -> Callable[..., Any]:
        """The import for `guest`; a bad pointer is FAULT."""
        implementation = self.implementation
        if not self.type.results:
            return lambda *args: implementation(guest, *args)
        row = HostFunction(self.name, Signature((), ()), implementation, None, self.phases, False)

        def call(*args: int) -> int | None:
            if guest.phase:
                guest.refuse(row)
            try:
                return implementation(guest, *args)
            except MemoryBoundsError:
                return Errno.FAULT

        return call


#: Every WASI function by name; filled by importing `anywasm.abi.wasi`.
WASI_FUNCTIONS: dict[str, WasiFunction] = {}


def wasi_function(
    name: str, params: str, *, returns: bool = True, phases: Phase = Phase.START
) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
    """Declare the decorated function as a WASI function.

    Args:
        name: Its name.
        params: One letter per parameter: `i` for i32, `I` for i64.
        returns: Whether it returns an errno.
        phases: The restricted phases in which it may be called.
    """
    results = (ValueType.I32,) if returns else ()

    def declare(implementation: Callable[..., int | None]) -> Callable[..., int | None]:
        wasm = FuncType(tuple(_TYPES[letter] for letter in params), results)
        WASI_FUNCTIONS[name] = WasiFunction(name, wasm, implementation, phases)
        return implementation

    return declare
