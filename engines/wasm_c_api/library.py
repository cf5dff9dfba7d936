"""A shared library that implements `wasm.h` (https://github.com/WebAssembly/wasm-c-api).

Its functions are called through ctypes, with the GIL released around those that run or compile
guests. Those on the call path have no `argtypes`: ctypes then passes prepared objects as they are,
in half the time. Callers must give them ctypes objects only, because a plain int would be cut to 32
bits.
"""

from __future__ import annotations

import ctypes
import hashlib
import weakref
from collections.abc import Callable
from ctypes import c_bool, c_char_p, c_int, c_size_t, c_uint8, c_uint32, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: A pointer as an int, 0 for none: cheaper than `c_void_p`, which makes None of it.
Pointer = c_size_t

#: `wasm_func_callback_with_env_t`: environment, arguments, results -> trap.
HostCallback = ctypes.CFUNCTYPE(Pointer, Pointer, Pointer, Pointer)


class Vec(ctypes.Structure):
    """Every `wasm_*_vec_t`: how many, and where.

    The rest is read by WAMR only, whose vectors count their elements a second time.
    """

    _fields_ = (
        ("size", c_size_t),
        ("data", c_size_t),
        ("count", c_size_t),
        ("element_size", c_size_t),
        ("lock", c_size_t),
    )
    #: What it points to, where Python owns that.
    keep: Any

    @classmethod
    def of(cls, array: Any, element_size: int) -> Vec:
        """A vector of what lies in `array`, which it keeps alive and the library must not free."""
        size = ctypes.sizeof(array)
        count = size // element_size
        vec = cls(count, ctypes.addressof(array) if size else 0, count, element_size, 0)
        vec.keep = array
        return vec

    def pointers(self) -> list[int]:
        """The elements, where they are pointers."""
        return list((c_size_t * self.size).from_address(self.data)) if self.size else []


class Val(ctypes.Structure):
    """`wasm_val_t`; the value as its bits."""

    _fields_ = (("kind", c_uint8), ("bits", ctypes.c_uint64))


#: Result, and how many pointers it takes; None where arguments are not converted.
_FUNCTIONS: dict[str, tuple[Any, int | None]] = {
    "wasm_func_call": (Pointer, None),
    "wasm_memory_data": (Pointer, None),
    "wasm_memory_data_size": (c_size_t, None),
    "wasm_memory_grow": (c_bool, None),
    "wasm_global_get": (None, None),
    "wasm_global_set": (None, None),
    "wasm_trap_new": (Pointer, None),
    "wasm_func_new_with_env": (Pointer, 5),
    "wasm_engine_new": (Pointer, 0),
    "wasm_engine_delete": (None, 1),
    "wasm_store_new": (Pointer, 1),
    "wasm_store_delete": (None, 1),
    "wasm_module_new": (Pointer, 2),
    "wasm_module_delete": (None, 1),
    "wasm_module_validate": (c_bool, 2),
    "wasm_module_imports": (None, 2),
    "wasm_importtype_vec_delete": (None, 1),
    "wasm_importtype_type": (Pointer, 1),
    "wasm_externtype_as_functype_const": (Pointer, 1),
    "wasm_module_serialize": (None, 2),
    "wasm_module_deserialize": (Pointer, 2),
    "wasm_byte_vec_delete": (None, 1),
    "wasm_func_as_extern": (Pointer, 1),
    "wasm_func_delete": (None, 1),
    "wasm_instance_new": (Pointer, 4),
    "wasm_instance_delete": (None, 1),
    "wasm_instance_exports": (None, 2),
    "wasm_extern_vec_delete": (None, 1),
    "wasm_extern_as_func": (Pointer, 1),
    "wasm_extern_as_memory": (Pointer, 1),
    "wasm_extern_as_global": (Pointer, 1),
    "wasm_extern_as_table": (Pointer, 1),
    "wasm_table_size": (c_uint32, 1),
    "wasm_trap_message": (None, 2),
    "wasm_trap_trace": (None, 2),
    "wasm_trap_delete": (None, 1),
    "wasm_frame_func_index": (c_uint32, 1),
    "wasm_frame_vec_delete": (None, 1),
}
#: Those that are over before another thread could use the GIL.
_HELD = frozenset(
    {
        "wasm_memory_data",
        "wasm_memory_data_size",
        "wasm_global_get",
        "wasm_global_set",
        "wasm_trap_new",
        "wasm_func_as_extern",
        "wasm_extern_as_func",
        "wasm_extern_as_memory",
        "wasm_extern_as_global",
        "wasm_extern_as_table",
        "wasm_table_size",
    }
)
#: Functions of `wasm.h` that not every library has: modules of libraries without them can be
#: instantiated in any store.
_SHARING: dict[str, tuple[Any, int | None]] = {
    "wasm_module_share": (Pointer, 1),
    "wasm_module_obtain": (Pointer, 2),
    "wasm_shared_module_delete": (None, 1),
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """What an implementation does that `wasm.h` leaves open.

    Attributes:
        name: Its name.
        marker: A function that no other implementation has.
        thread_bound: Whether a store may be used only in the thread that made it.
        memory_moves: Whether a memory with 32-bit addresses may move when it grows.
    """

    name: str
    marker: str
    thread_bound: bool = True
    memory_moves: bool = True


#: The implementations that are known; of others nothing is assumed.
DIALECTS = (
    Dialect("wasmer", "wasmer_version"),
    Dialect("wamr", "wasm_runtime_full_init"),
    # It reserves 4 GiB for each memory, unless it is configured, for which `wasm.h` has no words.
    Dialect("wasmtime", "wasmtime_module_validate", thread_bound=False, memory_moves=False),
)
UNKNOWN = Dialect("wasm.h", "")


class WasmLibrary:
    """The functions of a loaded library, as attributes under their C names.

    Attributes:
        path: Where it is.
        dialect: Which implementation it is.
        version: The implementation and its version, or what tells this build from all others.
        digest: The SHA-256 of the file.
        shares: Whether modules must be carried from store to store.
    """

    def __init__(self, path: str) -> None:
        """Load it.

        Raises:
            ImportError: When it cannot be loaded, or does not implement `wasm.h`.
        """
        self.path = path
        try:
            content = Path(path).read_bytes()
            library, held = ctypes.CDLL(path), ctypes.PyDLL(path)
        except OSError as error:
            raise ImportError(f"it cannot be loaded: {error}") from error
        missing = [name for name in _FUNCTIONS if not hasattr(library, name)]
        if missing:
            listed = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            raise ImportError(
                f"{path} does not implement the wasm C API: it lacks {len(missing)} of "
                f"{len(_FUNCTIONS)} functions ({listed})"
            )
        self.shares = all(hasattr(library, name) for name in _SHARING)
        functions = _FUNCTIONS | (_SHARING if self.shares else {})
        for name, (result, count) in functions.items():
            function = getattr(held if name in _HELD else library, name)
            function.restype = result
            function.argtypes = None if count is None else (c_void_p,) * count
            setattr(self, name, function)
        known = (dialect for dialect in DIALECTS if hasattr(library, dialect.marker))
        self.dialect = next(known, UNKNOWN)
        self.digest = hashlib.sha256(content).hexdigest()
        self.version = f"{self.dialect.name}-{self._release(library) or self.digest[:12]}"
        self._library = library

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise AttributeError(f"{name} of wasm.h is not among the functions bound")

    def _release(self, library: Any) -> str | None:
        """The version, where the library tells."""
        if self.dialect.name == "wasmer":
            library.wasmer_version.restype = c_char_p
            text: bytes = library.wasmer_version() or b""
            return text.decode()
        if self.dialect.name == "wamr":
            numbers = [c_uint32(), c_uint32(), c_uint32()]
            library.wasm_runtime_get_version(*map(ctypes.byref, numbers))
            return ".".join(str(number.value) for number in numbers)
        return None

    def last_error(self, engine: int, wasm: bytes) -> str:
        """Why the module was refused, where the library tells: `wasm.h` has no function for it."""
        if self.dialect.name == "wasmtime":
            return self._wasmtime_error(engine, wasm)
        if self.dialect.name == "wasmer":
            return self._wasmer_error()
        return "the wasm C API does not say why"

    def _wasmtime_error(self, engine: int, wasm: bytes) -> str:
        validate, delete = self._library.wasmtime_module_validate, self._library
        validate.restype, validate.argtypes = c_void_p, (c_void_p, c_char_p, c_size_t)
        error = validate(engine, wasm, len(wasm))
        if error is None:
            return "it is valid but cannot be compiled"
        text = Vec()
        delete.wasmtime_error_message(c_void_p(error), ctypes.byref(text))
        delete.wasmtime_error_delete(c_void_p(error))
        return self.take_bytes(text).decode(errors="replace")

    def _wasmer_error(self) -> str:
        length = self._library.wasmer_last_error_length
        length.restype = c_int
        buffer = ctypes.create_string_buffer(max(1, length()))
        self._library.wasmer_last_error_message(buffer, c_int(len(buffer)))
        return buffer.value.decode(errors="replace")

    def take_bytes(self, vec: Vec) -> bytes:
        """The content of a `wasm_byte_vec_t` that the library filled in, which is freed."""
        content = ctypes.string_at(vec.data, vec.size) if vec.size else b""
        self.wasm_byte_vec_delete(ctypes.byref(vec))
        return content


class Natives:
    """Native objects that belong together: freed once, the youngest first, then their parent's.

    Freed by `free`, or when nothing refers to this object any more.
    """

    def __init__(self, parent: Natives | None = None) -> None:
        self._owned: list[tuple[Callable[[Any], object], Any]] = []
        # The parent is kept until then, so that a garbage collection frees them in order.
        self.free = weakref.finalize(self, _free, self._owned, parent)
        # At exit memory goes anyway, and threads may still be in guests.
        self.free.atexit = False

    def own(self, pointer: Any, delete: Callable[[Any], object]) -> Any:
        """Take over an object; hands it back."""
        self._owned.append((delete, pointer))
        return pointer


def _free(owned: list[tuple[Callable[[Any], object], Any]], _parent: Natives | None) -> None:
    while owned:
        delete, pointer = owned.pop()
        delete(pointer)


class Engine(Natives):
    """An engine, which lives as long as any of its stores.

    Attributes:
        at: The `wasm_engine_t *`.
    """

    def __init__(self, library: WasmLibrary) -> None:
        """Make one.

        Raises:
            ImportError: When the library makes none.
        """
        super().__init__()
        self.at: int = library.wasm_engine_new()
        if not self.at:
            raise ImportError(f"{library.path} made no engine")
        self.own(self.at, library.wasm_engine_delete)


_memory_view = ctypes.pythonapi.PyMemoryView_FromMemory
_memory_view.argtypes = (c_void_p, ctypes.c_ssize_t, c_int)
_memory_view.restype = ctypes.py_object
_WRITABLE = 0x200  # PyBUF_WRITE


def view_at(address: int, size: int) -> memoryview:
    """A writable view of native memory, of format `B`. Whoever uses it must keep that alive."""
    return _memory_view(address, size, _WRITABLE)  # type: ignore[no-any-return]
