"""A global variable that an instance exports."""

from __future__ import annotations

from abc import ABC, abstractmethod

from anywasm.core.types import GlobalType


class Global(ABC):
    """One global, usable until its instance closes and by one thread at a time.

    Attributes:
        type: Its value type and whether it may be set.
    """

    type: GlobalType

    @property
    @abstractmethod
    def value(self) -> int | float:
        """The current value; ints come unsigned, as everywhere at the seam.

        Setting it takes the same numbers as an argument of that type.

        Raises:
            ArgumentError: When set to a value of another type or range, or when not mutable.
            ClosedError: After the instance was closed.
        """

    @value.setter
    @abstractmethod
    def value(self, value: float) -> None: ...
