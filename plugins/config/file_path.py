"""Files that a configuration names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo


def resolve_file(value: Path, info: ValidationInfo) -> Path:
    """Let a relative path start at the folder of the configuration file, where there is one.

    Raises:
        ValueError: When it cannot be the path of a file.
    """
    if "\0" in str(value) or not value.name:
        raise ValueError("must be the path of a file")
    folder = info.context.get("folder") if isinstance(info.context, dict) else None
    return Path(folder, value) if folder is not None else value


#: A file; a relative path starts at the folder of the configuration file.
FilePath = Annotated[Path, AfterValidator(resolve_file)]


def find_module(path: object, folder: Path | None) -> object:
    """Where Envoy and Layotto look, the working directory; else the file's folder.

    Args:
        path: What the file says; returned as it is when it cannot be a path.
        folder: That of the configuration file.
    """
    if not isinstance(path, str) or "\0" in path or folder is None:
        return path
    here, beside = Path.cwd() / path, folder / path
    return beside if beside.exists() and not here.exists() else here
