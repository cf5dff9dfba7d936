"""Finds Wasmer: wasmer-python with its Cranelift compiler, or the library of a Wasmer installation.

wasmer-python ended in 2022 with wheels for CPython 3.10 (wasmerio/wasmer-python#696); elsewhere pip
installs a stub that refuses to be imported. Wasmer itself goes on, and its shared library
implements the standard C API.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version as distribution_version
from typing import Any

from anywasm.core.errors import EngineUnavailableError
from anywasm.core.types import FuncType, ValueType
from anywasm.engines.wasm_c_api.library import WasmLibrary

#: The environment variable that names the library of a Wasmer installation.
LIBWASMER = "ANYWASM_LIBWASMER"

_PIP = "pip install 'anywasm[wasmer]'"
_INSTALL = (
    f"install Wasmer and set {LIBWASMER} to its lib/libwasmer.so, or run CPython 3.10 and "
    f"{_PIP}; see docs/engines.md"
)


def load() -> tuple[Any, Any]:
    """The modules `wasmer` and `wasmer_compiler_cranelift`.

    Raises:
        EngineUnavailableError: When they are not installed, or are the empty wheels that pip
            installs where wasmer has none for the interpreter.
    """
    try:
        wasmer, compiler = import_module("wasmer"), import_module("wasmer_compiler_cranelift")
        wasmer.Store(wasmer.engine.Universal(compiler.Compiler))
    except (ImportError, AttributeError) as error:
        running = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"
        fits = running == "cpython 3.10"
        raise EngineUnavailableError(
            "wasmer",
            f"wasmer-python cannot be loaded ({error}); its last wheels are for CPython 3.10, "
            f"this is {running}",
            _PIP if fits else _INSTALL,
        ) from error
    return wasmer, compiler


def load_library(path: str) -> WasmLibrary:
    """Wasmer's own library.

    Raises:
        EngineUnavailableError: When there is none at `path`, or something else.
    """
    try:
        library = WasmLibrary(path)
    except ImportError as error:
        raise EngineUnavailableError(
            "wasmer",
            f"{LIBWASMER}={path}: {error}",
            f"set {LIBWASMER} to the lib/libwasmer.so of a Wasmer installation, or unset it",
        ) from error
    found = library.dialect.name
    if found != "wasmer":
        raise EngineUnavailableError(
            "wasmer",
            f"{LIBWASMER}={path}: it implements the wasm C API but is not Wasmer's ({found})",
            f"unset {LIBWASMER}; to run that library set ANYWASM_WASM_C_API to its path and choose "
            "the engine wasm_c_api",
        )
    return library


def version() -> str:
    """The version of wasmer-python."""
    return distribution_version("wasmer")


def artifact_version() -> str:
    """What compiled code depends on: the engine and the compiler."""
    return f"{version()}, cranelift {distribution_version('wasmer_compiler_cranelift')}"


class Binding:
    """The parts of wasmer-python that the engine uses."""

    def __init__(self) -> None:
        wasmer, compiler = load()
        self._compiler = compiler.Compiler
        self._universal = wasmer.engine.Universal
        self._store = wasmer.Store
        self._func_type = wasmer.FunctionType
        self.module = wasmer.Module
        self.instance = wasmer.Instance
        self.function = wasmer.Function
        self.import_object = wasmer.ImportObject
        self._types = {
            ValueType.I32: wasmer.Type.I32,
            ValueType.I64: wasmer.Type.I64,
            ValueType.F32: wasmer.Type.F32,
            ValueType.F64: wasmer.Type.F64,
            ValueType.V128: wasmer.Type.V128,
        }

    def store(self) -> Any:
        """A store with an engine of its own.

        An engine keeps all code that it ever compiled, and is useless after a panic while it
        compiled, so no two modules share one.
        """
        return self._store(self._universal(self._compiler))

    def func_type(self, type: FuncType) -> Any:
        """A function type of numbers and vectors."""
        return self._func_type(
            [self._types[kind] for kind in type.params],
            [self._types[kind] for kind in type.results],
        )
