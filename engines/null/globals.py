"""An exported global of a Python guest: an attribute of the guest."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from anywasm.core.gate import CallGate
from anywasm.core.globals import ValueGlobal
from anywasm.core.types import FuncType, GlobalType
from anywasm.engines.null.calls import guest_function

if TYPE_CHECKING:
    from anywasm.engines.null.library import NullGuest


class NullGlobal(ValueGlobal):
    """One exported global; read and set by the rules for results and arguments."""

    def __init__(self, gate: CallGate, guest: NullGuest, name: str, type: GlobalType) -> None:
        get = guest_function(gate, FuncType((), (type.value,)), partial(getattr, guest, name))
        put = guest_function(gate, FuncType((type.value,), ()), partial(setattr, guest, name))
        super().__init__(name, type, gate, get, put, signed=False)
