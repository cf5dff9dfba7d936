"""A running module."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, cast

from anywasm.core.closeable import Closeable
from anywasm.core.errors import ArgumentError, ExportNotFoundError, UnsupportedError
from anywasm.core.gate import CallGate, Deadline
from anywasm.core.globals import Global
from anywasm.core.marshal import value_bits
from anywasm.core.memory import Memory
from anywasm.core.tables import Table
from anywasm.core.types import (
    ExportType,
    ExternKind,
    FuncType,
    GlobalType,
    MemoryType,
    TableType,
)

if TYPE_CHECKING:
    from anywasm.core.module import Module
    from anywasm.core.store import Store

Export = Callable[..., Any] | Memory | Table | Global
#: Seconds for which the engine is told of deadlines ahead of time.
_ARMED_AHEAD = 0.5


class Exports(Mapping[str, Any]):
    """The exports by name, in the module's order; each is bound once, when first asked for.

    A function is a plain callable, a memory a `Memory`, a table a `Table`, a global a `Global`.

    Attributes:
        types: The types of the exports, by name.
    """

    __slots__ = ("_bind", "_bound", "types")

    def __init__(
        self, types: Mapping[str, ExportType], bind: Callable[[ExportType], Export]
    ) -> None:
        self.types = types
        self._bind = bind
        self._bound: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        try:
            return self._bound[name]
        except KeyError:
            pass
        try:
            export = self.types[name]
        except (KeyError, TypeError):
            known = ", ".join(self.types) or "none"
            raise ExportNotFoundError(f"no export named {name!r}; exports: {known}") from None
        bound = self._bound[name] = self._bind(export)
        return bound

    def __contains__(self, name: object) -> bool:
        return name in self.types

    def __iter__(self) -> Iterator[str]:
        return iter(self.types)

    def __len__(self) -> int:
        return len(self.types)

    def bound(self) -> tuple[Any, ...]:
        """Those that were asked for, as they were handed out."""
        return tuple(self._bound.values())

    def __repr__(self) -> str:
        return f"<Exports {', '.join(self.types)}>"


class Instance(Closeable):
    """One instance of a module, made by `Module.instantiate`.

    Used by one thread at a time: a second thread at the same moment, or another thread than the one
    that made it where `capabilities.thread_bound`, gets a `ConcurrencyError`. Its host functions
    may call its exports again. It is closed explicitly (`close`, or `with`); use after that raises
    `ClosedError`.

    Attributes:
        module: The module it was made from.
        exports: Everything it exports, by name.
        restore_deadline: Undoes `set_deadline`, whose answer it takes.
        store: What it shares with other instances; None when it shares nothing.
    """

    def __init__(self, module: Module, gate: CallGate, store: Store | None = None) -> None:
        self.module = module
        self.store = store
        self._gate = gate
        self.restore_deadline: Callable[[float | None], None] = gate.set_expires
        self._armed_until = 0.0
        self.exports = Exports(module.exports_by_name, self._bind)
        if store is not None:
            store._instances.append(self)

    # --- what an engine provides ---

    @abstractmethod
    def _bind_function(self, export: ExportType) -> Callable[..., Any]:
        """The callable for an exported function (see `anywasm.core.marshal`)."""

    @abstractmethod
    def _bind_memory(self, export: ExportType) -> Memory:
        """The exported memory."""

    @abstractmethod
    def _bind_global(self, export: ExportType) -> Global:
        """The exported global."""

    def _bind_table(self, export: ExportType) -> Table:
        """The exported table, where `capabilities.imports` has tables."""
        raise UnsupportedError(f"an exported table cannot be used from the host: {export}")

    def _bind_promising(self, export: ExportType) -> Callable[..., Generator[Any, Any, Any]]:
        """As `promising`, for an exported function, where `capabilities.suspend`."""
        raise UnsupportedError(f"engine {self.module.vm.name!r} cannot suspend guests")

    @abstractmethod
    def _close(self) -> None:
        """Free everything native. Called once, with no call running; never for one in a store."""

    def _call_bits(self, export: ExportType, args: tuple[int, ...]) -> int | tuple[int, ...] | None:
        """One call with raw bits (see `call_bits`); by default by way of Python numbers."""
        call = self.exports[export.name]
        return value_bits(export.name, cast(FuncType, export.type), call, args)

    # --- what every instance has ---

    @property
    def memory(self) -> Memory | None:
        """The export `memory`, else the first exported memory, else None."""
        name = self.module.memory_export
        return None if name is None else self.exports[name]

    def call_bits(self, name: str, *args: int) -> int | tuple[int, ...] | None:
        """Call the exported function `name` with raw bits, so that NaN payloads survive.

        Args:
            name: The export.
            *args: One unsigned int per parameter, holding the bits of a value of its type.

        Returns:
            The results in the same form: None, one, or a tuple.

        Raises:
            ExportNotFoundError: When there is no function of that name.
            ArgumentError: For a wrong count, or bits wider than the type.
            UnsupportedError: For bits that the engine would change.
        """
        export = self.module.exports_by_name.get(name)
        if export is None or export.kind is not ExternKind.FUNCTION:
            raise ExportNotFoundError(f"no exported function named {name!r}")
        return self._call_bits(export, args)

    def promising(self, name: str) -> Callable[..., Generator[Any, Any, Any]]:
        """The exported function `name`, for calls that may be suspended (`Suspending`).

        As `WebAssembly.promising` of the JS API, with a generator for the promise. It enters the
        guest when it is first advanced; it yields what a `Suspending` host function yielded, takes
        what that is to be sent, and returns what the export does.

        While a call is suspended, every other one into the instance (the store, where it has one)
        gets a `ConcurrencyError`; so does a second one of this kind inside it. It may go on in
        another thread. A deadline counts while it is suspended, and is noticed when it goes on.
        Closing the generator gives the guest's call up where it stands, closing the instance does
        so, too; the call then raises `ClosedError` when it is to go on.

        Args:
            name: The export.

        Raises:
            UnsupportedError: Where the engine cannot suspend (`capabilities.suspend`).
            ExportNotFoundError: When there is no function of that name.
            ClosedError: After `close`.
        """
        vm = self.module.vm
        if not vm.capabilities.suspend:
            raise UnsupportedError(
                f"engine {vm.name!r} cannot suspend guests; choose an engine with "
                "capabilities.suspend, or wait in a thread"
            )
        export = self.module.exports_by_name.get(name)
        if export is None or export.kind is not ExternKind.FUNCTION:
            raise ExportNotFoundError(f"no exported function named {name!r}")
        self._gate.check_usable()
        return self._bind_promising(export)

    @property
    def can_suspend(self) -> bool:
        """Whether the running host function may suspend its guest now.

        That is one which the guest called on the way from `promising`, in this thread.
        """
        return False

    def deadline(self, seconds: float) -> AbstractContextManager[None]:
        """Bound every export call inside the `with` block, nested ones too.

        Nested deadlines take the earlier end. Time spent in host functions counts, and is noticed
        on return to the guest. Past the end the export call raises `DeadlineExceededError` and the
        instance stays callable.

        Args:
            seconds: From now; a number of at least 0.

        Raises:
            UnsupportedError: Where the engine cannot interrupt (`capabilities.interrupt`).
            ArgumentError: When `seconds` is no such number.
            ClosedError: After `close`.
        """
        if not self.module.vm.capabilities.interrupt:
            raise UnsupportedError(
                f"engine {self.module.vm.name!r} cannot interrupt a running guest; "
                "choose an engine with capabilities.interrupt"
            )
        if not isinstance(seconds, (int, float)) or not seconds >= 0:
            raise ArgumentError(f"a deadline is a number of seconds of at least 0, not {seconds!r}")
        if self._gate.alert and not self._gate.suspended:  # it may be for going on
            self._gate.check_usable()
        self._arm(time.monotonic() + seconds)
        return Deadline(self._gate, seconds)

    def set_deadline(self, expires: float) -> float | None:
        """As entering `deadline`, for callers that make very many calls: no object, no checks.

        Args:
            expires: The `time.monotonic` second; an earlier end that is set already stays.

        Returns:
            What to give to `restore_deadline`, in any case, when the calls are done.
        """
        gate = self._gate
        outer = gate.expires
        if outer is None or expires < outer:
            if expires > self._armed_until:
                self._arm(expires)
            gate.set_expires(expires)
        return outer

    def _arm(self, expires: float) -> None:
        """As `_arm_until`, and further, so that most of the next calls need not."""
        self._armed_until = expires + _ARMED_AHEAD
        self._arm_until(self._armed_until)

    def _arm_until(self, expires: float) -> None:
        """Have the engine notice deadlines up to that `time.monotonic` second."""

    @property
    def closed(self) -> bool:
        """Whether the instance was closed."""
        return self._gate.closed

    def close(self) -> None:
        """Free everything native. Idempotent; in a store it does nothing, the store owns it all.

        Raises:
            ConcurrencyError: While a call is running in the instance, or in a thread to which it is
                not bound.
        """
        if self.store is None and self._gate.close():
            self._invalidate_memories()
            self._close()

    def _invalidate_memories(self) -> None:
        """Have the memories that were handed out fetch theirs anew, which then fails."""
        for bound in self.exports.bound():
            if isinstance(bound, Memory):
                bound.invalidate()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<{self.module.vm.name} instance of {self.module!r}, {state}>"

    def _bind(self, export: ExportType) -> Export:
        self._gate.check_usable()
        if isinstance(export.type, FuncType):
            return self._bind_function(export)
        if isinstance(export.type, MemoryType):
            return self._bind_memory(export)
        if isinstance(export.type, GlobalType):
            return self._bind_global(export)
        if isinstance(export.type, TableType):
            return self._bind_table(export)
        raise UnsupportedError(f"an exported {export.kind} cannot be used from the host: {export}")
