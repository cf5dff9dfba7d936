"""Replays cases on an engine and tells what differs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from anywasm.core.errors import AnyWasmError
from anywasm.core.vm import VM
from anywasm.testing.golden.case import Case, LogLine, Step
from anywasm.testing.golden.client import ask
from anywasm.testing.golden.compare import answer_differences, log_differences
from anywasm.testing.golden.guest_lines import GuestLines
from anywasm.testing.golden.guests import GuestFinder, GuestNotFoundError
from anywasm.testing.golden.host import DeadPort, Host, host_config
from anywasm.testing.golden.improvements import expected, loops
from anywasm.testing.golden.upstream import EchoUpstream

#: Seconds to wait for lines that a guest still has to log after its request was answered.
_PATIENCE = 1.0


class Outcome(str, Enum):
    """What came of a case on an engine."""

    OK = "ok"
    DIFFERS = "differs"
    NO_GUEST = "no guest"
    UNSUPPORTED = "unsupported"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case on one engine.

    Attributes:
        case: Its id.
        engine: The engine's name.
        outcome: What came of it.
        reason: Why it could not be run, or nothing.
        differences: Per step, as a title and diff lines.
        seconds: How long it took.
    """

    case: str
    engine: str
    outcome: Outcome
    reason: str = ""
    differences: tuple[tuple[str, tuple[str, ...]], ...] = ()
    seconds: float = field(default=0.0, compare=False)


class Runner:
    """Replays cases, each against a server, an upstream and a client of its own.

    Runs one case at a time: it takes the process's guest log meanwhile.

    Args:
        guests: Finds the modules.
    """

    def __init__(self, guests: GuestFinder) -> None:
        self._guests = guests

    def run(self, path: Path, case: Case, vm: VM) -> CaseResult:
        """Replay one case.

        Args:
            path: The case's file.
            case: What it holds.
            vm: The engine.
        """
        began = time.monotonic()
        reason = self._hindrance(case, vm)
        if reason:
            return CaseResult(case.id, vm.name, Outcome.UNSUPPORTED, reason)
        try:
            wasm = self._guests.find(case, path.parent)
        except GuestNotFoundError as error:
            return CaseResult(case.id, vm.name, Outcome.NO_GUEST, str(error))
        differences = tuple(
            (title, tuple(lines)) for title, lines in self._differences(case, wasm, vm) if lines
        )
        return CaseResult(
            case.id,
            vm.name,
            Outcome.DIFFERS if differences else Outcome.OK,
            differences=differences,
            seconds=time.monotonic() - began,
        )

    def _hindrance(self, case: Case, vm: VM) -> str:
        if not vm.capabilities.wasm:
            return "runs no WebAssembly"
        if loops(case) and not vm.capabilities.interrupt:
            return "cannot interrupt a guest"
        return ""

    def _differences(self, case: Case, wasm: Path, vm: VM) -> Iterator[tuple[str, list[str]]]:
        with EchoUpstream() as upstream, DeadPort() as dead, GuestLines() as lines:
            config = host_config(case, wasm, vm.name, upstream.port, dead.port)
            with ExitStack() as running:
                try:
                    host = running.enter_context(Host(config))
                except AnyWasmError as error:
                    if case.starts:
                        yield "start", ["- started", f"+ refused: {error}"]
                    return
                if not case.starts:
                    yield "start", ["- refused", "+ started"]
                    return
                yield "start", _log(case, case.start_log, lines)
                for number, step in enumerate(case.steps, 1):
                    title = f"step {number}: {step.request.method} {step.request.path}"
                    yield title, _step(case, step, host.port, lines)
            yield "stop", _shutdown(case, lines)


def _step(case: Case, step: Step, port: int, lines: GuestLines) -> list[str]:
    wanted = expected(case, step)
    got = ask(port, step.request)
    time.sleep(step.request.wait)
    bodies = (step.expect.body, got.body)
    return answer_differences(wanted, got) + _log(case, step.log, lines, bodies)


def _log(
    case: Case,
    recorded: tuple[LogLine, ...] | None,
    lines: GuestLines,
    bodies: tuple[str, str] = ("", ""),
) -> list[str]:
    """How the lines since the last step differ from the recorded ones, once they had time."""

    def differences(actual: list[LogLine]) -> list[str]:
        return log_differences(
            recorded or (),
            actual,
            complete=case.logs_complete,
            # Every VM says that it starts, whenever that is.
            without=() if recorded is case.start_log else case.start_log or (),
            bodies=bodies,
        )

    if recorded is None:
        lines.take()
        return []
    return differences(
        lines.take(
            lambda so_far: not any(d.startswith("- ") for d in differences(so_far)), _PATIENCE
        )
    )


def _shutdown(case: Case, lines: GuestLines) -> list[str]:
    """How the last lines differ. A guest that trapped ends silently here, since it has one VM."""
    known = [*(case.start_log or ()), *(line for step in case.steps for line in step.log or ())]
    trapped = any("failed: Uncaught" in line for step in case.steps for line in step.envoy_log)
    if case.shutdown_log is None or not case.logs_complete or trapped:
        return []
    # Late lines of a step without a recorded log cannot be told from the last ones.
    complete = all(step.log is not None for step in case.steps)
    return log_differences(case.shutdown_log, lines.take(), complete=complete, without=known)
