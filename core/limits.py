"""What one instance may take of the host."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """Bounds on one instance; growth past them fails in the guest, not in the host.

    Attributes:
        memory_bytes: The most that one linear memory may hold, in bytes; None for no bound.
        table_elements: The most elements that one table may hold; None for no bound.
    """

    memory_bytes: int | None = None
    table_elements: int | None = None
