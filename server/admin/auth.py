"""Lets in whoever has the token."""

from __future__ import annotations

import hmac

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send


class BearerAuth:
    """ASGI middleware: 401 without `Authorization: Bearer TOKEN`.

    Without a token everybody is let in, which only a loopback listener may do, but no page in a
    browser: any page can send requests to this machine, and those say where they come from.

    Args:
        app: What is guarded.
        token: The token, or None.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._expected = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        refusal = self._refusal(Request(scope)) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        if self._expected is None:
            if "origin" not in request.headers:
                return None
            return JSONResponse({"error": "browsers are let in with a token only"}, 403)
        given = request.headers.get("authorization", "").encode("latin-1")
        if hmac.compare_digest(given, self._expected):
            return None
        return JSONResponse(
            {"error": "a valid bearer token is needed"},
            401,
            headers={"www-authenticate": 'Bearer realm="anywasm"'},
        )
