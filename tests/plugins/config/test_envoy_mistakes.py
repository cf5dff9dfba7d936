"""What of Envoy's bootstrap file is refused, and in which words."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Refused = Callable[..., list[str]]
Change = Callable[..., str]

MANAGER = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config"
ROUTES = f"{MANAGER}.route_config.virtual_hosts[0]"
FILTER = f"{MANAGER}.http_filters[0]"
WASM = f"{FILTER}.typed_config.config"
CLUSTER = "static_resources.clusters[0]"


MISTAKES = [
    (
        "static_resources:",
        "dynamic_resources: {}\nstatic_resources:",
        "2: dynamic_resources: is not se",
    ),
    (
        "static_resources:",
        "sttic: {}\nstatic_resources:",
        "2: sttic: is not known, or not served; und",
    ),
    (
        "port_value: 18000",
        "port_value: x",
        "5: static_resources.listeners[0].address.socket_address.",
    ),
    (
        "{socket_address: {address: 0.0.0.0, port_value: 18000}}",
        "{}",
        "5: static_resources.listeners[0].address: needs socket_address with address and",
    ),
    (
        "address: 0.0.0.0, ",
        "address: 0.0.0.0, protocol: UDP, ",
        "5: static_resources.listeners[0].address.socket_address.protocol: only TCP is served",
    ),
    (
        "    - filters:",
        "    - filter_chain_match: {server_names: [a]}\n      filters:",
        "7: static_resources.listeners[0].filter_chains[0].filter_chain_match.server_names: is not",
    ),
    (
        "http_connection_manager.v3.HttpConnectionManager",
        "tcp_proxy.v3.TcpProxy",
        f"9: {MANAGER}: must be an HttpConnectionManager; no other is served",
    ),
    ("codec_type: auto", "codec_type: HTTP3", f"12: {MANAGER}.codec_type: must be AUTO or HTTP1"),
    (
        "stat_prefix: ingress_http",
        "rds: {}",
        f"11: {MANAGER}.rds: is not served; write the routes in",
    ),
    (
        "stat_prefix: ingress_http",
        "local_reply_config: {}",
        f"11: {MANAGER}.local_reply_config: is not",
    ),
    (
        'domains: ["*"]',
        "domains: [a.b]",
        f'17: {ROUTES}.domains: must be ["*"]: requests are not told',
    ),
    (
        'domains: ["*"]',
        'domains: ["*"]\n              cors: {}',
        f"18: {ROUTES}.cors: is not known, or",
    ),
    (
        '{prefix: "/direct"}',
        "{safe_regex: {regex: x}}",
        f"19: {ROUTES}.routes[0].match: needs a prefix",
    ),
    (
        '{prefix: "/direct"}',
        "{prefix: /a, headers: [{name: x}]}",
        f"19: {ROUTES}.routes[0].match.headers: i",
    ),
    (
        '{prefix: "/direct"}',
        "{prefix: /, case_sensitive: false}",
        f"19: {ROUTES}.routes[0].match.case_se",
    ),
    (
        "status: 201",
        "status: 700",
        f"20: {ROUTES}.routes[0].direct_response.status: must be less than",
    ),
    (
        'body: {inline_string: "direct ok\\n"}',
        "body: {filename: x}",
        f"20: {ROUTES}.routes[0].direct_response.body.filename: is not served; use in",
    ),
    (
        "route: {cluster: up}",
        "redirect: {}",
        f"26: {ROUTES}.routes[2].redirect: is not known, or not ser",
    ),
    (
        "route: {cluster: up}",
        "route: {cluster: down}",
        f"26: {ROUTES}.routes[2].route.cluster: unknown cl",
    ),
    (
        "route: {cluster: up}",
        "route: {weighted_clusters: {}}",
        f"26: {ROUTES}.routes[2].route.weighted_cl",
    ),
    (
        "route: {cluster: up}",
        "route: {cluster: up, auto_host_rewrite: true}",
        f"26: {ROUTES}.routes[2].route.auto_host_r",
    ),
    (
        "timeout: 0.25s",
        "timeout: soon",
        f"24: {ROUTES}.routes[1].route.timeout: must be a number of seco",
    ),
    (
        "envoy.extensions.filters.http.wasm.v3.Wasm",
        "envoy.extensions.filters.http.lua.v3.Lua",
        f'28: {FILTER}: filter "envoy.filters.http.wasm" (Lua) is not served; only Wasm is',
    ),
    (
        "root_id: my_root_id",
        "root: x",
        f"33: {WASM}.root: is not known, or not served; understood here:",
    ),
    ("root_id: my_root_id", "root_id: 7", f"33: {WASM}.root_id: must be text"),
    (
        "root_id: my_root_id",
        "failure_policy: FAIL_SAFE",
        f"33: {WASM}.failure_policy: must be 'fail_re",
    ),
    (
        "root_id: my_root_id",
        "fail_open: true\n                failure_policy: FAIL_OPEN",
        f"33: {WASM}.fail_open: fail_open and failure_policy exclude each other; keep policy",
    ),
    (
        "root_id: my_root_id",
        "allow_on_headers_stop_iteration: 1",
        f"33: {WASM}.allow_on_headers_stop_iterati",
    ),
    (
        "root_id: my_root_id",
        "rootId: a\n                root_id: b",
        f'34: {WASM}.root_id: is there already, as "rootId"',
    ),
    (
        "root_id: my_root_id",
        "reload_config: {backoff: {base_interval: 9s, max_interval: 1s}}",
        f"33: {WASM}.reload_config.backoff.base_interval: must not be longer than max (1 s)",
    ),
    (
        "vm_id: my_vm",
        'configuration: "{}"',
        f"39: {WASM}.vm_config.configuration: must be a mapping",
    ),
    (
        "vm_id: my_vm",
        "configuration: {a: 1}",
        f"39: {WASM}.vm_config.configuration.a: is not known",
    ),
    (
        "vm_id: my_vm",
        'configuration: {"@type": x/google.protobuf.BytesValue, value: "?"}',
        f"39: {WASM}.vm_config.configuration.value: must be base64",
    ),
    (
        "vm_id: my_vm",
        'configuration: {"@type": x/google.protobuf.Struct, value: 7}',
        f"39: {WASM}.vm_config.configuration.value: must be a mapping",
    ),
    (
        "vm_id: my_vm",
        "environment_variables: {host_env_keys: [A], key_values: {A: b}}",
        f'39: {WASM}.vm_config.environment_variables.host_env_keys: "A" is in key_values too',
    ),
    (
        "vm_id: my_vm",
        "environment_variables: {key_values: {A: 80}}",
        f"39: {WASM}.vm_config.environment_variables.key_values.A: must be text, not 80",
    ),
    (
        "envoy.wasm.runtime.wasmtime",
        "envoy.wasm.runtime.lucet",
        f"38: {WASM}.vm_config.runtime: unknown runtime; known: envoy.wasm.runtime.v8, ",
    ),
    (
        "{local: {filename: lib/filter.wasm}}",
        "{remote: {http_uri: {}}}",
        f"40: {WASM}.vm_config.code.remote.http_uri.uri: required, but missing: where the module",
    ),
    (
        "{local: {filename: lib/filter.wasm}}",
        "{remote: {http_uri: {uri: 'https://x/y'}}}",
        f"40: {WASM}.vm_config.code.remote.sha256: required, but missing, as in Envoy",
    ),
    (
        "filename: lib/filter.wasm",
        "inline_string: abc",
        f"40: {WASM}.vm_config.code.local.inline_string: is not served; write the module to a f",
    ),
    (
        "filename: lib/filter.wasm",
        "",
        f"40: {WASM}.vm_config.code.local.filename: required, but missing: the m",
    ),
    (
        "filename: lib/filter.wasm",
        'filename: "a\\0b"',
        f"40: {WASM}.vm_config.code.local.filename: must be the path of a file",
    ),
    (
        "type: strict_dns",
        "type: EDS",
        f"46: {CLUSTER}.type: EDS is not served; use STATIC or STRICT_DNS with endpoints",
    ),
    (
        "type: strict_dns",
        "cluster_type: {}",
        f"46: {CLUSTER}.cluster_type: is not known, or not served; un",
    ),
    (
        "type: strict_dns",
        "connect_timeout: 0s",
        f"46: {CLUSTER}.connect_timeout: must be longer than zero",
    ),
    (
        "type: strict_dns",
        "transport_socket: {typed_config: {}}",
        f"46: {CLUSTER}.transport_socket: must be UpstreamTlsContext, or be left out",
    ),
    (
        "port_value: 9001",
        "port_value: 0",
        f"52: {CLUSTER}.load_assignment.endpoints[0].lb_endpoints[1].endpoint.address: port",
    ),
]


@pytest.mark.parametrize(
    ("good", "bad", "message"), MISTAKES, ids=[f"{bad!a:.40}" for _, bad, _ in MISTAKES]
)
def test_a_mistake_is_named_with_its_place(
    refused: Refused, good: str, bad: str, message: str, change: Change
) -> None:
    assert refused(change((good, bad)))[0].startswith(f"anywasm.yaml:{message}")


def test_a_file_without_listeners(refused: Refused) -> None:
    (line,) = refused("static_resources: {clusters: []}\n")
    assert line == (
        "anywasm.yaml:1: static_resources.listeners: there is no listener, "
        "so there is nothing to serve"
    )


def test_more_than_one_of_what_there_can_be_one(refused: Refused, change: Change) -> None:
    lines = refused(
        change(("          http_filters:", "            - {name: b}\n          http_filters:"))
    )
    assert lines[0].startswith(
        f"anywasm.yaml:27: {MANAGER}.route_config.virtual_hosts[1]: only one"
    )
    lines = refused(change(("  clusters:\n", "    - filters: []\n  clusters:\n")))
    assert lines[0].endswith(
        "static_resources.listeners[0].filter_chains: must be one filter chain"
    )
