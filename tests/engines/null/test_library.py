from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from anywasm.core.errors import ArgumentError, CompileError, InstantiationError
from anywasm.core.registry import get_wasm_engine
from anywasm.core.types import CustomSection, FuncType, ValueType
from anywasm.core.vm import VM
from anywasm.engines.null.library import (
    NullGuest,
    export,
    parse_type,
    register_guest,
    unregister_guest,
)

I32, F64 = ValueType.I32, ValueType.F64


@pytest.fixture
def null() -> VM:
    return get_wasm_engine("null")


@pytest.fixture
def register() -> Iterator[Callable[[type[NullGuest]], bytes]]:
    def add(guest: type[NullGuest]) -> bytes:
        register_guest("test guest", guest, replace=True)
        return b"test guest"

    yield add
    unregister_guest("test guest")


def test_a_name_is_taken_once(null: VM) -> None:
    class First(NullGuest):
        pass

    class Second(NullGuest):
        @export("-> i32")
        def second(self) -> int:
            return 2

    register_guest("taken", First)
    try:
        register_guest("taken", First)
        with pytest.raises(ArgumentError, match="'taken' is registered already"):
            register_guest("taken", Second)
        register_guest("taken", Second, replace=True)
        assert "second" in null.compile(b"taken").exports_by_name
    finally:
        unregister_guest("taken")
    unregister_guest("taken")
    with pytest.raises(CompileError, match="no Python guest is registered as 'taken'"):
        null.compile(b"taken")


def test_a_module_outlives_its_registration(null: VM) -> None:
    class Short(NullGuest):
        @export("-> i32")
        def two(self) -> int:
            return 2

    register_guest("short", Short)
    module = null.compile(b"short")
    unregister_guest("short")
    with module.instantiate() as instance:
        assert instance.exports["two"]() == 2


@pytest.mark.parametrize("guest", [int, object(), None, NullGuest(None, {})])  # type: ignore[arg-type]
def test_only_guest_classes_are_registered(guest: Any) -> None:
    with pytest.raises(ArgumentError, match="subclass of NullGuest"):
        register_guest("wrong", guest)


def test_wasm_is_refused(null: VM) -> None:
    with pytest.raises(CompileError, match="runs no WebAssembly"):
        null.compile(b"\0asm\1\0\0\0")


@pytest.mark.parametrize(
    ("text", "type"),
    [
        ("->", FuncType()),
        ("i32 f64 -> i32", FuncType((I32, F64), (I32,))),
        ("-> i32 i32", FuncType((), (I32, I32))),
        ("  i32->f64 ", FuncType((I32,), (F64,))),
    ],
)
def test_types_are_read(text: str, type: FuncType) -> None:
    assert parse_type(text) == type


@pytest.mark.parametrize(
    "text", ["", "i32", "i32 -> i33", "v128 ->", "-> externref", "i32, i32 ->"]
)
def test_types_that_are_none(text: str) -> None:
    with pytest.raises(ArgumentError):
        export(text)


def test_wrong_declarations_are_compile_errors(
    null: VM, register: Callable[[type[NullGuest]], bytes]
) -> None:
    class WrongImport(NullGuest):
        imports: ClassVar = {"env": {"f": "i32"}}

    class WrongGlobal(NullGuest):
        globals: ClassVar = {"g": "mut v128"}

    class Twice(NullGuest):
        @export("->", name="memory")
        def other(self) -> None:
            pass

    for guest in (WrongImport, WrongGlobal, Twice):
        with pytest.raises(CompileError, match=f"{guest.__name__} declares what cannot be"):
            null.compile(register(guest))


def test_exports_are_inherited_and_named(
    null: VM, register: Callable[[type[NullGuest]], bytes]
) -> None:
    class Base(NullGuest):
        custom_sections = (CustomSection("note", b"hello"),)

        @export("-> i32", name="say number")
        def number(self) -> int:
            return 1

        @export("->")
        def nothing(self) -> None:
            pass

    class Derived(Base):
        @export("-> i32", name="say number")
        def number(self) -> int:
            return super().number() + 1

    module = null.compile(register(Derived))
    assert [item.name for item in module.exports] == ["memory", "say number", "nothing"]
    assert module.custom_sections == (CustomSection("note", b"hello"),)
    with module.instantiate() as instance:
        assert instance.exports["say number"]() == 2


def test_guest_error_while_it_is_made(
    null: VM, register: Callable[[type[NullGuest]], bytes]
) -> None:
    class Broken(NullGuest):
        def start(self) -> None:
            raise LookupError("nowhere")

    module = null.compile(register(Broken))
    with pytest.raises(InstantiationError, match="LookupError: nowhere") as caught:
        module.instantiate()
    trap = caught.value.__cause__
    assert trap is not None
    assert isinstance(trap.__cause__, LookupError)


def test_guest_may_recover_from_the_host(
    null: VM, register: Callable[[type[NullGuest]], bytes]
) -> None:
    class Careful(NullGuest):
        imports: ClassVar = {"env": {"f": "i32 -> i32"}}

        @export("i32 -> i32")
        def attempt(self, value: int) -> Any:
            try:
                return self.host["env"]["f"](value)
            except ValueError:
                return 7

    def fail(value: int) -> int:
        raise ValueError

    with null.compile(register(Careful)).instantiate({"env": {"f": fail}}) as instance:
        assert instance.exports["attempt"](1) == 7


def test_wrong_call_of_the_host_is_the_fault_of_the_guest(
    null: VM, register: Callable[[type[NullGuest]], bytes]
) -> None:
    class Careless(NullGuest):
        imports: ClassVar = {"env": {"f": "i32 ->"}}

        @export("->")
        def few(self) -> None:
            self.host["env"]["f"]()

        @export("->")
        def text(self) -> None:
            self.host["env"]["f"]("1")

    calls: list[int] = []
    with null.compile(register(Careless)).instantiate({"env": {"f": calls.append}}) as instance:
        for name in ("few", "text"):
            with pytest.raises(Exception, match="wasm trap: TypeError"):
                instance.exports[name]()
    assert not calls
