"""A guest: one instance of a module that speaks proxy-wasm, with its contexts."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anywasm.abi.buffer import Buffer
from anywasm.abi.callbacks import Callbacks, bind_export
from anywasm.abi.context import Context, RootContext, StreamContext
from anywasm.abi.enums import BufferType, LogLevel
from anywasm.abi.imports import bind_imports
from anywasm.abi.table import HostFunction, Phase
from anywasm.abi.versions import abi_version
from anywasm.core.errors import (
    AbiError,
    AnyWasmError,
    DeadlineExceededError,
    MemoryBoundsError,
    TrapError,
    TrapKind,
)
from anywasm.core.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from anywasm.abi.host import HostServices
    from anywasm.abi.plugin import PluginIdentity
    from anywasm.core.module import Module


@dataclass(frozen=True, slots=True)
class GuestLimits:
    """How long a guest may take.

    Attributes:
        start: Seconds for each call up to and including `proxy_on_configure`.
        call: Seconds for one stream callback.
    """

    start: float = 30.0
    call: float = 1.0


class _NoMemory(Memory):
    """While the module's start section runs, nobody can reach its memory yet."""

    __slots__ = ()

    def _attach(self) -> memoryview:
        return memoryview(b"")

    def _grow(self, pages: int) -> bool:
        return False


class Guest:
    """One WASM VM in Envoy's sense: an instance, its root contexts and its streams.

    Used by one thread at a time, as its instance is; made, started and closed by its owner. A trap
    or a deadline inside leaves it `failed`: proxy-wasm gives no way to know what state the guest is
    in, so its owner replaces it.

    Attributes:
        module: What it was made from.
        version: The ABI version that it speaks.
        services: What the host gives it.
        limits: How long it may take.
        callbacks: What it exports for its host.
        effective: The context on which host functions act now.
        entered: The context on behalf of which the guest runs, or None while it does not.
        expires: The `time.monotonic` second by which the running call must be done.
        phase: The restricted phase that runs now, or none.
        failed: What broke it, or None.
        woken: Streams for which the running call asked something, other than the call's own.
    """

    def __init__(
        self,
        module: Module,
        plugin: PluginIdentity,
        services: HostServices,
        limits: GuestLimits | None = None,
    ) -> None:
        """Instantiate `module` for `plugin` and let it initialize itself.

        Raises:
            AbiError: When it speaks no known ABI, or imports what this host does not have (all of
                it is named).
            TrapError: When it trapped while initializing.
            DeadlineExceededError: When that took longer than `limits.start`.
            LinkError, InstantiationError: From the engine.
        """
        self.module = module
        self.version = abi_version(module)
        self.services = services
        self.limits = limits or GuestLimits()
        self.failed: BaseException | None = None
        self.woken: list[StreamContext] = []
        self.phase = Phase.START
        self.env = dict(plugin.env)
        self._interruptible = module.vm.capabilities.interrupt
        self._contexts: dict[int, Context] = {}
        self._next_id = 0
        self._base = Context(self, 0, plugin)
        self.effective: Context = self._base
        self.entered: Context | None = None
        self.expires = math.inf
        self._memory: Any = _NoMemory()
        self._allocator: Callable[[int], int] | None = None
        self.instance = module.instantiate(bind_imports(self))
        try:
            memory = self.instance.memory
            if memory is None:
                raise AbiError("the guest exports no memory")
            self._memory = memory
            self._allocator = self._find_allocator()
            self.callbacks = Callbacks(self.instance)
            self._initialize()
        except BaseException:
            self.instance.close()
            raise
        self.phase = Phase.NONE

    def _find_allocator(self) -> Callable[[int], int]:
        # The spec prefers proxy_on_memory_allocate; guests built for other targets have malloc.
        for name in ("proxy_on_memory_allocate", "malloc"):
            allocate = bind_export(self.instance, name, 1, answers=True)
            if allocate is not None:
                return allocate
        raise AbiError("the guest exports neither proxy_on_memory_allocate nor malloc")

    def _initialize(self) -> None:
        def run(name: str, *args: int) -> bool:
            function = bind_export(self.instance, name, len(args))
            if function is not None:
                self.call(self._base, function, *args, limit=self.limits.start)
            return function is not None

        if run("_initialize"):  # a WASI reactor
            _ = run("main", 0, 0) or run("__main_void")
        else:
            run("_start")  # a WASI command

    # --- calling the guest -----------------------------------------------------------------------

    def call(
        self, context: Context, function: Callable[..., Any], *args: int, limit: float | None = None
    ) -> Any:
        """Call into the guest on behalf of `context`.

        Args:
            context: What host functions act on, until the guest chooses another.
            function: A callback, or another exported function.
            *args: Its arguments.
            limit: Seconds; by default `limits.call`, and never more than the context has left.

        Returns:
            What the function returned.

        Raises:
            TrapError: When the guest trapped; it is `failed` then.
            DeadlineExceededError: When it took too long; it is `failed` then.
        """
        now = time.monotonic()
        expires = min(now + (self.limits.call if limit is None else limit), context.deadline)
        if expires <= now:
            raise DeadlineExceededError("no time is left for another call of the guest")
        outer = self.effective, self.entered, self.expires
        self.effective = self.entered = context
        self.expires = expires
        try:
            if not self._interruptible:
                return function(*args)
            with self.instance.deadline(expires - now):
                return function(*args)
        except BaseException as error:
            self.failed = error
            self.woken += [c for c in self._contexts.values() if isinstance(c, StreamContext)]
            raise
        finally:
            self.effective, self.entered, self.expires = outer
            if self.woken and self.entered is None:
                self._wake()

    def _wake(self) -> None:
        woken, self.woken = self.woken, []
        for stream in woken:
            if stream.notify is not None:
                stream.notify()

    def refuse(self, function: HostFunction) -> None:
        """Trap the guest for a host function that the running phase does not allow.

        proxy-wasm-cpp-host does the same (`restricted_callback`).

        Raises:
            TrapError: Unless the phase allows it.
        """
        if not function.phases & self.phase:
            raise TrapError(
                TrapKind.OTHER, f"{function.name} may not be called during {self.phase.name}"
            )

    # --- contexts --------------------------------------------------------------------------------

    def get_id(self) -> str | None:
        """The id that the guest gives itself through Layotto's `proxy_get_id`, if it exports it.

        Raises:
            AbiError: When it exports the function but tells no id, or one that is not UTF-8.
        """
        if self.callbacks.get_id is None:
            return None
        answer = Buffer()
        self._base.buffers[BufferType.FOREIGN_FUNCTION_ARGUMENTS] = answer
        try:
            self.call(self._base, self.callbacks.get_id, limit=self.limits.start)
        finally:
            self._base.buffers[BufferType.FOREIGN_FUNCTION_ARGUMENTS] = None
        try:
            told = answer.data.decode()
        except UnicodeDecodeError:
            raise AbiError("proxy_get_id gave an id that is not UTF-8") from None
        if not told:
            raise AbiError("proxy_get_id gave no id")
        return told

    def create_root(self, plugin: PluginIdentity) -> RootContext:
        """Make a plugin's root context, start the VM for it and configure it.

        Raises:
            AbiError: When the guest refuses (`proxy_on_vm_start` or `proxy_on_configure`).
            TrapError, DeadlineExceededError: As `call`.
        """
        root = RootContext(self, self._new_id(), plugin)
        self._contexts[root.id] = root
        limit = self.limits.start
        if self.callbacks.on_context_create is not None:
            self.call(root, self.callbacks.on_context_create, root.id, 0, limit=limit)
        self._offer(
            root,
            BufferType.VM_CONFIGURATION,
            plugin.vm_configuration,
            self.callbacks.on_vm_start,
            "proxy_on_vm_start",
        )
        self._offer(
            root,
            BufferType.PLUGIN_CONFIGURATION,
            plugin.configuration,
            self.callbacks.on_configure,
            "proxy_on_configure",
        )
        return root

    def _offer(
        self,
        root: RootContext,
        buffer: BufferType,
        configuration: bytes,
        callback: Callable[..., Any] | None,
        name: str,
    ) -> None:
        if callback is None:
            return
        root.buffers[buffer] = Buffer(configuration, writable=False)
        try:
            accepted = self.call(
                root, callback, root.id, len(configuration), limit=self.limits.start
            )
        finally:
            root.buffers[buffer] = None
        if not accepted:
            self.failed = AbiError(f"the guest refused to start: {name} returned false")
            raise self.failed

    def create_stream(
        self, root: RootContext, deadline: float | None = None, chain: tuple[str, ...] = ()
    ) -> StreamContext:
        """Make a stream context; its first event should follow at once.

        Args:
            root: The plugin's root context.
            deadline: The `time.monotonic` second by which the stream must be done.
            chain: The ids of the functions that wait for this one, itself last.

        Raises:
            TrapError, DeadlineExceededError: As `call`.
        """
        if deadline is None:
            deadline = time.monotonic() + self.limits.start
        stream = StreamContext(self, self._new_id(), root, deadline, chain)
        self._contexts[stream.id] = stream
        try:
            if self.callbacks.on_context_create is not None:
                self.call(stream, self.callbacks.on_context_create, stream.id, root.id)
        except BaseException:
            del self._contexts[stream.id]  # nobody will end what the guest does not know
            raise
        return stream

    def context(self, id: int) -> Context | None:
        """The living context of that number."""
        return self._contexts.get(id)

    def end(self, context: Context) -> None:
        """End a context in the spec's order: done, log (streams only), delete. Idempotent.

        A failed guest is not called any more, as in Envoy.

        Raises:
            TrapError, DeadlineExceededError: As `call`; the context is gone all the same.
        """
        if self._contexts.get(context.id) is not context:
            return
        callbacks = [self.callbacks.on_done, self.callbacks.on_delete]
        if isinstance(context, StreamContext):
            callbacks.insert(1, self.callbacks.on_log)
            # Cleaning up is owed to the guest even when the stream ran out of time.
            context.deadline = max(context.deadline, time.monotonic() + self.limits.call)
        try:
            for callback in callbacks:
                if callback is not None and self.failed is None:
                    self.call(context, callback, context.id)
        finally:
            self._contexts.pop(context.id, None)

    def close(self) -> None:
        """End every context, then free the instance. Errors of a dying guest are logged only."""
        try:
            for context in sorted(self._contexts.values(), key=lambda context: -context.id):
                self.end(context)
        except AnyWasmError as error:
            self._base.log(LogLevel.ERROR, f"the guest failed while it was shut down: {error}")
        finally:
            self._contexts.clear()
            self.instance.close()

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id

    # --- the guest's memory ----------------------------------------------------------------------

    def read(self, ptr: int, size: int) -> bytes:
        """Read guest memory. Raises `MemoryBoundsError`."""
        return self._memory.read(ptr, size)  # type: ignore[no-any-return]

    def read_u32(self, ptr: int) -> int:
        """Read a number from guest memory. Raises `MemoryBoundsError`."""
        return self._memory.read_u32(ptr)  # type: ignore[no-any-return]

    def write(self, ptr: int, data: bytes) -> None:
        """Write into guest memory. Raises `MemoryBoundsError`."""
        self._memory.write(ptr, data)

    def write_u32(self, ptr: int, value: int) -> None:
        """Write a number into guest memory. Raises `MemoryBoundsError`."""
        self._memory.write_u32(ptr, value)

    def write_u64(self, ptr: int, value: int) -> None:
        """Write a number into guest memory. Raises `MemoryBoundsError`."""
        self._memory.write_u64(ptr, value)

    def give(self, data: bytes, ptr: int, size_ptr: int) -> bool:
        """Hand `data` to the guest in memory of its own, and tell where at `ptr` and `size_ptr`.

        The guest's allocator is not called for nothing: Go guests panic on size 0.

        Returns:
            Whether it worked; False where the allocator failed.

        Raises:
            MemoryBoundsError: When an address is outside.
        """
        memory = self._memory
        if not data:
            memory.write_u32(ptr, 0)
            memory.write_u32(size_ptr, 0)
            return True
        address = self._allocate(len(data))
        if not address:
            return False
        memory.write(address, data)
        memory.write_u32(ptr, address)
        memory.write_u32(size_ptr, len(data))
        return True

    def _allocate(self, size: int) -> int:
        if self._allocator is None:
            raise MemoryBoundsError("the guest has no allocator yet")
        outer, self.phase = self.phase, Phase.ALLOCATION
        try:
            return self._allocator(size)
        finally:
            self.phase = outer
