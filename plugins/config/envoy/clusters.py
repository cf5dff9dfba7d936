"""Clusters."""

from __future__ import annotations

from anywasm.plugins.config.block import Block
from anywasm.plugins.config.envoy.addresses import address_of
from anywasm.plugins.config.envoy.anything import typed
from anywasm.plugins.config.envoy.tls import upstream
from anywasm.plugins.config.target import Target

_TYPES = ("", "STATIC", "STRICT_DNS", "LOGICAL_DNS")
_IGNORED = (
    "alt_stat_name",
    "common_lb_config",
    "connection_pool_per_downstream_connection",
    "dns_jitter",
    "dns_lookup_family",
    "dns_refresh_rate",
    "dns_resolvers",
    "health_checks",
    "ignore_health_on_host_removal",
    "metadata",
    "outlier_detection",
    "per_connection_buffer_limit_bytes",
    "preconnect_policy",
    "respect_dns_ttl",
    "typed_dns_resolver_config",
    "upstream_connection_options",
    "use_tcp_for_dns_lookups",
    "wait_for_warm_on_init",
)


def add_cluster(block: Block) -> None:
    """Translate one cluster."""
    clusters = block.translation.data["clusters"]
    target = Target(block.translation, ("clusters", len(clusters)), block.path)
    target.set("name", block.value("name"), block.place("name"))
    kind = block.choice("type")
    if kind not in _TYPES:
        block.problem("type", f"{kind} is not served; use STATIC or STRICT_DNS with endpoints")
    timeout = block.value("connect_timeout")
    target.set("connect_timeout", timeout, block.place("connect_timeout"))
    if block.choice("lb_policy") not in ("", "ROUND_ROBIN"):
        block.notice("lb_policy", "endpoints are used in turn (ROUND_ROBIN)")
    _endpoints(block.block("load_assignment"), target)
    _bounds(block.block("circuit_breakers"), target)
    _protocol(block, target)
    upstream(block, target)
    block.ignore(*_IGNORED)
    block.close()
    clusters.append(target.data)


def _endpoints(assignment: Block, target: Target) -> None:
    addresses: list[str] = []
    for group in assignment.blocks("endpoints"):
        for item in group.blocks("lb_endpoints"):
            endpoint = item.block("endpoint")
            own = (*target.path, "endpoints", len(addresses))
            address = endpoint.block("address")
            item.translation.map(own, address.path)
            addresses.append(address_of(address))
            endpoint.ignore("hostname", "health_check_config")
            endpoint.close()
            item.ignore("health_status", "load_balancing_weight", "metadata")
            item.close()
        group.ignore("locality", "priority", "load_balancing_weight")
        group.close()
    target.set("endpoints", addresses, assignment.place("endpoints"))
    assignment.skip("cluster_name")
    assignment.ignore("policy")
    assignment.close()


def _bounds(breakers: Block, target: Target) -> None:
    for threshold in breakers.blocks("thresholds"):
        if threshold.choice("priority") in ("", "DEFAULT"):
            connections = threshold.number("max_connections")
            target.set("max_connections", connections, threshold.place("max_connections"))
            pending = threshold.number("max_pending_requests")
            target.set("max_pending", pending, threshold.place("max_pending_requests"))
            threshold.ignore(
                "max_requests",
                "max_retries",
                "max_connection_pools",
                "retry_budget",
                "track_remaining",
            )
            threshold.close()
    breakers.ignore("per_host_thresholds")
    breakers.close()


def _protocol(block: Block, target: Target) -> None:
    """Options of the protocol; what requests HTTP/2 has no effect."""
    block.ignore("http2_protocol_options", "http_protocol_options")
    options = block.block("typed_extension_protocol_options")
    name = "envoy.extensions.upstreams.http.v3.http_protocol_options"
    _, protocol = typed(options, name)
    options.close()
    common = protocol.block("common_http_protocol_options")
    target.set("idle_timeout", common.value("idle_timeout"), common.place("idle_timeout"))
    common.ignore("max_connection_duration", "max_requests_per_connection", "max_headers_count")
    common.close()
    explicit = protocol.block("explicit_http_config")
    explicit.ignore("http2_protocol_options", "http3_protocol_options")
    explicit.skip("http_protocol_options")
    explicit.close()
    protocol.ignore(
        "upstream_http_protocol_options", "auto_config", "use_downstream_protocol_config"
    )
    protocol.close()
