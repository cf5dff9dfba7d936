"""A compiled module."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from anywasm.core.artifact import Artifact, write_artifact
from anywasm.core.binary import ModuleInterface, strip_to_interface
from anywasm.core.closeable import Closeable
from anywasm.core.errors import ArgumentError, UnsupportedError
from anywasm.core.fork import closed_error
from anywasm.core.instance import Instance
from anywasm.core.limits import ResourceLimits
from anywasm.core.linking import ImportObject, resolve_imports
from anywasm.core.signals import trap_signals
from anywasm.core.store import Store
from anywasm.core.types import CustomSection, ExportType, ExternKind, ImportType

if TYPE_CHECKING:
    from anywasm.core.vm import VM


class Module(Closeable):
    """A compiled module, made by `VM.compile` or `VM.load`. Thread-safe.

    Compile once, instantiate often: an instance costs far less than a module. Closing a module
    leaves its instances usable.

    Attributes:
        vm: The engine that compiled it.
        imports: What it asks for, in its order; duplicate entries are kept.
        exports: What it offers, in its order.
        exports_by_name: The same, by name.
        custom_sections: Its custom sections, in its order.
        memory_export: The name under which `Instance.memory` is exported, or None.
    """

    def __init__(self, vm: VM, interface: ModuleInterface) -> None:
        self.vm = vm
        self.imports: tuple[ImportType, ...] = interface.imports
        self.exports: tuple[ExportType, ...] = interface.exports
        self.custom_sections: tuple[CustomSection, ...] = interface.custom_sections
        self.exports_by_name = {export.name: export for export in interface.exports}
        memories = [export.name for export in interface.exports if export.kind is ExternKind.MEMORY]
        self.memory_export = "memory" if "memory" in memories else next(iter(memories), None)
        self._closed = False

    # --- what an engine provides ---

    @abstractmethod
    def _instantiate(self, imports: list[Any], limits: ResourceLimits | None) -> Instance:
        """Instantiate, in a store of its own, with a value for each of `imports`.

        Args:
            imports: Checked for presence and kind. Callables, and where the engine claims more
                kinds of `imports`: memories, tables and globals, or an immutable global's value.
            limits: Of the kinds that the engine claims.
        """

    def _instantiate_in(
        self, store: Store, imports: list[Any], limits: ResourceLimits | None
    ) -> Instance:
        """As `_instantiate`, in one of this engine's stores, which has the limits on memory."""
        raise UnsupportedError(f"engine {self.vm.name!r} cannot link instances with each other")

    def _serialize(self) -> tuple[bytes, bytes]:
        """The wasm binary (or its interface sections) and the engine's own artifact."""
        raise UnsupportedError(f"engine {self.vm.name!r} cannot serialize modules")

    def _close(self) -> None:
        """Free what is native and not shared with instances. Called once."""

    # --- what every module has ---

    def instantiate(
        self,
        imports: ImportObject | None = None,
        limits: ResourceLimits | None = None,
        store: Store | None = None,
    ) -> Instance:
        """Make an instance, and run the module's start function if it has one.

        Args:
            imports: The importObject: module name -> import name -> value. A callable takes and
                returns values by the import's type (see `anywasm.core.marshal`). Memories, tables
                and globals are those of `store`; for an immutable global its value does as well.
                A whole module may be another instance's `exports`.
            limits: Bounds on the instance: on memory and tables where `capabilities.memory_limit`,
                on the start function's time where `capabilities.interrupt`. In a store the first
                two are the store's.
            store: What to share with other instances (`VM.new_store`); None for nothing.

        Returns:
            The instance, owned by the caller, or by the store where one is given; on a thread-bound
            engine it belongs to this thread.

        Raises:
            LinkError: When imports are missing (all are named at once), of the wrong kind or type,
                or of another store.
            InstantiationError: When a data segment does not fit, a limit is too small, or the start
                function traps (the `TrapError` is the `__cause__`).
            DeadlineExceededError: When the start function took longer than it may.
            UnsupportedError: For limits or kinds of import that the engine does not claim.
            ArgumentError: For a store of another engine, or limits on memory with a store.
            ClosedError: After `close`.
        """
        if self._closed:
            raise closed_error(repr(self))
        if limits is not None:
            self.vm._check_limits(limits)
        if store is not None:
            if store.vm is not self.vm:
                raise ArgumentError(f"{store!r} is of another engine than {self!r}")
            if store.closed:
                raise closed_error(repr(store))
            if limits is not None and limits.bounds_memory:
                raise ArgumentError("memory is limited for a whole store: see VM.new_store")
        values = resolve_imports(self.imports, imports, self.vm.capabilities)
        trap_signals.check()
        if store is not None:
            instance = self._instantiate_in(store, values, limits)
        else:
            instance = self._instantiate(values, limits)
        if not self.vm.has_run:
            # Some engines put their signal handlers up for their first instance only.
            trap_signals.remember()
            self.vm.has_run = True
        return instance

    def serialize(self) -> bytes:
        """The compiled module as an artifact for `VM.load` on the same engine and machine kind.

        Raises:
            UnsupportedError: Where the engine does not claim `serialize`.
            ClosedError: After `close`.
        """
        if self._closed:
            raise closed_error(repr(self))
        if not self.vm.capabilities.serialize:
            raise UnsupportedError(f"engine {self.vm.name!r} cannot serialize modules")
        wasm, code = self._serialize()
        artifact = Artifact(strip_to_interface(wasm), code)
        return write_artifact(self.vm.name, self.vm.artifact_version, artifact)

    @property
    def closed(self) -> bool:
        """Whether the module was closed."""
        return self._closed

    def close(self) -> None:
        """Free the module; its instances live on. Idempotent."""
        if not self._closed:
            self._closed = True
            self._close()

    def __repr__(self) -> str:
        return f"<{self.vm.name} module, {len(self.imports)} imports, {len(self.exports)} exports>"
