"""Everything that takes part in a run: server, modules, upstream, Redis."""

from __future__ import annotations

import asyncio
from importlib.resources import files
from pathlib import Path
from typing import Any

from anywasm.testing.chaos.process import ServerProcess, free_ports
from anywasm.testing.chaos.requests import CALM, FUNCTIONS, HOSTILE, THREADED
from anywasm.testing.chaos.settings import Settings
from anywasm.testing.chaos.upstream import serve_echo
from anywasm.testing.redis_server import RedisServer, find_redis

_FILTERS = (CALM, HOSTILE, THREADED)
_FUNCTIONS = ("hostile", "other", "calm")
#: Seconds of one guest call.
DEADLINE = 0.25


class World:
    """Starts and stops all of it.

    Attributes:
        ports: Of the server's listeners, by name.
        plugins: The plugins' names.
        redis: The state store's server; None where this machine has none.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        names = (*_FILTERS, FUNCTIONS, "management", "upstream", "redis")
        self.ports = dict(zip(names, free_ports(len(names))))
        self.redis: RedisServer | None = None
        program = find_redis()
        if program is not None:
            self.redis = RedisServer(program, folder, self.ports["redis"])
        self._folder = folder
        self._guest = (files("anywasm.testing.chaos") / "guest.wasm").read_bytes()
        self._upstream: asyncio.Server | None = None
        self._versions = 0
        config = self._config(settings)
        self.plugins = [plugin["name"] for plugin in config["plugins"]]
        for name in self.plugins:
            self.replace_module(name)
        self.server = ServerProcess(config, folder, self.ports["management"])

    def replace_module(self, plugin: str) -> None:
        """Give the plugin a module that differs in a custom section."""
        self._versions += 1
        section = b"\x05chaos%08x" % self._versions
        path = self._folder / f"{plugin}.wasm"
        new = path.with_suffix(".new")
        new.write_bytes(self._guest + bytes((0, len(section))) + section)
        new.replace(path)

    async def start(self) -> None:
        """Start everything, the server last.

        Raises:
            ServerFailedError: When the server does not come up.
        """
        self._upstream = await serve_echo(self.ports["upstream"])
        if self.redis is not None:
            await self.start_redis()
        await self.server.start()

    async def start_redis(self) -> None:
        """Start the state store's server, and put in what guests look up.

        Raises:
            ConnectionError: When it does not come up.
        """
        assert self.redis is not None
        await asyncio.to_thread(self.redis.start)
        await asyncio.to_thread(self.redis.set, "key", "value")

    async def stop(self) -> int | None:
        """Stop everything; the server's exit code, None where it had to be killed."""
        code = await self.server.stop()
        if self.redis is not None:
            self.redis.kill()
        if self._upstream is not None:
            self._upstream.close()
        return code

    def _config(self, settings: Settings) -> dict[str, Any]:
        address = "127.0.0.1:{}".format
        timeouts = {"call": DEADLINE, "request": 5, "lease": 3}
        # Nothing bad is asked of these, so that nothing but a busy machine could make them slow.
        patient = {"call": 10, "request": 20, "lease": 10}
        plugins: list[dict[str, Any]] = [
            {
                "name": f"filter-{name}",
                "vm_config": {"engine": settings.engine, "path": f"filter-{name}.wasm"},
                "execution": "thread" if name == THREADED else "inline",
                "timeouts": patient if name == CALM else timeouts,
                "reload_backoff": {"base": 0.05, "max": 0.2},
                "max_memory_bytes": "16MiB",
            }
            for name in _FILTERS
        ]
        plugins += [
            {
                "name": name,
                "vm_config": {"engine": settings.engine, "path": f"{name}.wasm"},
                "plugin_config": "function",
                "instance_num": 4,
                "timeouts": patient if name == "calm" else timeouts,
                "max_memory_bytes": "16MiB",
            }
            for name in _FUNCTIONS
        ]
        listeners: list[dict[str, Any]] = [
            {
                "name": name,
                "address": address(self.ports[name]),
                "filters": [f"filter-{name}"],
                "routes": [{"cluster": "upstream", "timeout": 15 if name == CALM else 2}],
            }
            for name in _FILTERS
        ]
        listeners.append({"name": FUNCTIONS, "address": address(self.ports[FUNCTIONS])})
        config: dict[str, Any] = {
            "listeners": listeners,
            "plugins": plugins,
            "clusters": [
                {
                    "name": "upstream",
                    "endpoints": [address(self.ports["upstream"])],
                    "idle_timeout": "1s",
                }
            ],
            "management": {"address": address(self.ports["management"])},
            "log_level": "warning",
        }
        if self.redis is not None:
            store = {"type": "redis", "url": self.redis.url, "timeout": "1s"}
            config["state_stores"] = {"store": store}
        if settings.workers > 1:
            config["workers"] = settings.workers
        return config
