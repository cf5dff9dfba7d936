from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ClassVar

import pytest

from anywasm.core.errors import ConcurrencyError
from anywasm.core.module import Module
from anywasm.core.vm import VM
from anywasm.engines.null.library import NullGuest, export

Guest = Callable[[str, type[NullGuest]], Module]

WAT = """(module
  (import "env" "host" (func $host (param i32) (result i32)))
  (memory (export "memory") 1)
  (global (export "count") (mut i32) (i32.const 1))
  (func (export "ask") (param i32) (result i32) local.get 0 call $host)
  (func (export "fresh") (param i32) (result i32) local.get 0)
  (func (export "sum") (param i32) (result i32) (local i32)
    (loop $again
      (local.set 1 (i32.add (local.get 1) (call $host (local.get 0))))
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    local.get 1))
"""


class Threaded(NullGuest):
    imports: ClassVar = {"env": {"host": "i32 -> i32"}}
    globals: ClassVar = {"count": "mut i32"}
    count = 1

    @export("i32 -> i32")
    def ask(self, value: int) -> Any:
        return self.host["env"]["host"](value)

    @export("i32 -> i32")
    def fresh(self, value: int) -> int:
        return value

    @export("i32 -> i32")
    def sum(self, value: int) -> int:
        host = self.host["env"]["host"]
        return sum(host(item) for item in range(1, value + 1))


def in_thread(fn: Callable[[], Any]) -> Any:
    """The result, or the exception, of a call in another thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(fn).result(timeout=60)


def test_second_thread_at_the_same_moment_is_refused(guest: Guest) -> None:
    inside, leave = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def host(value: int) -> int:
        inside.set()
        assert leave.wait(60)
        return value

    with guest(WAT, Threaded).instantiate({"env": {"host": host}}) as instance:
        ask = instance.exports["ask"]

        def intrude() -> None:
            try:
                assert inside.wait(60)
                for use in (
                    lambda: ask(1),
                    lambda: instance.call_bits("ask", 1),
                    lambda: instance.close(),
                ):
                    with pytest.raises(ConcurrencyError):
                        use()
            except BaseException as error:
                errors.append(error)
            finally:
                leave.set()

        thread = threading.Thread(target=intrude)
        thread.start()
        assert ask(5) == 5
        thread.join()
        assert not errors, errors
        assert ask(6) == 6


@pytest.mark.capable(thread_bound=True)
def test_foreign_thread_is_refused_where_bound(guest: Guest) -> None:
    with guest(WAT, Threaded).instantiate({"env": {"host": abs}}) as instance:
        memory, ask, count = instance.memory, instance.exports["ask"], instance.exports["count"]
        assert memory is not None
        uses: list[Callable[[], object]] = [
            lambda: ask(1),
            lambda: instance.exports["fresh"](1),
            lambda: instance.call_bits("ask", 1),
            lambda: instance.call_bits("fresh", 1),
            lambda: count.value,
            lambda: memory.size,
            lambda: memory.grow(1),
            lambda: instance.close(),
        ]

        def intrude() -> None:
            for use in uses:
                with pytest.raises(ConcurrencyError, match="belongs to the thread that made it"):
                    use()

        in_thread(intrude)
        assert ask(5) == 5


@pytest.mark.capable(thread_bound=False)
def test_threads_may_take_turns(guest: Guest) -> None:
    with guest(WAT, Threaded).instantiate({"env": {"host": abs}}) as instance:
        ask = instance.exports["ask"]
        assert ask(1) == 1
        assert in_thread(lambda: ask(2)) == 2
        assert in_thread(lambda: instance.exports["fresh"](3)) == 3
        assert in_thread(lambda: instance.call_bits("fresh", 4)) == 4
        assert ask(5) == 5
        assert instance.memory is not None
        in_thread(partial(instance.memory.write, 0, b"other"))
        assert instance.memory.read(0, 5) == b"other"
    made_elsewhere = in_thread(lambda: guest(WAT, Threaded).instantiate({"env": {"host": abs}}))
    with made_elsewhere:
        assert made_elsewhere.exports["ask"](6) == 6


def test_instances_of_one_module_run_in_their_threads(guest: Guest) -> None:
    module = guest(WAT, Threaded)
    start = threading.Barrier(4)

    def work(number: int) -> int:
        total = 0
        start.wait(60)
        for _ in range(20):
            imports = {"env": {"host": lambda value: value + number}}
            with module.instantiate(imports) as instance:
                total += instance.exports["sum"](100)
                assert instance.memory is not None
                instance.memory.write_u32(0, number)
                assert instance.memory.read_u32(0) == number
        return total

    with ThreadPoolExecutor(4) as pool:
        totals = list(pool.map(work, range(4), timeout=60))
    assert totals == [20 * (5050 + 100 * number) for number in range(4)]


def test_exceptions_stay_in_their_threads(guest: Guest) -> None:
    module = guest(WAT, Threaded)
    start = threading.Barrier(4)

    def work(number: int) -> None:
        error = ValueError(number)

        def host(value: int) -> int:
            raise error

        with module.instantiate({"env": {"host": host}}) as instance:
            start.wait(60)
            for _ in range(200):
                with pytest.raises(ValueError, match=str(number)) as caught:
                    instance.exports["ask"](1)
                assert caught.value is error

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4), timeout=60))


@pytest.mark.capable(wasm=True)
def test_modules_are_compiled_by_many_threads(vm: VM, assemble: Callable[[str], bytes]) -> None:
    start = threading.Barrier(4)

    def work(number: int) -> int:
        text = f'(module (func (export "get") (result i32) i32.const {number}))'
        start.wait(60)
        with vm.compile(assemble(text)) as module, module.instantiate() as instance:
            return int(instance.exports["get"]())

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4), timeout=60)) == [0, 1, 2, 3]


def test_module_made_in_a_thread_that_ended(guest: Guest) -> None:
    module = in_thread(lambda: guest(WAT, Threaded))
    with module.instantiate({"env": {"host": abs}}) as instance:
        assert instance.exports["ask"](3) == 3
    in_thread(module.close)


# The other thread writes to the memory, which a bound instance would refuse.
@pytest.mark.capable(wasm=True, parallel=True, thread_bound=False)
def test_guest_code_lets_other_threads_run(wat: Callable[[str], Module]) -> None:
    text = """(module (memory (export "memory") 1)
      (func (export "wait") (loop $again (br_if $again (i32.eqz (i32.load (i32.const 0)))))))"""
    with wat(text).instantiate() as instance:
        memory = instance.memory
        assert memory is not None
        memory.write_u32(0, 0)
        timer = threading.Timer(0.05, memory.write_u32, (0, 1))
        timer.start()
        instance.exports["wait"]()
        timer.join()
