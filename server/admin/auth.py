"""Lets in whoever has the token."""

from __future__ import annotations

import hmac
import ipaddress

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send


class BearerAuth:
    """ASGI middleware: 401 without `Authorization: Bearer TOKEN`.

    Without a token everybody is let in, which only a loopback listener may do, but no page in a
    browser: any page can send requests to this machine. Those say where they come from, or which
    name they were sent to, where a page has its own name resolved to this machine.

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
            if "origin" not in request.headers and _is_local(request):
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


def _is_local(request: Request) -> bool:
    """Whether it was sent to an address or a name of this machine, or to a Unix socket."""
    server = request.scope.get("server")
    host = request.url.hostname
    if server is None or server[1] is None or host in (None, "localhost"):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
