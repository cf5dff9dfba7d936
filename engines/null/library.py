"""The guests that the `null` engine can run, by name; there is no binding to load."""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

from anywasm.core.errors import ArgumentError, CompileError
from anywasm.core.types import CustomSection, FuncType, ValueType
from anywasm.engines.null.memory import GuestMemory

_Method = TypeVar("_Method", bound=Callable[..., Any])
#: Where `export` leaves a method's export name and type.
_MARK = "__anywasm_export__"

_lock = threading.Lock()
_guests: dict[str, type[NullGuest]] = {}


class NullGuest:
    """A guest written in Python, in the place of a WebAssembly module.

    Subclass it, mark methods with `export`, and give the class a name with `register_guest`. Each
    instance of the module is one object of the class, with a memory and imports of its own.

    Integers arrive unsigned. What a method returns is reduced to its result type, as wasm
    arithmetic would be. A guest traps by raising `TrapError`; any other exception of its own is a
    trap of kind `OTHER`, a `RecursionError` one of kind `STACK_OVERFLOW`.

    Attributes:
        imports: What it asks for: module -> name -> type, such as `"i32 i32 -> i32"`.
        globals: Exported globals: name -> type, such as `"mut i32"`. The value is the guest's
            attribute of that name.
        memory_pages: Pages of 64 KiB that the memory starts with.
        memory_maximum: Pages to which it may grow, or None.
        memory_export: The name under which it is exported, or None.
        custom_sections: What `Module.custom_sections` shows.
        memory: The memory; accesses outside it trap.
        host: The imports as given: module -> name -> callable.
    """

    imports: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    globals: ClassVar[Mapping[str, str]] = {}
    memory_pages: ClassVar[int] = 1
    memory_maximum: ClassVar[int | None] = None
    memory_export: ClassVar[str | None] = "memory"
    custom_sections: ClassVar[tuple[CustomSection, ...]] = ()

    def __init__(self, memory: GuestMemory, host: Mapping[str, Mapping[str, Callable[..., Any]]]):
        self.memory = memory
        self.host = host

    def start(self) -> None:
        """The start function: runs when the guest is instantiated."""


def export(type: str, name: str | None = None) -> Callable[[_Method], _Method]:
    """Mark a method of a `NullGuest` as exported.

    Args:
        type: Its type without `self`: value types, `->`, value types. `"i32 i64 -> f32"`.
        name: The export's name, if it is not the method's.

    Raises:
        ArgumentError: When `type` cannot be read.
    """
    func_type = parse_type(type)

    def mark(method: _Method) -> _Method:
        setattr(method, _MARK, (name or method.__name__, func_type))
        return method

    return mark


def parse_type(text: str) -> FuncType:
    """Read a function type written as `"i32 i32 -> i32"`.

    Raises:
        ArgumentError: When it is no such text, or names a type that is no number.
    """
    params, arrow, results = text.partition("->")
    if not arrow:
        raise ArgumentError(f"a function type has an arrow, as in 'i32 -> i32': {text!r}")
    return FuncType(
        tuple(map(parse_value_type, params.split())), tuple(map(parse_value_type, results.split()))
    )


def parse_value_type(text: str) -> ValueType:
    """Read the name of a number's type.

    Raises:
        ArgumentError: When it is something else.
    """
    if text not in ("i32", "i64", "f32", "f64"):
        raise ArgumentError(f"a Python guest deals in i32, i64, f32 and f64, not {text!r}")
    return ValueType(text)


def exported_methods(guest: type[NullGuest]) -> dict[str, tuple[str, FuncType]]:
    """The exports of a guest class: export name -> method name and type, in the order written."""
    found = {}
    for base in reversed(guest.__mro__):
        for attribute in vars(base):
            mark = getattr(getattr(guest, attribute, None), _MARK, None)
            if mark is not None:
                found[mark[0]] = (attribute, mark[1])
    return found


def register_guest(name: str, guest: type[NullGuest], replace: bool = False) -> None:
    """Let `compile(name.encode())` find a guest class. Thread-safe.

    Args:
        name: What stands for the binary.
        guest: The class.
        replace: Whether it may take the place of another one of that name.

    Raises:
        ArgumentError: When it is no subclass of `NullGuest`, or the name is taken.
    """
    if not (isinstance(guest, type) and issubclass(guest, NullGuest)):
        raise ArgumentError(f"a guest of the null engine is a subclass of NullGuest, not {guest!r}")
    with _lock:
        if not replace and _guests.get(name, guest) is not guest:
            raise ArgumentError(f"a guest named {name!r} is registered already")
        _guests[name] = guest


def unregister_guest(name: str) -> None:
    """Undo `register_guest`; a name that is not registered is fine. Thread-safe."""
    with _lock:
        _guests.pop(name, None)


def find_guest(code: bytes) -> type[NullGuest]:
    r"""The guest class that `code` names. Thread-safe.

    Raises:
        CompileError: When it is a WebAssembly binary, or no registered name.
    """
    if code.startswith(b"\0asm"):
        raise CompileError(
            "the null engine runs no WebAssembly, only Python guests by their names; "
            "choose an engine with capabilities.wasm"
        )
    with _lock:
        guest = _guests.get(code.decode(errors="replace"))
        known = ", ".join(_guests) or "none"
    if guest is None:
        shown = code[:64].decode(errors="backslashreplace")
        raise CompileError(f"no Python guest is registered as {shown!r}; registered: {known}")
    return guest


def version() -> str:
    """The version of what runs the guests: the Python interpreter."""
    return platform.python_version()
