"""Threads that wait for something rare, for which guests need not make way.

A call of a guest gives up the GIL only where another thread could take it, since that costs as much
as the rest of the call. A thread that does nothing but wait would make every call pay. Such a
thread says so, and what it waits for is noticed when the running call ends or looks at its
deadline.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import TypeVar

_T = TypeVar("_T")

#: The threads that wait patiently, by `threading.get_ident`; its size is read from C.
patient: set[int] = set()

os.register_at_fork(after_in_child=patient.clear)


class Patience:
    """A context in which the running thread waits, and may wait longer: for a guest's call.

    It must not enter a guest in there, nor run anything that somebody else waits for.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        patient.add(threading.get_ident())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        patient.discard(threading.get_ident())


#: The only one that there need be.
patience = Patience()


def patiently(items: Iterator[_T]) -> Iterator[_T]:
    """The same items, each waited for patiently."""
    while True:
        with patience:
            try:
                item = next(items)
            except StopIteration:
                return
        yield item
