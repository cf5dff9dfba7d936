"""The hooks through which plugins of this package (not WASM plugins) take part.

A plugin is an object or module with functions marked `@hookimpl`, registered at run time with
`register_plugin` or installed under the entry-point group `anywasm`. Each layer adds its own
specifications to the one plugin manager in `anywasm.core.hooks`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import pluggy

hookspec = pluggy.HookspecMarker("anywasm")
hookimpl = pluggy.HookimplMarker("anywasm")


class RegisterEngine(Protocol):
    """What `register_engines` receives."""

    def __call__(self, name: str, factory: Callable[[], Any]) -> None:
        """Offer an engine; `factory` is a VM class, or makes a VM without arguments."""


class EngineSpecs:
    """Hooks about engines."""

    @hookspec
    def register_engines(self, register: RegisterEngine) -> None:
        """Call `register(name, factory)` for each engine that the plugin brings."""
