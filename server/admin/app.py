"""The routes of the management API."""

from __future__ import annotations

import json
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from anywasm.core.errors import AnyWasmError
from anywasm.server.admin.administration import Action, Administration
from anywasm.server.admin.auth import BearerAuth
from anywasm.server.admin.errors import answer_to
from anywasm.server.admin.requests import BadRequestError
from anywasm.server.metrics import CONTENT_TYPE

#: The largest body that is read.
MAX_BODY = 1024 * 1024


def make_app(administration: Administration, token: str | None) -> Starlette:
    """The management API of one process or several.

    Layotto's endpoints answer 200 on success. Its clients find the same messages under `error`, but
    with a status that says what is wrong, where Layotto always says 500 or even 200.
    """

    async def show_plugins(request: Request) -> Response:
        return JSONResponse({"plugins": await administration.plugins()})

    async def show_metrics(request: Request) -> Response:
        return Response(await administration.metrics(), media_type=CONTENT_TYPE)

    async def live(request: Request) -> Response:
        health = await administration.health()
        status = "ok" if health.live else "failed"
        return JSONResponse({"status": status, **health.details}, 200 if health.live else 503)

    async def ready(request: Request) -> Response:
        health = await administration.health()
        status = "ready" if health.ready else "not ready"
        return JSONResponse({"status": status, **health.details}, 200 if health.ready else 503)

    def changes(action: Action) -> Route:
        async def change(request: Request) -> Response:
            return JSONResponse(await administration.change(action, await _read(request)))

        return Route(f"/wasm/{action}", change, methods=["POST"])

    routes = [
        changes("install"),
        changes("update"),
        changes("uninstall"),
        Route("/wasm/list", show_plugins, methods=["GET"]),
        Route("/metrics", show_metrics, methods=["GET"]),
        Route("/healthz", live, methods=["GET"]),
        Route("/readyz", ready, methods=["GET"]),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(BearerAuth, token=token)],
        exception_handlers={HTTPException: _refused, AnyWasmError: _failed, Exception: _broke},
    )


async def _read(request: Request) -> Any:
    """The body of a request, as JSON."""
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > MAX_BODY:
            raise HTTPException(413, f"the body is longer than {MAX_BODY} bytes")
    try:
        body = json.loads(data)
        # JSON can spell halves of characters, which are in no name and no path.
        json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise BadRequestError("invalid request body") from None
    return body


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyWasmError)
    status, body = answer_to(error)
    return JSONResponse(body, status)


async def _broke(request: Request, error: Exception) -> Response:
    # Starlette raises it again afterwards, for the log.
    return JSONResponse({"error": f"the host failed: {type(error).__name__}"}, 500)
