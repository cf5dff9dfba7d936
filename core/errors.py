"""Every error of the project that a caller may want to catch.

Nothing of an engine's own leaves the seam: each engine translates its exceptions in one
`map_exceptions`, with the original chained as `__cause__`. An exception raised by a host function
is the exception of the caller and comes out of the export call as itself.
"""

from __future__ import annotations

from enum import Enum


class AnyWasmError(Exception):
    """The root of all errors raised by anywasm."""


# --- finding an engine ---------------------------------------------------------------------------


class EngineNotFoundError(AnyWasmError, LookupError):
    """No engine of that name is known.

    Attributes:
        name: The name that was asked for.
        known: The names that would have worked.
    """

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        self.name = name
        self.known = known
        super().__init__(f"unknown WebAssembly engine {name!r}; known engines: {', '.join(known)}")


class EngineUnavailableError(AnyWasmError):
    """The engine is known but cannot run here.

    Attributes:
        name: The engine's name.
        reason: Why it cannot run.
        remedy: What to do about it, usually a pip command; empty where nothing helps.
    """

    def __init__(self, name: str, reason: str, remedy: str = "") -> None:
        self.name = name
        self.reason = reason
        self.remedy = remedy
        hint = f" (remedy: {remedy})" if remedy else ""
        super().__init__(f"WebAssembly engine {name!r} is not available: {reason}{hint}")


class UnsupportedError(AnyWasmError):
    """The engine does not claim the capability that was asked of it."""


# --- modules and instances -----------------------------------------------------------------------


class CompileError(AnyWasmError):
    """The bytes are no valid module, or use a feature that the engine lacks."""


class LinkError(AnyWasmError):
    """The imports given do not satisfy what the module asks for."""


class InstantiationError(AnyWasmError):
    """The module was linked but its instance could not be started."""


class TrapKind(str, Enum):
    """Why a guest trapped, in the words of the core specification's test suite.

    Some engines have one word for two: for a float too large to be an integer and a NaN
    (`INVALID_CONVERSION_TO_INTEGER` then), or for a null in a table and a function of another type
    (`INDIRECT_CALL_TYPE_MISMATCH`).
    """

    UNREACHABLE = "unreachable"
    MEMORY_OUT_OF_BOUNDS = "out of bounds memory access"
    TABLE_OUT_OF_BOUNDS = "out of bounds table access"
    UNDEFINED_ELEMENT = "undefined element"
    UNINITIALIZED_ELEMENT = "uninitialized element"
    INDIRECT_CALL_TYPE_MISMATCH = "indirect call type mismatch"
    INTEGER_OVERFLOW = "integer overflow"
    INTEGER_DIVIDE_BY_ZERO = "integer divide by zero"
    INVALID_CONVERSION_TO_INTEGER = "invalid conversion to integer"
    STACK_OVERFLOW = "call stack exhausted"
    NULL_REFERENCE = "null reference"
    #: A trap of a kind this table does not name; the message has the engine's own words.
    OTHER = "trap"

    def __str__(self) -> str:
        return self.value


class TrapError(AnyWasmError):
    """The guest trapped. Its instance stays callable, its state is whatever the guest left.

    Attributes:
        kind: Why.
        backtrace: Guest frames, innermost first, each a function name or `func[INDEX]`; empty on
            engines without `capabilities.backtrace`.
        offsets: Where in the module's bytes each of these frames stood; empty where the engine does
            not tell, or runs other bytes than it was given.
    """

    def __init__(
        self,
        kind: TrapKind,
        message: str | None = None,
        backtrace: tuple[str, ...] = (),
        offsets: tuple[int, ...] = (),
    ) -> None:
        self.kind = kind
        self.message = message or kind.value
        self.backtrace = backtrace
        self.offsets = offsets
        at = f" at {' < '.join(backtrace[:8])}" if backtrace else ""
        super().__init__(f"wasm trap: {self.message}{at}")


class DeadlineExceededError(AnyWasmError, TimeoutError):
    """The deadline set with `Instance.deadline` passed; the instance stays callable."""


class OutOfMemoryError(AnyWasmError, MemoryError):
    """The host could not get the memory that an engine asked for."""


class ExitError(AnyWasmError):
    """The guest asked to exit.

    Attributes:
        code: The exit code.
    """

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"guest exited with code {code}")


class ArgumentError(AnyWasmError, TypeError, OverflowError):
    """A value of the wrong count, type or range crossed the seam.

    It is also a `TypeError` and an `OverflowError`, which is what plain Python would raise.
    """


class ExportNotFoundError(AnyWasmError, KeyError):
    """The instance has no export of that name."""

    def __str__(self) -> str:
        # KeyError would show the message as a quoted repr.
        return str(self.args[0]) if self.args else ""


class MemoryBoundsError(AnyWasmError, IndexError):
    """A host access fell outside the guest's memory."""


class TableBoundsError(AnyWasmError, IndexError):
    """A host access fell outside a table, or a table cannot grow."""


class ClosedError(AnyWasmError):
    """The object was used after its `close()`."""


class ForkedError(ClosedError):
    """An engine, or what was made with it, was used in a process forked after it was loaded."""


class ConcurrencyError(AnyWasmError, RuntimeError):
    """An instance was used by two threads at once, or by a thread that may not use it."""


# --- above the seam ------------------------------------------------------------------------------


class AbiError(AnyWasmError):
    """A module does not speak a proxy-wasm ABI that this host knows, or speaks it wrongly."""


class ConfigError(AnyWasmError):
    """A configuration is wrong; the message names the place and the remedy."""


class PluginError(AnyWasmError):
    """A plugin could not be loaded, started or called."""


class StateStoreError(AnyWasmError):
    """A state store could not answer: unknown, unreachable, or too slow."""
