"""One engine's line of the demo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anywasm.cli.demo.trial import Trial
from anywasm.core.registry import EngineStatus


@dataclass(frozen=True, slots=True)
class Outcome:
    """An engine and what came of its trial; None where it is not available."""

    status: EngineStatus
    trial: Trial | None

    @property
    def good(self) -> bool:
        """Whether every answer was right."""
        return self.trial is not None and self.trial.error is None

    @property
    def title(self) -> str:
        """Name and version."""
        vm = self.status.vm
        return self.status.name if vm is None else f"{vm.name} {vm.version}"

    @property
    def colour(self) -> str | None:
        """The colour of its line on a terminal."""
        if self.trial is None:
            return "yellow"
        return "green" if self.good else "red"

    def line(self, width: int) -> str:
        """The one line to be shown, however long; `width` is that of the longest title."""
        title = f"{self.title:<{width}}"
        trial = self.trial
        if trial is None:
            assert self.status.error is not None
            remedy = f"; remedy: {self.status.error.remedy}" if self.status.error.remedy else ""
            text = f"not available: {self.status.error.reason}{remedy}"
        elif trial.error is not None:
            shown = "" if trial.answer is None else f"{trial.answer!r}: "
            text = f"FAILED: {shown}{trial.error}"
        else:
            text = (
                f"{trial.answer}  first answer {trial.cold_ms:.0f} ms after start, "
                f"then {trial.warm_us:.0f} us (median of {trial.requests})"
            )
        return " ".join(f"{title}  {text}".splitlines())

    def data(self) -> dict[str, Any]:
        """The same as plain values."""
        vm, error, trial = self.status.vm, self.status.error, self.trial or Trial()
        return {
            "name": self.status.name,
            "version": None if vm is None else vm.version,
            "available": vm is not None,
            "good": self.good,
            "answer": trial.answer,
            "cold_ms": trial.cold_ms,
            "warm_us": trial.warm_us,
            "requests": trial.requests,
            "error": trial.error if error is None else error.reason,
            "remedy": None if error is None else error.remedy,
        }
