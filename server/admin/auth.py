"""Lets in whoever has the token."""

from __future__ import annotations

import hmac

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send


class BearerAuth:
    """ASGI middleware: 401 without `Authorization: Bearer TOKEN`.

    Args:
        app: What is guarded.
        token: The token; None lets everybody in, which only a loopback listener may do.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._expected = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http" or self._admits(Request(scope)):
            await self._app(scope, receive, send)
            return
        refusal: Response = JSONResponse(
            {"error": "a valid bearer token is needed"},
            401,
            headers={"www-authenticate": 'Bearer realm="anywasm"'},
        )
        await refusal(scope, receive, send)

    def _admits(self, request: Request) -> bool:
        if self._expected is None:
            return True
        given = request.headers.get("authorization", "").encode("latin-1")
        return hmac.compare_digest(given, self._expected)
