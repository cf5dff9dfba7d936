"""What a forked child may not use: its parent's engines have their threads there, and not here.

Compilers' thread pools, tickers of deadlines and the threads of bound instances stay behind in the
parent, with whatever lock they held: compiling in the child waits for them forever. So everything
that was made before the fork is closed in the child without freeing anything, and says why. No
engine can be loaded there any more, either, since they share libraries: wasm3's modules are
validated by wasmtime, which may have been there before.
"""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

from anywasm.core.errors import ClosedError, ForkedError

if TYPE_CHECKING:
    from anywasm.core.vm import VM

#: What helps, for messages.
REMEDY = (
    "start processes with multiprocessing's spawn or forkserver, or subprocess; or fork before "
    "engines are loaded"
)

_forked = False


def closed_error(what: str) -> ClosedError:
    """The error for the use of something that is closed, or that a fork has closed."""
    if _forked:
        return ForkedError(f"{what} is of the process that was forked: {REMEDY}")
    return ClosedError(f"{what} is closed")


def is_forked() -> bool:
    """Whether this process was forked from one that had loaded an engine."""
    return _forked


def watch_forks(vm: VM) -> None:
    """Close everything of `vm` in children. Calls are not slowed: what there is, is found then."""
    os.register_at_fork(after_in_child=lambda: _close_in_child(vm))


def _close_in_child(vm: VM) -> None:
    from anywasm.core.instance import Instance
    from anywasm.core.module import Module
    from anywasm.core.store import Store

    global _forked
    _forked = vm._closed = True
    for item in gc.get_objects():
        # Not isinstance, which asks proxies for the class of what they stand for.
        kind = type(item)
        if issubclass(kind, Module) and item.vm is vm:
            item._closed = True
        elif issubclass(kind, Store) and item.vm is vm:
            item._gate.abandon()
        elif issubclass(kind, Instance) and item.module.vm is vm:
            item._gate.abandon()
