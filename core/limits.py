"""What one instance may take of the host."""

from __future__ import annotations

from dataclasses import dataclass

from anywasm.core.errors import ArgumentError

#: Elements that a table can have where no bound is given (the limit of the WebAssembly JS API): its
#: elements are the host's memory, and a guest may ask for four thousand million.
MOST_TABLE_ELEMENTS = 10_000_000


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """Bounds on one instance; growth past them fails in the guest, not in the host.

    Attributes:
        memory_bytes: The most that one linear memory may hold, in bytes; None for no bound.
        table_elements: The most elements that one table may hold; None for
            `MOST_TABLE_ELEMENTS`.
        start_seconds: The time that the module's start function may take, which runs before there
            is an instance to set a deadline on; None for no bound.

    Raises:
        ArgumentError: When a bound is no number of at least 0, or one of the first two no int.
    """

    memory_bytes: int | None = None
    table_elements: int | None = None
    start_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("memory_bytes", "table_elements"):
            bound = getattr(self, name)
            if bound is not None and not (isinstance(bound, int) and bound >= 0):
                raise ArgumentError(f"{name} is an int of at least 0 or None, not {bound!r}")
        seconds = self.start_seconds
        if seconds is not None and not (isinstance(seconds, (int, float)) and seconds >= 0):
            raise ArgumentError(f"start_seconds is a number of at least 0, not {seconds!r}")

    @property
    def bounds_memory(self) -> bool:
        """Whether memories or tables are bounded."""
        return self.memory_bytes is not None or self.table_elements is not None
