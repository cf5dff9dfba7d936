"""A running wasm3 module."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from anywasm.core.errors import UnsupportedError
from anywasm.core.globals import Global
from anywasm.core.instance import Instance
from anywasm.core.marshal import slot_export_bits
from anywasm.core.memory import Memory
from anywasm.core.metering import MeteredGate
from anywasm.core.types import ExportType, FuncType, GlobalType
from anywasm.engines.wasm3.calls import LAYOUT, Calls, Slots
from anywasm.engines.wasm3.globals import Wasm3Global, fuel_setter
from anywasm.engines.wasm3.memory import Wasm3Memory

if TYPE_CHECKING:
    from anywasm.engines.wasm3.library import Machine
    from anywasm.engines.wasm3.module import Wasm3Module


class Wasm3Instance(Instance):
    """One machine, linked and started."""

    def __init__(
        self,
        module: Wasm3Module,
        gate: MeteredGate,
        machine: Machine,
        memory: Wasm3Memory,
        calls: Calls,
    ) -> None:
        super().__init__(module, gate)
        self._library = module.library
        self._machine = machine
        self._memory = memory
        self._calls = calls
        self._function_index = module.plan.index
        fuel = self._library.m3_FindGlobal(machine.module, module.plan.fuel.encode())
        gate.set_fuel = fuel_setter(self._library, fuel)

    def _bind_function(self, export: ExportType) -> Callable[..., Any]:
        func_type = cast(FuncType, export.type)
        return self._calls.export(export.name, self._address(export), func_type)

    def _call_bits(self, export: ExportType, args: tuple[int, ...]) -> int | tuple[int, ...] | None:
        self._gate.check_usable()
        func_type = cast(FuncType, export.type)
        slots = Slots(func_type)
        invoke = self._calls.bind_export(self._address(export), func_type, slots)
        try:
            return slot_export_bits(
                func_type, LAYOUT, self._gate, slots.views, invoke, export.name, args
            )
        finally:
            self._memory.invalidate()  # calls through C tell only when they see it move

    def _address(self, export: ExportType) -> int:
        return self._machine.function(self._function_index(export.index))

    def _bind_memory(self, export: ExportType) -> Memory:
        return self._memory

    def _bind_global(self, export: ExportType) -> Global:
        # wasm3 knows an exported global by the last of its names, and compares them as C strings.
        name = [
            other.name
            for other in self.module.exports
            if other.kind is export.kind and other.index == export.index
        ][-1]
        address = 0
        if "\0" not in name:
            address = self._library.m3_FindGlobal(self._machine.module, name.encode())
        if not address:
            raise UnsupportedError(f"wasm3 cannot find the exported global {export.name!r}")
        global_type = cast(GlobalType, export.type)
        return Wasm3Global(self._library, self._gate, export.name, global_type, address)

    def _close(self) -> None:
        self._memory.forget()
        self._machine.close()
