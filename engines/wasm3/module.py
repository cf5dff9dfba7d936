"""A module that wasm3 can run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from anywasm.core.binary import ModuleInterface, function_names
from anywasm.core.errors import InstantiationError
from anywasm.core.gate import CallGate
from anywasm.core.instance import Instance
from anywasm.core.limits import ResourceLimits
from anywasm.core.module import Module
from anywasm.core.types import FuncType
from anywasm.engines.wasm3.calls import Calls
from anywasm.engines.wasm3.errors import map_exceptions
from anywasm.engines.wasm3.instance import Wasm3Instance
from anywasm.engines.wasm3.library import Machine
from anywasm.engines.wasm3.memory import Wasm3Memory

if TYPE_CHECKING:
    from anywasm.engines.wasm3.vm import Wasm3VM


class Wasm3Module(Module):
    """A valid binary; wasm3 parses and compiles it anew for each instance, which is quick.

    Attributes:
        library: The wasm3 that runs it.
    """

    def __init__(self, vm: Wasm3VM, interface: ModuleInterface, wasm: bytes) -> None:
        super().__init__(vm, interface)
        self.library = vm.library
        self._vm = vm
        self._wasm = wasm
        self._starts = interface.start is not None
        self._names: dict[int, str] | None = None

    def function_name(self, index: int) -> str:
        """A function's name from the name section, or `func[INDEX]`."""
        if self._names is None:
            self._names = function_names(self.custom_sections)
        return self._names.get(index, f"func[{index}]")

    def _instantiate(self, imports: list[Any], limits: ResourceLimits | None) -> Instance:
        with map_exceptions(InstantiationError, "the module cannot be instantiated"):
            machine = Machine(self.library, self._wasm, self._vm.stack.size)
        gate = CallGate("the instance")
        memory = Wasm3Memory(self.library, gate, machine)
        vm = self._vm
        calls = Calls(vm.library, vm.traps, vm.stack, gate, machine, memory, self.function_name)
        try:
            with map_exceptions(InstantiationError, "the module cannot be instantiated"):
                for index, (wanted, fn) in enumerate(zip(self.imports, imports)):
                    type = cast(FuncType, wanted.type)
                    machine.link(index, calls.bind_host(f"{wanted.module}.{wanted.name}", type, fn))
                machine.compile()
            if self._starts:
                calls.start()
        except BaseException:
            machine.close()
            raise
        return Wasm3Instance(self, gate, machine, memory, calls)
