"""The quickstart with the Valkey that pip installs, for machines without a Redis."""

from __future__ import annotations

from typing import Any

from anywasm.sdk import guest_path
from anywasm.testing.redis_server import RedisServer


def test_quickstart(start: Any, valkey: RedisServer, engine: str) -> None:
    server = start(
        {
            "listeners": [{"name": "main", "address": "127.0.0.1:0"}],
            "plugins": [
                {"name": name, "vm_config": {"engine": engine, "path": str(guest_path(name))}}
                for name in ("function_1", "function_2")
            ],
            "state_stores": {"state_demo": {"type": "redis", "url": valkey.url}},
        }
    )
    answer = server.ask("main", "/?name=book1", "id_1")
    assert answer == (200, b"There are 100 inventories for book1.")
    valkey.set("book1", "99")
    answer = server.ask("main", "/?name=book1", "id_1")
    assert answer == (200, b"There are 99 inventories for book1.")
    answer = server.ask("main", "/?name=nothing", "id_1")
    assert answer == (200, b"There are  inventories for nothing.")
    assert server.warnings() == []
