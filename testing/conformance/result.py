"""What became of one command of a script."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any


class Status(str, Enum):
    """How a command ended."""

    PASSED = "passed"
    FAILED = "failed"
    #: It needs what the engine does not claim, and was refused with an error that says so.
    UNSUPPORTED = "unsupported"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Result:
    """One command's result.

    Attributes:
        line: Where it stands in the script.
        kind: The command, such as `assert_return`.
        status: How it ended.
        reason: Why it did not pass.
        cause: The line of the module that it needs and that is not there, whose fault it then is.
    """

    line: int
    kind: str
    status: Status = Status.PASSED
    reason: str = ""
    cause: int | None = None

    def data(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: value for name, value in asdict(self).items() if value not in ("", None)}

    @classmethod
    def of(cls, data: dict[str, Any]) -> Result:
        """From what `data` made."""
        return cls(**{**data, "status": Status(data["status"])})
