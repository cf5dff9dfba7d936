"""The hook through which third parties bring types of state stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel

from anywasm.core.hooks import manager
from anywasm.core.hookspecs import hookspec

if TYPE_CHECKING:
    from anywasm.abi.host import StateStore


class RegisterStateStore(Protocol):
    """What `register_state_stores` receives."""

    def __call__(
        self, type: str, options: type[BaseModel], open: Callable[[str, Any], StateStore]
    ) -> None:
        """Offer a type of state store.

        Args:
            type: What `type` in the configuration says.
            options: Model of the other keys; should forbid those it does not know.
            open: Makes a store from its name and validated options. It should not connect yet,
                so that a server can start before its stores; it may raise `ConfigError`.
        """


class StateStoreSpecs:
    """Hooks about state stores."""

    @hookspec
    def register_state_stores(self, register: RegisterStateStore) -> None:
        """Call `register(type, options, open)` for each type that the plugin brings."""


manager.add_hookspecs(StateStoreSpecs)
