"""A guest: one instance of a module that speaks proxy-wasm, with its contexts."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anywasm.abi import contexts
from anywasm.abi.buffer import Buffer
from anywasm.abi.callbacks import Callbacks, bind_export
from anywasm.abi.callouts import Callouts
from anywasm.abi.context import Context, RootContext, StreamContext
from anywasm.abi.enums import BufferType, LogLevel, Status
from anywasm.abi.guest_call import GuestCall
from anywasm.abi.guest_memory import GuestMemory
from anywasm.abi.imports import bind_imports
from anywasm.abi.native import native
from anywasm.abi.table import HostFunction, Phase
from anywasm.abi.versions import abi_version
from anywasm.core.errors import (
    AbiError,
    AnyWasmError,
    TrapError,
    TrapKind,
)
from anywasm.core.limits import ResourceLimits

if TYPE_CHECKING:
    from collections.abc import Callable

    from anywasm.abi.contexts import Contexts
    from anywasm.abi.host import HostServices
    from anywasm.abi.plugin import PluginIdentity
    from anywasm.abi.waits import Answer, Wait
    from anywasm.core.module import Module

    Job = Callable[[], None]


#: Bytes of the id that a guest gives itself.
MAX_ID = 1024
#: Jobs that are done after one guest call. A guest can make new ones in them without end (a queue
#: that it fills when told of an item); what is left waits for the next call.
_MOST_DEFERRED = 10_000


@dataclass(frozen=True, slots=True)
class GuestLimits:
    """How much a guest may take.

    Attributes:
        start: Seconds for each call up to and including `proxy_on_configure`.
        call: Seconds for one stream callback.
        memory: Bytes that its memory may hold; None for no bound of its own.
    """

    start: float = 30.0
    call: float = 1.0
    memory: int | None = None


class Guest:
    """One WASM VM in Envoy's sense: an instance, its root contexts and its streams.

    Used by one thread at a time, as its instance is; made, started and closed by its owner. A trap
    or a deadline inside leaves it `failed`: proxy-wasm gives no way to know what state the guest is
    in, so its owner replaces it.

    Attributes:
        module: What it was made from.
        abi: The ABI version that it speaks.
        services: What the host gives it.
        limits: How long it may take.
        memory: Its memory.
        callbacks: What it exports for its host.
        callouts: What it waits for from outside.
        allowed: The capabilities that it has, by name; None for all.
        effective: The context on which host functions act now.
        entered: The context on behalf of which the guest runs, or None while it does not.
        expires: The `time.monotonic` second by which the running call must be done.
        phase: The restricted phase that runs now, or none.
        failed: What broke it, or None.
        failed_in: The callback, or other export, that ran then, or None.
        waits_for: What the running host function wants to wait for.
        answer: What came of that, for the host function that is called again.
        woken: Streams for which the running call asked something, other than the call's own.
        poster: How a job gets to run when the guest is free; called from any thread. Its owner sets
            it where others use the guest too; by default `run_soon`, for a guest with one thread.
        on_failed: Called once when the guest breaks, after the call that broke it.
        deferred: Jobs that wait for the running call to end.
        call: Calls into the guest on behalf of a context: `call(context, function, *args)`. Host
            functions act on the context until the guest chooses another. It takes `limits.call`
            seconds at most, or `limit=`, and never more than the context has left. Raises
            `TrapError` when the guest traps and `DeadlineExceededError` when it takes too long; it
            is `failed` then. See `anywasm.abi.guest_call`.
        contexts: Its contexts.
        create_stream: Makes a stream context, whose first event should follow at once:
            `create_stream(root, deadline=None, chain=(), info=None, driver=None)`, of the plugin's
            root context, the `time.monotonic` second by which the stream must be done, the ids of
            the functions that wait for this one, itself last, what is known about it, by default
            nothing, and who drives it. Raises as `call` does.
        end: Ends a context in the spec's order: done, log (streams only), delete. Idempotent. A
            guest that answers `proxy_on_done` with 0 keeps its context until it calls `proxy_done`.
            A failed guest is not called any more, as in Envoy. Raises as `call` does; the context
            is gone all the same.
    """

    # Slots also because the extension reads and writes some of them in place.
    __slots__ = (
        "__weakref__",
        "_closed",
        "_interruptible",
        "_settling",
        "abi",
        "allowed",
        "answer",
        "base",
        "call",
        "callbacks",
        "callouts",
        "contexts",
        "create_stream",
        "deferred",
        "effective",
        "end",
        "entered",
        "env",
        "expires",
        "failed",
        "failed_in",
        "instance",
        "limits",
        "memory",
        "module",
        "on_failed",
        "phase",
        "poster",
        "services",
        "waits_for",
        "woken",
    )

    call: GuestCall
    contexts: Contexts

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
            UnsupportedError: When the engine cannot limit memory, and `limits.memory` is given.
        """
        self.module = module
        self.abi = abi_version(module)
        self.services = services
        self.limits = limits or GuestLimits()
        self.memory = GuestMemory(self)
        self.failed: BaseException | None = None
        self.failed_in: str | None = None
        self.woken: list[StreamContext] = []
        self.waits_for: Wait | None = None
        self.answer: Answer | None = None
        self.phase = Phase.START
        self.env = dict(plugin.env)
        self.allowed = plugin.allowed_capabilities
        self._interruptible = module.vm.capabilities.interrupt
        self.deferred: deque[Job] = deque()
        self._settling = False
        self._closed = False
        self.base = Context(self, 0, plugin)
        self.effective: Context = self.base
        self.entered: Context | None = None
        self.expires = math.inf
        self.poster: Callable[[Job], None] = self.run_soon
        self.on_failed: Job | None = None
        self.callouts = Callouts(self)
        bounds = ResourceLimits(
            memory_bytes=self.limits.memory,
            start_seconds=self.limits.start if self._interruptible else None,
        )
        self.instance = instance = module.instantiate(bind_imports(self), bounds)
        enter: Any = GuestCall if native is None else native.GuestCall
        self.call = enter(self, instance, self.limits.call, self._interruptible)
        try:
            allocator = bind_export(
                self.instance, "proxy_on_memory_allocate", 1, answers=True
            ) or bind_export(self.instance, "malloc", 1, answers=True)
            self.memory.attach(self.instance.memory, allocator)
            self.callbacks = Callbacks(self.instance, self.allowed)
            kind: Any = contexts.Contexts if native is None else contexts.NativeContexts
            self.contexts = kind(self)
            self.create_stream = self.contexts.create_stream
            self.end = self.contexts.end
            self._initialize()
        except BaseException:
            self.instance.close()
            raise
        self.phase = Phase.NONE

    def _initialize(self) -> None:
        def run(name: str, *args: int) -> bool:
            function = bind_export(self.instance, name, len(args))
            if function is not None:
                self.call(self.base, function, *args, limit=self.limits.start)
            return function is not None

        if run("_initialize"):  # a WASI reactor
            _ = run("main", 0, 0) or run("__main_void")
        else:
            run("_start")  # a WASI command

    # --- calling the guest -----------------------------------------------------------------------

    def broke(self, error: BaseException, function: Callable[..., Any]) -> None:
        """Note that a call ended with an exception; for `GuestCall`."""
        if self.failed is None:
            self.failed = error
            self.failed_in = self.callbacks.name(function)
            self.woken += self.contexts.streams()
            self.callouts.close()
            if self.on_failed is not None:
                self.deferred.append(self.on_failed)

    def after_call(self) -> None:
        """Do what calls have left to do; for `GuestCall`."""
        # However often a guest asked, a stream is told once.
        woken, self.woken = dict.fromkeys(self.woken), []
        for stream in woken:
            if stream.driver is not None:
                stream.driver.notify()
        if self._settling:
            return  # the jobs below call the guest, too
        self._settling = True
        try:
            for _ in range(_MOST_DEFERRED):
                if not self.deferred:
                    return
                self._run(self.deferred.popleft())
        finally:
            self._settling = False

    def wait_for(self, wait: Wait) -> Status | None:
        """Suspend the guest when the running host function has returned, if that can be done.

        Returns:
            What the host function is to return; it is called again with the answer. None where it
            has to wait itself.
        """
        if not self.instance.can_suspend:
            return None
        self.waits_for = wait
        return Status.OK

    def take_answer(self) -> Answer | None:
        """What came of `wait_for`, when the host function is called again."""
        answer, self.answer = self.answer, None
        return answer

    def post(self, job: Job) -> None:
        """Have `job` call the guest when it is free. From any thread; nothing once it is closed."""
        if not self._closed:
            self.poster(job)

    def run_soon(self, job: Job) -> None:
        """Run `job` now, or after the running call; in the thread that may use the guest."""
        if self.entered is not None:
            self.deferred.append(job)
        else:
            self._run(job)

    def _run(self, job: Job) -> None:
        if self._closed:
            return
        try:
            job()
        except AnyWasmError as error:
            self.base.log(LogLevel.ERROR, f"the guest failed: {error}")

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
            AbiError: When it exports the function but tells no id, or one that is not UTF-8 or
                longer than `MAX_ID`.
        """
        if self.callbacks.get_id is None:
            return None
        answer = Buffer()
        self.base.buffers[BufferType.FOREIGN_FUNCTION_ARGUMENTS] = answer
        try:
            self.call(self.base, self.callbacks.get_id, limit=self.limits.start)
        finally:
            self.base.buffers[BufferType.FOREIGN_FUNCTION_ARGUMENTS] = None
        if len(answer.data) > MAX_ID:
            raise AbiError(f"proxy_get_id gave an id longer than {MAX_ID} bytes")
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
        root = RootContext(self, self.contexts.new_id(), plugin)
        self.contexts.living[root.id] = root
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
            # Others may share the guest, so that it goes on, without this plugin.
            root.close()
            self.contexts.forget(root)
            raise AbiError(f"the guest refused to start: {name} returned false")

    def context(self, id: int) -> Context | None:
        """The living context of that number."""
        return self.contexts.get(id)

    def close(self) -> None:
        """End every context, then free the instance. Errors of a dying guest are logged only."""
        if self._closed:
            return
        try:
            for context in sorted(self.contexts.living.values(), key=lambda found: -found.id):
                self.end(context)
                self.contexts.finish(context)
        except AnyWasmError as error:
            self.base.log(LogLevel.ERROR, f"the guest failed while it was shut down: {error}")
        finally:
            self._closed = True
            self.callouts.close()
            for context in self.contexts.living.values():
                if isinstance(context, RootContext):
                    context.close()
            self.contexts.living.clear()
            self.instance.close()

    @property
    def closed(self) -> bool:
        """Whether its instance was freed."""
        return self._closed
