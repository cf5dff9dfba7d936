"""The `null` engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anywasm.core.capabilities import Capabilities, Feature
from anywasm.core.errors import ArgumentError, CompileError
from anywasm.core.vm import VM
from anywasm.engines.null.library import find_guest, version
from anywasm.engines.null.module import NullModule

if TYPE_CHECKING:
    from anywasm.core.binary import ModuleInterface
    from anywasm.core.module import Module


class NullVM(VM):
    """Runs Python classes in the place of WebAssembly modules.

    A module's bytes are the name under which its class was registered (see
    `anywasm.engines.null.library`). Numbers, memory, errors and lifetimes follow the same rules as
    on every engine, so a host is tested on it, and measured against it, without WebAssembly.
    """

    name = "null"
    engine_api_version = 1
    capabilities = Capabilities(
        wasm=False,
        memory_limit=True,
        memory_moves=True,
        features=frozenset({Feature.MULTI_VALUE, Feature.MUTABLE_GLOBALS}),
    )

    def __init__(self) -> None:
        self.version = version()

    def compile(self, wasm: bytes) -> Module:
        """Find the guest class that `wasm` names.

        Raises:
            CompileError: For a name that is not registered, a WebAssembly binary, or a class whose
                declarations cannot be read.
            ClosedError: After `close`.
        """
        guest = find_guest(self._bytes(wasm))
        try:
            return NullModule(self, guest)
        except ArgumentError as error:
            raise CompileError(f"{guest.__qualname__} declares what cannot be: {error}") from error

    def _compile(self, wasm: bytes, interface: ModuleInterface) -> Module:
        raise CompileError("the null engine runs no WebAssembly")
