"""What one instance may take of the host."""

from __future__ import annotations

from dataclasses import dataclass, fields

from anywasm.core.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """Bounds on one instance; growth past them fails in the guest, not in the host.

    Attributes:
        memory_bytes: The most that one linear memory may hold, in bytes; None for no bound.
        table_elements: The most elements that one table may hold; None for no bound.

    Raises:
        ArgumentError: When a bound is no int of at least 0.
    """

    memory_bytes: int | None = None
    table_elements: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            bound = getattr(self, field.name)
            if bound is not None and not (isinstance(bound, int) and bound >= 0):
                raise ArgumentError(f"{field.name} is an int of at least 0 or None, not {bound!r}")
