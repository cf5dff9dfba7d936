"""What a run found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from anywasm.testing.chaos.process import Holdings
from anywasm.testing.chaos.settings import Settings

#: Objections that are kept in words; the others are only counted.
_MOST_OBJECTIONS = 50


@dataclass
class Verdict:
    """Counts of one run, and everything that should not have happened.

    Attributes:
        settings: The run's.
        seconds: How long there was load.
        requests: How many were sent.
        harm: How many of them did which harm.
        events: What was done to the server, how often.
        statuses: What requests were answered with; `cut` and `left` (by the client) among them.
        lost: Requests without an answer that should have had one.
        wrong: How often something was wrong; never is a good run.
        objections: What was, in words; the first of them.
        samples: Seconds since the start, and what the server held then.
        tell: Told what was wrong when it happens.
    """

    settings: Settings
    seconds: float = 0.0
    requests: int = 0
    harm: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    wrong: int = 0
    objections: list[str] = field(default_factory=list)
    samples: list[tuple[float, Holdings]] = field(default_factory=list)
    tell: Callable[[str], None] = field(default=lambda line: None, repr=False)

    def object(self, what: str) -> None:
        """Note, and tell at once, that something was wrong."""
        self.wrong += 1
        if len(self.objections) < _MOST_OBJECTIONS:
            self.objections.append(what)
            self.tell(f"WRONG: {what}")

    @property
    def good(self) -> bool:
        """Whether nothing was wrong."""
        return not self.wrong and not self.lost

    @property
    def memory_slope(self) -> float:
        """Bytes of memory more in a minute: a least-squares line through the run's second half."""
        late = [(at, held.memory) for at, held in self.samples if at > self.seconds / 2]
        if len(late) < 2:
            return 0.0
        middle = sum(at for at, _ in late) / len(late)
        mean = sum(memory for _, memory in late) / len(late)
        spread = sum((at - middle) ** 2 for at, _ in late)
        return 60 * sum((at - middle) * (memory - mean) for at, memory in late) / spread

    def row(self) -> str:
        """The figures as a line of a Markdown table; see `HEAD`."""
        held = self.samples[-1][1] if self.samples else Holdings(0, 0, 0)
        settings = self.settings
        cells = (
            settings.engine,
            settings.workers,
            settings.seed,
            f"{self.seconds:.0f} s",
            f"{self.requests / max(self.seconds, 1e-9):.0f}/s",
            self.requests,
            sum(self.harm.values()),
            sum(self.events.values()),
            self.lost,
            self.wrong,
            f"{held.memory / 2**20:.0f} MiB",
            f"{self.memory_slope / 1024:+.0f} KiB/min",
        )
        return "| " + " | ".join(map(str, cells)) + " |"

    def lines(self) -> Iterator[str]:
        """Everything, in words."""
        yield HEAD
        yield self.row()
        yield ""
        for title, counts in (
            ("answers", self.statuses),
            ("harm in requests", self.harm),
            ("harm to the server", self.events),
        ):
            told = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
            yield f"{title}: {told or 'none'}"
        for objection in self.objections:
            yield f"WRONG: {objection}"
        yield "result: " + ("every request got one good answer" if self.good else "FAILED")


HEAD = (
    "| engine | workers | seed | time | load | requests | harmful | events | lost | wrong "
    "| memory | slope |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)
