"""Functions on the event loop: where a guest waits it is suspended, and the loop goes on."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Executor
from typing import TypeVar

from anywasm.abi.host import ServiceCall
from anywasm.abi.waits import Answer, StateRead, Wait
from anywasm.core.errors import StateStoreError
from anywasm.plugins.errors import FunctionBusyError, FunctionTimeoutError, PoolClosedError
from anywasm.plugins.function import FunctionRequest, FunctionResponse, FunctionStream
from anywasm.plugins.functions import FunctionService, call_chain, call_request, good_body
from anywasm.plugins.plugin import Plugin
from anywasm.plugins.slot import Slot
from anywasm.server.function_queue import FunctionQueue

Result = FunctionResponse | Exception
T = TypeVar("T")

#: After so many steps other callbacks of the loop have their turn.
_TURN = 64


class FunctionCall:
    """One call of a function, by a client or by another function.

    Attributes:
        id: The function's.
        request: What it gets.
        chain: The ids of the functions that wait, this one last.
        tell: Takes what came of it, on the loop.
        among: The plugin names to choose from; None for all.
        wanted: Whether anybody still waits for it.
        since: The `time.monotonic` second from which its timeouts count.
        deadline: The `time.monotonic` second by which it must be done, whatever its plugin says.
        until: The one until which it waits for an instance; its queue may move it.
    """

    __slots__ = (
        "among",
        "chain",
        "deadline",
        "id",
        "request",
        "since",
        "stream",
        "tell",
        "until",
        "wanted",
    )

    def __init__(
        self,
        id: str,
        request: FunctionRequest,
        chain: tuple[str, ...],
        tell: Callable[[Result], None],
        *,
        among: Collection[str] | None = None,
        wanted: Callable[[], bool] = lambda: True,
        since: float,
        deadline: float = float("inf"),
    ) -> None:
        self.id = id
        self.request = request
        self.chain = chain
        self.tell = tell
        self.among = among
        self.wanted = wanted
        self.since = since
        self.deadline = deadline
        self.until = since
        self.stream: FunctionStream | None = None


class FunctionLoop:
    """Runs functions whose guests can be suspended (`Plugin.suspends`).

    Made and used on one event loop, and the only one there.

    Args:
        service: Where the functions are.
        executor: Threads, for what cannot be waited for without one: functions and state stores
            that block, and guests that have paused.
    """

    def __init__(self, service: FunctionService, executor: Executor) -> None:
        self._service = service
        self._executor = executor
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._ready: deque[tuple[FunctionCall, Answer | None]] = deque()
        self._running = False
        self._queues: dict[str, FunctionQueue[FunctionCall]] = {}

    def start(self, call: FunctionCall) -> None:
        """Have a function called, now or when it has a free instance."""
        self._begin(call)
        self._run()

    # --- instances ---

    def _begin(self, call: FunctionCall) -> None:
        """Give the call an instance, or a place in the queue for one."""
        try:
            while call.wanted():
                plugin = self._service.router.pick(call.id, call.among)
                if not plugin.suspends:
                    self._call(call, plugin)
                    return
                queue = self._queue(plugin)
                timeouts = plugin.config.timeouts
                call.until = min(call.deadline, call.since + timeouts.lease)
                try:
                    # Where others wait, they were here before.
                    slot = None if queue else plugin.functions.try_acquire(queue.freed)
                except PoolClosedError:
                    call.since = time.monotonic()
                    continue
                if slot is None:
                    queue.add(call)
                else:
                    self._enter(call, plugin, slot)
                return
        except Exception as error:
            call.tell(error)

    def _queue(self, plugin: Plugin) -> FunctionQueue[FunctionCall]:
        queue = self._queues.get(plugin.name)
        if queue is None:
            queue = FunctionQueue(self._serve_queue, self._late, plugin.name)
            self._queues[plugin.name] = queue
        return queue

    def _serve_queue(self, queue: FunctionQueue[FunctionCall]) -> None:
        """Instances may have become free, or the plugin may have been replaced."""
        while queue:
            call = queue.first
            if not call.wanted():
                queue.pop()
                continue
            try:
                plugin = self._service.router.pick(call.id, call.among)
                if not plugin.suspends or plugin.name != queue.name:
                    self._begin(queue.pop())
                    continue
                slot = plugin.functions.try_acquire(queue.freed)
            except PoolClosedError:
                # It was replaced just now, and the next version has all its time.
                call.until += time.monotonic() - call.since
                call.since = time.monotonic()
                continue
            except Exception as error:
                queue.pop().tell(error)
                continue
            if slot is None:
                break
            self._enter(queue.pop(), plugin, slot)
        self._run()

    def _late(self, call: FunctionCall) -> None:
        """It waited too long for an instance."""
        try:
            plugin = self._service.router.pick(call.id, call.among)
            error: Exception = FunctionBusyError(
                f"no instance of plugin {plugin.name!r} became free in time; "
                f"raise instance_num (now {plugin.functions.size})",
                plugin.name,
                "lease",
            )
        except Exception as gone:
            error = gone
        call.tell(error)
        self._run()

    def _enter(self, call: FunctionCall, plugin: Plugin, slot: Slot) -> None:
        deadline = min(call.deadline, call.since + plugin.config.timeouts.request)
        call.stream = FunctionStream(plugin, slot, call.request, deadline, call.chain, True)
        self._ready.append((call, None))

    # --- running ---

    def _run(self) -> None:
        """Advance what is ready; what becomes ready meanwhile, too."""
        if self._running:
            return
        self._running = True
        try:
            for _ in range(_TURN):
                if not self._ready:
                    return
                self._advance(*self._ready.popleft())
        finally:
            self._running = False
            if self._ready:
                self._loop.call_soon(self._run)

    def _advance(self, call: FunctionCall, answer: Answer | None) -> None:
        stream = call.stream
        assert stream is not None
        pool, slot = stream.plugin.functions, stream.slot
        leased, done = False, True
        result: Result | Wait | None
        try:
            result = stream.advance(answer)
            leased = not isinstance(result, FunctionResponse) and result is not None
            done = result is not None
        except Exception as error:
            result = error
        finally:
            if not leased:
                pool.release(slot, done=done)
                queue = self._queues[stream.plugin.name]
                if queue.take_freed():
                    self._serve_queue(queue)
        if result is None:
            self._finish(call, stream)
        elif isinstance(result, (FunctionResponse, Exception)):
            call.tell(result)
        else:
            self._wait(call, result)

    # --- waiting ---

    def _wait(self, call: FunctionCall, wait: Wait) -> None:
        if isinstance(wait, StateRead):
            self._read(call, wait)
        else:
            self._invoke(call, wait)

    def _answer(self, call: FunctionCall, answer: Answer) -> None:
        self._ready.append((call, answer))
        self._run()

    def _read(self, call: FunctionCall, read: StateRead) -> None:
        def tell(value: bytes | Exception | None) -> None:
            failed = isinstance(value, Exception)
            self._answer(call, Answer(None, value) if failed else Answer(value))  # type: ignore[arg-type]

        store = read.store
        get_soon = getattr(store, "get_soon", None)
        if get_soon is not None:
            try:
                get_soon(read.key, read.timeout, tell)
            except Exception as error:
                tell(error)
            return
        until = time.monotonic() + read.timeout
        self._in_thread(
            lambda: store.get(read.key, max(0.0, until - time.monotonic())),
            tell,
            until,
            lambda: StateStoreError("no thread became free in time to read the store"),
        )

    def _invoke(self, call: FunctionCall, wait: ServiceCall) -> None:
        def tell(result: Result) -> None:
            try:
                if isinstance(result, Exception):
                    raise result
                answer = Answer(good_body(wait.id, result))
            except Exception as error:
                answer = Answer(error=error)
            self._answer(call, answer)

        try:
            chain = call_chain(wait)
        except Exception as error:
            self._answer(call, Answer(error=error))
            return
        self._begin(
            FunctionCall(
                wait.id,
                call_request(wait),
                chain,
                tell,
                since=time.monotonic(),
                deadline=wait.deadline,
            )
        )

    # --- in threads ---

    def _in_thread(
        self,
        work: Callable[[], T],
        tell: Callable[[T | Exception], None],
        until: float,
        late: Callable[[], Exception],
    ) -> None:
        """Do something that blocks, and tell what came of it on the loop.

        What has not begun by the `time.monotonic` second `until` is not done, and `late` is told.
        """
        begins = [True]  # taking it out is one step, for whichever thread comes first

        def run() -> None:
            try:
                begins.pop()
            except IndexError:
                return
            try:
                result: T | Exception = work()
            except Exception as error:
                result = error
            # The loop is closed when the server stopped without this answer: its client was cut.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(done, result)

        def done(result: T | Exception) -> None:
            timer.cancel()
            tell(result)

        def expire() -> None:
            with contextlib.suppress(IndexError):
                begins.pop()
                tell(late())

        timer = self._loop.call_later(max(0.0, until - time.monotonic()), expire)
        self._executor.submit(run)

    def _call(self, call: FunctionCall, plugin: Plugin) -> None:
        """Call a function that blocks."""
        self._in_thread(
            lambda: self._service.run(
                call.id, call.request, call.chain, call.among, call.since, call.deadline
            ),
            call.tell,
            min(call.deadline, call.since + plugin.config.timeouts.lease),
            lambda: FunctionBusyError("no thread became free in time", plugin.name, "lease"),
        )

    def _finish(self, call: FunctionCall, stream: FunctionStream) -> None:
        """Wait for the answer of a guest that has paused."""

        def late() -> Exception:
            # Who waits for the answer waits no longer; the guest hears of it when it is free.
            stream.plugin.functions.post(stream.slot, stream.end)
            reason = "the function paused, and no thread became free in time to wait for it"
            return FunctionTimeoutError(reason, stream.plugin.name, stream.phase)

        self._in_thread(lambda: self._service.finish(stream), call.tell, stream.deadline, late)
