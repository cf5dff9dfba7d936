"""A table of references, as the host reads and writes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from anywasm.core.types import TableType


class Table(ABC):
    """One table, usable until its store closes and by one thread at a time.

    Its elements are null (None), functions (callables, as exports are) or, in a table of
    `externref`, any Python objects. Modelled on `WebAssembly.Table` of the JS API.

    Attributes:
        type: Its type, as it was declared.
    """

    type: TableType

    @property
    @abstractmethod
    def size(self) -> int:
        """The current number of elements.

        Raises:
            ClosedError: After the store was closed.
        """

    @abstractmethod
    def get(self, index: int) -> Any:
        """The element at `index`.

        Raises:
            TableBoundsError: When it is outside the table.
            UnsupportedError: Where the element's type cannot cross (`capabilities.values`).
            ClosedError: After the store was closed.
        """

    @abstractmethod
    def set(self, index: int, value: Any = None) -> None:
        """Make `value` the element at `index`.

        Raises:
            TableBoundsError: When it is outside the table.
            ArgumentError: When `value` is no element of the table, such as a function that is
                not of its store.
            UnsupportedError: Where the element's type cannot cross (`capabilities.values`).
            ClosedError: After the store was closed.
        """

    @abstractmethod
    def grow(self, count: int, value: Any = None) -> int:
        """Add `count` elements, each of them `value`.

        Returns:
            The size before.

        Raises:
            TableBoundsError: When the table's maximum or the store's limit forbids it.
            ArgumentError: When `value` is no element of the table, or `count` no int of at least 0.
            UnsupportedError: Where the element's type cannot cross (`capabilities.values`).
            ClosedError: After the store was closed.
        """
