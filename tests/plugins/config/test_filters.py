"""Listeners of filters in the project's own schema."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from anywasm.abi import metrics, shared_data, shared_queue
from anywasm.plugins.config import Address, LoadedConfig, PluginConfig, VmConfig, load_config

Load = Callable[..., LoadedConfig]
Refused = Callable[..., list[str]]

GATEWAY = """\
listeners:
  - name: gateway
    address: 127.0.0.1:8080
    filters: [first, second]
    virtual_host: shop
    routes:
      - {name: r1, path: /health, direct_response: {status: 204, headers: {x-a: b}}}
      - name: r2
        prefix: /api
        cluster: up
        timeout: 0
        host_rewrite: shop.example:8080
        prefix_rewrite: /v1
    tls: {cert_file: tls/cert.pem, key_file: /etc/key.pem, client_ca_file: ca.pem}
    access_log: {path: logs/access.log, format: "%RESPONSE_CODE%"}
    generate_request_id: false
    use_remote_address: false
    upgrade: [websocket]
    limits: {max_buffer_bytes: 2MiB, stream_idle_timeout: 1m}
  - name: functions
    address: 127.0.0.1:2045
    plugins: [function]
plugins:
  - name: first
    vm_config: {path: first.wasm}
    plugin_config: {a: 1}
    failure_policy: fail_open
    reload_backoff: {base: 100ms, max: 2s}
    capabilities: [proxy_log, fd_write]
    profile: higress
    allow_on_headers_stop_iteration: false
    max_memory_bytes: 64MiB
  - {name: second, vm_config: {path: second.wasm}}
  - {name: function, vm_config: {path: function.wasm}}
clusters:
  - name: up
    endpoints: [127.0.0.1:9000, "[::1]:9000", unix:/run/up.sock]
    connect_timeout: 1s
    idle_timeout: 10s
    tls: {sni: shop.example, ca_file: ca.pem}
    max_connections: 8
    max_pending: 4
node_id: node-1
abi_limits: {shared_data_bytes: 1MiB, queue_items: 10, queue_bytes: 1KiB, metrics: 5, pairs: 6}
"""


def test_everything_arrives(load: Load, tmp_path: Path) -> None:
    config = load(GATEWAY).config
    gateway, functions = config.listeners
    assert (gateway.is_filter_listener, functions.is_filter_listener) == (True, False)
    assert gateway.filters == ("first", "second")
    assert config.filter_names == {"first", "second"}
    assert gateway.virtual_host == "shop"
    health, api = gateway.routes
    assert (health.name, health.path, health.cluster) == ("r1", "/health", None)
    assert health.direct_response is not None
    assert health.direct_response.model_dump() == {
        "status": 204,
        "body": "",
        "headers": {"x-a": "b"},
    }
    assert (api.prefix, api.path, api.cluster, api.timeout) == ("/api", None, "up", 0)
    assert (api.host_rewrite, api.prefix_rewrite) == ("shop.example:8080", "/v1")
    assert gateway.tls is not None
    assert gateway.tls.cert_file == tmp_path / "tls/cert.pem"
    assert gateway.tls.key_file == Path("/etc/key.pem")
    assert gateway.tls.client_ca_file == tmp_path / "ca.pem"
    assert gateway.access_log is not None
    assert gateway.access_log.path == str(tmp_path / "logs/access.log")
    assert gateway.access_log.format == "%RESPONSE_CODE%"
    assert (gateway.generate_request_id, gateway.use_remote_address) == (False, False)
    assert gateway.upgrade == ("websocket",)
    limits = gateway.limits
    assert (limits.max_buffer_bytes, limits.stream_idle_timeout) == (2 * 1024 * 1024, 60)
    first = config.plugins[0]
    assert first.plugin_config == b'{"a":1}'
    assert first.failure_policy == "fail_open"
    assert (first.reload_backoff.base, first.reload_backoff.max) == (0.1, 2)
    assert first.capabilities == ("proxy_log", "fd_write")
    assert (first.profile, first.allow_on_headers_stop_iteration) == ("higress", False)
    assert first.max_memory_bytes == 64 * 1024 * 1024
    (up,) = config.clusters
    assert up.endpoints == (
        Address("127.0.0.1", 9000),
        Address("::1", 9000),
        Address(path=Path("/run/up.sock")),
    )
    assert (up.connect_timeout, up.idle_timeout) == (1, 10)
    assert (up.max_connections, up.max_pending) == (8, 4)
    assert up.tls is not None
    assert up.tls.model_dump() == {
        "sni": "shop.example",
        "ca_file": tmp_path / "ca.pem",
        "insecure": False,
    }
    assert config.node_id == "node-1"
    assert config.abi_limits.model_dump() == {
        "shared_data_bytes": 1024 * 1024,
        "queue_items": 10,
        "queue_bytes": 1024,
        "metrics": 5,
        "pairs": 6,
        "pairs_bytes": 1024 * 1024,
        "buffer_bytes": 64 * 1024 * 1024,
        "calls_bytes": 64 * 1024 * 1024,
        "call_body_bytes": 10 * 1024 * 1024,
    }


def test_defaults(load: Load) -> None:
    config = load(
        "listeners: [{name: a, address: 'localhost:0', routes: [{cluster: c}], access_log: {}}]\n"
        "plugins: [{name: p, vm_config: {path: p.wasm}}]\n"
        "clusters: [{name: c, endpoints: ['localhost:1'], tls: {}}]\n"
    ).config
    (listener,), (plugin,), (cluster,) = config.listeners, config.plugins, config.clusters
    assert (listener.filters, listener.virtual_host, listener.tls) == (None, "default", None)
    assert (listener.generate_request_id, listener.use_remote_address) == (True, True)
    assert listener.access_log is not None
    assert listener.access_log.path == "-"
    assert listener.access_log.format.startswith('[%START_TIME%] "%REQ(:METHOD)% ')
    (route,) = listener.routes
    assert (route.prefix, route.timeout, route.name) == ("/", 15, "")
    assert (plugin.failure_policy, plugin.capabilities, plugin.profile) == (
        "fail_reload",
        None,
        None,
    )
    assert (plugin.allow_on_headers_stop_iteration, plugin.max_memory_bytes) == (None, None)
    assert cluster.tls is not None
    assert cluster.tls.model_dump() == {"sni": None, "ca_file": None, "insecure": False}
    assert config.filter_names == set()
    assert config.node_id == socket.gethostname()
    assert config.abi_limits.shared_data_bytes == shared_data.MAX_BYTES
    assert config.abi_limits.queue_items == shared_queue.MAX_ITEMS
    assert config.abi_limits.queue_bytes == shared_queue.MAX_BYTES
    assert config.abi_limits.metrics == metrics.MAX_METRICS


def plugin(**values: Any) -> PluginConfig:
    vm_config = VmConfig(path=Path("p.wasm"))
    return PluginConfig.model_validate({"name": "p", "vm_config": vm_config, **values})


@pytest.mark.parametrize(
    ("written", "policy"),
    [
        ("fail_reload", "fail_reload"),
        ("FAIL_RELOAD", "fail_reload"),
        ("FAIL_CLOSED", "fail_closed"),
        ("FAIL_OPEN", "fail_open"),
        # Envoy's default is not this project's.
        ("UNSPECIFIED", "fail_closed"),
    ],
)
def test_envoys_names_of_the_policies(written: str, policy: str) -> None:
    assert plugin(failure_policy=written).failure_policy == policy


def test_capabilities_in_envoys_form() -> None:
    allowed: dict[str, Any] = {"allowed_capabilities": {"proxy_log": {}, "fd_write": None}}
    assert plugin(capabilities=allowed).capabilities == ("proxy_log", "fd_write")


def test_no_folder_leaves_a_relative_path(tmp_path: Path) -> None:
    assert VmConfig(path=Path("a/b.wasm")).path == Path("a/b.wasm")
    with pytest.raises(ValidationError, match="must be the path of a file"):
        VmConfig(path=tmp_path / "a\0b")


def test_one_module_is_filter_and_function_under_two_names(load: Load) -> None:
    config = load(
        "listeners:\n"
        "  - {name: a, address: '127.0.0.1:1', filters: [f]}\n"
        "  - {name: b, address: '127.0.0.1:2'}\n"
        "plugins: [{name: f, vm_config: {path: m}}, {name: g, vm_config: {path: m}}]\n"
    ).config
    assert config.filter_names == {"f"}


MISTAKES = [
    (
        "filters: [first, second]",
        "filters: [third]",
        '4: listeners[0].filters[0]: unknown plugin "th',
    ),
    ("[first, second]", "[first, first]", '4: listeners[0].filters[1]: "first" is listed twice'),
    ("[first, second]", "first", '4: listeners[0].filters: must be a list, not "first"'),
    (
        "plugins: [function]",
        "plugins: [first]",
        '22: listeners[1].plugins[0]: "first" is a filter (listeners[0].filters[0]) and cannot be',
    ),
    (
        "plugins: [function]",
        "plugins: [function]\n    filters: [second]",
        "22: listeners[1].plugins: functions (plugins) and filters exclude each other; move one o",
    ),
    (
        "plugins: [function]",
        "plugins: [function]\n    routes: [{cluster: up}]",
        "22: listeners[1].plugins: functions (plugins) and routes exclude each other; move one of",
    ),
    (
        "cluster: up",
        "cluster: down",
        '10: listeners[0].routes[1].cluster: unknown cluster "down"; k',
    ),
    ("cluster: up", "# none", "8: listeners[0].routes[1]: needs a cluster, or a direct_response"),
    (
        "cluster: up",
        "direct_response: {}\n        cluster: up",
        "10: listeners[0].routes[1].direct_response: cluster and direct_response exclude each othe",
    ),
    (
        "direct_response: {status: 204, headers: {x-a: b}}",
        "prefix: /, cluster: up",
        "7: listeners[0].routes[0].path: path and prefix exclude each other; keep one",
    ),
    (
        "direct_response: {status",
        "prefix_rewrite: /, direct_response: {status",
        "7: listeners[0].routes[0].prefix_rewrite: has no effect without a cluster; leave it out",
    ),
    ("prefix: /api", "prefix: api", '9: listeners[0].routes[1].prefix: must start with "/"'),
    ("prefix: /api", "prefix: '/a b'", '9: listeners[0].routes[1].prefix: must start with "/" and'),
    ("timeout: 0", "timeout: -1", "11: listeners[0].routes[1].timeout: must be a number of secon"),
    (
        "shop.example:8080",
        "'a\\nb'",
        '12: listeners[0].routes[1].host_rewrite: must be a host, or "',
    ),
    ("status: 204", "status: 99", "7: listeners[0].routes[0].direct_response.status: must be grea"),
    (
        "x-a: b",
        "'x a': b",
        "7: listeners[0].routes[0].direct_response.headers: 'x a' is no name of",
    ),
    ("x-a: b", 'x-a: "b\\n"', "7: listeners[0].routes[0].direct_response.headers: header 'x-a': t"),
    ("key_file: /etc/key.pem, ", "", "14: listeners[0].tls.key_file: required, but missing"),
    ("cert_file: tls/cert.pem", "cert_file: /", "14: listeners[0].tls.cert_file: must be the path"),
    ("path: logs/access.log", "path: ''", "15: listeners[0].access_log.path: must be the path of"),
    ('"%RESPONSE_CODE%"', "''", "15: listeners[0].access_log.format: must not be empty"),
    (
        "generate_request_id: false",
        "generate_request_id: no",
        "16: listeners[0].generate_request_i",
    ),
    (
        "    upgrade: [",
        "    upgrade_configs: [",
        "18: listeners[0].upgrade_configs: unknown key; d",
    ),
    (
        "fail_open",
        "FAIL_SAFE",
        "27: plugins[0].failure_policy: must be 'fail_reload', 'fail_closed'",
    ),
    (
        "base: 100ms",
        "base: 1m",
        "28: plugins[0].reload_backoff.base: must not be longer than max (2",
    ),
    ("[proxy_log, fd_write]", "[]", "29: plugins[0].capabilities: must not be empty"),
    (
        "[proxy_log, fd_write]",
        "{}",
        "29: plugins[0].capabilities: must be a list of names, or {all",
    ),
    (
        "[proxy_log, fd_write]",
        "{allowed_capabilities: {proxy_log: {a: b}}}",
        "29: plugins[0].capabilities: proxy_log: must be {}; arguments cannot be restricted",
    ),
    ("profile: higress", "profile: istio", "30: plugins[0].profile: must be 'envoy' or 'higress'"),
    ("64MiB", "8GiB", "32: plugins[0].max_memory_bytes: must be a number of bytes"),
    (
        "plugin_config: {a",
        "configuration: {a",
        "26: plugins[0].configuration: unknown key; did you",
    ),
    (
        '[127.0.0.1:9000, "[::1]:9000", unix:/run/up.sock]',
        "[]",
        "37: clusters[0].endpoints: must n",
    ),
    ("[127.0.0.1:9000", "[127.0.0.1:0", "37: clusters[0].endpoints[0]: port must not be 0"),
    (
        "[127.0.0.1:9000",
        "[here",
        '37: clusters[0].endpoints[0]: must be "host:port", "[ipv6]:port"',
    ),
    ("sni: shop.example", "sni: ''", "40: clusters[0].tls.sni: must not be empty"),
    (
        "max_pending: 4",
        "max_pending: 0",
        "42: clusters[0].max_pending: must be greater than or equ",
    ),
    ("queue_items: 10", "queue_items: 1.5", "44: abi_limits.queue_items: must be a whole number"),
    (
        "node_id: node-1",
        "  - {name: up, endpoints: ['a:1']}",
        '43: clusters[1].name: "up" is the name of clusters[0] already',
    ),
]


@pytest.mark.parametrize(
    ("good", "bad", "message"), MISTAKES, ids=[f"{bad!a:.40}" for _, bad, _ in MISTAKES]
)
def test_a_mistake_is_named_with_its_place(
    refused: Refused, good: str, bad: str, message: str
) -> None:
    assert GATEWAY.count(good) == 1, "the case must change one place"
    lines = refused(GATEWAY.replace(good, bad))
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"anywasm.yaml:{message}"), lines[0]


def test_several_documents_are_refused(tmp_path: Path, refused: Refused) -> None:
    assert refused(GATEWAY + "---\nlisteners: []\n") == [
        "anywasm.yaml:46: expected a single document; only WasmPlugins may be several"
    ]
    # One of them says nothing.
    (tmp_path / "one.yaml").write_text(f"---\n{GATEWAY}---\n# the end\n")
    assert load_config(tmp_path / "one.yaml").config.node_id == "node-1"
