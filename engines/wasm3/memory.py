"""The memory of a wasm3 instance, which moves when it grows."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from anywasm.core.memory import PAGE_SIZE, Memory
from anywasm.engines.fastcall import fast_memory

if TYPE_CHECKING:
    from anywasm.core.gate import CallGate
    from anywasm.engines.wasm3.library import Machine, Wasm3Library

#: The most pages that wasm3 lets a memory have (d_m3MaxLinearMemoryPages).
_MOST_PAGES = 32768


@fast_memory
class Wasm3Memory(Memory):
    """The one memory of an instance.

    wasm3 adds without looking at the carry: a guest that asks for nearly 2^32 pages more gets a
    smaller memory instead of -1. That is safe, as every access is checked against what is left.
    """

    __slots__ = (
        "_at",
        "_fields",
        "_gate",
        "_grow_to",
        "_header",
        "_numbers",
        "_runtime",
        "_size_then",
    )

    def __init__(self, library: Wasm3Library, gate: CallGate, machine: Machine) -> None:
        super().__init__()
        self._gate = gate
        self._header = library.memory_header
        self._grow_to = library.ResizeMemory
        self._runtime = machine.runtime
        self._fields = machine.fields
        # The fields as numbers, which is the quickest way to read them: the fifth is where the
        # memory is, the sixth how large it is and may be.
        self._numbers = memoryview(machine.fields).cast("B").cast("Q")
        self._at = self._size_then = -1

    def _attach(self) -> memoryview:
        # Asked for after each time that the guest ran, mostly with nothing changed: two fields are
        # compared instead of calling m3_GetMemory.
        if self._gate.alert:
            self._gate.check_usable()
        at, size = self._numbers[4], self._numbers[5]
        if at != self._at or size != self._size_then:
            block = ctypes.c_ubyte * (self._fields.memory_pages * PAGE_SIZE)
            self._view = memoryview(block.from_address(at + self._header)).cast("B")
            self._at, self._size_then = at, size
        return self._view

    def _grow(self, pages: int) -> bool:
        wanted = self._fields.memory_pages + pages
        return wanted <= _MOST_PAGES and not self._grow_to(self._runtime, wanted)

    def limit(self, maximum: int | None, size: int | None) -> None:
        """Let the memory grow to `maximum` pages and to `size` bytes, where given."""
        most = _MOST_PAGES if maximum is None else maximum
        if size is not None:
            most = min(most, size // PAGE_SIZE)
        # wasm3 takes a declared maximum of 0 for none, hence this is set even without a limit.
        self._fields.memory_maximum = most

    def forget(self) -> None:
        """Let go of the view for good, since the memory is about to be freed."""
        self.invalidate()
        self._view = memoryview(b"")
