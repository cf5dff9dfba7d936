"""What compiling one module may take."""

from __future__ import annotations

from dataclasses import dataclass

from anywasm.core.errors import CompileError


@dataclass(frozen=True, slots=True)
class CompileLimits:
    """Bounds on one module.

    Attributes:
        seconds: How long it may take, on the clock.
        memory: Bytes that the process which compiles may have of its own.
    """

    seconds: float = 60.0
    memory: int = 2 << 30


class CompileLimitError(CompileError):
    """Compiling the module took more than it may.

    Attributes:
        key: Of the configuration, under `vm_config`: what to raise.
    """

    def __init__(self, message: str, key: str) -> None:
        self.key = key
        super().__init__(f"{message}; raise vm_config.{key} if the module is worth it")
