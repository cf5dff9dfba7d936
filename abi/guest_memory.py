"""A guest's memory as host functions use it: reading arguments, handing over results."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from anywasm.abi.table import Phase
from anywasm.core.errors import AbiError, MemoryBoundsError
from anywasm.core.memory import Memory

if TYPE_CHECKING:
    from anywasm.abi.guest import Guest


class _NoMemory:
    """Stands in while the instance is being made: a start function sees every pointer refused."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def refuse(*args: object) -> Any:
            raise MemoryBoundsError("the guest's memory cannot be reached while it is being made")

        return refuse


class GuestMemory:
    """Reads and writes a guest's memory, and allocates in it with the guest's own allocator."""

    __slots__ = ("_allocator", "_guest", "_memory")

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._memory: Any = _NoMemory()
        self._allocator: Callable[[int], int] | None = None

    def attach(self, memory: Memory | None, allocator: Callable[[int], int] | None) -> None:
        """Take the instance's memory and allocator, once it is made.

        Raises:
            AbiError: When it has none.
        """
        if memory is None:
            raise AbiError("the guest exports no memory")
        if allocator is None:
            raise AbiError("the guest exports neither proxy_on_memory_allocate nor malloc")
        self._memory = memory
        self._allocator = allocator

    def read(self, ptr: int, size: int) -> bytes:
        """Read bytes. Raises `MemoryBoundsError`."""
        return self._memory.read(ptr, size)  # type: ignore[no-any-return]

    def read_u32(self, ptr: int) -> int:
        """Read a number. Raises `MemoryBoundsError`."""
        return self._memory.read_u32(ptr)  # type: ignore[no-any-return]

    def write(self, ptr: int, data: bytes) -> None:
        """Write bytes. Raises `MemoryBoundsError`."""
        self._memory.write(ptr, data)

    def write_u32(self, ptr: int, value: int) -> None:
        """Write a number. Raises `MemoryBoundsError`."""
        self._memory.write_u32(ptr, value)

    def write_u64(self, ptr: int, value: int) -> None:
        """Write a number. Raises `MemoryBoundsError`."""
        self._memory.write_u64(ptr, value)

    @property
    def size(self) -> int:
        """The memory's size in bytes."""
        return self._memory.size  # type: ignore[no-any-return]

    def give(self, data: bytes, ptr: int, size_ptr: int) -> bool:
        """Hand `data` to the guest in memory of its own, and tell where at `ptr` and `size_ptr`.

        The guest's allocator is not called for nothing: Go guests panic on size 0.

        Returns:
            Whether it worked; False where the allocator failed.

        Raises:
            MemoryBoundsError: When an address is outside.
        """
        memory = self._memory
        if not data:
            memory.write_u32(ptr, 0)
            memory.write_u32(size_ptr, 0)
            return True
        address = self._allocate(len(data))
        if not address:
            return False
        memory.write(address, data)
        memory.write_u32(ptr, address)
        memory.write_u32(size_ptr, len(data))
        return True

    def offer(self, data: bytes, ptr: int, size_ptr: int) -> bool:
        """`give` for a guest that may not want the data, or not its size: an address of 0.

        Raises:
            MemoryBoundsError: When an address is outside.
        """
        memory = self._memory
        address = 0
        if ptr and data:
            address = self._allocate(len(data))
            if not address:
                return False
            memory.write(address, data)
        if ptr:
            memory.write_u32(ptr, address)
        if size_ptr:
            memory.write_u32(size_ptr, len(data))
        return True

    def _allocate(self, size: int) -> int:
        if self._allocator is None:
            raise MemoryBoundsError("the guest has no allocator yet")
        guest = self._guest
        outer, guest.phase = guest.phase, Phase.ALLOCATION
        try:
            return self._allocator(size)
        finally:
            guest.phase = outer
