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


def _no_allocator(size: int) -> int:
    raise MemoryBoundsError("the guest has no allocator yet")


_ALLOCATION = Phase.ALLOCATION


class GuestMemory:
    """Reads and writes a guest's memory, and allocates in it with the guest's own allocator.

    Attributes:
        read: `Memory.read` of the memory, and so on: host functions call them without a step more.
    """

    __slots__ = (
        "_allocator",
        "_guest",
        "_memory",
        "read",
        "read_u32",
        "write",
        "write_u32",
        "write_u64",
    )

    read: Callable[[int, int], bytes]
    read_u32: Callable[[int], int]
    write: Callable[[int, bytes], None]
    write_u32: Callable[[int, int], None]
    write_u64: Callable[[int, int], None]

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._allocator: Callable[[int], int] = _no_allocator
        self._use(_NoMemory())

    def _use(self, memory: Any) -> None:
        self._memory = memory
        self.read, self.read_u32 = memory.read, memory.read_u32
        self.write, self.write_u32, self.write_u64 = (
            memory.write,
            memory.write_u32,
            memory.write_u64,
        )

    def attach(self, memory: Memory | None, allocator: Callable[[int], int] | None) -> None:
        """Take the instance's memory and allocator, once it is made.

        Raises:
            AbiError: When it has none.
        """
        if memory is None:
            raise AbiError("the guest exports no memory")
        if allocator is None:
            raise AbiError("the guest exports neither proxy_on_memory_allocate nor malloc")
        self._use(memory)
        self._allocator = allocator

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
        write_u32 = self.write_u32
        size = len(data)
        address = 0
        if size:
            address = self._allocate(size)
            if not address:
                return False
            self.write(address, data)
        write_u32(ptr, address)
        write_u32(size_ptr, size)
        return True

    def offer(self, data: bytes, ptr: int, size_ptr: int) -> bool:
        """`give` for a guest that may not want the data, or not its size: an address of 0.

        Raises:
            MemoryBoundsError: When an address is outside.
        """
        address = 0
        if ptr and data:
            address = self._allocate(len(data))
            if not address:
                return False
            self.write(address, data)
        if ptr:
            self.write_u32(ptr, address)
        if size_ptr:
            self.write_u32(size_ptr, len(data))
        return True

    def _allocate(self, size: int) -> int:
        guest = self._guest
        outer, guest.phase = guest.phase, _ALLOCATION
        try:
            return self._allocator(size)
        finally:
            guest.phase = outer
