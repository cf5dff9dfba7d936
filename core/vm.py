"""A WebAssembly engine, as the rest of the project sees it."""

from __future__ import annotations

import mmap
import os
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from anywasm.core.artifact import check_artifact, read_artifact
from anywasm.core.binary import ModuleInterface, read_interface
from anywasm.core.capabilities import Capabilities
from anywasm.core.closeable import Closeable
from anywasm.core.errors import ArgumentError, CompileError, UnsupportedError
from anywasm.core.fork import closed_error
from anywasm.core.limits import ResourceLimits
from anywasm.core.module import Module
from anywasm.core.signals import trap_signals
from anywasm.core.store import Store

#: The version of this seam. An engine states the one it was written for.
ENGINE_API_VERSION = 1


class VM(Closeable):
    """An engine. Made without arguments; one per process is shared by `get_wasm_engine`.

    Thread-safe: modules may be compiled and loaded by many threads at once. A third-party engine
    subclasses this, `Module` and `Instance`, and names its VM class in the entry-point group
    `anywasm.engines`. Its import and `__init__` may fail with any exception where its binding is
    missing or unfit: the registry turns that into an `EngineUnavailableError`.

    Attributes:
        name: The name under which it is chosen.
        engine_api_version: The `ENGINE_API_VERSION` it was written for, as a literal.
        capabilities: What it can do.
        version: The engine's own version.
    """

    name: ClassVar[str]
    engine_api_version: ClassVar[int]
    capabilities: Capabilities
    version: str

    _closed = False
    #: Whether a module of it was instantiated.
    has_run = False

    # --- what an engine provides ---

    @abstractmethod
    def _compile(self, wasm: bytes, interface: ModuleInterface) -> Module:
        """Compile a binary whose interface was read already.

        Raises:
            CompileError: When it is invalid, or needs a feature that the engine lacks.
        """

    def _load(self, code: bytes, interface: bytes) -> Module:
        """Make a module of the engine's own artifact and the interface sections."""
        raise UnsupportedError(f"engine {self.name!r} cannot load artifacts")

    def _load_file(self, path: str, size: int, interface: bytes) -> Module:
        """Like `_load`, of the first `size` bytes of a file; for engines that can map it."""
        with open(path, "rb") as file:
            return self._load(file.read(size), interface)

    def _new_store(self, limits: ResourceLimits | None) -> Store:
        """Make a store, where `capabilities.linking`."""
        raise UnsupportedError(f"engine {self.name!r} cannot link instances with each other")

    def _close(self) -> None:
        """Free what is native. Called once."""

    # --- what every engine has ---

    @property
    def artifact_version(self) -> str:
        """What an artifact must have been made with to be loaded; engines add compile options."""
        return self.version

    def compile(self, wasm: bytes) -> Module:
        """Compile a WebAssembly binary.

        Args:
            wasm: A core module in the binary format.

        Returns:
            The module, owned by the caller.

        Raises:
            CompileError: When it is malformed, invalid, or needs a feature that the engine lacks.
            ClosedError: After `close`.
        """
        wasm = self._bytes(wasm)
        trap_signals.mend()
        return self._compile(wasm, read_interface(wasm))

    def load(self, artifact: bytes) -> Module:
        """Load what `Module.serialize` wrote, without compiling.

        Only load artifacts that you wrote: the engine runs them as native code.

        Raises:
            CompileError: For a damaged artifact, or one of another engine, version or machine.
            UnsupportedError: Where the engine does not claim `serialize`.
            ClosedError: After `close`.
        """
        artifact = self._bytes(artifact)
        if not self.capabilities.serialize:
            raise UnsupportedError(f"engine {self.name!r} cannot load artifacts")
        content = read_artifact(self.name, self.artifact_version, artifact)
        return self._load(content.code, content.interface)

    def load_file(self, path: str | os.PathLike[str]) -> Module:
        """Load a file that holds what `Module.serialize` wrote.

        Faster than `load` where the engine can map the code instead of copying it; the file must
        not be written to meanwhile, nor as long as the module or an instance of it lives. Replace
        or remove it instead, which leaves them alone.

        Raises:
            CompileError: As `load`, and when the file cannot be read.
            UnsupportedError: Where the engine does not claim `serialize`.
            ClosedError: After `close`.
        """
        self._check_open()
        if not self.capabilities.serialize:
            raise UnsupportedError(f"engine {self.name!r} cannot load artifacts")
        try:
            with open(path, "rb") as file:
                # A name for this very file: whoever replaces it meanwhile is too late.
                named = Path(f"/proc/self/fd/{file.fileno()}")
                with (
                    mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
                    memoryview(data) as view,
                ):
                    size, interface = check_artifact(self.name, self.artifact_version, view)
                found = named if named.exists() else path
                return self._load_file(os.fspath(found), size, interface)
        except (OSError, ValueError) as error:
            raise CompileError(f"cannot read the artifact {os.fspath(path)}: {error}") from error

    def new_store(self, limits: ResourceLimits | None = None) -> Store:
        """Make a store, in which instances share memories, tables, globals and functions.

        Args:
            limits: Bounds on every memory and table in it, where `capabilities.memory_limit`.

        Returns:
            The store, owned by the caller; on a thread-bound engine it belongs to this thread.

        Raises:
            UnsupportedError: Where the engine does not claim `linking`, or for such limits.
            ArgumentError: For a limit on start functions, which is given to `Module.instantiate`.
            ClosedError: After `close`.
        """
        self._check_open()
        if limits is not None:
            if limits.start_seconds is not None:
                raise ArgumentError("start_seconds bounds one instance: give it to instantiate")
            self._check_limits(limits)
        return self._new_store(limits)

    def _check_limits(self, limits: ResourceLimits) -> None:
        if limits.start_seconds is not None and not self.capabilities.interrupt:
            raise UnsupportedError(
                f"engine {self.name!r} cannot interrupt a module's start function"
            )
        if limits.bounds_memory and not self.capabilities.memory_limit:
            raise UnsupportedError(f"engine {self.name!r} cannot limit an instance's memory")

    def _check_open(self) -> None:
        if self._closed:
            raise closed_error(f"engine {self.name!r}")

    def _bytes(self, data: object) -> bytes:
        self._check_open()
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise ArgumentError(f"a module is bytes, not {type(data).__name__}")
        return bytes(data)

    @property
    def closed(self) -> bool:
        """Whether the engine was closed."""
        return self._closed

    def close(self) -> None:
        """Free the engine. Modules and instances made before stay usable. Idempotent."""
        if not self._closed:
            self._closed = True
            self._close()

    def __repr__(self) -> str:
        return f"<engine {self.name} {self.version}>"
