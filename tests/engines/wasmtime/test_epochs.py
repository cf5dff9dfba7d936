from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from anywasm.core.errors import DeadlineExceededError
from anywasm.core.module import Module
from anywasm.engines.wasmtime import WasmtimeVM

WAT = """(module
  (import "env" "go_on" (func $go_on (result i32)))
  (func (export "spin") (loop br 0))
  (func (export "poll") (result i32) (local i32)
    (loop
      local.get 0 i32.const 1 i32.add local.set 0
      call $go_on
      br_if 0)
    local.get 0)
  (func (export "count") (param i64) (result i64)
    (loop
      local.get 0 i64.const 1 i64.sub local.tee 0
      i64.eqz i32.eqz
      br_if 0)
    local.get 0))
"""


@pytest.fixture
def own_vm() -> Iterator[WasmtimeVM]:
    with WasmtimeVM() as vm:
        yield vm


@pytest.fixture
def module(own_vm: WasmtimeVM, assemble: Callable[[str], bytes]) -> Module:
    return own_vm.compile(assemble(WAT))


def _imports(go_on: Callable[[], int] = lambda: 0) -> dict[str, dict[str, Callable[[], int]]]:
    return {"env": {"go_on": go_on}}


def _tickers() -> int:
    """The ticking threads: Python's, and those of the C extension, which Python does not see."""
    native = 0
    for name in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):
            native += name.read_text() == "anywasm-ticker\n"
    names = [thread.name for thread in threading.enumerate()]
    return native + names.count("anywasm-wasmtime-deadlines")


def test_a_guest_without_a_deadline_goes_on_while_the_clock_ticks(module: Module) -> None:
    timed, free = module.instantiate(_imports()), module.instantiate(_imports())
    with timed, free, timed.deadline(60):
        started = time.monotonic()
        rounds = 1 << 20
        while time.monotonic() - started < 0.1:
            assert free.exports["count"](rounds) == 0
            rounds *= 2


def test_an_instance_made_after_many_ticks_runs(module: Module) -> None:
    with module.instantiate(_imports()) as old:
        with old.deadline(0.05), pytest.raises(DeadlineExceededError):
            old.exports["spin"]()
        with module.instantiate(_imports()) as new:
            assert new.exports["count"](5) == 0
            assert new.exports["poll"]() == 1


def test_a_deadline_that_begins_in_the_host_is_noticed_by_a_guest_that_ran_long(
    module: Module,
) -> None:
    """A guest without a deadline looks at the time seldom, until it has one."""
    asked = []

    def go_on() -> int:
        asked.append(instance.set_deadline(time.monotonic() + 0.02))
        return 1

    with module.instantiate(_imports(go_on)) as instance, instance.deadline(60):
        started = time.monotonic()
        while time.monotonic() - started < 0.1:
            assert instance.exports["count"](1 << 20) == 0
        with pytest.raises(DeadlineExceededError):
            instance.exports["poll"]()
        instance.restore_deadline(None)
        with pytest.raises(DeadlineExceededError), instance.deadline(0.02):
            instance.exports["spin"]()
    assert asked[0] is not None


def test_the_clock_goes_on_after_a_pause(module: Module) -> None:
    with module.instantiate(_imports()) as instance:
        for pause in (0, 1.2):  # past IDLE
            time.sleep(pause)
            with pytest.raises(DeadlineExceededError), instance.deadline(0.02):
                instance.exports["spin"]()


def test_deadlines_outlive_the_vm_and_the_module(own_vm: WasmtimeVM, module: Module) -> None:
    instance = module.instantiate(_imports())
    own_vm.close()
    module.close()
    with instance.deadline(0.05), pytest.raises(DeadlineExceededError):
        instance.exports["spin"]()
    instance.close()


def test_the_ticking_thread_goes_with_the_engine(assemble: Callable[[str], bytes]) -> None:
    gc.collect()
    before = _tickers()
    vm = WasmtimeVM()
    instance = vm.compile(assemble(WAT)).instantiate(_imports())
    with instance.deadline(60):
        while _tickers() == before:
            time.sleep(0.001)  # it takes its name when it runs
        assert _tickers() == before + 1
    instance.close()
    vm.close()
    del instance, vm
    gc.collect()
    assert _tickers() == before


@pytest.mark.skipif(sys.version_info >= (3, 11), reason="ctypes drops it before the callback")
def test_a_signal_ends_a_guest_under_a_deadline(module: Module) -> None:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with module.instantiate(_imports()) as instance:
        # Python drops what is raised where it finalizes something, and the collector may run in
        # any callback: hence a second one.
        timers = [
            threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT)) for after in (0.05, 10)
        ]
        for timer in timers:
            timer.start()
        with instance.deadline(60), pytest.raises(KeyboardInterrupt):
            instance.exports["spin"]()
        for timer in timers:
            timer.cancel()
            timer.join()
        assert instance.exports["count"](5) == 0
