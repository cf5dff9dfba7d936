"""The lock of an instance that one thread alone may call, which its calls need not take."""

from __future__ import annotations

import sys
import threading
from types import FrameType

#: How the files of exports' wrappers begin (`anywasm.core.marshal.source`), and what these are
#: called in there; each has a `gate`.
_FILES, _NAME = "<anywasm export ", "call"


class StackLock:
    """Also held by the calls that are on the stack of the running thread.

    A binding that refuses all threads but one lets no two calls run at the same moment, and what
    runs is on that thread's stack: whoever closes the instance looks for it there, so that no call
    has to leave a note.

    Attributes:
        acquire: As of `threading.RLock`.
        release: The same.
    """

    __slots__ = ("_lock", "acquire", "release")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.acquire = self._lock.acquire
        self.release = self._lock.release

    def _is_owned(self) -> bool:
        if self._lock._is_owned():  # type: ignore[attr-defined]
            return True
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            code = frame.f_code
            if (
                code.co_name == _NAME
                and code.co_filename.startswith(_FILES)
                and frame.f_locals["gate"].lock is self
            ):
                return True
            frame = frame.f_back
        return False
