"""Requests in line for an instance, where threads are fewer than they are."""

from __future__ import annotations

import asyncio
import ctypes
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from anywasm.plugins.function import FunctionRequest
from anywasm.server.function_line import Errand, FunctionLine

PAUSE = "(i32.const 1)"


def _ask_all(running: Any, targets: list[str], answers: list[Any]) -> list[threading.Thread]:
    threads = [
        threading.Thread(target=lambda target=target: answers.append(running.ask(target, "id_2")))
        for target in targets
    ]
    for thread in threads:
        thread.start()
    return threads


def test_one_instance_needs_one_thread_for_all_that_wait(
    serving: Any, tools: Any, gate: Any
) -> None:
    running = serving(
        tools.quickstart("wasmtime", timeouts={"lease": 20}), state_stores=tools.GATED
    )
    answers: list[Any] = []
    targets = [f"/?{number}" for number in range(20)]
    threads = _ask_all(running, targets, answers)
    listener = running.server.listeners["main"]
    tools.eventually(lambda: listener.exchanges_active == 20)
    waiting = [name for name in tools.own_threads() if name.startswith("anywasm-wait")]
    gate.opened.set()
    for thread in threads:
        thread.join()
    assert sorted(int(answer.body) for answer in answers) == list(range(20))
    assert gate.most_at_once == 1
    # The start of the plugins may have made some more.
    assert len(waiting) < 5


def test_who_waits_for_a_version_is_served_by_the_next_one(
    managing: Any, tools: Any, gate: Any
) -> None:
    first, second = tools.quickstart("wasmtime", timeouts={"lease": 20})
    running = managing([first, second], state_stores=tools.GATED)
    answers: list[Any] = []
    threads = _ask_all(running, ["/?1"], answers)
    gate.entered()
    threads += _ask_all(running, ["/?2"], answers)
    tools.eventually(lambda: running.server.listeners["main"].exchanges_active == 2)
    assert running.manage("update", {**second, "timeouts": {"lease": 19}}).status == 200
    threads += _ask_all(running, ["/?3"], answers)
    # The new version's only instance has the second request, while the old one still has the first.
    gate.entered()
    assert answers == []
    gate.opened.set()
    for thread in threads:
        thread.join()
    assert sorted(int(answer.body) for answer in answers) == [1, 2, 3]


def test_a_guest_that_pauses_leaves_the_line_to_others(serving: Any, guest: Any) -> None:
    plugin = guest.plugin("idle", PAUSE, execution="thread", timeouts={"request": 0.5})
    running = serving([plugin])
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda: answers.append(running.ask(id="idle"))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Each of them paused in the one instance; one after the other, the last had not been called.
    assert [answer.json["phase"] for answer in answers] == ["on_request_headers"] * 3


def _errand() -> Errand:
    request = FunctionRequest((), b"", ())
    return Errand(cast(Any, None), "f", request, time.perf_counter(), time.monotonic())


def test_nobody_is_given_up_for_time_in_which_the_process_stood_still() -> None:
    opened = threading.Event()
    done: list[Errand] = []
    late: list[Errand] = []

    def call(each: Errand) -> None:
        opened.wait(20)
        done.append(each)

    async def main(executor: ThreadPoolExecutor) -> None:
        line = FunctionLine(1, executor, call, lambda each, stream: None)
        for _ in range(3):
            line.add(_errand(), 1)
            line.watch(0.5, lambda line, each: late.append(each))
        await asyncio.sleep(0)
        ctypes.PyDLL(None).usleep(1_200_000)  # with Python's lock held
        await asyncio.sleep(0.05)
        opened.set()

    with ThreadPoolExecutor(1) as executor:
        asyncio.run(main(executor))
    assert len(done) == 3
    assert not late
