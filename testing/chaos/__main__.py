"""`python -m anywasm.testing.chaos`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from anywasm.core.errors import AnyWasmError
from anywasm.testing.chaos.engines import wasm_engines
from anywasm.testing.chaos.run import Chaos
from anywasm.testing.chaos.settings import Settings
from anywasm.testing.chaos.verdict import Verdict


def _duration(text: str) -> float:
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    return float(number) * units[unit]


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")


def run(settings: Settings) -> Verdict:
    """One run in a folder of its own, which stays where something was wrong."""
    folder = Path(tempfile.mkdtemp(prefix="anywasm-chaos-"))
    verdict = asyncio.run(Chaos(settings, folder, _tell).run())
    if verdict.good:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
    else:
        _tell(f"configuration and log are in {folder}")
    return verdict


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 where something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m anywasm.testing.chaos", description=__doc__)
    parser.add_argument("--engine", action="append", help="an engine; by default all, in turn")
    parser.add_argument("--seed", type=int, default=1, help="what random choices follow from (1)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=float, default=60.0, help="of load per engine (60)")
    length.add_argument("--soak", type=_duration, metavar="TIME", help="the same, such as 30m")
    parser.add_argument("--clients", type=int, default=16, help="connections with load (16)")
    parser.add_argument("--workers", type=int, default=1, help="server processes (1)")
    parser.add_argument("--report", type=Path, help="append the result to this file, as Markdown")
    options = parser.parse_args(arguments)
    good = True
    for engine in options.engine or wasm_engines():
        seconds = options.soak or options.seconds
        settings = Settings(engine, options.seed, seconds, options.clients, options.workers)
        _tell(f"{engine}: {seconds:g} s, seed {options.seed}")
        try:
            verdict = run(settings)
        except AnyWasmError as error:
            _tell(f"{engine}: {error}")
            return 1
        text = "\n".join(verdict.lines()) + "\n"
        sys.stdout.write(text)
        if options.report is not None:
            with options.report.open("a") as file:
                file.write(text + "\n")
        good = good and verdict.good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
