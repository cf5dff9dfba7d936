"""Finds wasmer-python and its Cranelift compiler."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version as distribution_version
from typing import Any

from anywasm.core.types import FuncType, ValueType


def load() -> tuple[Any, Any]:
    """The modules `wasmer` and `wasmer_compiler_cranelift`.

    Raises:
        ImportError: When they are not installed, or are the empty wheels that pip installs where
            wasmer has none for the interpreter.
    """
    try:
        wasmer, compiler = import_module("wasmer"), import_module("wasmer_compiler_cranelift")
        wasmer.Store(wasmer.engine.Universal(compiler.Compiler))
    except (ImportError, AttributeError) as error:
        running = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"
        raise ImportError(
            f"wasmer-python cannot be loaded ({error}); its last wheels are for CPython 3.10, "
            f"this is {running}"
        ) from error
    return wasmer, compiler


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
