"""A store: what several instances share."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from anywasm.core.binary import global_module, memory_module, table_module
from anywasm.core.closeable import Closeable
from anywasm.core.errors import ArgumentError, CompileError, UnsupportedError
from anywasm.core.gate import CallGate
from anywasm.core.globals import Global
from anywasm.core.marshal import check_value
from anywasm.core.memory import Memory
from anywasm.core.tables import Table
from anywasm.core.types import (
    REFERENCES,
    ExternKind,
    ExternType,
    GlobalType,
    MemoryType,
    TableType,
    ValueType,
)

if TYPE_CHECKING:
    from anywasm.core.instance import Instance
    from anywasm.core.vm import VM


class Store(Closeable):
    """Where instances live that share memories, tables, globals and functions (core spec, 4.2.3).

    Made by `VM.new_store`, and given to `Module.instantiate`; an instance made without one has a
    store of its own. What an instance exports can be imported as it is by those made after it in
    the same store, and so can what the store itself makes: `new_memory`, `new_table`, `new_global`,
    the `WebAssembly.Memory`, `.Table` and `.Global` of the JS API.

    The instances of a store are used by one thread at a time, all together, and one deadline holds
    for all of them. They live until the store is closed: their own `close` does nothing.

    Attributes:
        vm: The engine that made it.
    """

    def __init__(self, vm: VM, gate: CallGate) -> None:
        self.vm = vm
        self._gate = gate
        self._instances: list[Instance] = []

    # --- what an engine provides ---

    @abstractmethod
    def _close(self) -> None:
        """Free everything native. Called once, with no call running."""

    # --- what every store has ---

    def new_memory(self, type: MemoryType) -> Memory:
        """Make a memory, to be imported.

        Args:
            type: Its type; it starts with `limits.minimum` pages.

        Raises:
            UnsupportedError: Where no memory can be imported (`capabilities.imports`).
            ArgumentError: When the type cannot be.
            InstantiationError: When the host, or the store's limit, has no room for it.
            ClosedError: After `close`.
        """
        self._check(ExternKind.MEMORY, MemoryType, type)
        return self._make(type, memory_module(type))  # type: ignore[no-any-return]

    def new_table(self, type: TableType, value: Any = None) -> Table:
        """Make a table, to be imported.

        Args:
            type: Its type; it starts with `limits.minimum` elements.
            value: What each of them is: null (None), or a value of the element type.

        Raises:
            UnsupportedError: Where no table can be imported (`capabilities.imports`), or no such
                value can cross (`capabilities.values`).
            ArgumentError: When the type cannot be, or the value is none of its elements.
            InstantiationError: When the host, or the store's limit, has no room for it.
            ClosedError: After `close`.
        """
        self._check(ExternKind.TABLE, TableType, type)
        if value is not None:
            self._check_value(type.element)
        table: Table = self._make(type, table_module(type))
        if value is not None:
            for index in range(type.limits.minimum):
                table.set(index, value)
        return table

    def new_global(self, type: GlobalType, value: Any) -> Global:
        """Make a global, to be imported.

        Args:
            type: Its type.
            value: Its first value, by the rules for arguments.

        Raises:
            UnsupportedError: Where no global can be imported (`capabilities.imports`), or no such
                value can cross (`capabilities.values`); for a constant reference that is not null.
            ArgumentError: When the value is none of the type.
            ClosedError: After `close`.
        """
        self._check(ExternKind.GLOBAL, GlobalType, type)
        self._check_value(type.value)
        check_value("a new global", type.value, value)
        if type.value not in REFERENCES:
            return self._make(type, global_module(type, value))  # type: ignore[no-any-return]
        if not type.mutable and value is not None:
            raise UnsupportedError("a constant reference that is not null cannot be made")
        variable: Global = self._make(type, global_module(type, None))
        if value is not None:
            variable.value = value
        return variable

    def _make(self, type: ExternType, wasm: bytes) -> Any:
        """What the module exports: the engine instantiates it as any other."""
        try:
            with self.vm.compile(wasm) as module:
                return module.instantiate(store=self).exports[""]
        except CompileError as error:
            raise ArgumentError(f"there is no {type}: {error}") from error

    def _check(self, kind: ExternKind, wanted: type[Any], given: object) -> None:
        self._gate.check_usable()
        if not isinstance(given, wanted):
            raise ArgumentError(f"the type of a {kind} is a {wanted.__name__}, not {given!r}")
        if kind not in self.vm.capabilities.imports:
            raise UnsupportedError(f"engine {self.vm.name!r} cannot import a {kind}")

    def _check_value(self, type: ValueType) -> None:
        if type not in self.vm.capabilities.values:
            raise UnsupportedError(f"engine {self.vm.name!r} cannot pass values of type {type}")

    @property
    def closed(self) -> bool:
        """Whether the store was closed."""
        return self._gate.closed

    def close(self) -> None:
        """Free everything in it, its instances too. Idempotent.

        Raises:
            ConcurrencyError: While a call is running in one of its instances, or in a thread to
                which it is not bound (`capabilities.thread_bound`).
        """
        if self._gate.close():
            for instance in self._instances:
                instance._invalidate_memories()
            self._close()

    def __repr__(self) -> str:
        return f"<{self.vm.name} store, {'closed' if self.closed else 'open'}>"
