"""What an engine can do: asked for by callers and tests, instead of the engine's name."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from anywasm.core.types import NUMERIC, ExternKind, ValueType


class Feature(str, Enum):
    """A WebAssembly feature beyond the first version, named as its proposal is."""

    MUTABLE_GLOBALS = "mutable-globals"
    SIGN_EXTENSION = "sign-extension"
    SATURATING_FLOAT_TO_INT = "saturating-float-to-int"
    BULK_MEMORY = "bulk-memory"
    MULTI_VALUE = "multi-value"
    REFERENCE_TYPES = "reference-types"
    SIMD = "simd"
    RELAXED_SIMD = "relaxed-simd"
    TAIL_CALL = "tail-call"
    EXTENDED_CONST = "extended-const"
    EXCEPTIONS = "exceptions"
    FUNCTION_REFERENCES = "function-references"
    GC = "gc"
    MEMORY64 = "memory64"
    MULTI_MEMORY = "multi-memory"
    WIDE_ARITHMETIC = "wide-arithmetic"
    THREADS = "threads"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine claims. Claimed means it works; not claimed means `UnsupportedError`.

    Attributes:
        wasm: It runs WebAssembly binaries (the `null` engine does not).
        validates: An invalid module is a `CompileError`. Elsewhere it may compile, and what it does
            then is undefined but for the host's safety; give such an engine valid modules only.
        serialize: `Module.serialize` and `VM.load` work. A server then has modules compiled in
            another process, within limits; else in its own, without.
        interrupt: `Instance.deadline` works, on a module compiled with no options.
        memory_limit: `ResourceLimits` given to `Module.instantiate` are enforced.
        parallel: Instances run at the same time in different threads (the GIL is released).
        thread_bound: An instance may only be used by the thread that made it.
        reentrant: A host function may call exports of the instance that called it.
        suspend: A host function may suspend the guest that called it (`Suspending`,
            `Instance.promising`); the thread is free meanwhile.
        backtrace: Traps carry the guest's frames.
        memory_moves: Growth may move the memory; cached addresses do not survive it.
        imports: The kinds of import that can be given.
        values: The types of value that can cross between host and guest.
        features: The WebAssembly features beyond the first version.
    """

    wasm: bool = True
    validates: bool = True
    serialize: bool = False
    interrupt: bool = False
    memory_limit: bool = False
    parallel: bool = False
    thread_bound: bool = False
    reentrant: bool = True
    suspend: bool = False
    backtrace: bool = False
    memory_moves: bool = False
    imports: frozenset[ExternKind] = frozenset({ExternKind.FUNCTION})
    values: frozenset[ValueType] = NUMERIC
    features: frozenset[Feature] = field(default_factory=frozenset)

    @property
    def linking(self) -> bool:
        """Whether instances can share more than functions, in a store of `VM.new_store`."""
        return self.imports != {ExternKind.FUNCTION}
