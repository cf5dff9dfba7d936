"""The guests that come with anywasm, built, and the header that they are written with."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from anywasm.core.errors import AnyWasmError


class GuestNotFoundError(AnyWasmError, LookupError):
    """No guest of that name comes with anywasm.

    Attributes:
        name: The name that was asked for.
        known: The names that would have worked.
    """

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        self.name = name
        self.known = known
        super().__init__(f"no built guest {name!r}; there are: {', '.join(known)}")


# An installed wheel is unpacked, so these resources are files, in a checkout as well.
_ROOT = Path(str(files("anywasm.sdk")))
_SUFFIX = ".wasm"


def guest_names() -> tuple[str, ...]:
    """Returns the names of all built guests, sorted."""
    return tuple(sorted(path.stem for path in (_ROOT / "wasm").glob(f"*{_SUFFIX}")))


def guest_path(name: str) -> Path:
    """Returns the path of a built guest, `function_1` for example.

    Raises:
        GuestNotFoundError: There is none of that name.
    """
    known = guest_names()
    if name not in known:
        raise GuestNotFoundError(name, known)
    return _ROOT / "wasm" / (name + _SUFFIX)


def guest_bytes(name: str) -> bytes:
    """Returns the module of a built guest.

    Raises:
        GuestNotFoundError: There is none of that name.
    """
    return guest_path(name).read_bytes()


def guest_source(name: str) -> Path:
    """Returns the path of the C file that a built guest is made from.

    Raises:
        GuestNotFoundError: There is no built guest of that name.
    """
    return _ROOT / "c" / "examples" / f"{guest_path(name).stem}.c"


def header_path() -> Path:
    """Returns the path of `proxywasm.h`; its folder is what a compiler's `-I` wants."""
    return _ROOT / "c" / "proxywasm.h"
