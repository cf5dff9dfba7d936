from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable

import pytest

from anywasm.core.errors import CompileError, LinkError, UnsupportedError
from anywasm.core.registry import engine_statuses, get_wasm_engine
from anywasm.core.vm import VM

STATUS = {status.name: status for status in engine_statuses()}["wasmer"]
needs_wasmer = pytest.mark.skipif(STATUS.vm is None, reason=str(STATUS.error))


@pytest.fixture
def wasmer() -> VM:
    return get_wasm_engine("wasmer")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="wasmer has wheels for CPython 3.10")
def test_reason_names_the_last_interpreter_with_wheels() -> None:
    assert STATUS.error is not None
    assert "its last wheels are for CPython 3.10" in STATUS.error.reason


@needs_wasmer
def test_panic_of_the_translator_is_a_compile_error(
    wasmer: VM, assemble: Callable[[str], bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CompileError, match="tag section"):
        wasmer.compile(assemble("(module (tag))"))
    assert capfd.readouterr().err == ""
    wasmer.compile(assemble("(module)")).close()


@needs_wasmer
def test_memory_that_the_binding_cannot_show(wasmer: VM, assemble: Callable[[str], bytes]) -> None:
    text = """(module (memory (export "memory") 65536)
      (func (export "load") (result i32) i32.const -4 i32.load))"""
    with wasmer.compile(assemble(text)).instantiate() as instance:
        memory = instance.memory
        assert memory is not None
        for use in (lambda: memory.size, lambda: memory.read(0, 1), lambda: memory.grow(0)):
            with pytest.raises(UnsupportedError, match="4 GiB"):
                use()
        assert instance.exports["load"]() == 0
    almost = '(module (memory (export "memory") 65535))'
    with wasmer.compile(assemble(almost)).instantiate() as instance:
        memory = instance.memory
        assert memory is not None
        assert memory.read(65535 * 65536 - 4, 4) == bytes(4)


@needs_wasmer
def test_garbage_is_collected_in_any_thread(
    wasmer: VM, assemble: Callable[[str], bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    module = wasmer.compile(assemble('(module (memory (export "memory") 1) (func (export "f")))'))
    gc.disable()
    try:
        for _ in range(20):
            instance = module.instantiate()
            instance.exports["f"]()
            assert instance.memory is not None
            instance.memory.write(0, b"x")
        del instance
        thread = threading.Thread(target=gc.collect)
        thread.start()
        thread.join()
    finally:
        gc.enable()
    assert capfd.readouterr().err == ""


@needs_wasmer
def test_one_name_with_two_types_is_a_link_error(
    wasmer: VM, assemble: Callable[[str], bytes]
) -> None:
    text = '(module (import "e" "f" (func (param i32))) (import "e" "f" (func (param i64))))'
    with pytest.raises(LinkError, match="incompatible import type"):
        wasmer.compile(assemble(text)).instantiate({"e": {"f": print}})


@needs_wasmer
def test_host_errors_are_told_from_traps_by_where_they_were_raised(
    wasmer: VM, assemble: Callable[[str], bytes]
) -> None:
    error = RuntimeError("RuntimeError: unreachable\n    at f (<module>[0]:0x1)")

    def fail() -> None:
        raise error

    text = '(module (import "e" "f" (func $f)) (func (export "run") call $f))'
    with wasmer.compile(assemble(text)).instantiate({"e": {"f": fail}}) as instance:
        with pytest.raises(RuntimeError) as caught:
            instance.exports["run"]()
        assert caught.value is error
