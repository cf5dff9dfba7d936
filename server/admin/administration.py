"""What stands behind the management API: one process, or several."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

#: What can be done to plugins; the last part of Layotto's paths.
Action = Literal["install", "update", "uninstall"]


@dataclass(frozen=True, slots=True)
class Health:
    """How the server is.

    Attributes:
        live: Whether it works at all; otherwise only a restart helps.
        ready: Whether it takes requests.
        details: What else there is to say, as JSON.
    """

    live: bool
    ready: bool
    details: dict[str, Any] = field(default_factory=dict)


class Administration(Protocol):
    """Serves the management API; on the event loop, and without holding it up."""

    async def change(self, action: Action, body: dict[str, Any]) -> dict[str, Any]:
        """Change a plugin; the plugin as it is then.

        Raises:
            AnyWasmError: When that fails; nothing has changed then. See `answer_to`.
        """

    async def plugins(self) -> list[dict[str, Any]]:
        """All plugins."""

    async def metrics(self) -> bytes:
        """All metrics, in Prometheus' text format."""

    async def health(self) -> Health:
        """How the server is."""
