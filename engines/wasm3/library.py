"""Finds pywasm3's shared object, and drives the wasm3 inside it.

Only the `m3_*` functions (and a few internal ones that the object exports too) are used, through
ctypes: the binding's own Python functions leak on every host call. The object is built on the
user's machine, so where a runtime keeps its stack and memory is looked up when it is loaded.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterable
from ctypes import c_char_p, c_size_t, c_uint32, c_void_p
from typing import Any

from anywasm.core.errors import OutOfMemoryError

#: What wasm3 calls as a host function (M3RawCall: runtime, context, stack pointer, memory); it
#: returns 0, or the address of a message. Addresses come and go as ints.
HOST_FUNCTION = ctypes.CFUNCTYPE(c_size_t, c_size_t, c_size_t, c_size_t, c_size_t)

#: Bytes beyond the end of a runtime's stack that wasm3 may write before it notices: a caller writes
#: its callee's arguments, and `m3_Call` an export's, without looking at the end. A function has at
#: most 1000 arguments and results together, of 8 bytes each.
_STACK_SLACK = 4 * 8000
_SLOT = 4

#: Result and arguments. Without arguments nothing is converted, which halves the time of a call:
#: what is passed must be ctypes objects.
_Signature = tuple[Any, "tuple[Any, ...] | None"]
#: Functions that run or compile guest code: called with the GIL released.
_RELEASED: dict[str, _Signature] = {
    "m3_Call": (c_size_t, None),
    "m3_RunStart": (c_size_t, (c_void_p,)),
    "m3_ParseModule": (c_size_t, (c_void_p, c_void_p, c_char_p, c_uint32)),
    "m3_LoadModule": (c_size_t, (c_void_p, c_void_p)),
    "m3_CompileModule": (c_size_t, (c_void_p,)),
    "CompileFunction": (c_size_t, (c_void_p,)),
    "ResizeMemory": (c_size_t, (c_void_p, c_uint32)),
}
#: Functions that are over before another thread could use the GIL.
_HELD: dict[str, _Signature] = {
    "m3_NewEnvironment": (c_size_t, ()),
    "m3_FreeEnvironment": (None, (c_void_p,)),
    "m3_NewRuntime": (c_size_t, (c_void_p, c_uint32, c_void_p)),
    "m3_FreeRuntime": (None, (c_void_p,)),
    "m3_FreeModule": (None, (c_void_p,)),
    "m3_GetResults": (c_size_t, None),
    "m3_GetMemory": (c_size_t, (c_void_p, c_void_p, c_uint32)),
    "m3_FindGlobal": (c_size_t, (c_void_p, c_char_p)),
    "m3_GetGlobal": (c_size_t, (c_void_p, c_void_p)),
    "m3_SetGlobal": (c_size_t, (c_void_p, c_void_p)),
    "m3_GetErrorInfo": (None, (c_void_p, c_void_p)),
    "m3_GetBacktrace": (c_size_t, (c_void_p,)),
    "ClearBacktrace": (None, (c_void_p,)),
    "Module_GetFunction": (c_size_t, (c_void_p, c_uint32)),
    "LinkRawFunction": (c_size_t, (c_void_p, c_void_p, c_char_p, c_void_p, c_void_p)),
}


class RuntimeFields(ctypes.Structure):
    """The part of a runtime that wasm3 has no functions for."""

    _fields_ = (
        ("stack", ctypes.c_uint64),
        ("stack_size", c_uint32),
        ("stack_slots", c_uint32),
        ("last_called", ctypes.c_uint64),
        ("user_data", ctypes.c_uint64),
        ("memory", ctypes.c_uint64),
        ("memory_pages", c_uint32),
        ("memory_maximum", c_uint32),
    )


class ErrorInfo(ctypes.Structure):
    """M3ErrorInfo: what wasm3 says about the last failure in a runtime."""

    _fields_ = (
        ("result", c_char_p),
        ("runtime", c_void_p),
        ("module", c_void_p),
        ("function", c_void_p),
        ("file", c_char_p),
        ("line", c_uint32),
        ("message", c_char_p),
    )


class _Frame(ctypes.Structure):
    """M3BacktraceFrame."""

    _fields_ = (("offset", c_uint32), ("function", c_size_t), ("next", c_size_t))


class Wasm3Error(Exception):
    """wasm3 answered with an error text; it never leaves this package.

    Attributes:
        text: wasm3's constant text, such as `unknown opcode`.
    """

    def __init__(self, text: str, detail: str = "") -> None:
        self.text = text
        super().__init__(f"{text}: {detail}" if detail else text)


#: Parameters of glibc's `mallopt`, and what they are set to: see `_give_back`.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = (-1, 2 << 20), (-3, 1 << 20)


class Wasm3Library:
    """The functions of a loaded wasm3, as attributes under their C names.

    Attributes:
        version: pywasm3's version.
        memory_header: Bytes from where `RuntimeFields.memory` points to the guest's memory.

    Raises:
        ImportError: When pywasm3 is missing, or is not built as this engine needs it.
    """

    def __init__(self) -> None:
        spec = importlib.util.find_spec("wasm3")
        if spec is None or spec.origin is None:
            raise ImportError("pywasm3 is not installed")
        self.version = importlib.metadata.version("pywasm3")
        released, held = ctypes.CDLL(spec.origin), ctypes.PyDLL(spec.origin)
        try:
            for library, functions in ((released, _RELEASED), (held, _HELD)):
                for name, (result, arguments) in functions.items():
                    function = getattr(library, name)
                    function.restype, function.argtypes = result, arguments
                    setattr(self, name, function)
        except AttributeError as error:
            raise ImportError(f"pywasm3 {self.version} lacks a function: {error}") from error
        self._held = held
        _give_back()
        self._fields, self.memory_header = self._find_fields()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise AttributeError(f"wasm3's function {name} is not among those bound")

    def address(self, name: str) -> int:
        """Where the function `name` is."""
        return ctypes.cast(getattr(self, name), c_void_p).value or 0

    def text(self, name: str) -> tuple[int | None, str]:
        """The address and the text of the error constant `name`."""
        address = c_void_p.in_dll(self._held, name).value
        return address, "" if address is None else ctypes.string_at(address).decode()

    def fields(self, runtime: int) -> RuntimeFields:
        """The fields of `runtime`, live; usable until it is freed."""
        return RuntimeFields.from_address(runtime + self._fields)

    def _find_fields(self) -> tuple[int, int]:
        """Look for the fields in a runtime whose stack size and user data are known."""
        size, mark, pages = 4096, 0x5A5A_A5A5_3C3C_C3C3, (3, 7)
        environment = self.m3_NewEnvironment()
        runtime = self.m3_NewRuntime(environment, size, mark)
        known = ctypes.CDLL(None).malloc_usable_size
        known.restype, known.argtypes = c_size_t, (c_void_p,)
        content = ctypes.string_at(runtime, known(runtime))
        head = bytes(4) + (size // _SLOT).to_bytes(4, "little") + bytes(8)
        place = content.find(head + mark.to_bytes(8, "little") + bytes(16)) - 8
        if place < 0:
            raise ImportError(f"pywasm3 {self.version}: a runtime's stack is not where expected")
        # A module with only a memory, of 3 pages that may become 7.
        wasm = b"\0asm\x01\0\0\0" + bytes((5, 4, 1, 1, *pages))
        module = c_void_p()
        failed = self.m3_ParseModule(environment, ctypes.byref(module), wasm, len(wasm))
        failed = failed or self.m3_LoadModule(runtime, module)
        fields = RuntimeFields.from_address(runtime + place)
        if failed or (fields.memory_pages, fields.memory_maximum) != pages:
            raise ImportError(f"pywasm3 {self.version}: a runtime's memory is not where expected")
        header = self.m3_GetMemory(runtime, None, 0) - fields.memory
        self.m3_FreeRuntime(runtime)
        self.m3_FreeEnvironment(environment)
        return place, header


class Machine:
    """One environment, runtime and module of wasm3's, made, linked and freed together.

    Machines share nothing, so that they may run in parallel. Used by one thread at a time.

    Attributes:
        runtime: The address of its runtime.
        module: The address of its module.
        fields: The runtime's fields.
    """

    def __init__(self, library: Wasm3Library, wasm: bytes, stack_size: int) -> None:
        """Parse and load a module, which sets up its memory, globals and tables.

        Args:
            library: The wasm3 to use.
            wasm: A valid module; kept, since wasm3 reads it for as long as it lives.
            stack_size: Bytes of stack for guest code.

        Raises:
            Wasm3Error: When wasm3 refuses the module.
            OutOfMemoryError: When there is no memory for it.
        """
        self._library = library
        self._wasm = wasm
        self._keep: list[object] = []
        self.runtime = 0
        self._environment = library.m3_NewEnvironment()
        if self._environment:
            self.runtime = library.m3_NewRuntime(self._environment, stack_size + _STACK_SLACK, None)
        if not self.runtime:
            library.m3_FreeEnvironment(self._environment)
            raise OutOfMemoryError("no memory for a wasm3 runtime")
        self.fields = library.fields(self.runtime)
        # wasm3 checks against this number and frees by address, hence the rest is a safety zone.
        self.fields.stack_slots = stack_size // _SLOT
        module = c_void_p()
        try:
            self.check(
                library.m3_ParseModule(self._environment, ctypes.byref(module), wasm, len(wasm))
            )
            try:
                self.check(library.m3_LoadModule(self.runtime, module))
            except Wasm3Error:
                library.m3_FreeModule(module)
                raise
        except BaseException:
            self.close()
            raise
        self.module = module.value or 0

    def check(self, result: int) -> None:
        """Raise what wasm3 answered, unless it is 0.

        Raises:
            Wasm3Error: With wasm3's text and details.
        """
        if result:
            info = ErrorInfo()
            self._library.m3_GetErrorInfo(self.runtime, ctypes.byref(info))
            detail = info.message.decode(errors="replace") if info.message else ""
            raise Wasm3Error(ctypes.string_at(result).decode(errors="replace"), detail)

    def function(self, index: int) -> int:
        """The address of the function of that index, imported ones first."""
        address: int = self._library.Module_GetFunction(self.module, index)
        return address

    def link(self, index: int, callback: Any, user_data: int = 0, keep: object = None) -> None:
        """Make `callback` the imported function of that index.

        Args:
            index: Among the functions.
            callback: A `HOST_FUNCTION`, or another `M3RawCall` as a `c_void_p`.
            user_data: What wasm3 gives back to it.
            keep: What must live as long as it can be called.
        """
        self._keep += (callback, keep)
        address = ctypes.cast(callback, c_void_p)
        # Without a signature wasm3 takes the module's own type, which is what callbacks are
        # built from.
        self.check(
            self._library.LinkRawFunction(
                self.module, self.function(index), None, address, user_data
            )
        )

    def compile(self, functions: Iterable[int] | None = None) -> None:
        """Compile all functions, or those of the indices given; called once, with imports linked.

        What is not compiled now is when it is first called from compiled code.

        Raises:
            Wasm3Error: When wasm3 cannot compile one.
        """
        if functions is None:
            self.check(self._library.m3_CompileModule(self.module))
        else:
            for index in functions:
                self.check(self._library.CompileFunction(self.function(index)))

    def backtrace(self, most: int) -> list[int]:
        """The indices of the functions that the last trap ended, innermost first."""
        first, second = self.function(0), self.function(1)
        indices: list[int] = []
        at = c_size_t.from_address(self._library.m3_GetBacktrace(self.runtime)).value
        while at and len(indices) < most:
            frame = _Frame.from_address(at)
            # A function that did not get so far as to begin is not noted.
            if frame.function:
                indices.append((frame.function - first) // (second - first) if second else 0)
            at = frame.next
        return indices

    def forget_backtrace(self) -> None:
        """Free what wasm3 noted of the last trap."""
        self._library.ClearBacktrace(self.runtime)

    def close(self) -> None:
        """Free it all. Idempotent."""
        if self.runtime:
            self.forget_backtrace()
            self._library.m3_FreeRuntime(self.runtime)
            self._library.m3_FreeEnvironment(self._environment)
            self.runtime = 0
            self._keep.clear()


def _give_back() -> None:
    """Have freed guest memories go back to the system at once, as other engines' do.

    wasm3 takes them from `malloc`. Once glibc has seen a large block freed, it keeps blocks of that
    size in its heaps, of which each thread has its own: a few guests that grew to 16 MiB and broke
    cost as much in every thread that they ran in, for good. Fixed limits end that.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            mallopt(parameter, value)
