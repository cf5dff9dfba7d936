"""A Python guest class in the place of a compiled module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from anywasm.core.binary import ModuleInterface
from anywasm.core.errors import ArgumentError, InstantiationError, TrapError
from anywasm.core.gate import CallGate
from anywasm.core.instance import Instance
from anywasm.core.limits import ResourceLimits
from anywasm.core.module import Module
from anywasm.core.types import ExportType, FuncType, GlobalType, ImportType, Limits, MemoryType
from anywasm.engines.null.calls import bind_host
from anywasm.engines.null.errors import map_exceptions
from anywasm.engines.null.instance import NullInstance
from anywasm.engines.null.library import (
    NullGuest,
    exported_methods,
    parse_type,
    parse_value_type,
)
from anywasm.engines.null.memory import GuestMemory, Pages

if TYPE_CHECKING:
    from anywasm.engines.null.vm import NullVM


class NullModule(Module):
    """A guest class with the interface that it declares."""

    def __init__(self, vm: NullVM, guest: type[NullGuest]) -> None:
        super().__init__(vm, _interface(guest))
        self.methods = {name: method for name, (method, _) in exported_methods(guest).items()}
        self._guest = guest
        self._memory = MemoryType(Limits(guest.memory_pages, guest.memory_maximum))

    def _instantiate(self, imports: list[Any], limits: ResourceLimits | None) -> Instance:
        gate = CallGate("the instance")
        pages = Pages(self._memory, limits)
        host: dict[str, dict[str, Any]] = {}
        for wanted, fn in zip(self.imports, imports):
            bound = bind_host(gate, str(wanted), cast(FuncType, wanted.type), fn)
            host.setdefault(wanted.module, {})[wanted.name] = bound
        try:
            guest = self._guest(GuestMemory(pages), host)
            guest.start()
        except BaseException as error:
            of_host = error is gate.pending
            mapped = map_exceptions(gate, error)
            if of_host or not isinstance(mapped, TrapError):
                raise
            if mapped is not error:
                mapped.__cause__ = error
            raise InstantiationError(f"the start function trapped: {mapped}") from mapped
        return NullInstance(self, gate, guest, pages)


def _interface(guest: type[NullGuest]) -> ModuleInterface:
    functions = [
        ExportType(name, func_type, index)
        for index, (name, (_, func_type)) in enumerate(exported_methods(guest).items())
    ]
    variables = []
    for index, (name, text) in enumerate(guest.globals.items()):
        words = text.split()
        variable = GlobalType(parse_value_type(words[-1]), mutable=words[0] == "mut")
        variables.append(ExportType(name, variable, index))
    memories = []
    if guest.memory_export is not None:
        memory = MemoryType(Limits(guest.memory_pages, guest.memory_maximum))
        memories.append(ExportType(guest.memory_export, memory, 0))
    exports = (*memories, *variables, *functions)
    if len({item.name for item in exports}) < len(exports):
        raise ArgumentError("two exports of one name")
    return ModuleInterface(
        imports=tuple(
            ImportType(module, name, parse_type(text))
            for module, names in guest.imports.items()
            for name, text in names.items()
        ),
        exports=exports,
        custom_sections=guest.custom_sections,
    )
