"""What broke a guest."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from anywasm.core.errors import TrapError

#: Frames that are kept of a deep stack.
MOST_FRAMES = 64


class Frame(NamedTuple):
    """One call on a guest's stack.

    Attributes:
        function: Its name, or `func[INDEX]`.
        offset: Where it stood in the module's bytes, or None where the engine does not tell.
        place: `FILE:LINE`, once it was looked for and where the module has debug information.
    """

    function: str
    offset: int | None = None
    place: str | None = None

    def __str__(self) -> str:
        return self.function if self.place is None else f"{self.function} ({self.place})"


@dataclass(frozen=True, slots=True)
class Failure:
    """What broke an instance, or kept one from starting. For operators, never for clients.

    Attributes:
        error: What happened, without the backtrace.
        phase: The callback that ran, or None where it was none.
        frames: The guest's stack, innermost call first.
        time: When, in seconds since the epoch.
    """

    error: str
    phase: str | None = None
    frames: tuple[Frame, ...] = ()
    time: float = field(default_factory=time.time)

    @classmethod
    def of(cls, error: BaseException, phase: str | None = None) -> Failure:
        """The failure behind `error`, or behind what caused it."""
        found: BaseException | None = error
        while found is not None:
            phase = phase or getattr(found, "phase", None)
            if isinstance(found, TrapError):
                offsets = found.offsets or (None,) * len(found.backtrace)
                frames = tuple(map(Frame, found.backtrace, offsets))[:MOST_FRAMES]
                return cls(f"wasm trap: {found.message}", phase, frames)
            found = found.__cause__
        return cls(str(error), phase)

    def __str__(self) -> str:
        where = f"{self.phase}: " if self.phase else ""
        return where + "\n    at ".join([self.error, *map(str, self.frames)])

    def describe(self) -> dict[str, Any]:
        """For the management API."""
        return {
            "error": self.error,
            "phase": self.phase,
            "time": self.time,
            "backtrace": [str(frame) for frame in self.frames],
        }
