"""A global variable that an instance exports."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from anywasm.core.errors import ArgumentError
from anywasm.core.gate import CallGate
from anywasm.core.marshal import value_export
from anywasm.core.types import FuncType, GlobalType, ValueType


class Global(ABC):
    """One global, usable until its instance closes and by one thread at a time.

    Attributes:
        type: Its value type and whether it may be set.
    """

    type: GlobalType

    @property
    @abstractmethod
    def value(self) -> Any:
        """The current value; ints come unsigned, as everywhere at the seam.

        Setting it takes the same values as an argument of that type.

        Raises:
            ArgumentError: When set to a value of another type or range, or when not mutable.
            ClosedError: After the instance was closed.
        """

    @value.setter
    @abstractmethod
    def value(self, value: Any) -> None: ...


class ValueGlobal(Global):
    """A global of a binding that takes Python numbers; the rules for calls hold for it, too.

    Args:
        name: The export's name, for messages.
        type: Its type.
        gate: The instance's.
        get: The binding's way to read it.
        put: The binding's way to set it; not called for one that is not mutable.
        signed: Which ints the binding takes.
        others: What it takes beside numbers (see `anywasm.core.marshal.value_export`).
    """

    def __init__(
        self,
        name: str,
        type: GlobalType,
        gate: CallGate,
        get: Callable[[], Any],
        put: Callable[[Any], object],
        *,
        signed: bool,
        others: frozenset[ValueType] = frozenset(),
    ) -> None:
        def store(value: Any) -> None:
            put(value)

        self.type = type
        self._name = name
        reads, writes = FuncType((), (type.value,)), FuncType((type.value,), ())
        self._get = value_export(name, reads, gate, get, signed=signed, others=others)
        self._set = value_export(name, writes, gate, store, signed=signed, others=others)

    @property
    def value(self) -> Any:
        """The current value; see `Global.value`."""
        return self._get()

    @value.setter
    def value(self, value: Any) -> None:
        if not self.type.mutable:
            raise ArgumentError(f"global {self._name!r} is not mutable")
        self._set(value)
