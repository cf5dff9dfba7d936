"""A store: one instance's own, or one that instances share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anywasm.core.metering import MeteredGate
from anywasm.core.store import Store
from anywasm.core.vm import VM


class WasmerStore(Store):
    """A native store and the gate before it, both bound to the thread that made them.

    Attributes:
        native: The binding's store.
        gate: What all calls into its instances pass.
    """

    def __init__(self, vm: VM, native: Any, gate: MeteredGate) -> None:
        super().__init__(vm, gate)
        self.native = native
        self.gate = gate
        #: What lets go of its exports; see `anywasm.engines.wasmer.calls.bind_export`.
        self.at_close: list[Callable[[], None]] = []
        self._functions: dict[int, tuple[Callable[..., Any], Any]] = {}

    def add_function(self, fn: Callable[..., Any], native: Any) -> Callable[..., Any]:
        """Take note that the callable `fn` is the binding's function `native`; returns `fn`."""
        self._functions[id(fn)] = fn, native
        return fn

    def function(self, fn: object) -> Any:
        """The binding's function that a callable is, None for one that is not of this store."""
        found = self._functions.get(id(fn))
        return None if found is None else found[1]

    def release(self) -> None:
        """Let go of everything native."""
        for forget in self.at_close:
            forget()
        self.at_close.clear()
        self._functions.clear()
        self.native = None

    def _close(self) -> None:
        self.release()
