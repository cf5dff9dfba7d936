"""Calls that may be suspended: on a stack of their own, which wasmtime switches to and from.

The engine's `call_async` runs a guest on such a stack, and an epoch's update that says so leaves
it. So a host function that is to wait has the epoch end at once, and returns; what it returns to is
not the guest, but a function between the two (`_between`), in which the guest is suspended and from
which the host function is called again. No frame of Python, or of the host, is on the guest's stack
meanwhile, so that nobody but wasmtime needs to know about stacks.

A call costs 0.5 us more than one on the thread's stack, suspending it 0.25 us; a thread that waits
in its place costs 27 us to go to and come back from.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Generator
from functools import cache
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from anywasm.core.errors import ClosedError, ConcurrencyError, UnsupportedError
from anywasm.core.marshal import SlotLayout, SlotViews, bad_result, slot_export
from anywasm.core.suspending import Suspending
from anywasm.core.types import FuncType, ValueType
from anywasm.engines.fastcall import lock_depth, native, signature
from anywasm.engines.stack import UNPLACED
from anywasm.engines.wasmtime.errors import instantiation_error
from anywasm.engines.wasmtime.library import (
    Pointer,
    call_future_delete,
    call_future_poll,
    context_set_epoch_deadline,
    ffi,
    func_call_async,
    func_new_unchecked,
    instance_export_get,
    instance_new,
    wasmtime,
)

if TYPE_CHECKING:
    from anywasm.engines.wasmtime.calls import Calls

#: `wasmtime_val_t` is 32 bytes: the kind, then the value. Results follow arguments.
_LAYOUT = SlotLayout(stride=4, v128=True, tagged=True)
_KINDS = {
    ValueType.I32: ffi.WASMTIME_I32,
    ValueType.I64: ffi.WASMTIME_I64,
    ValueType.F32: ffi.WASMTIME_F32,
    ValueType.F64: ffi.WASMTIME_F64,
    ValueType.V128: ffi.WASMTIME_V128,
}
_FUNC = ffi.wasmtime_extern_t.of.offset
_EXTERN_SIZE = ctypes.sizeof(ffi.wasmtime_extern_t)


#: The stores of suspended calls, by future. The garbage collector finalizes what it finds in any
#: order, and the call must go before the store does.
_held: dict[int, wasmtime.Store] = {}


class _Suspended(Exception):  # noqa: N818 (no error: how a call says that it is not at its end)
    pass


@cache
def _between(type: FuncType) -> str:
    """The text of a module whose export is a `Suspending` import of that type for the guest.

    It imports the two ways to call the host function, which tell with one more result whether the
    guest is to be suspended. A function's beginning is a place where epochs are looked at.
    """
    results = " ".join(type.results)
    keep = " ".join(
        f"local.set {len(type.params) + i}" for i in reversed(range(len(type.results) + 1))
    )
    give = " ".join(f"local.get {i}" for i in range(len(type.params)))
    take = " ".join(f"local.get {len(type.params) + i}" for i in range(len(type.results)))
    flag = len(type.params) + len(type.results)
    return f"""(module
      (import "" "begin" (func $begin (param {" ".join(type.params)}) (result {results} i32)))
      (import "" "go_on" (func $go_on (result {results} i32)))
      (func $suspend)
      (func (export "") (param {" ".join(type.params)}) (result {results})
        (local {results} i32)
        {give} call $begin {keep}
        loop $again
          local.get {flag}
          if
            call $suspend call $go_on {keep} br $again
          end
        end
        {take}))"""


class Promises:
    """The calls into one store that may be suspended, of which there is at most one at a time."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        #: What stands in for all that follows, where there is the extension.
        self.native: native.WasmtimePromises | None = None
        self._kept: list[Any] = []
        # Of the call that runs or is suspended; 0 for none.
        self._future = 0
        self._running = False
        # How often its thread holds the gate while no host function has called the guest again.
        self._depth = 0
        self._place = UNPLACED
        self._trap, self._error = Pointer(), Pointer()
        # Of the host function that waits, what it yielded, and what it is to be given.
        self._host: Generator[Any, Any, Any] | None = None
        self._yielded: Any = None
        self._sent: Any = None
        self._thrown: BaseException | None = None
        self._yields = False

    # --- exports ---

    def export(
        self, name: str, func: Any, type: FuncType
    ) -> Callable[..., Generator[Any, Any, Any]]:
        """As `Instance.promising`."""
        self._check(name, type)
        calls = self._calls
        if self.native is not None:
            letters = signature(type)
            assert letters is not None
            return native.WasmtimePromising(
                bytes(func), self.native, calls.gate, name, type, *letters, calls.fail_call
            )
        params, results = len(type.params), len(type.results)
        size = 8 * _LAYOUT.stride
        buffer = (ctypes.c_uint64 * (max(params + results, 1) * _LAYOUT.stride))()
        for i, kind in enumerate(type.params):
            buffer[_LAYOUT.stride * i] = _KINDS[kind].value
        view = memoryview(buffer).cast("B")
        args = (
            calls.context,
            ctypes.byref(func),
            ctypes.byref(buffer),
            ctypes.c_size_t(params),
            ctypes.byref(buffer, size * params if results else 0),
            ctypes.c_size_t(results),
            ctypes.byref(self._trap),
            ctypes.byref(self._error),
        )

        def start() -> None:
            # Beneath a call on the thread's own stack it could not be left without that, too.
            if self._future or lock_depth(calls.gate.lock) > 1:
                raise ConcurrencyError(f"{name} may not be suspended beneath another call")
            self._place = UNPLACED
            self._depth = lock_depth(calls.gate.lock)
            self._future = func_call_async(*args)
            self._run()

        last = SlotViews(view[size * params :] if results else view)
        begin = slot_export(name, type, _LAYOUT, calls.gate, SlotViews(view), start)
        go_on = slot_export(
            name, FuncType((), type.results), _LAYOUT, calls.gate, last, self._go_on
        )

        def call(*values: Any) -> Generator[Any, Any, Any]:
            try:
                return begin(*values)
            except _Suspended:
                pass
            future = self._future
            while True:
                try:
                    self._sent = yield self._yielded
                except GeneratorExit:
                    if self._future == future:
                        self.close()
                    raise
                except BaseException as error:
                    self._thrown = error
                if self._future != future:
                    raise ClosedError(f"{name} was suspended when its instance was closed")
                calls.gate.resume()
                try:
                    return go_on()
                except _Suspended:
                    pass
                finally:
                    # What stands against entering left the guest where it was.
                    if self._future == future and not calls.gate.suspended:
                        self.close()

        return call

    def _check(self, name: str, type: FuncType) -> None:
        if not all(kind in _KINDS for kind in type.params + type.results):
            raise UnsupportedError(f"{name} cannot be suspended: {type} has references")

    def _go_on(self) -> None:
        self._depth = lock_depth(self._calls.gate.lock)
        self._run()

    def _run(self) -> None:
        """Run the guest until it ends, which raises what ended it early, or is suspended.

        Raises:
            _Suspended: When it is.
        """
        self._running = True
        try:
            done = self._poll()
        finally:
            self._running = False
        if not done:
            self._calls.gate.suspend()
            _held[self._future] = self._calls.store
            raise _Suspended
        self._delete()
        self._unwait()
        error, trap = self._error.value, self._trap.value
        self._error.value = self._trap.value = 0
        if error or trap:
            self._calls.fail_call(error, trap)

    def _poll(self) -> bool:
        calls, stack = self._calls, self._calls.stack
        calls.forget_views()
        outer = stack.change(self._place)
        try:
            return call_future_poll(Pointer(self._future))  # type: ignore[no-any-return]
        finally:
            self._place = stack.change(outer)
            calls.forget_views()

    def _delete(self) -> None:
        future, self._future = self._future, 0
        call_future_delete(Pointer(future))
        _held.pop(future, None)

    def close(self) -> None:
        """Give up the call that is suspended, if there is one."""
        if self.native is not None:
            self.native.close()
            return
        if not self._future:
            return
        # The guest's frames are unwound, and none of its code is run.
        self._delete()
        self._error.value = self._trap.value = 0
        self._calls.gate.resume()
        self._unwait()

    def _unwait(self) -> None:
        """Nobody waits any more, also where the guest ended before it could be suspended."""
        host, self._host = self._host, None
        self._yields = False
        self._yielded = self._sent = self._thrown = None
        if host is not None:
            host.close()

    # --- host functions ---

    @property
    def can_suspend(self) -> bool:
        """Whether the running host function may suspend the guest."""
        if self.native is not None:
            return self.native.can_suspend
        return self._running and lock_depth(self._calls.gate.lock) == self._depth

    def take_yield(self) -> bool:
        """Whether the epoch that has just ended is to suspend the guest; once."""
        yields, self._yields = self._yields, False
        return yields

    def define_host(self, name: str, type: FuncType, fn: Suspending, func: Any) -> None:
        """As `Calls.define_host`."""
        self._check(name, type)
        if self.native is not None:
            self._define_native(name, type, fn, func)
            return
        calls, count = self._calls, len(type.results)
        # What goes to the guest with the news that it is to be suspended, and is not looked at.
        nothing = tuple(bytes(16) if kind is ValueType.V128 else 0 for kind in type.results)
        suspended: Any = (*nothing, 1) if count else 1

        def finish(answer: Any) -> Any:
            if count == 1:
                return answer, 0
            if count == 0:
                if answer is not None:
                    raise bad_result(name, type, answer)
                return 0
            try:
                values = tuple(answer)
            except TypeError:
                values = ()
            if len(values) != count:
                raise bad_result(name, type, answer)
            return *values, 0

        def advance(host: Generator[Any, Any, Any], step: Callable[[], Any]) -> Any:
            try:
                yielded = step()
            except StopIteration as end:
                return finish(end.value)
            if not self.can_suspend:
                host.close()
                raise ConcurrencyError(
                    f"{name} cannot suspend a guest that was not called through "
                    "Instance.promising, with no other host function in between"
                )
            self._host, self._yielded, self._yields = host, yielded, True
            context_set_epoch_deadline(calls.context, ctypes.c_uint64(0))
            return suspended

        def begin(*args: Any) -> Any:
            answer = fn.fn(*args)
            if isinstance(answer, GeneratorType):
                return advance(answer, answer.__next__)
            return finish(answer)

        def go_on() -> Any:
            host, self._host = self._host, None
            assert host is not None
            sent, thrown = self._sent, self._thrown
            self._sent = self._thrown = self._yielded = None
            if thrown is not None:
                return advance(host, lambda: host.throw(thrown))
            return advance(host, lambda: host.send(sent))

        flagged = (*type.results, ValueType.I32)
        ways = ((FuncType(type.params, flagged), begin), (FuncType((), flagged), go_on))

        def define(i: int, native_type: Any, place: Any) -> None:
            way_type, way = ways[i]
            calls.reserve(16 * max(len(way_type.params), len(way_type.results)))
            calls.define_host(name, way_type, native_type, way, place)

        self._insert(type, define, func)

    def _define_native(self, name: str, type: FuncType, fn: Suspending, func: Any) -> None:
        calls = self._calls
        letters = signature(type)
        assert letters is not None
        assert self.native is not None
        params, results = letters
        shared = self.native, calls.gate, name, type

        def define(i: int, native_type: Any, place: Any) -> None:
            target = native.WasmtimeSuspending(
                i == 1, *shared, b"" if i else params, results, fn.fn
            )
            self._kept.append(target)
            entry, data = Pointer(native.suspending_callback), Pointer(target.address)
            func_new_unchecked(calls.context, native_type, entry, data, None, place)

        self._insert(type, define, func)

    def _insert(self, type: FuncType, define: Callable[[int, Any, Any], None], func: Any) -> None:
        """Put an instance of `_between` in the store, and its export in the guest's import.

        Args:
            type: The import's.
            define: Makes the first and the second import of that instance, of the given
                `wasm_functype_t *`, in the given `wasmtime_func_t`.
            func: Where the export goes.
        """
        calls = self._calls
        module = calls.epochs.between(type, _between(type))
        types: list[Any] = [imported.type for imported in module.imports]
        externs = (ffi.wasmtime_extern_t * len(types))()
        for i, native_type in enumerate(types):
            place = ctypes.byref(externs, i * _EXTERN_SIZE + _FUNC)
            define(i, ctypes.cast(native_type.ptr(), ctypes.c_void_p), place)
        instance = ffi.wasmtime_instance_t()
        calls.run(
            instance_new,
            calls.context,
            module.ptr(),
            externs,
            ctypes.c_size_t(len(types)),
            ctypes.byref(instance),
            failure=instantiation_error,
        )
        extern = ffi.wasmtime_extern_t()
        none = ctypes.c_char_p(b"")
        instance_export_get(
            calls.context, ctypes.byref(instance), none, ctypes.c_size_t(0), ctypes.byref(extern)
        )
        ctypes.memmove(func, ctypes.addressof(extern.of.func), ctypes.sizeof(extern.of.func))
