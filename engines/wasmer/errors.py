"""Translates wasmer-python's exceptions, which are all `RuntimeError` with different texts."""

from __future__ import annotations

import re
from collections.abc import Callable

from anywasm.core.errors import CompileError, TrapError, TrapKind

#: How a trap's text begins; what follows is the reason, then one line for each frame.
_TRAP = "RuntimeError: "
_FRAME = re.compile(r"\n    at (.+?) \(.*?\[(\d+)\]:0x[0-9a-f]+\)")
#: Frames kept of a deep stack.
_MOST_FRAMES = 64

_KINDS = {kind.value: kind for kind in TrapKind if kind is not TrapKind.OTHER} | {
    "undefined element: out of bounds table access": TrapKind.UNDEFINED_ELEMENT,
}


#: Makes a backtrace's entry of the name that wasmer has for a function, and of its index.
Frame = Callable[[str, int], str]
#: What wasmer has in the place of a name that is not there.
UNNAMED = "<unnamed>"


def plain_frame(name: str, index: int) -> str:
    """The entry for a function that is where wasmer says."""
    return f"func[{index}]" if name == UNNAMED else name


def is_native(error: BaseException) -> bool:
    """Whether wasmer made this exception, seen where its call was made.

    A host function's exception has that function's frame below the caller's, wasmer's has none.
    """
    if type(error) is not RuntimeError and not is_panic(error):
        return False
    return error.__traceback__ is None or error.__traceback__.tb_next is None


def is_panic(error: BaseException) -> bool:
    """Whether Rust code in the binding gave up; such exceptions are no `Exception`."""
    return type(error).__module__ == "pyo3_runtime"


def map_exceptions(error: BaseException, frame: Frame) -> BaseException:
    """The exception to raise where a call into a guest raised `error`.

    What a host function raised stays what it is.
    """
    return trap(str(error), frame) if is_native(error) else error


def trap(text: str, frame: Frame) -> TrapError:
    """The trap that wasmer describes as `text`; `frame` names the functions."""
    reason, _, _ = text.removeprefix(_TRAP).partition("\n    at ")
    frames = []
    for found in _FRAME.finditer(text):
        frames.append(frame(found[1], int(found[2])))
        if len(frames) == _MOST_FRAMES:
            break
    return TrapError(_KINDS.get(reason, TrapKind.OTHER), reason, tuple(frames))


def is_trap(text: str) -> bool:
    """Whether an instantiation failed in the guest, and not before it."""
    return text.startswith(_TRAP)


def compile_error(error: BaseException) -> CompileError:
    """The error of a module that wasmer does not take."""
    return CompileError(f"wasmer refuses the module: {error}")
