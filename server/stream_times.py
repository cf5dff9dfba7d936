"""How long the streams of a listener took, in plain numbers until somebody asks for them."""

from __future__ import annotations

from typing import Final

#: The upper bounds of the buckets, in seconds; the last bucket has none.
BOUNDS: Final[tuple[float, ...]] = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0),
)

_CLASSES: Final = 10


class StreamTimes:
    """A histogram for each class of status (2xx is 2). Written on the event loop.

    Attributes:
        counts: Streams by class and bucket.
        totals: Seconds by class.
    """

    __slots__ = ("counts", "totals")

    def __init__(self) -> None:
        self.counts = [[0] * (len(BOUNDS) + 1) for _ in range(_CLASSES)]
        self.totals = [0.0] * _CLASSES

    def count(self, status: int, seconds: float) -> None:
        """Note a stream that has ended."""
        kind = status // 100 % _CLASSES
        bucket = 0
        for bound in BOUNDS:  # not bisected: most streams belong to the first
            if seconds <= bound:
                break
            bucket += 1
        self.counts[kind][bucket] += 1
        self.totals[kind] += seconds
