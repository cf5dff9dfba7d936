"""A running Python guest."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from anywasm.core.gate import CallGate
from anywasm.core.globals import Global
from anywasm.core.instance import Instance
from anywasm.core.memory import Memory
from anywasm.core.types import ExportType, FuncType, GlobalType
from anywasm.engines.null.calls import bind_export
from anywasm.engines.null.globals import NullGlobal
from anywasm.engines.null.memory import NullMemory, Pages

if TYPE_CHECKING:
    from anywasm.engines.null.library import NullGuest
    from anywasm.engines.null.module import NullModule


class NullInstance(Instance):
    """One guest object with its memory."""

    def __init__(self, module: NullModule, gate: CallGate, guest: NullGuest, pages: Pages) -> None:
        super().__init__(module, gate)
        self._methods = module.methods
        self._guest = guest
        self._pages = pages

    def _bind_function(self, export: ExportType) -> Callable[..., Any]:
        method = getattr(self._guest, self._methods[export.name])
        return bind_export(self._gate, export.name, cast(FuncType, export.type), method)

    def _bind_memory(self, export: ExportType) -> Memory:
        return NullMemory(self._pages, self._gate)

    def _bind_global(self, export: ExportType) -> Global:
        return NullGlobal(self._gate, self._guest, export.name, cast(GlobalType, export.type))

    def _close(self) -> None:
        del self._guest, self._pages
