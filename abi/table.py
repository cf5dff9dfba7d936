"""The table of host functions: each one declared once, by name, signature, versions and phases.

A declaration stands on the Python function that implements it. That function sees decoded values
(`bytes` for a pointer and a size, ints for numbers) and the effective context; it returns what the
guest shall get, or a `Status`. Marshalling is generated from the signature (`anywasm.abi.binding`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntFlag
from typing import Any, TypeVar

from anywasm.core.types import FuncType, ValueType

#: What parameters of each kind look like in WebAssembly. `data` is a pointer and a size that the
#: host reads; `-> data` a pair of addresses where it writes a pointer and a size, `-> data?` the
#: same where either address may be 0; `-> u32` and `-> u64` an address where it writes a number.
_INPUTS = {
    "u32": (ValueType.I32,),
    "i32": (ValueType.I32,),
    "i64": (ValueType.I64,),
    "u64": (ValueType.I64,),
    "data": (ValueType.I32, ValueType.I32),
}
_OUTPUTS = {
    "data": (ValueType.I32, ValueType.I32),
    "data?": (ValueType.I32, ValueType.I32),
    "u32": (ValueType.I32,),
    "u64": (ValueType.I32,),
}


class Phase(IntFlag):
    """The moments in which a guest may not call everything."""

    NONE = 0
    #: While the module initializes itself (`_initialize`, `_start`): there is no context yet.
    START = 1
    #: While the guest's allocator runs inside a host function.
    ALLOCATION = 2


@dataclass(frozen=True, slots=True)
class Signature:
    """What a host function takes and gives, as `"u32 data -> data u32"`."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Signature:
        """Read a declaration; unknown words are a KeyError at import time."""
        left, _, right = text.partition("->")
        signature = cls(tuple(left.split()), tuple(right.split()))
        _ = signature.type
        return signature

    @property
    def type(self) -> FuncType:
        """The WebAssembly type: every host function returns an i32 status."""
        params = [t for kind in self.inputs for t in _INPUTS[kind]]
        params += [t for kind in self.outputs for t in _OUTPUTS[kind]]
        return FuncType(tuple(params), (ValueType.I32,))


@dataclass(frozen=True, slots=True)
class HostFunction:
    """One row of the table.

    Attributes:
        name: The import's name in module `env`.
        signature: What it takes and gives.
        implementation: `(context, *inputs) -> outputs | Status`. No output is None, one is a value,
            several are a tuple.
        versions: The ABI versions that have it; None for all.
        phases: The restricted phases in which it may be called.
        blocking: Whether it may wait for something outside the guest.
        shared: Whether it waits where what guests share is reached over a network.
    """

    name: str
    signature: Signature
    implementation: Callable[..., Any]
    versions: frozenset[str] | None
    phases: Phase
    blocking: bool
    shared: bool = False

    @property
    def type(self) -> FuncType:
        """Its WebAssembly type."""
        return self.signature.type


_Implementation = TypeVar("_Implementation", bound=Callable[..., Any])

#: Every host function by name; filled by importing `anywasm.abi.hostcalls`.
HOST_FUNCTIONS: dict[str, HostFunction] = {}


def host_function(
    name: str,
    signature: str = "",
    *,
    versions: tuple[str, ...] | None = None,
    phases: Phase = Phase.NONE,
    blocking: bool = False,
    shared: bool = False,
) -> Callable[[_Implementation], _Implementation]:
    """Declare the decorated function as the host function `name`.

    Args:
        name: The import's name in module `env`.
        signature: Its inputs and outputs, for example `"u32 data -> data"`.
        versions: The ABI versions that have it; None for all.
        phases: The restricted phases in which it may be called.
        blocking: Whether it may wait for something outside the guest; plugins that import such a
            function run where they can wait.
        shared: Whether it waits where what guests share is reached over a network.
    """

    def declare(implementation: _Implementation) -> _Implementation:
        if name in HOST_FUNCTIONS:
            raise ValueError(f"host function {name} is declared twice")
        HOST_FUNCTIONS[name] = HostFunction(
            name,
            Signature.parse(signature),
            implementation,
            None if versions is None else frozenset(versions),
            phases,
            blocking,
            shared,
        )
        return implementation

    return declare
