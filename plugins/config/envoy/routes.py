"""Route configurations."""

from __future__ import annotations

from anywasm.plugins.config.block import Block
from anywasm.plugins.config.target import Target

_HOST_IGNORED = ("include_request_attempt_count", "include_attempt_count_in_response", "metadata")
_ACTION_IGNORED = (
    "hash_policy",
    "idle_timeout",
    "max_stream_duration",
    "priority",
    "rate_limits",
    "retry_policy",
)


def add_routes(block: Block, target: Target) -> None:
    """Translate a `route_config` into the routes of a listener."""
    routes: list[object] = []
    target.set("routes", routes, block.place("virtual_hosts"))
    hosts = block.blocks("virtual_hosts")
    for extra in hosts[1:]:
        block.translation.problem(extra.path, "only one virtual host is served by a listener")
    for host in hosts[:1]:
        target.set("virtual_host", host.value("name"), host.place("name"))
        domains = host.value("domains")
        if not isinstance(domains, list) or "*" not in domains:
            host.problem("domains", 'must be ["*"]: requests are not told apart by their host')
        for route in host.blocks("routes"):
            own = Target(block.translation, (*target.path, "routes", len(routes)), route.path)
            routes.append(own.data)
            _route(route, own)
        host.ignore(*_HOST_IGNORED, "retry_policy")
        if host.choice("require_tls") not in ("", "NONE"):
            host.problem("require_tls", "is not served")
        host.close()
    block.skip("name", "validate_clusters")
    block.ignore("max_direct_response_body_size_bytes", "ignore_port_in_host_matching")
    block.close()


def _route(route: Block, own: Target) -> None:
    own.set("name", route.text("name") or None, route.place("name"))
    match = route.block("match")
    if "path" in match:
        own.set("path", match.value("path"), match.place("path"))
    elif "prefix" in match:
        own.set("prefix", match.text("prefix") or "/", match.place("prefix"))
    else:
        route.problem("match", "needs a prefix or a path")
    if match.switch("case_sensitive") is False:
        match.problem("case_sensitive", "is not served: paths are case-sensitive")
    match.skip("path", "prefix")
    match.close()
    if "route" in route:
        _cluster(route.block("route"), own)
    if "direct_response" in route:
        _direct_response(route, own)
    route.skip("route", "direct_response")
    route.ignore("decorator", "metadata", "tracing", "stat_prefix")
    route.close()


def _cluster(action: Block, own: Target) -> None:
    for name, key in (
        ("cluster", "cluster"),
        ("timeout", "timeout"),
        ("prefix_rewrite", "prefix_rewrite"),
        ("host_rewrite_literal", "host_rewrite"),
    ):
        value = action.value(name)
        # Empty text is protobuf's way to say nothing.
        own.set(key, None if value == "" else value, action.place(name))
    if action.switch("auto_host_rewrite"):
        action.problem("auto_host_rewrite", "is not served; set host_rewrite_literal")
    action.ignore(*_ACTION_IGNORED)
    action.close()


def _direct_response(route: Block, own: Target) -> None:
    response = route.block("direct_response")
    target = own.below("direct_response", response.path)
    target.set("status", response.value("status"), response.place("status"))
    body = response.block("body")
    target.set("body", body.value("inline_string"), body.place("inline_string"))
    for key in ("filename", "inline_bytes", "environment_variable"):
        if key in body:
            body.problem(key, "is not served; use inline_string")
        body.skip(key)
    body.close()
    response.close()
    headers: dict[str, object] = {}
    for item in route.blocks("response_headers_to_add"):
        header = item.block("header")
        headers[header.text("key")] = header.value("value")
        header.close()
        item.ignore("append", "append_action", "keep_empty_value")
        item.close()
    if headers:
        target.set("headers", headers, route.place("response_headers_to_add"))
