"""The binding, and the functions of its shared library that are called past it.

The binding builds type objects for every call (35 us); the C functions below take what is prepared
once per export (0.3 us). They belong to a `CDLL` of their own, which leaves the binding's
prototypes alone, and which releases the GIL: a guest runs beside other threads, so that deadlines
can be noticed and instances run in parallel.

They have no `argtypes`: ctypes then passes pointers made with `byref` as they are, in half the
time. Callers must pass ctypes objects only, because a plain int would be cut to 32 bits.
"""

from __future__ import annotations

import atexit
import ctypes
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

#: The release whose C structures and private Python names were checked. Wasmtime changes both only
#: with the first number.
VERIFIED_RELEASE = "50"

try:
    VERSION = version("wasmtime")
except PackageNotFoundError:
    raise ImportError("the Python package 'wasmtime' is not installed") from None
if VERSION.partition(".")[0] != VERIFIED_RELEASE:
    raise ImportError(
        f"the Python package 'wasmtime' is version {VERSION}; its C interface is called directly, "
        f"which was verified for {VERIFIED_RELEASE}.x only"
    )

import wasmtime  # noqa: E402 (other versions may not even import)
from wasmtime import _ffi as ffi  # noqa: E402
from wasmtime._slab import Slab  # noqa: E402

_library = ctypes.CDLL(ffi.dll._name)


def _function(name: str, result: Any) -> Any:
    function = getattr(_library, name)
    function.restype = result
    return function


def address_of(function: Any) -> int:
    """Where a function of the library is."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0


#: A pointer as an int, 0 for none: cheaper than `c_void_p`, which makes None of it.
Pointer = ctypes.c_size_t

func_call_unchecked = _function("wasmtime_func_call_unchecked", Pointer)
func_new_unchecked = _function("wasmtime_func_new_unchecked", None)
store_epoch_deadline_callback = _function("wasmtime_store_epoch_deadline_callback", None)
increment_epoch = _function("wasmtime_engine_increment_epoch", None)
context_set_epoch_deadline = _function("wasmtime_context_set_epoch_deadline", None)
instance_new = _function("wasmtime_instance_new", Pointer)
instance_export_get = _function("wasmtime_instance_export_get", ctypes.c_bool)
memory_data = _function("wasmtime_memory_data", Pointer)
memory_data_size = _function("wasmtime_memory_data_size", ctypes.c_size_t)
memory_grow = _function("wasmtime_memory_grow", Pointer)
func_call = _function("wasmtime_func_call", Pointer)
func_new = _function("wasmtime_func_new", None)
func_call_async = _function("wasmtime_func_call_async", Pointer)
call_future_poll = _function("wasmtime_call_future_poll", ctypes.c_bool)
call_future_delete = _function("wasmtime_call_future_delete", None)
config_async_stack_size_set = _function("wasmtime_config_async_stack_size_set", None)
table_size = _function("wasmtime_table_size", ctypes.c_uint64)
table_get = _function("wasmtime_table_get", ctypes.c_bool)
table_set = _function("wasmtime_table_set", Pointer)
table_grow = _function("wasmtime_table_grow", Pointer)
val_unroot = _function("wasmtime_val_unroot", None)
externref_new = _function("wasmtime_externref_new", ctypes.c_bool)
externref_data = _function("wasmtime_externref_data", ctypes.c_size_t)
global_get = _function("wasmtime_global_get", None)
global_set = _function("wasmtime_global_set", Pointer)
error_delete = _function("wasmtime_error_delete", None)
trap_new = _function("wasmtime_trap_new", Pointer)
trap_delete = _function("wasm_trap_delete", None)
error_new = _function("wasmtime_error_new", Pointer)

#: `wasmtime_func_unchecked_callback_t`: env, caller, slots, number of slots -> trap.
HostCallback = ctypes.CFUNCTYPE(Pointer, Pointer, Pointer, Pointer, ctypes.c_size_t)
#: `wasmtime_func_callback_t`: env, caller, arguments, their number, results, theirs -> trap.
ValueCallback = ctypes.CFUNCTYPE(
    Pointer, Pointer, Pointer, Pointer, ctypes.c_size_t, Pointer, ctypes.c_size_t
)
#: `wasmtime_store_epoch_deadline_callback`'s: context, data, delta, kind of update -> error.
EpochCallback = ctypes.CFUNCTYPE(
    Pointer, Pointer, Pointer, ctypes.POINTER(ctypes.c_uint64), ctypes.POINTER(ctypes.c_uint8)
)
#: The kind of update that suspends a guest which runs on a stack of its own.
UPDATE_DEADLINE_YIELD = 1

#: The objects that guests hold as `externref`, by what stands for them there.
externrefs: Slab[Any] = Slab()
#: What wasmtime calls, in any thread, when no guest holds one any more.
externref_release = ctypes.CFUNCTYPE(None, ctypes.c_size_t)(externrefs.deallocate)


@atexit.register
def _leave_the_rest_to_the_system() -> None:
    """When the process ends, the binding's functions go before its objects, which then complain."""
    for name, module in tuple(sys.modules.items()):
        if name.startswith("wasmtime._"):
            for value in tuple(vars(module).values()):
                if isinstance(value, type) and "__del__" in vars(value):
                    value.__del__ = lambda self: None  # type: ignore[attr-defined]


_memory_view = ctypes.pythonapi.PyMemoryView_FromMemory
_memory_view.argtypes = (ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)
_memory_view.restype = ctypes.py_object
_WRITABLE = 0x200  # PyBUF_WRITE


def view_at(address: int, size: int) -> memoryview:
    """A writable view of native memory, of format `B`. Whoever uses it must keep that alive."""
    return _memory_view(address, size, _WRITABLE)  # type: ignore[no-any-return]


__all__ = [
    "UPDATE_DEADLINE_YIELD",
    "VERIFIED_RELEASE",
    "VERSION",
    "EpochCallback",
    "HostCallback",
    "Pointer",
    "ValueCallback",
    "address_of",
    "call_future_delete",
    "call_future_poll",
    "config_async_stack_size_set",
    "context_set_epoch_deadline",
    "error_delete",
    "error_new",
    "externref_data",
    "externref_new",
    "externref_release",
    "externrefs",
    "ffi",
    "func_call",
    "func_call_async",
    "func_call_unchecked",
    "func_new",
    "func_new_unchecked",
    "global_get",
    "global_set",
    "instance_export_get",
    "instance_new",
    "memory_data",
    "memory_data_size",
    "memory_grow",
    "store_epoch_deadline_callback",
    "table_get",
    "table_grow",
    "table_set",
    "table_size",
    "trap_delete",
    "trap_new",
    "val_unroot",
    "view_at",
    "wasmtime",
]
