"""The call path: exports, host functions, and the store that both live in."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from anywasm.core.errors import AnyWasmError
from anywasm.core.marshal import TAGS, SlotLayout, SlotViews, slot_host
from anywasm.core.types import FuncType
from anywasm.engines.stack import StackFloor, refuse_depth
from anywasm.engines.wasm_c_api.errors import take_trap
from anywasm.engines.wasm_c_api.library import HostCallback, Natives, Pointer, Vec, view_at

if TYPE_CHECKING:
    from anywasm.core.memory import Memory
    from anywasm.core.metering import MeteredGate
    from anywasm.engines.wasm_c_api.library import Engine, WasmLibrary
    from anywasm.engines.wasm_c_api.memory import WasmCApiMemory

#: `wasm_val_t` is 16 bytes: the kind in the first, the value in the second half.
LAYOUT = SlotLayout(stride=2, tagged=True)
_VAL = 16

#: How many addresses of host functions' values are remembered.
_MAX_VIEWS = 256
_ENDED = ctypes.create_string_buffer(b"ended by the host")
_ENDED_VEC = ctypes.byref(_KEPT := Vec.of(_ENDED, 1))
_monotonic = time.monotonic
_stack = StackFloor()

_Views = tuple[Any, Any, Any, Any]


class Calls:
    """What the calls of one store share.

    Attributes:
        gate: The gate of its instance, or of the store where several share it.
        library: The library that it runs in.
        natives: The store, and all that lives in it.
        store: The `wasm_store_t *`.
        frames: For each module with code in the store, what gives a backtrace's entry for the index
            of a function.
    """

    def __init__(self, library: WasmLibrary, engine: Engine, gate: MeteredGate) -> None:
        """Make a store."""
        self.library = library
        self.gate = gate
        self.natives = Natives(engine)
        store = library.wasm_store_new(engine.at)
        self.store = self.natives.own(store, library.wasm_store_delete)
        self.frames: set[Callable[[int], str]] = set()
        self._memories: list[WasmCApiMemory] = []
        #: To be called before a guest runs, because memories may move then.
        self._moved: list[Callable[[], None]] = []
        self._functions: dict[int, tuple[Callable[..., Any], int]] = {}
        self._low = 0
        self._floor = -1
        self._vectors: dict[int, memoryview] = {}
        self._known: list[dict[int, _Views]] = []
        self._thunks: list[Any] = []

    def close(self) -> None:
        """Free the store, and only then what it calls."""
        for memory in self._memories:
            memory.detach()
        self.natives.free()
        self._functions.clear()
        self._thunks.clear()
        self._forget()

    def add_memory(self, memory: WasmCApiMemory) -> Memory:
        """Have a memory look again after guests ran, and let go when the store is closed."""
        self._memories.append(memory)
        if self.library.dialect.memory_moves:
            self._moved.append(memory.invalidate)
        return memory

    def add_function(self, fn: Callable[..., Any], extern: int) -> Callable[..., Any]:
        """Take note that the callable is that `wasm_extern_t *`; returns the callable."""
        self._functions[id(fn)] = fn, extern
        return fn

    def function(self, fn: object) -> int | None:
        """The `wasm_extern_t *` that a callable is, None for one that is not of this store."""
        found = self._functions.get(id(fn))
        return None if found is None else found[1]

    def _forget(self) -> None:
        """Forget addresses: they were checked against another thread's stack."""
        self._vectors.clear()
        for known in self._known:
            known.clear()

    def enter_thread(self) -> None:
        """Take note of the thread that is about to run the guest.

        Raises:
            ConcurrencyError: When its stack is too small.
        """
        floor = _stack.floor or _stack.measure()
        if floor != self._floor:
            self._forget()
            self._low, self._floor = _stack.low, floor

    def bind_export(self, native: int, type: FuncType) -> tuple[SlotViews, Callable[[], None]]:
        """A buffer for a guest's function, and the callable that runs the function on it."""
        buffer = (ctypes.c_uint64 * (LAYOUT.size(type) // 8))()
        for value, kind in enumerate(type.params + type.results):
            buffer[LAYOUT.stride * value] = TAGS.get(kind, 0)
        at, params, results = ctypes.addressof(buffer), len(type.params), len(type.results)
        given = Vec(params, at, params, _VAL)
        taken = Vec(results, at + _VAL * params, results, _VAL)
        call = partial(
            self.library.wasm_func_call, Pointer(native), ctypes.byref(given), ctypes.byref(taken)
        )
        moved = self._moved

        def invoke() -> None:
            if _stack.floor != self._floor:
                self.enter_thread()
            _leave_room()
            # Before the call: after it a KeyboardInterrupt could come first.
            for forget in moved:
                forget()
            trap = call()
            if trap:
                self.fail(trap)

        return SlotViews(memoryview(buffer)), invoke

    def bind_host(self, name: str, type: FuncType, native_type: int, fn: Callable[..., Any]) -> int:
        """A `wasm_extern_t *` that calls `fn`, owned by the store.

        Args:
            name: Its name, for messages.
            type: Its type.
            native_type: The same as a `wasm_functype_t *`.
            fn: What it does.

        Raises:
            UnsupportedError: Where the type has values that cannot cross.
        """
        host = slot_host(name, type, LAYOUT, fn)
        gate, moved = self.gate, self._moved
        vectors, vector = self._vectors, self._vector
        # Apart: where one call had its results, another may have its arguments, which are more.
        of_params: dict[int, _Views] = {}
        of_results: dict[int, _Views] = {}
        self._known += of_params, of_results
        params, results = _VAL * len(type.params), _VAL * len(type.results)
        trap_new, store = self.library.wasm_trap_new, Pointer(self.store)

        def look(known: dict[int, _Views], address: int, size: int) -> _Views:
            if len(known) >= _MAX_VIEWS:
                known.clear()
            slots = SlotViews(view_at(address, size))
            known[address] = views = (slots.q, slots.d, slots.f, slots.b)
            return views

        def callback(_env: int, given: int, taken: int) -> int:
            # Nothing stands before the `try`: a KeyboardInterrupt may be raised here.
            try:
                try:
                    at = vectors[given][1]
                except KeyError:
                    at = vector(given)[1]
                try:
                    q, d, f, b = of_params[at]
                except KeyError:
                    q, d, f, b = look(of_params, at, params)
                if results:
                    try:
                        at = vectors[taken][1]
                    except KeyError:
                        at = vector(taken)[1]
                    try:
                        rq, rd, rf, rb = of_results[at]
                    except KeyError:
                        rq, rd, rf, rb = look(of_results, at, results)
                    host(q, d, f, b, rq, rd, rf, rb)
                else:
                    host(q, d, f, b, None, None, None, None)
                for forget in moved:
                    forget()
                expires = gate.expires
                if expires is not None and _monotonic() >= expires:
                    raise gate.overdue()
            except BaseException as error:
                gate.pending = error
                return trap_new(store, _ENDED_VEC)  # type: ignore[no-any-return]
            return 0

        thunk = HostCallback(callback)
        self._thunks.append(thunk)
        library = self.library
        # Wasmer wants an environment, of which nothing else is asked than not to be null.
        native = library.wasm_func_new_with_env(self.store, native_type, thunk, 1, None)
        self.natives.own(native, library.wasm_func_delete)
        return library.wasm_func_as_extern(native)  # type: ignore[no-any-return]

    def _vector(self, address: int) -> memoryview:
        """The size and the address of a vector that a host function was handed, on the stack."""
        if self._low <= address < self._floor:
            refuse_depth()
        if len(self._vectors) >= _MAX_VIEWS:
            self._vectors.clear()
        vector = self._vectors[address] = view_at(address, 16).cast("Q")
        return vector

    def fail(
        self, trap: int, failure: Callable[[AnyWasmError], AnyWasmError] = lambda error: error
    ) -> NoReturn:
        """Raise what ended a call: a host function's exception as itself, else the guest's.

        Args:
            trap: The `wasm_trap_t *`, which is freed.
            failure: Makes the exception to raise of the guest's.
        """
        # Frames do not tell of which module they are.
        (name,) = self.frames if len(self.frames) == 1 else (None,)
        error = take_trap(self.library, trap, name)
        reason = self.gate.take_pending()
        try:
            raise failure(error) if reason is None else reason
        finally:
            del reason  # its traceback holds this frame


def _leave_room() -> None:
    """Fail with `RecursionError` here rather than on entry of a host function.

    There nobody could catch it: ctypes would print it and answer the library with anything.
    """
    _leave_more()


def _leave_more() -> None:
    pass
