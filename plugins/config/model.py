"""What all parts of a configuration have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

#: Keys and list indexes from the top of a document down to one value.
KeyPath = tuple[str | int, ...]
#: A key path and what is wrong there.
Problem = tuple[KeyPath, str]

#: How a listener, a plugin or a state store is called.
Name = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]


def _filled(items: tuple[object, ...]) -> tuple[object, ...]:
    if not items:
        raise ValueError("must not be empty")
    return items


#: For tuples that hold something. Not `min_length`: pydantic counts only the valid items.
NotEmpty = AfterValidator(_filled)
#: true or false, and not a number or text that might mean it.
Switch = Annotated[bool, Field(strict=True)]


class Model(BaseModel):
    """One part of a configuration: immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class CrossCheckError(PydanticCustomError):
    """Values that are valid each, but not together; each problem has its own place."""

    def __new__(cls, problems: Sequence[Problem]) -> CrossCheckError:
        """Gather the problems, with key paths relative to the model that raises this."""
        summary = "; ".join(f"{key_path_text(path)}: {message}" for path, message in problems)
        context = {"summary": summary, "problems": list(problems)}
        return super().__new__(cls, "cross_check", "{summary}", context)


def key_path_text(path: KeyPath) -> str:
    """The usual notation: `plugins[0].vm_config`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.replace("_", "a").replace("-", "a").isalnum():
            text += f".{part}" if text else part
        else:
            text += f"[{part!r}]"
    return text
