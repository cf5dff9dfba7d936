"""What a guest that loops costs others: `python -m anywasm.testing.chaos.isolation`.

One connection asks a filter to loop until its deadline, again and again. Others, which pass a
filter that does nothing bad, are timed meanwhile: on the worker that loops, with the loop on its
event loop or in a thread, and on another worker.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from anywasm.core.errors import AnyWasmError
from anywasm.testing.chaos.client import Client, LostError
from anywasm.testing.chaos.engines import wasm_engines
from anywasm.testing.chaos.requests import CALM, HOSTILE, THREADED, Request
from anywasm.testing.chaos.run import encode
from anywasm.testing.chaos.settings import Settings
from anywasm.testing.chaos.world import DEADLINE, World

_PATIENCE = 30.0
_CONNECTIONS = 8
_OK = frozenset({200})
_CALM = encode(Request(CALM, "none", None, None, b"hi", _OK))
_SPIN = encode(Request(HOSTILE, "spin", "spin request_headers", None, b"", _OK))

HEAD = (
    "| engine | workers | where it loops | loops stopped after, of 250 ms: median, worst "
    "| others' p99 before | meanwhile: best, worst connection |\n"
    "| --- | --- | --- | --- | --- | --- |"
)


async def _time(port: int, data: bytes, until: float, pause: float) -> list[float]:
    """Milliseconds of each request over one connection."""
    client, times = Client(_PATIENCE), []
    while time.monotonic() < until:
        try:
            await client.connect(port)
            began = time.monotonic()
            await client.send(data)
            await client.receive()
        except LostError:
            await client.close()
            continue
        times.append(1000 * (time.monotonic() - began))
        await asyncio.sleep(pause)
    await client.close()
    return times


def _p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)] if times else float("nan")


async def _calm(port: int, seconds: float) -> list[float]:
    """The p99 of each of several connections."""
    until = time.monotonic() + seconds
    found = await asyncio.gather(*(_time(port, _CALM, until, 0.005) for _ in range(_CONNECTIONS)))
    return sorted(map(_p99, found))


async def measure(engine: str, workers: int, listener: str, seconds: float) -> str:
    """One line of the table.

    Raises:
        ServerFailedError: When the server does not start.
    """
    with tempfile.TemporaryDirectory() as folder:
        world = World(Settings(engine, workers=workers), Path(folder))
        try:
            await world.start()
            await _calm(world.ports[CALM], 1.0)
            before = await _calm(world.ports[CALM], seconds)
            looping = _time(world.ports[listener], _SPIN, time.monotonic() + seconds, 0.1)
            loops, during = await asyncio.gather(looping, _calm(world.ports[CALM], seconds))
        finally:
            await world.stop()
    # Some find the instance that the last loop broke: they are answered at once.
    stopped = sorted(each for each in loops if each >= 1000 * DEADLINE)
    cells = (
        engine,
        workers,
        "in a thread" if listener == THREADED else "on the event loop",
        f"{stopped[len(stopped) // 2]:.0f} ms, {stopped[-1]:.0f} ms ({len(stopped)} loops)",
        f"{before[len(before) // 2]:.1f} ms",
        f"{during[0]:.1f} ms, {during[-1]:.1f} ms",
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m anywasm.testing.chaos.isolation", description=__doc__
    )
    parser.add_argument("--engine", action="append", help="an engine; by default all, in turn")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each line (10)")
    options = parser.parse_args(arguments)
    sys.stdout.write(HEAD + "\n")
    for engine in options.engine or wasm_engines():
        for workers, listener in ((1, HOSTILE), (1, THREADED), (2, HOSTILE)):
            try:
                line = asyncio.run(measure(engine, workers, listener, options.seconds))
            except AnyWasmError as error:
                sys.stderr.write(f"{engine}: {error}\n")
                return 1
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
