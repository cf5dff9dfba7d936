"""What the management API answers when something fails."""

from __future__ import annotations

from typing import Any

from anywasm.core.errors import AnyWasmError, PluginError
from anywasm.plugins.errors import PluginExistsError, PluginNotFoundError, SameConfigError
from anywasm.server.admin.requests import BadRequestError

_STATUS: tuple[tuple[type[AnyWasmError], int], ...] = (
    (BadRequestError, 400),
    (PluginNotFoundError, 404),
    (PluginExistsError, 409),
    (SameConfigError, 200),
    (PluginError, 422),
)


class RefusedError(AnyWasmError):
    """An answer that is ready as it is, since another process has found it.

    Attributes:
        status: The HTTP status.
        body: The answer.
    """

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(str(body.get("error", body)))
        self.status = status
        self.body = body


def answer_to(error: AnyWasmError) -> tuple[int, dict[str, Any]]:
    """Status and body of the answer to a request that ended with `error`."""
    if isinstance(error, RefusedError):
        return error.status, error.body
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    if isinstance(error, SameConfigError):
        return status, {"unchanged": str(error)}
    if isinstance(error, PluginNotFoundError):
        return status, {"error": f"{error.name} is not registered"}
    return status, {"error": str(error)}
