"""The module `spectest`, which the host gives to every script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anywasm.core.binary.encode import sized, u32
from anywasm.core.store import Store
from anywasm.core.types import GlobalType, Limits, MemoryType, TableType, ValueType
from anywasm.core.vm import VM

_I32, _I64, _F32, _F64 = ValueType.I32, ValueType.I64, ValueType.F32, ValueType.F64
_CODES = {_I32: 0x7F, _I64: 0x7E, _F32: 0x7D, _F64: 0x7C}
#: What a script may print with; what it prints is not compared.
_FUNCTIONS: dict[str, tuple[ValueType, ...]] = {
    "print": (),
    "print_i32": (_I32,),
    "print_i64": (_I64,),
    "print_f32": (_F32,),
    "print_f64": (_F64,),
    "print_i32_f32": (_I32, _F32),
    "print_f64_f64": (_F64, _F64),
}
_GLOBALS = {_I32: 666, _I64: 666, _F32: 666.6, _F64: 666.6}


def spectest(vm: VM, store: Store | None) -> Mapping[str, Any]:
    """What the module exports, made in the script's store.

    The functions are a guest's, so that they have types. An engine that imports nothing but
    functions is given no more.
    """
    functions = vm.compile(_printing_module()).instantiate(store=store).exports
    if store is None:
        return functions
    made: dict[str, Any] = {
        f"global_{kind}": store.new_global(GlobalType(kind), value)
        for kind, value in _GLOBALS.items()
    }
    made["memory"] = store.new_memory(MemoryType(Limits(1, 2)))
    made["table"] = store.new_table(TableType(ValueType.FUNCREF, Limits(10, 20)))
    return {**{name: functions[name] for name in functions}, **made}


def _printing_module() -> bytes:
    """A module that exports the functions, which do nothing."""
    count = u32(len(_FUNCTIONS))
    types = b"".join(
        b"\x60" + sized(bytes(_CODES[kind] for kind in params)) + b"\0"
        for params in _FUNCTIONS.values()
    )
    indices = b"".join(map(u32, range(len(_FUNCTIONS))))
    exports = b"".join(
        sized(name.encode()) + b"\0" + u32(index) for index, name in enumerate(_FUNCTIONS)
    )
    bodies = sized(b"\0\x0b") * len(_FUNCTIONS)
    sections = ((1, types), (3, indices), (7, exports), (10, bodies))
    return b"\0asm\x01\0\0\0" + b"".join(
        bytes((number,)) + sized(count + content) for number, content in sections
    )
