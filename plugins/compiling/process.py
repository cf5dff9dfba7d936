"""One process that compiles, as its parent sees it."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import socket
import subprocess
import sys
import tempfile
import time

from anywasm.core.errors import CompileError
from anywasm.plugins.compiling.limits import CompileLimitError, CompileLimits
from anywasm.plugins.compiling.messages import MessageReader, write_message

_log = logging.getLogger("anywasm.plugins")

#: Seconds of compiling after which it is said that it goes on, again and again.
PROGRESS = 10.0
#: Seconds in which an interpreter and an engine are loaded, on a busy machine.
START = 60.0
#: With the parent's path, so that what it can import can be imported, and nothing else.
_SCRIPT = """\
import json, sys
sys.path[:] = json.loads(sys.argv[2])
from anywasm.plugins.compiling.child import main
main(int(sys.argv[1]))
"""
#: What Rust says when it can have no more memory, before it ends the process.
_NO_MEMORY = "memory allocation of"


class ElsewhereError(CompileError):
    """The engine cannot be had in another process: it was registered in this one."""


class CompilerProcess:
    """A fresh interpreter, never a fork: engines have threads. One module at a time.

    It ends with the parent, however that ends.

    Attributes:
        peak: The most memory that it has had, in bytes, as it last said.
    """

    def __init__(self) -> None:
        self.peak = 0
        self._end, its = socket.socketpair()
        self._killed = False
        self._loading = False
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed by close()
        try:
            with its:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _SCRIPT, str(its.fileno()), json.dumps(sys.path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=self._said,
                    pass_fds=(its.fileno(),),
                    # A terminal's Ctrl-C is for the server.
                    start_new_session=True,
                )
        except BaseException:
            self._end.close()
            self._said.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return not self._killed and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def load(self, engine: str) -> None:
        """Have it load an engine while this process does something else."""
        with contextlib.suppress(OSError):  # told with the first module
            write_message(self._end, {"engine": engine}, b"")
            self._loading = True

    def settle(self) -> None:
        """Wait until it has loaded what it was told to load."""
        if self._loading:
            self._loading = False
            with contextlib.suppress(OSError, EOFError):  # told with the first module
                MessageReader(self._end, time.monotonic() + START).read()

    def compile(self, engine: str, wasm: bytes, limits: CompileLimits, place: str) -> bytes:
        """Have a module compiled; its artifact.

        Args:
            engine: For which engine.
            wasm: The module.
            limits: What that may take.
            place: What the log calls the module.

        Raises:
            CompileLimitError: When it takes more.
            ElsewhereError: When only this process has the engine.
            CompileError: When the engine refuses the module, or the process ends on it.
        """
        began = time.monotonic()

        def waiting() -> None:
            took = time.monotonic() - began
            _log.info(
                "%s: compiling for %s, %.0f s until now, %.0f at most",
                place,
                engine,
                took,
                limits.seconds,
            )

        head = {"engine": engine, "seconds": limits.seconds, "memory": limits.memory}
        try:
            self._end.settimeout(limits.seconds)
            write_message(self._end, head, wasm)
            reader = MessageReader(self._end, began + limits.seconds, PROGRESS, waiting)
            answer, artifact = reader.read()
            if self._loading:
                self._loading = False
                answer, artifact = reader.read()
            self.peak = answer["peak"]
        except TimeoutError:
            self.kill()
            raise CompileLimitError(
                f"compiling it for {engine} has taken {limits.seconds:g} s and was stopped",
                "compile_timeout",
            ) from None
        except (EOFError, OSError):
            raise self._ended(engine, limits) from None
        if answer["end"] == "artifact":
            return artifact
        if answer["end"] == "memory":
            raise _too_large(engine, limits)
        if answer["end"] == "unavailable":
            raise ElsewhereError(answer["error"])
        raise CompileError(answer["error"])

    def _ended(self, engine: str, limits: CompileLimits) -> CompileError:
        """Why it has ended without an answer."""
        code = self._process.wait()
        if self._killed:
            return CompileError("compiling it was stopped")
        self._said.seek(0)
        said = self._said.read(65536).decode(errors="replace")
        if _NO_MEMORY in said:
            return _too_large(engine, limits)
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        first = next(iter(said.strip().splitlines()), "")
        return CompileError(f"the compiler of {engine} has crashed ({how}) {first}".rstrip())

    def kill(self) -> None:
        """End it at once, from any thread."""
        self._killed = True
        self._process.kill()

    def close(self) -> None:
        """End it and wait for that. Idempotent."""
        self.kill()
        self._process.wait()
        self._end.close()
        self._said.close()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()


def _too_large(engine: str, limits: CompileLimits) -> CompileLimitError:
    return CompileLimitError(
        f"compiling it for {engine} takes more than {limits.memory / (1 << 20):.0f} MiB of memory",
        "compile_memory",
    )
