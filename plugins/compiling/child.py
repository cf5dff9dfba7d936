"""What runs in the other process: compiles what it is sent, until nobody is there to send more."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
import resource
import select
import signal
import socket
from pathlib import Path
from typing import Any

from anywasm.core.errors import AnyWasmError, EngineNotFoundError, EngineUnavailableError
from anywasm.core.registry import get_wasm_engine
from anywasm.plugins.compiling.messages import MessageReader, write_message

#: Seconds beyond the deadline after which the process ends itself, if nobody else has.
GRACE = 5.0
#: By how much it gives way to what serves, on a machine with too little for both.
NICE = 5
_LIFELINE = 0
#: In the words of an engine that goes on without.
_NO_MEMORY = os.strerror(errno.ENOMEM)
#: Memory that is its own, not what engines merely reserve, and what it could write to a file.
_BOUNDED = (resource.RLIMIT_DATA, resource.RLIMIT_FSIZE)


def main(descriptor: int) -> None:
    """Compile what comes from a socket. Standard input is a pipe that closes with the parent.

    Args:
        descriptor: Of the socket.
    """
    _die_with_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        os.nice(NICE)
    with contextlib.suppress(OSError):
        # Where memory runs out, the kernel shall take this process, and not the server.
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    with socket.socket(fileno=descriptor) as end:
        reader = MessageReader(end)
        with contextlib.suppress(EOFError, OSError):
            while True:
                request, wasm = reader.read()
                head, artifact = _answer(request, wasm) if wasm else _load(request["engine"])
                write_message(end, {**head, "peak": _peak()}, artifact)


def _die_with_parent() -> None:
    """Have the kernel kill this process when its parent goes.

    A thread that waits for that would not do: an engine may hold the GIL while it compiles. Nor
    would PR_SET_PDEATHSIG: it means the thread that started this process.
    """
    fcntl.fcntl(_LIFELINE, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(_LIFELINE, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(_LIFELINE, fcntl.F_SETFL, fcntl.fcntl(_LIFELINE, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(_LIFELINE, 0)
    if poll.poll(0):  # it has gone before that
        os._exit(1)


def _load(engine: str) -> tuple[dict[str, Any], bytes]:
    """Load an engine for the modules that will come; what is wrong with it is told with them."""
    with contextlib.suppress(EngineNotFoundError, EngineUnavailableError):
        get_wasm_engine(engine)
    return {"end": "loaded"}, b""


def _answer(request: dict[str, Any], wasm: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        vm = get_wasm_engine(request["engine"])
    except (EngineNotFoundError, EngineUnavailableError) as error:
        return {"end": "unavailable", "error": str(error)}, b""
    for what in _BOUNDED:
        _bound(what, request["memory"])
    signal.alarm(math.ceil(request["seconds"] + GRACE))
    try:
        with vm.compile(wasm) as module:
            return {"end": "artifact"}, module.serialize()
    except MemoryError:
        return {"end": "memory"}, b""
    except AnyWasmError as error:
        if _NO_MEMORY in str(error):
            return {"end": "memory"}, b""
        return {"end": "refused", "error": str(error)}, b""
    finally:
        signal.alarm(0)
        for what in _BOUNDED:
            # What comes next has bounds of its own.
            _bound(what, resource.RLIM_INFINITY)


def _peak() -> int:
    """The most memory in bytes that this program has had; `ru_maxrss` is its parent's, if more."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _bound(what: int, limit: int) -> None:
    hard = resource.getrlimit(what)[1]
    given = [value for value in (limit, hard) if value != resource.RLIM_INFINITY]
    resource.setrlimit(what, (min(given, default=resource.RLIM_INFINITY), hard))
