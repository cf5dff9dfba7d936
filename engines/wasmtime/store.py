"""A store that instances share."""

from __future__ import annotations

from anywasm.core.store import Store
from anywasm.core.vm import VM
from anywasm.engines.wasmtime.calls import Calls


class WasmtimeStore(Store):
    """A store of wasmtime's, behind one gate.

    Attributes:
        calls: What the calls into its instances share.
    """

    def __init__(self, vm: VM, calls: Calls) -> None:
        super().__init__(vm, calls.gate)
        self.calls = calls

    def _close(self) -> None:
        self.calls.close()
