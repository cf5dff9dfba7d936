"""The memory of a Python guest: one buffer, seen by the host and by the guest."""

from __future__ import annotations

from anywasm.core.errors import ArgumentError, InstantiationError, TrapError, TrapKind
from anywasm.core.gate import CallGate
from anywasm.core.limits import ResourceLimits
from anywasm.core.memory import PAGE_SIZE, Memory
from anywasm.core.types import MemoryType

#: Pages that a 32-bit memory can have.
_MOST_PAGES = 65536


class Pages:
    """The bytes of a memory, and everyone who looks at them.

    A bytearray cannot grow while views of it exist, so growth replaces it, and tells all views.
    """

    def __init__(self, type: MemoryType, limits: ResourceLimits | None) -> None:
        most = type.limits.maximum if type.limits.maximum is not None else _MOST_PAGES
        if limits is not None and limits.memory_bytes is not None:
            most = min(most, limits.memory_bytes // PAGE_SIZE)
        if type.limits.minimum > most:
            raise InstantiationError(
                f"the guest's memory of {type.limits.minimum} pages exceeds the limit of {most}"
            )
        self._most = most
        self.data = bytearray(type.limits.minimum * PAGE_SIZE)
        self.viewers: list[Memory] = []

    def grow(self, pages: int) -> bool:
        """Add `pages` pages; False when the maximum or the host's memory forbids it."""
        if len(self.data) // PAGE_SIZE + pages > self._most:
            return False
        try:
            self.data = self.data + bytes(pages * PAGE_SIZE)
        except MemoryError:
            return False
        for viewer in self.viewers:
            viewer.invalidate()
        return True


class NullMemory(Memory):
    """The memory as the host sees it."""

    __slots__ = ("_gate", "_pages")

    def __init__(self, pages: Pages, gate: CallGate) -> None:
        super().__init__()
        self._pages = pages
        self._gate = gate
        pages.viewers.append(self)

    def _attach(self) -> memoryview:
        self._gate.check_usable()
        return memoryview(self._pages.data)

    def _grow(self, pages: int) -> bool:
        return self._pages.grow(pages)


class GuestMemory(Memory):
    """The memory as the guest sees it: what is outside traps, and `grow` answers as wasm does."""

    __slots__ = ("_pages",)

    def __init__(self, pages: Pages) -> None:
        super().__init__()
        self._pages = pages
        pages.viewers.append(self)

    def _attach(self) -> memoryview:
        return memoryview(self._pages.data)

    def _grow(self, pages: int) -> bool:
        return self._pages.grow(pages)

    def _reach(self, ptr: int, size: int) -> None:
        self._refresh()
        if not 0 <= ptr <= ptr + size <= self._size:
            raise TrapError(TrapKind.MEMORY_OUT_OF_BOUNDS)

    def grow(self, pages: int) -> int:
        """The `memory.grow` instruction: the size before in pages, or -1 when refused."""
        if pages < 0:
            raise ArgumentError(f"cannot grow a memory by {pages!r} pages")
        before = self.size // PAGE_SIZE
        return before if self._grow(pages) else -1
