"""A store that instances share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anywasm.core.store import Store

if TYPE_CHECKING:
    from anywasm.core.vm import VM
    from anywasm.engines.wasm_c_api.calls import Calls


class WasmCApiStore(Store):
    """A `wasm_store_t`, behind one gate.

    Attributes:
        calls: What the calls into its instances share.
    """

    def __init__(self, vm: VM, calls: Calls) -> None:
        super().__init__(vm, calls.gate)
        self.calls = calls

    def _close(self) -> None:
        self.calls.close()
