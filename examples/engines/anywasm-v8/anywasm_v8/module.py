"""A module, which V8 compiles anew in each thread that uses it."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from anywasm import CompileError, InstantiationError, LinkError, TrapError
from anywasm.core.engine import (
    FuncType,
    Instance,
    MeteredGate,
    MeteringPlan,
    Module,
    ModuleInterface,
    ResourceLimits,
    value_host,
)
from anywasm_v8.errors import trap
from anywasm_v8.instance import V8Instance, from_js, to_js
from anywasm_v8.realm import HostSide, forget_module, realm

if TYPE_CHECKING:
    from anywasm_v8.vm import V8VM

_numbers = itertools.count(1)


class V8Module(Module):
    """The binary, and the number under which each thread's V8 knows it.

    Attributes:
        number: That number.
        plan: How the binary is metered.
    """

    def __init__(
        self, vm: V8VM, interface: ModuleInterface, plan: MeteringPlan, metered: bytes
    ) -> None:
        super().__init__(vm, interface)
        self._interface = interface
        self.number = next(_numbers)
        self.plan = plan
        self._metered = metered
        weakref.finalize(self, forget_module, self.number).atexit = False

    def _instantiate(self, imports: list[Any], limits: ResourceLimits | None) -> Instance:
        here = realm()
        gate = MeteredGate("the instance", thread_bound=True)
        if limits is not None:
            gate.limit(limits)
        gate.admit(self._interface)
        side = HostSide(gate)
        kinds = []
        for wanted, function in zip(self.imports, imports):
            name, func_type = f"{wanted.module}.{wanted.name}", cast(FuncType, wanted.type)
            host = value_host(name, func_type, function, signed=True, gate=gate)
            side.functions.append(_host(func_type, host))
            kinds.append(" ".join(func_type.results))
        check = cast(FuncType, self.plan.check.type)
        side.functions.append(_host(check, gate.checked))
        kinds.append(" ".join(check.results))
        here.adopt(side)
        if not here.module(self.number, self._metered):
            raise CompileError(f"V8 refuses the module in this thread: {here.js.failure()}")
        with gate.bound_start(None if limits is None else limits.start_seconds):
            done = here.js.instantiate(side.number, self.number, "\n".join(kinds))
        if done is None:
            pending = gate.take_pending()
            if pending is not None:
                raise pending
            reason = str(here.js.failure())
            if reason.startswith("LinkError"):
                raise LinkError(reason)
            cause: TrapError | None = None
            if "WebAssembly.Instance()" not in reason:
                cause = trap(reason)
            raise InstantiationError(f"the instance could not be started: {reason}") from cause
        return V8Instance(self, side, here)

    def _close(self) -> None:
        forget_module(self.number)
        self._metered = b""


def _host(type: FuncType, function: Callable[..., Any]) -> Callable[..., Any]:
    """A host function as `realm.js` calls it."""
    params = [from_js(kind) for kind in type.params]
    results = [to_js(kind) for kind in type.results]

    def call(*values: Any) -> Any:
        result = function(*[convert(value) for convert, value in zip(params, values)])
        if len(results) == 1:
            return results[0](result)
        return [convert(value) for convert, value in zip(results, result or ())]

    return call
