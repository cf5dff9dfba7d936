"""The routes of the management API."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from anywasm.core.errors import AnyWasmError, PluginError
from anywasm.plugins.errors import PluginExistsError, PluginNotFoundError, SameConfigError
from anywasm.plugins.manager import PluginManager
from anywasm.plugins.router import FunctionRouter
from anywasm.plugins.wrapper import PluginWrapper
from anywasm.server.admin.auth import BearerAuth
from anywasm.server.admin.requests import (
    BadRequestError,
    read_instance_num,
    read_name,
    read_plugin,
)
from anywasm.server.metrics import CONTENT_TYPE, Metrics

#: The largest body that is read.
MAX_BODY = 1024 * 1024

_STATUS: tuple[tuple[type[AnyWasmError], int], ...] = (
    (BadRequestError, 400),
    (PluginNotFoundError, 404),
    (PluginExistsError, 409),
    (SameConfigError, 200),
    (PluginError, 422),
)


def make_app(
    manager: PluginManager, router: FunctionRouter, metrics: Metrics, token: str | None
) -> Starlette:
    """The management API over `manager`.

    Layotto's endpoints answer 200 on success. Its clients find the same messages under `error`, but
    with a status that says what is wrong, where Layotto always says 500 or even 200.
    """
    plugins = _Plugins(manager, router)

    async def show_metrics(request: Request) -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    async def healthy(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    routes = [
        Route("/wasm/install", _posted(plugins.install), methods=["POST"]),
        Route("/wasm/update", _posted(plugins.update), methods=["POST"]),
        Route("/wasm/uninstall", _posted(plugins.uninstall), methods=["POST"]),
        Route("/wasm/list", plugins.list, methods=["GET"]),
        Route("/metrics", show_metrics, methods=["GET"]),
        Route("/healthz", healthy, methods=["GET"]),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(BearerAuth, token=token)],
        exception_handlers={HTTPException: _refused, AnyWasmError: _failed, Exception: _broke},
    )


class _Plugins:
    """The endpoints that change or show plugins. Their work is done in threads: it may compile."""

    def __init__(self, manager: PluginManager, router: FunctionRouter) -> None:
        self._manager = manager
        self._router = router

    def install(self, body: dict[str, Any]) -> dict[str, Any]:
        """Load, start and route a plugin."""
        name = read_name(body)
        config = read_plugin(body)
        if self._router.plugins(name):
            raise PluginExistsError(f"{name} is already registered")
        try:
            self._manager.add(config)
        except PluginExistsError:
            raise PluginExistsError(f"{name} is already registered") from None
        return _describe(self._manager.get(name))

    def update(self, body: dict[str, Any]) -> dict[str, Any]:
        """Change the number of instances, or, with vm_config, the whole plugin."""
        name = self._find(read_name(body))
        if "vm_config" in body:
            self._manager.get(name).update(read_plugin({**body, "name": name}))
        else:
            self._manager.resize(name, read_instance_num(body))
        return _describe(self._manager.get(name))

    def uninstall(self, body: dict[str, Any]) -> dict[str, Any]:
        """Take a plugin out of service."""
        name = self._find(read_name(body))
        self._manager.uninstall(name)
        return {"name": name}

    async def list(self, request: Request) -> Response:
        """All plugins."""
        return JSONResponse({"plugins": [_describe(item) for item in self._manager.list()]})

    def _find(self, name: str) -> str:
        """The plugin of that name, or else the one whose function id it is, as in Layotto."""
        named = {wrapper.name for wrapper in self._manager.list()}
        plugins = self._router.plugins(name)
        if name in named:
            return name
        if len(plugins) == 1:
            return plugins[0].name
        if plugins:
            names = ", ".join(plugin.name for plugin in plugins)
            raise BadRequestError(f"several plugins have the id {name}; name one of {names}")
        raise PluginNotFoundError(name, tuple(named))


def _describe(wrapper: PluginWrapper) -> dict[str, Any]:
    plugin = wrapper.plugin
    return {
        "name": wrapper.name,
        "id": plugin.id,
        "engine": plugin.module.vm.name,
        "engine_version": plugin.module.vm.version,
        "path": str(plugin.source.path),
        "sha256": plugin.source.sha256,
        "version": plugin.version,
        "instance_num": plugin.pool.size,
        "instances": {"running": len(plugin.pool.slots), "idle": plugin.pool.idle},
        "replaced_instances": plugin.pool.replaced,
        "reloads": wrapper.reloads,
        "last_error": wrapper.last_error,
    }


def _posted(
    action: Callable[[dict[str, Any]], dict[str, Any]],
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
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
        return JSONResponse(await to_thread.run_sync(action, body))

    return endpoint


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    if isinstance(error, SameConfigError):
        return JSONResponse({"unchanged": str(error)}, status)
    if isinstance(error, PluginNotFoundError):
        return JSONResponse({"error": f"{error.name} is not registered"}, status)
    return JSONResponse({"error": str(error)}, status)


async def _broke(request: Request, error: Exception) -> Response:
    # Starlette raises it again afterwards, for the log.
    return JSONResponse({"error": f"the host failed: {type(error).__name__}"}, 500)
