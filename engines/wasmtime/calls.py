"""The call path: exports, host functions, and the deadlines over them."""

from __future__ import annotations

import ctypes
import itertools
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from anywasm.core.deadlines import IDLE, TICK, Ticker
from anywasm.core.gate import CallGate
from anywasm.core.limits import MOST_TABLE_ELEMENTS, ResourceLimits
from anywasm.core.marshal import SlotLayout, SlotViews, slot_export, slot_host
from anywasm.core.suspending import Suspending
from anywasm.core.types import FuncType
from anywasm.engines.fastcall import ENABLED, native, signature
from anywasm.engines.stack import FIBER_ROOM, StackFloor, refuse_depth
from anywasm.engines.wasmtime.errors import call_error, take_native
from anywasm.engines.wasmtime.library import (
    UPDATE_DEADLINE_YIELD,
    EpochCallback,
    HostCallback,
    Pointer,
    address_of,
    call_future_delete,
    call_future_poll,
    context_set_epoch_deadline,
    error_delete,
    error_new,
    func_call_async,
    func_call_unchecked,
    func_new_unchecked,
    increment_epoch,
    store_epoch_deadline_callback,
    trap_delete,
    trap_new,
    view_at,
    wasmtime,
)
from anywasm.engines.wasmtime.promises import Promises
from anywasm.engines.wasmtime.references import References, holds_references

#: `wasmtime_val_raw_t` is 16 bytes, little-endian; arguments and results start at the first.
LAYOUT = SlotLayout(stride=2, v128=True)

#: Ticks between two looks of a running guest at the time, at most: signals wait for one, too.
_MOST_TICKS = 8
#: How many addresses of host functions' slots are remembered.
_MAX_VIEWS = 256

_NO_LIMIT = -1
_MAX_LIMIT = (1 << 63) - 1

_ENDED = b"ended by the host"
_END_TEXT, _END_LENGTH = ctypes.c_char_p(_ENDED), ctypes.c_size_t(len(_ENDED))
_monotonic = time.monotonic

_Views = tuple[Any, Any, Any, Any]

_stack = StackFloor()

if ENABLED:
    native.use_wasmtime(
        address_of(func_call_unchecked),
        address_of(trap_new),
        address_of(trap_delete),
        address_of(error_delete),
        address_of(func_call_async),
        address_of(call_future_poll),
        address_of(call_future_delete),
        address_of(context_set_epoch_deadline),
        _stack.measure,
        refuse_depth,
        FIBER_ROOM,
    )


def _ticker(engine: wasmtime.Engine) -> Ticker | native.Ticker:
    """What increments the engine's epoch: a thread that never waits for the GIL, where it can."""
    if not ENABLED:
        return Ticker("anywasm-wasmtime-deadlines", engine.increment_epoch)
    address = ctypes.cast(engine.ptr(), ctypes.c_void_p).value or 0
    return native.Ticker(address_of(increment_epoch), address, TICK, IDLE, engine)


class Epochs:
    """An engine, and the clock by which its running guests notice their deadlines.

    At ticks a guest that is running calls back, on its own thread, where its deadline is compared
    with the time; a guest without one goes on. It needs the GIL for that, for which it may wait
    long where other threads run Python, so it looks again after half of the time that is left to
    it. Shared by the engine's modules and instances: the engine and the ticking thread go with the
    last of them.
    """

    def __init__(self, engine: wasmtime.Engine) -> None:
        self.engine = engine
        self._running: weakref.WeakValueDictionary[int, Calls] = weakref.WeakValueDictionary()
        self._tokens = itertools.count(1)
        self._between: dict[FuncType, wasmtime.Module] = {}
        ticker = _ticker(engine)
        #: See `Ticker.arm`.
        self.arm = ticker.arm
        weakref.finalize(self, ticker.close)
        running = self._running

        def on_epoch(_context: int, token: int, delta: Any, kind: Any) -> int:
            # Nothing stands before the `try`: this is where a signal that came while the guest ran
            # raises its KeyboardInterrupt. (Since CPython 3.11 it does so before the first line,
            # where ctypes can only report it and go on.)
            try:
                calls = running[token]
                if calls.promises.take_yield():
                    kind[0] = UPDATE_DEADLINE_YIELD
                    calls.looks_late = False
                    delta[0] = 1
                    return 0
                expires = calls.gate.expires
                ticks = _MOST_TICKS
                if expires is not None:
                    left = expires - _monotonic()
                    if left <= 0:
                        raise calls.gate.overdue()
                    ticks = max(1, int(min(ticks, left / (2 * TICK))))
            except BaseException as error:
                running[token].gate.pending = error
                return error_new(_END_TEXT)  # type: ignore[no-any-return]
            calls.looks_late = ticks > 1
            delta[0] = ticks
            return 0

        self._callback = EpochCallback(on_epoch)

    def between(self, type: FuncType, text: str) -> wasmtime.Module:
        """The module of that text, which stands between host functions of a type and guests."""
        module = self._between.get(type)
        if module is None:
            module = self._between[type] = wasmtime.Module(self.engine, text)
        return module

    def watch(self, calls: Calls) -> None:
        """Have the guests of a store call back at each tick."""
        token = next(self._tokens)
        self._running[token] = calls
        store = ctypes.cast(calls.store.ptr(), ctypes.c_void_p)
        if ENABLED:
            mine, context = address_of(self._callback), calls.context.value or 0
            promises = native.WasmtimePromises(context, calls.gate, calls.store, mine, token)
            calls.promises.native = promises
            entry, data = Pointer(native.wasmtime_epoch), Pointer(promises.address)
            store_epoch_deadline_callback(store, entry, data, None)
        else:
            store_epoch_deadline_callback(store, self._callback, Pointer(token), None)
        calls.look_at_next_tick()


class Calls:
    """What the calls of one store share: of one instance, unless a store was asked for.

    Attributes:
        gate: The store's gate.
        epochs: The engine's.
        store: The store, which owns everything native of the instance.
        context: The store's `wasmtime_context_t *`.
        references: The functions and objects that cross as references.
        promises: Its calls that may be suspended.
        stack: How deep the running thread may go.
        looks_late: Whether the guest, when it runs, may let ticks pass before it looks at the time.
    """

    def __init__(self, epochs: Epochs, gate: CallGate, slots: int) -> None:
        """Make a store.

        Args:
            epochs: The engine.
            gate: The store's gate.
            slots: Bytes that the values of any of its host functions take at most.
        """
        self.gate = gate
        self.epochs = epochs
        self.store = wasmtime.Store(epochs.engine)
        self.context = ctypes.cast(self.store._context(), ctypes.c_void_p)
        self.references = References(self)
        self.promises = Promises(self)
        self.stack = _stack
        self._trap = Pointer()
        self._slots = slots
        self._floor = -1
        self._views: dict[int, _Views] = {}
        self._callbacks: list[Any] = []
        self.looks_late = False
        epochs.watch(self)

    def look_at_next_tick(self) -> None:
        """Have the guest look at the time at the next tick, because its deadline has changed."""
        context_set_epoch_deadline(self.context, ctypes.c_uint64(1))
        self.looks_late = False

    def limit(
        self, limits: ResourceLimits, memories: int = _NO_LIMIT, tables: int = _NO_LIMIT
    ) -> None:
        """Bound what each memory and table may hold, and how many there may be."""
        elements = limits.table_elements
        self.store.set_limits(
            memory_size=_limit(limits.memory_bytes),
            table_elements=_limit(MOST_TABLE_ELEMENTS if elements is None else elements),
            memories=memories,
            tables=tables,
        )

    def reserve(self, slots: int) -> None:
        """Make ready for host functions whose values take that many bytes."""
        if slots > self._slots:
            self._slots = slots
            self._views.clear()

    def forget_views(self) -> None:
        """The addresses of slots are of another stack from now on."""
        self._views.clear()

    def close(self) -> None:
        """Free the store, and only then what it calls."""
        self.promises.close()
        self.references.close()
        self.store.close()
        self._callbacks.clear()
        self._views.clear()

    def enter_thread(self) -> None:
        """Take note of the thread that is about to run the guest.

        Raises:
            ConcurrencyError: When its stack is too small.
        """
        floor = _stack.floor or _stack.measure()
        if floor != self._floor:
            self._views.clear()  # their addresses were checked against another stack
            self._floor = floor

    def run(
        self, function: Callable[..., int], *args: Any, failure: Callable[[Exception], Exception]
    ) -> None:
        """Call a C function that may run guest code, off the hot path.

        Args:
            function: Takes `args` and where to leave a trap, and returns an error.
            *args: ctypes objects.
            failure: Makes the exception to raise of the binding's.
        """
        self.enter_thread()
        error = function(*args, ctypes.byref(self._trap))
        if error or self._trap.value:
            self._fail(error, self._take_trap(), failure)

    def export(self, name: str, func: Any, type: FuncType) -> Callable[..., Any]:
        """The Python callable for a guest's function: in C where it can be.

        Args:
            name: Its name, for messages.
            func: Its `wasmtime_func_t`.
            type: Its type.
        """
        if holds_references(type):
            return self.references.export(name, func, type)
        letters = signature(type)
        if letters is None:
            slots, invoke = self.bind_export(func, type)
            return slot_export(name, type, LAYOUT, self.gate, slots, invoke)
        context = self.context.value or 0
        return native.WasmtimeExport(
            context, bytes(func), None, self.gate, name, type, *letters, self.fail_call
        )

    def bind_export(self, func: Any, type: FuncType) -> tuple[SlotViews, Callable[[], None]]:
        """A buffer for a guest's function, and the callable that runs the function on it."""
        size = LAYOUT.size(type)
        buffer = (ctypes.c_uint64 * (size // 8))()
        trap = self._trap
        call = partial(
            func_call_unchecked,
            self.context,
            ctypes.byref(func),
            ctypes.byref(buffer),
            ctypes.c_size_t(size // 16),
            ctypes.byref(trap),
        )

        def invoke() -> None:
            if _stack.floor != self._floor:
                self.enter_thread()
            error = call()
            if error or trap.value:
                self.fail_call(error, self._take_trap())

        return SlotViews(memoryview(buffer)), invoke

    def define_host(
        self, name: str, type: FuncType, native_type: Any, fn: Callable[..., Any], func: Any
    ) -> None:
        """Make a host function; one that may suspend its guest goes through `promises`.

        Args:
            name: Its name, for messages.
            type: Its type.
            native_type: The same as a `wasm_functype_t *`.
            fn: What it does.
            func: A reference to the `wasmtime_func_t` to fill in.

        Raises:
            UnsupportedError: Where the type has values that cannot cross.
        """
        if isinstance(fn, Suspending):
            self.promises.define_host(name, type, fn, func)
            return
        if holds_references(type):
            thunk = self.references.define_host(name, type, native_type, fn, func)
            self._callbacks.append(thunk)
            return
        letters = signature(type)
        if letters is not None:
            target = native.Host(None, self.gate, name, type, *letters, fn)
            self._callbacks.append(target)
            entry = Pointer(native.wasmtime_callback)
            env = Pointer(target.address)
            func_new_unchecked(self.context, native_type, entry, env, None, func)
            return
        host = slot_host(name, type, LAYOUT, fn)
        gate, views, look, end = self.gate, self._views, self._look, self.end

        def callback(_env: int, _caller: int, address: int, _count: int) -> int:
            try:
                try:
                    q, d, f, b = views[address]
                except KeyError:
                    q, d, f, b = look(address)
                host(q, d, f, b)
                expires = gate.expires
                if expires is not None and _monotonic() >= expires:
                    raise gate.overdue()
            except BaseException as error:
                return end(error)
            return 0

        thunk = HostCallback(callback)
        self._callbacks.append(thunk)
        func_new_unchecked(self.context, native_type, thunk, None, None, func)

    def end(self, error: BaseException) -> int:
        """The trap with which a host function ends the call, which will raise `error`."""
        self.gate.pending = error
        return trap_new(_END_TEXT, _END_LENGTH)  # type: ignore[no-any-return]

    def _look(self, address: int) -> _Views:
        """Views of a host function's slots, which wasmtime keeps on the stack."""
        _stack.check(address)
        if len(self._views) >= _MAX_VIEWS:
            self._views.clear()
        slots = SlotViews(view_at(address, self._slots))
        views = self._views[address] = (slots.q, slots.d, slots.f, slots.b)
        return views

    def _take_trap(self) -> int:
        trap, self._trap.value = self._trap.value, 0
        return trap

    def fail_call(self, error: int, trap: int) -> NoReturn:
        """Raise what ended a call, of which wasmtime left one or the other."""
        self._fail(error, trap, call_error)

    def _fail(self, error: int, trap: int, failure: Callable[[Exception], Exception]) -> NoReturn:
        """Raise what ended a call: a host function's exception as itself, else the guest's."""
        native = take_native(error, trap)
        reason = self.gate.take_pending()
        try:
            raise failure(native) if reason is None else reason
        finally:
            del reason  # its traceback holds this frame


def _limit(value: int | None) -> int:
    return _NO_LIMIT if value is None else min(value, _MAX_LIMIT)
