"""A bootstrap file: static listeners and clusters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anywasm.plugins.config.block import Block
from anywasm.plugins.config.envoy.addresses import address_of
from anywasm.plugins.config.envoy.anything import typed
from anywasm.plugins.config.envoy.clusters import add_cluster
from anywasm.plugins.config.envoy.http_manager import add_http_manager
from anywasm.plugins.config.envoy.tls import downstream
from anywasm.plugins.config.target import Target
from anywasm.plugins.config.translation import Translation

_ROOTS = frozenset({"static_resources", "staticResources", "dynamic_resources", "dynamicResources"})
_IGNORED = (
    "admin",
    "application_log_config",
    "bootstrap_extensions",
    "cluster_manager",
    "default_regex_engine",
    "default_socket_interface",
    "deferred_stat_options",
    "enable_dispatcher_stats",
    "flags_path",
    "layered_runtime",
    "memory_allocator_manager",
    "overload_manager",
    "stats_config",
    "stats_flush_interval",
    "stats_sinks",
    "tracing",
    "typed_dns_resolver_config",
    "watchdog",
    "watchdogs",
)
_LISTENER_IGNORED = (
    "access_log",
    "bind_to_port",
    "bypass_overload_manager",
    "connection_balance_config",
    "drain_type",
    "enable_reuse_port",
    "freebind",
    "ignore_global_conn_limit",
    "listener_filters",
    "listener_filters_timeout",
    "metadata",
    "reuse_port",
    "socket_options",
    "stat_prefix",
    "tcp_backlog_size",
    "traffic_direction",
)


def is_bootstrap(data: Mapping[str, Any]) -> bool:
    """Whether a document is Envoy's bootstrap configuration."""
    return not _ROOTS.isdisjoint(data)


def translate_bootstrap(data: dict[str, Any], folder: Path | None) -> Translation:
    """Translate a document; `folder` is that of its file."""
    translation = Translation()
    block = Block(translation, data, ())
    if "dynamic_resources" in block:
        block.problem("dynamic_resources", "is not served; write it into static_resources")
    block.skip("dynamic_resources")
    node = block.block("node")
    node_id = node.text("id")
    if node_id:
        translation.data["node_id"] = node_id
        translation.map(("node_id",), node.place("id"))
    node.ignore("cluster", "locality", "metadata", "user_agent_name", "client_features")
    node.close()
    resources = block.block("static_resources")
    for listener in resources.blocks("listeners"):
        _listener(listener, folder)
    for cluster in resources.blocks("clusters"):
        add_cluster(cluster)
    resources.ignore("secrets")
    resources.close()
    if not translation.data["listeners"]:
        resources.problem("listeners", "there is no listener, so there is nothing to serve")
    translation.map(("listeners",), resources.place("listeners"))
    translation.map(("clusters",), resources.place("clusters"))
    block.ignore(*_IGNORED)
    block.close()
    return translation


def _listener(block: Block, folder: Path | None) -> None:
    listeners = block.translation.data["listeners"]
    target = Target(block.translation, ("listeners", len(listeners)), block.path)
    listeners.append(target.data)
    address = block.block("address")
    text = address_of(address)
    target.set("address", text, address.path)
    target.set("name", block.text("name") or text, block.place("name"))
    chains = block.blocks("filter_chains")
    if len(chains) != 1:
        block.problem("filter_chains", "must be one filter chain")
    for chain in chains[:1]:
        downstream(chain, target)
        _manager(chain, target, folder)
        chain.skip("name")
        chain.ignore("transport_socket_connect_timeout", "metadata")
        match = chain.block("filter_chain_match")
        match.close()
        chain.close()
    size = block.number("per_connection_buffer_limit_bytes")
    if size is not None:
        target.data.setdefault("limits", {})["max_buffer_bytes"] = size
        place = block.place("per_connection_buffer_limit_bytes")
        block.translation.map((*target.path, "limits", "max_buffer_bytes"), place)
    block.ignore(*_LISTENER_IGNORED)
    block.close()


def _manager(chain: Block, target: Target, folder: Path | None) -> None:
    filters = chain.blocks("filters")
    if len(filters) != 1:
        chain.problem("filters", "must be one filter, the HttpConnectionManager")
    for item in filters[:1]:
        kind, manager = typed(item, "typed_config")
        if kind == "HttpConnectionManager":
            add_http_manager(manager, target, folder)
        else:
            item.problem("typed_config", "must be an HttpConnectionManager; no other is served")
        item.skip("name")
        item.close()
