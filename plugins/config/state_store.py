"""One state store, as far as it can be known without its type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, PrivateAttr

from anywasm.plugins.config.model import Model, Name


class StateStoreConfig(Model):
    """The type of a state store, and options that only that type understands.

    Types are open to third parties, so the options are validated where the store is opened, by
    the type's own model.
    """

    model_config = ConfigDict(extra="allow")

    type: Name
    """`redis`, `memory`, or a type that a plugin of this package brings."""
    _place: str = PrivateAttr("")

    @property
    def options(self) -> Mapping[str, Any]:
        """All keys but `type`, as written."""
        return self.__pydantic_extra__ or {}

    @property
    def place(self) -> str:
        """Where it is written, to begin a message with: `FILE:LINE: `; empty when made in code."""
        return self._place

    def placed(self, place: str) -> StateStoreConfig:
        """Note where it is written; returns itself."""
        self._place = place
        return self

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        """Without the options: an URL may hold a password."""
        return [("type", self.type)]
