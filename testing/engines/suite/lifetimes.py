from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from anywasm.core.errors import ClosedError, ConcurrencyError
from anywasm.core.instance import Instance
from anywasm.core.module import Module
from anywasm.core.vm import VM
from anywasm.engines.null.library import NullGuest, export

Guest = Callable[[str, type[NullGuest]], Module]

WAT = """(module
  (import "env" "host" (func $host (param i32) (result i32)))
  (memory (export "memory") 1)
  (global (export "count") (mut i32) (i32.const 1))
  (func (export "seven") (result i32) i32.const 7)
  (func (export "late") (result i32) i32.const 8)
  (func (export "ask") (param i32) (result i32) local.get 0 call $host))
"""


class Living(NullGuest):
    imports: ClassVar = {"env": {"host": "i32 -> i32"}}
    globals: ClassVar = {"count": "mut i32"}
    count = 1

    @export("-> i32")
    def seven(self) -> int:
        return 7

    @export("-> i32")
    def late(self) -> int:
        return 8

    @export("i32 -> i32")
    def ask(self, value: int) -> Any:
        return self.host["env"]["host"](value)


def same(value: int) -> int:
    return value


IMPORTS = {"env": {"host": same}}


def test_use_after_close(guest: Guest) -> None:
    instance = guest(WAT, Living).instantiate(IMPORTS)
    memory, count, seven = instance.memory, instance.exports["count"], instance.exports["seven"]
    assert memory is not None
    assert (memory.read(0, 1), count.value, seven()) == (b"\0", 1, 7)
    assert not instance.closed
    instance.close()
    assert instance.closed
    uses: list[Callable[[], object]] = [
        seven,
        lambda: seven(1, 2, 3),
        lambda: instance.exports["seven"](),
        lambda: instance.exports["late"](),
        lambda: instance.call_bits("seven"),
        lambda: instance.call_bits("late"),
        lambda: count.value,
        lambda: setattr(count, "value", 2),
        lambda: memory.size,
        lambda: memory.read(0, 1),
        lambda: memory.read(0, 0),
        lambda: memory.write(0, b"x"),
        lambda: memory.read_u8(0),
        lambda: memory.read_u32(0),
        lambda: memory.write_u32(0, 1),
        lambda: memory.read_u64(0),
        lambda: memory.write_f64(0, 1.0),
        lambda: memory.grow(1),
        lambda: instance.exports["memory"].size,
    ]
    if instance.module.vm.capabilities.interrupt:
        uses.append(lambda: instance.deadline(1))
    for use in uses:
        with pytest.raises(ClosedError, match="closed"):
            use()


def test_memory_that_was_never_used_is_closed_too(guest: Guest) -> None:
    instance = guest(WAT, Living).instantiate(IMPORTS)
    instance.close()
    with pytest.raises(ClosedError):
        _ = instance.memory


def test_closing_twice(guest: Guest) -> None:
    module = guest(WAT, Living)
    instance = module.instantiate(IMPORTS)
    for _ in range(2):
        instance.close()
        module.close()
    with instance, module:
        pass
    assert module.closed


def test_closed_module(guest: Guest) -> None:
    module = guest(WAT, Living)
    module.close()
    with pytest.raises(ClosedError, match="module"):
        module.instantiate(IMPORTS)
    with pytest.raises(ClosedError, match="module"):
        module.serialize()
    assert module.exports_by_name["seven"]


def test_closed_vm(vm: VM, guest: Guest) -> None:
    with type(vm)() as other:
        assert not other.closed
    assert other.closed
    other.close()
    with pytest.raises(ClosedError, match="closed"):
        other.compile(b"\0asm\1\0\0\0")
    with pytest.raises(ClosedError, match="closed"):
        other.load(b"")
    with guest(WAT, Living).instantiate(IMPORTS) as instance:
        assert instance.exports["seven"]() == 7


def test_instance_outlives_its_module_and_vm(
    vm: VM, guest: Guest, assemble: Callable[[str], bytes]
) -> None:
    guest(WAT, Living)
    name = f"{Living.__module__}.{Living.__qualname__}"
    other = type(vm)()
    module = other.compile(assemble(WAT) if vm.capabilities.wasm else name.encode())
    second = other.compile(assemble(WAT) if vm.capabilities.wasm else name.encode())
    instance = module.instantiate(IMPORTS)
    module.close()
    other.close()
    del module, other
    gc.collect()
    with instance:
        assert instance.exports["seven"]() == 7
        assert instance.exports["ask"](9) == 9
        assert instance.memory is not None
        instance.memory.write(0, b"still here")
        assert instance.memory.grow(1) == 1
        assert instance.call_bits("late") == 8
        if instance.module.vm.capabilities.interrupt:
            with instance.deadline(10):
                assert instance.exports["seven"]() == 7
    with second.instantiate(IMPORTS) as later:
        assert later.exports["seven"]() == 7
    second.close()


def test_close_during_a_call_is_refused(guest: Guest) -> None:
    def host(value: int) -> int:
        with pytest.raises(ConcurrencyError, match="cannot be closed while a call is running"):
            instance.close()
        assert not instance.closed
        return value + 1

    instance = guest(WAT, Living).instantiate({"env": {"host": host}})
    assert instance.exports["ask"](1) == 2
    assert instance.exports["seven"]() == 7
    instance.close()


def test_module_may_be_closed_during_a_call(guest: Guest) -> None:
    module = guest(WAT, Living)

    def host(value: int) -> int:
        module.close()
        return value + 1

    with module.instantiate({"env": {"host": host}}) as instance:
        assert instance.exports["ask"](1) == 2
        assert instance.exports["ask"](2) == 3


class Held:
    def __call__(self, value: int) -> int:
        return value


def test_close_lets_go_of_the_host_functions(guest: Guest) -> None:
    held = Held()
    gone = weakref.ref(held)
    with guest(WAT, Living).instantiate({"env": {"host": held}}) as instance:
        assert instance.exports["ask"](3) == 3
    del held, instance
    gc.collect()
    assert gone() is None


def test_instance_that_is_forgotten_is_freed(guest: Guest) -> None:
    held = Held()
    gone = weakref.ref(held)
    instance: Instance | None = guest(WAT, Living).instantiate({"env": {"host": held}})
    assert instance is not None
    assert instance.exports["ask"](3) == 3
    del held
    instance = None
    gc.collect()
    assert gone() is None


def test_host_functions_outlive_the_import_object(guest: Guest) -> None:
    imports = {"env": {"host": Held()}}
    with guest(WAT, Living).instantiate(imports) as instance:
        imports.clear()
        gc.collect()
        for _ in range(100):
            assert instance.exports["ask"](3) == 3
