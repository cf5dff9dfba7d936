"""What a run of reloads came to."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from anywasm.core.errors import AnyWasmError

#: Bytes that each worker may have grown by between the first quarter and the end.
TOLERANCE = 12 << 20


class ReloadError(AnyWasmError):
    """The experiment could not be made."""


@dataclass
class Outcome:
    """What was seen.

    Attributes:
        requests: Answered requests.
        failed: Those that were not answered 200, and connections that broke.
        complaints: What wrk said of them.
        reloads: How many changes were made, by kind.
        seconds: How long each took until it served.
        rss: Bytes in memory, after each twentieth of the changes.
        guests: Live guests before and after.
        workers: How many processes served.
    """

    requests: int = 0
    failed: int = 0
    complaints: list[str] = field(default_factory=list)
    reloads: dict[str, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    rss: list[int] = field(default_factory=list)
    guests: tuple[int, int] = (0, 0)
    workers: int = 1

    @property
    def growth(self) -> int:
        """Bytes from the end of the first quarter, when caches are warm, to the end."""
        return self.rss[-1] - self.rss[len(self.rss) // 4]

    @property
    def good(self) -> bool:
        """Whether nothing was lost and nothing was left."""
        return (
            not self.failed
            and self.guests[0] == self.guests[1]
            and (self.growth < TOLERANCE * self.workers)
        )


def report(outcome: Outcome) -> str:
    """The outcome as a few lines of Markdown."""
    hundredths = statistics.quantiles(outcome.seconds, n=100, method="inclusive")
    kinds = ", ".join(f"{count} by {kind}" for kind, count in sorted(outcome.reloads.items()))
    rows = [
        ("workers", f"{outcome.workers}"),
        ("changes", f"{len(outcome.seconds)}: {kinds}"),
        (
            "until it serves",
            f"median {hundredths[49] * 1e3:.0f} ms, p99 {hundredths[98] * 1e3:.0f} ms",
        ),
        ("requests answered", f"{outcome.requests}"),
        ("requests lost", " ".join((str(outcome.failed), *outcome.complaints))),
        ("live guests before, after", f"{outcome.guests[0]}, {outcome.guests[1]}"),
        ("RSS in MiB", " ".join(f"{rss / 2**20:.0f}" for rss in outcome.rss)),
        ("growth after the first quarter", f"{outcome.growth / 2**20:+.1f} MiB"),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])
