"""The configuration of Layotto's quickstart, as it is there, against a real Redis."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from anywasm.sdk import guest_path
from anywasm.testing.redis_server import RedisServer


def configuration(engine: str, folder: Path, redis: int) -> dict[str, Any]:
    """Layotto's `demo/faas/config.json` with other ports and paths."""

    def function(name: str) -> dict[str, Any]:
        return {
            "name": name,
            "instance_num": 1,
            "vm_config": {"engine": engine, "path": str(folder / f"{name}.wasm")},
        }

    return {
        "servers": [
            {
                "default_log_path": "stdout",
                "default_log_level": "INFO",
                "routers": [
                    {
                        "router_config_name": "function_router",
                        "virtual_hosts": [
                            {
                                "name": "mosn_hosts",
                                "domains": ["*"],
                                "routers": [
                                    {
                                        "match": {"prefix": "/"},
                                        "direct_response": {"status": 200},
                                    }
                                ],
                            }
                        ],
                    }
                ],
                "listeners": [
                    {
                        "name": "grpc",
                        "address": "0.0.0.0:0",
                        "bind_port": True,
                        "filter_chains": [
                            {
                                "filters": [
                                    {
                                        "type": "grpc",
                                        "config": {
                                            "server_name": "runtime",
                                            "grpc_config": {
                                                "rpcs": {
                                                    "mosn": {
                                                        "config": {
                                                            "channel": [
                                                                {
                                                                    "size": 16,
                                                                    "protocol": "http",
                                                                    "listener": "wasm",
                                                                }
                                                            ]
                                                        }
                                                    }
                                                },
                                                "state": {
                                                    "state_demo": {
                                                        "type": "redis",
                                                        "metadata": {
                                                            "redisHost": f"localhost:{redis}",
                                                            "redisPassword": "",
                                                        },
                                                    }
                                                },
                                            },
                                        },
                                    }
                                ]
                            }
                        ],
                    },
                    {
                        "name": "wasm",
                        "address": "127.0.0.1:0",
                        "bind_port": True,
                        "filter_chains": [
                            {
                                "filters": [
                                    {
                                        "type": "proxy",
                                        "config": {
                                            "downstream_protocol": "Http1",
                                            "upstream_protocol": "Http1",
                                            "router_config_name": "function_router",
                                        },
                                    }
                                ]
                            }
                        ],
                        "stream_filters": [
                            {
                                "type": "Layotto",
                                "config": {
                                    "function1": function("function_1"),
                                    "function2": function("function_2"),
                                },
                            }
                        ],
                    },
                    {
                        "name": "wasm_filter",
                        "address": "0.0.0.0:0",
                        "bind_port": True,
                        "stream_filters": [{"type": "wasm_filter"}],
                    },
                ],
            }
        ]
    }


def test_quickstart(start: Any, redis: RedisServer, tmp_path: Path, engine: str) -> None:
    for name in ("function_1", "function_2"):
        (tmp_path / f"{name}.wasm").write_bytes(guest_path(name).read_bytes())
    server = start(configuration(engine, tmp_path, redis.port), ANYWASM_MANAGEMENT_TOKEN="")

    answer = server.ask("wasm", "/?name=book1", "id_1")
    assert answer == (200, b"There are 100 inventories for book1.")

    # What has no effect, or another, is said once each.
    warnings = Counter(server.warnings())
    assert set(warnings.values()) == {1}, warnings
    told = " ".join(warnings)
    assert 'listener "grpc"' in told
    assert "the management API listens on 127.0.0.1:0 instead of 0.0.0.0:0" in told
    assert "ANYWASM_MANAGEMENT_TOKEN" in told

    # Layotto's answers from anywhere; here only this machine gets through.
    assert server.management.startswith("127.0.0.1:")
    with urllib.request.urlopen(f"http://{server.management}/wasm/list", timeout=30) as response:
        plugins = json.load(response)["plugins"]
    assert [(item["name"], item["id"], item["engine"]) for item in plugins] == [
        ("function1", "id_1", engine),
        ("function2", "id_2", engine),
    ]


def test_management_on_all_interfaces_only_with_a_token(
    start: Any, redis: RedisServer, tmp_path: Path
) -> None:
    for name in ("function_1", "function_2"):
        (tmp_path / f"{name}.wasm").write_bytes(guest_path(name).read_bytes())
    config = configuration("wasmtime", tmp_path, redis.port)
    config["servers"][0]["listeners"][2]["address"] = "127.0.0.1:0"
    server = start(config, ANYWASM_MANAGEMENT_TOKEN="secret")
    host, _, port = server.management.rpartition(":")
    with socket.create_connection((host, int(port)), 30) as connection:
        connection.sendall(b"GET /wasm/list HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 401 ")
    assert "secret" not in "".join(server.lines)


def test_redis_that_goes_away(start: Any, redis: RedisServer, tmp_path: Path) -> None:
    for name in ("function_1", "function_2"):
        (tmp_path / f"{name}.wasm").write_bytes(guest_path(name).read_bytes())
    server = start(configuration("wasmtime", tmp_path, redis.port))
    assert server.ask("wasm", "/?name=book1", "id_1").status == 200
    redis.stop()
    answer = server.ask("wasm", "/?name=book1", "id_1")
    assert answer.status == 502
    assert json.loads(answer.body)["error"]
    redis.start()
    redis.set("book1", "99")
    answer = server.ask("wasm", "/?name=book1", "id_1")
    assert answer == (200, b"There are 99 inventories for book1.")
