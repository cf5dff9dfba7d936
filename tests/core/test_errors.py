from __future__ import annotations

import inspect

import pytest

import anywasm
import anywasm.core
from anywasm.core import errors
from anywasm.core.errors import (
    AnyWasmError,
    ArgumentError,
    ClosedError,
    ConcurrencyError,
    DeadlineExceededError,
    EngineNotFoundError,
    EngineUnavailableError,
    ExitError,
    ExportNotFoundError,
    MemoryBoundsError,
    OutOfMemoryError,
    TrapError,
    TrapKind,
)

ALL = [
    item
    for item in vars(errors).values()
    if isinstance(item, type) and issubclass(item, AnyWasmError)
]


def test_all_errors_are_public_in_core() -> None:
    assert {error.__name__ for error in ALL} <= set(anywasm.core.__all__)


@pytest.mark.parametrize("name", anywasm.core.__all__)
def test_public_names_exist_and_are_documented(name: str) -> None:
    value = getattr(anywasm.core, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value)
        for attribute, member in vars(value).items() if inspect.isclass(value) else ():
            if inspect.isfunction(member) and not attribute.startswith("_"):
                assert inspect.getdoc(member), f"{name}.{attribute}"


@pytest.mark.parametrize("name", anywasm.__all__)
def test_public_names_of_the_package_are_documented(name: str) -> None:
    value = getattr(anywasm, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value)


@pytest.mark.parametrize(
    ("error", "also"),
    [
        (ArgumentError("x"), (TypeError, OverflowError)),
        (ExportNotFoundError("x"), (KeyError,)),
        (MemoryBoundsError("x"), (IndexError,)),
        (OutOfMemoryError("x"), (MemoryError,)),
        (DeadlineExceededError("x"), (TimeoutError,)),
        (ConcurrencyError("x"), (RuntimeError,)),
        (EngineNotFoundError("x", ("a", "b")), (LookupError,)),
        (ClosedError("x"), ()),
    ],
)
def test_errors_are_also_what_plain_python_would_raise(
    error: Exception, also: tuple[type[Exception], ...]
) -> None:
    assert isinstance(error, AnyWasmError)
    for kind in also:
        assert isinstance(error, kind)


def test_messages() -> None:
    assert str(ExportNotFoundError("no export named 'x'")) == "no export named 'x'"
    assert str(ExitError(3)) == "guest exited with code 3"
    assert ExitError(3).code == 3
    assert str(EngineNotFoundError("x", ("a", "b"))) == (
        "unknown WebAssembly engine 'x'; known engines: a, b"
    )
    assert str(EngineUnavailableError("x", "gone")) == (
        "WebAssembly engine 'x' is not available: gone"
    )
    assert str(EngineUnavailableError("x", "gone", "pip install x")).endswith(
        "gone (remedy: pip install x)"
    )


def test_trap() -> None:
    error = TrapError(TrapKind.UNREACHABLE)
    assert (error.kind, error.backtrace, str(error)) == (
        TrapKind.UNREACHABLE,
        (),
        "wasm trap: unreachable",
    )
    deep = TrapError(TrapKind.OTHER, "odd", tuple(f"f{i}" for i in range(20)))
    assert str(deep) == "wasm trap: odd at f0 < f1 < f2 < f3 < f4 < f5 < f6 < f7"
    assert len(deep.backtrace) == 20
    assert str(TrapKind.STACK_OVERFLOW) == "call stack exhausted"
