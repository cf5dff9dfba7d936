"""One run: load, harm, and the judgement."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

from anywasm.testing.chaos.client import Client, LostError, MalformedError
from anywasm.testing.chaos.process import Holdings
from anywasm.testing.chaos.requests import CALM, FUNCTIONS, HOSTILE, THREADED, Request, draw
from anywasm.testing.chaos.settings import Settings
from anywasm.testing.chaos.verdict import Verdict
from anywasm.testing.chaos.world import World

#: How many requests do harm, where harm may be done.
_HARM = 0.1
#: Seconds that a client waits for an answer: more than all timeouts of the server together.
_PATIENCE = 30.0
#: Seconds after which a killed worker's connections must be gone.
_AFTER_KILL = 1.0
#: Seconds that all workers must have served before another one is killed, and before a change that
#: the management API refuses is held against it.
_AFTER_CHANGE = 3.0
#: What may be held at the end beyond what was held before the load: pools of threads that have
#: grown to their size, connections that idle.
_MORE_FILES, _MORE_THREADS = 40, 120
_BUSY = re.compile(r'anywasm_plugin_instances\{.*state="busy"')


class Chaos:
    """A run.

    Args:
        settings: What to do.
        folder: For modules, configuration and log; must be empty.
        tell: Told about progress, a line at a time.
    """

    def __init__(self, settings: Settings, folder: Path, tell: Callable[[str], None]) -> None:
        self._settings = settings
        self._tell = tell
        self._world = World(settings, folder)
        self._verdict = Verdict(settings, tell=tell)
        self._ending = 0.0
        self._killed_at = -_PATIENCE
        self._incomplete_at = -_PATIENCE
        self._sequence = 0

    async def run(self) -> Verdict:
        """Do it.

        Raises:
            ServerFailedError: When the server does not start, or ends by itself.
        """
        world, verdict = self._world, self._verdict
        try:
            await world.start()
            before = world.server.holdings()
            began = time.monotonic()
            self._ending = began + self._settings.seconds
            tasks = [
                asyncio.create_task(self._client(number))
                for number in range(self._settings.clients)
            ]
            watching = asyncio.create_task(self._watch(began))
            await self._do_harm()
            await asyncio.gather(*tasks)
            verdict.seconds = time.monotonic() - began
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            await self._judge(before)
        finally:
            code = await world.stop()
        if code != 0:
            verdict.object(f"the server's exit code was {code}, None meaning that it was killed")
        self._read_log()
        return verdict

    # --- load -------------------------------------------------------------------------------------

    async def _client(self, number: int) -> None:
        chance = random.Random(f"{self._settings.seed} {number}")
        client = Client(_PATIENCE)
        while time.monotonic() < self._ending:
            request = draw(chance, _HARM)
            if self._world.redis is None and request.fault == "state":
                continue
            self._verdict.requests += 1
            if request.fault != "none":
                self._verdict.harm[request.fault] += 1
            await self._ask(client, request, chance)
            await asyncio.sleep(chance.random() * 0.02)
        await client.close()

    async def _ask(self, client: Client, request: Request, chance: random.Random) -> None:
        """Send one request, in one way or another, and look at the answer."""
        verdict = self._verdict
        self._sequence += 1
        what = f"request {self._sequence} to {request.listener} ({request.fault})"
        data = encode(request)
        manner = chance.random()
        began = time.monotonic()
        try:
            await client.connect(self._world.ports[request.listener])
            if manner < 0.03:
                verdict.harm["disconnect"] += 1
                await client.send(data[: chance.randrange(len(data) + 1)])
                await asyncio.sleep(chance.random() * 0.05)
                await client.close(abort=chance.random() < 0.5)
                verdict.statuses["left"] += 1
                return
            if manner < 0.06:
                verdict.harm["slow client"] += 1
                await client.send(data, chance.randrange(2, 20), 0.05)
            else:
                await client.send(data)
            answer = await client.receive()
        except LostError as error:
            await client.close()
            if self._killed_at + _AFTER_KILL < began:
                verdict.lost += 1
                verdict.object(f"{what} at {began:.3f}: {error}")
            else:
                verdict.statuses["lost with its worker"] += 1
        except MalformedError as error:
            await client.close()
            verdict.object(f"{what}: {error}")
        else:
            verdict.statuses["cut" if answer.cut else str(answer.status)] += 1
            objection = request.objection(answer)
            killed = answer.cut and self._killed_at + _AFTER_KILL >= began
            if objection is not None and not killed:
                verdict.object(f"{what} was {objection}: {answer.body[:200]!r}")

    # --- harm -------------------------------------------------------------------------------------

    async def _do_harm(self) -> None:
        chance = random.Random(f"{self._settings.seed} harm")
        events = [self._reload, self._reload, self._resize]
        if self._world.redis is not None:
            events.append(self._restart_redis)
        if self._settings.workers > 1:
            events.append(self._kill_worker)
        while (left := self._ending - time.monotonic()) > 0:
            await asyncio.sleep(min(left, chance.uniform(0.2, 1.5)))
            self._world.server.check()
            await chance.choice(events)(chance)

    async def _reload(self, chance: random.Random) -> None:
        self._verdict.events["module replaced"] += 1
        self._world.replace_module(chance.choice(self._world.plugins))

    async def _resize(self, chance: random.Random) -> None:
        self._verdict.events["instances changed"] += 1
        name, number = chance.choice(self._world.plugins), chance.randrange(1, 7)
        change = {"name": name, "instance_num": number}
        try:
            await asyncio.to_thread(self._world.server.ask, "/wasm/update", change)
        except OSError as error:
            if self._all_serve_since() > _AFTER_CHANGE:
                self._verdict.object(f"changing the instances of {name} to {number}: {error}")
            else:
                # It takes all workers, or none.
                self._verdict.events["change refused for a missing worker"] += 1

    async def _restart_redis(self, chance: random.Random) -> None:
        self._verdict.events["Redis restarted"] += 1
        assert self._world.redis is not None
        self._world.redis.kill()
        await asyncio.sleep(chance.random())
        await self._world.start_redis()

    async def _kill_worker(self, chance: random.Random) -> None:
        if self._all_serve_since() < _AFTER_CHANGE:
            return  # one of them always serves
        workers = self._world.server.workers
        self._verdict.events["worker killed"] += 1
        self._killed_at = self._incomplete_at = time.monotonic()
        os.kill(chance.choice(workers), signal.SIGKILL)

    def _all_serve_since(self) -> float:
        """For how many seconds all workers have been there."""
        return time.monotonic() - self._incomplete_at

    async def _watch(self, began: float) -> None:
        """Take samples, and tell how it goes."""
        step = max(1.0, self._settings.seconds / 400)
        told = began
        while True:
            await asyncio.sleep(step)
            now = time.monotonic()
            held = self._world.server.holdings()
            self._verdict.samples.append((now - began, held))
            if not await asyncio.to_thread(self._world.server.complete):
                self._incomplete_at = now
            if now - told >= 10:
                told = now
                verdict = self._verdict
                self._tell(
                    f"{now - began:5.0f} s: {verdict.requests} requests, "
                    f"{sum(verdict.harm.values())} harmful, {sum(verdict.events.values())} events, "
                    f"{verdict.lost} lost, {verdict.wrong} wrong, "
                    f"{held.memory >> 20} MiB, {held.files} files, {held.threads} threads"
                )

    # --- judgement --------------------------------------------------------------------------------

    async def _judge(self, before: Holdings) -> None:
        """Look what is left once nothing is asked of the server any more."""
        server, verdict = self._world.server, self._verdict
        await asyncio.sleep(4.0)  # paused streams end, idle connections close, instances come back
        server.check()
        for name in (HOSTILE, THREADED, CALM, FUNCTIONS):
            await self._count_streams(name)
        metrics = await asyncio.to_thread(server.ask, "/metrics")
        for line in metrics.splitlines():
            if line.startswith("wasmcustom_chaos_violations") and not line.endswith(" 0.0"):
                verdict.object(f"a guest was called out of order: {line}")
            if _BUSY.match(line) and not line.endswith(" 0.0"):
                verdict.object(f"an instance was not given back: {line}")
        held = server.holdings()
        verdict.samples.append((verdict.seconds, held))
        if held.files > before.files + _MORE_FILES * self._settings.workers:
            verdict.object(f"{held.files} files are open, {before.files} were at first")
        if held.threads > before.threads + _MORE_THREADS * self._settings.workers:
            verdict.object(f"there are {held.threads} threads, {before.threads} were at first")

    async def _count_streams(self, listener: str) -> None:
        """Every instance must know of one stream only: the one that asks."""
        functions = ("calm", "hostile", "other") if listener == FUNCTIONS else (None,)
        for function in functions * 8:
            ok = frozenset({200})
            order = "list request_headers"
            request = Request(listener, "count", order, function, b"", ok, expected=b"1")
            client = Client(_PATIENCE)
            await self._ask(client, request, _Calmly())
            await client.close()

    def _read_log(self) -> None:
        text = self._world.server.log.read_text(errors="replace")
        for sign in ("Traceback", "the host failed", "never awaited", "Fatal Python error"):
            at = text.find(sign)
            if at >= 0:
                self._verdict.object(f"the server's log: ...{text[max(0, at - 200) : at + 2000]}")


class _Calmly(random.Random):
    """Chance that never chooses a fault."""

    def random(self) -> float:
        return 1.0


def encode(request: Request) -> bytes:
    """The request as bytes."""
    lines = [b"POST /chaos HTTP/1.1", b"host: h", b"content-length: %d" % len(request.body)]
    if request.function is not None:
        lines.append(b"id: " + request.function.encode())
    if request.order is not None:
        lines.append(b"x-chaos: " + request.order.encode())
    return b"\r\n".join(lines) + b"\r\n\r\n" + request.body
