"""The processes that compile for this one."""

from __future__ import annotations

import contextlib
import threading

from anywasm.core.errors import CompileError
from anywasm.plugins.compiling.limits import CompileLimits
from anywasm.plugins.compiling.process import CompilerProcess

#: Seconds after which a process that has nothing to do is ended: the next module may be due soon.
IDLE = 5.0
#: Bytes of memory with which a process is not kept: the next module's bound is for that alone.
LARGE = 256 << 20


class CompilerPool:
    """Starts a process when a module has to be compiled and none is free. Thread-safe.

    A process that has refused a module, or compiled it, takes the next one. One that was killed or
    has crashed is gone, and only its module fails.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[CompilerProcess] = []
        self._busy: set[CompilerProcess] = set()
        self._closed = False
        self._timer: threading.Timer | None = None

    def prepare(self, engine: str) -> None:
        """Start a process for the module that will come: it takes some time to load its engine."""
        with self._lock:
            if self._closed or self._idle or self._busy:
                return
            with contextlib.suppress(OSError):  # tried again for the module
                process = CompilerProcess()
                process.load(engine)
                self._idle.append(process)
                self._plan()

    def settle(self) -> None:
        """Wait until the processes that were prepared have loaded their engine."""
        with self._lock:
            for process in self._idle:
                process.settle()

    def compile(self, engine: str, wasm: bytes, limits: CompileLimits, place: str) -> bytes:
        """Compile a module; its artifact. See `CompilerProcess.compile`.

        Raises:
            CompileError: As there, and when it cannot be started, or this was closed.
        """
        process = self._take()
        try:
            return process.compile(engine, wasm, limits, place)
        finally:
            self._give_back(process)

    def _take(self) -> CompilerProcess:
        with self._lock:
            if self._closed:
                raise CompileError("nothing is compiled any more: the server stops")
            while self._idle:
                process = self._idle.pop()
                if process.alive:
                    break
                process.close()
            else:
                try:
                    process = CompilerProcess()
                except OSError as error:
                    raise CompileError(
                        f"no process can be started to compile it: {error}"
                    ) from error
            self._busy.add(process)
            return process

    def _give_back(self, process: CompilerProcess) -> None:
        with self._lock:
            self._busy.discard(process)
            if process.alive and process.peak < LARGE and not self._closed:
                self._idle.append(process)
                self._plan()
                return
        process.close()

    def _plan(self) -> None:
        """End what is idle, after a while in which nothing was asked of any."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(IDLE, self.rest)
        self._timer.daemon = True
        self._timer.start()

    def rest(self) -> None:
        """End the processes that have nothing to do."""
        with self._lock:
            idle, self._idle = self._idle, []
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        for process in idle:
            process.close()

    def close(self) -> None:
        """Compile nothing more: what is being compiled fails. Idempotent."""
        with self._lock:
            self._closed = True
            for process in self._busy:
                process.kill()
        self.rest()

    @property
    def pids(self) -> frozenset[int]:
        """The processes that there are."""
        with self._lock:
            return frozenset(process.pid for process in (*self._busy, *self._idle))
