"""The network filter `HttpConnectionManager`."""

from __future__ import annotations

from pathlib import Path

from anywasm.plugins.config.block import Block
from anywasm.plugins.config.envoy.anything import typed
from anywasm.plugins.config.envoy.routes import add_routes
from anywasm.plugins.config.envoy.wasm_filter import add_plugin
from anywasm.plugins.config.target import Target
from anywasm.plugins.config.units import MAX_DURATION

_IGNORED = (
    "add_user_agent",
    "always_set_request_id_in_response",
    "access_log_options",
    "delayed_close_timeout",
    "drain_timeout",
    "early_header_mutation_extensions",
    "forward_client_cert_details",
    "http2_protocol_options",
    "http3_protocol_options",
    "internal_address_config",
    "max_request_time",
    "merge_slashes",
    "normalize_path",
    "path_with_escaped_slashes_action",
    "preserve_external_request_id",
    "proxy_status_config",
    "request_id_extension",
    "request_timeout",
    "server_header_transformation",
    "server_name",
    "set_current_client_cert_details",
    "skip_xff_append",
    "stream_error_on_invalid_http_message",
    "strip_any_host_port",
    "strip_matching_host_port",
    "strip_trailing_host_dot",
    "tracing",
    "via",
    "xff_num_trusted_hops",
)


def add_http_manager(manager: Block, target: Target, folder: Path | None) -> None:
    """Translate the one network filter of a listener into the listener's own keys."""
    if manager.choice("codec_type") not in ("", "AUTO", "HTTP1"):
        manager.problem("codec_type", "must be AUTO or HTTP1")
    for name in ("rds", "scoped_routes"):
        if name in manager:
            manager.problem(name, "is not served; write the routes into route_config")
        manager.skip(name)
    add_routes(manager.block("route_config"), target)
    _filters(manager, target, folder)
    generate = manager.switch("generate_request_id")
    target.set("generate_request_id", generate, manager.place("generate_request_id"))
    # Off unless set, in Envoy.
    remote = manager.switch("use_remote_address") or False
    target.set("use_remote_address", remote, manager.place("use_remote_address"))
    upgrades: list[str] = []
    for item in manager.blocks("upgrade_configs"):
        name = item.text("upgrade_type")
        if item.switch("enabled") is not False:
            upgrades.append(name)
        item.ignore("filters")
        item.close()
    if upgrades:
        target.set("upgrade", upgrades, manager.place("upgrade_configs"))
    _access_log(manager, target)
    _limits(manager, target)
    manager.skip("stat_prefix", "@type")
    manager.ignore(*_IGNORED)
    manager.close()


def _filters(manager: Block, target: Target, folder: Path | None) -> None:
    names: list[str] = []
    listener = str(target.data.get("name"))
    for item in manager.blocks("http_filters"):
        title = item.text("name")
        kind, config = typed(item, "typed_config")
        item.skip("is_optional")
        if item.switch("disabled"):
            item.notice("disabled", f'filter "{title}" is disabled')
        elif kind == "Wasm":
            name = add_plugin(config, folder, title or "filter", listener)
            target_path = (*target.path, "filters", len(names))
            manager.translation.map(target_path, item.path)
            names.append(name)
        elif kind != "Router" and title != "envoy.filters.http.router":
            item.translation.problem(
                item.path, f'filter "{title}" ({kind or "no type"}) is not served; only Wasm is'
            )
        item.close()
    target.set("filters", names, manager.place("http_filters"))


def _access_log(manager: Block, target: Target) -> None:
    """The first log that is a file of text lines."""
    for item in manager.blocks("access_log"):
        kind, log = typed(item, "typed_config")
        item.skip("name")
        item.ignore("filter")
        item.close()
        if kind not in ("FileAccessLog", "StdoutAccessLog") or "access_log" in target.data:
            item.translation.notice(item.path, f"access log {kind} is not written")
            continue
        own = target.below("access_log", log.path)
        path = log.value("path")
        own.set("path", "-" if path == "/dev/stdout" else path, log.place("path"))
        layout = log.block("log_format")
        source = layout.block("text_format_source")
        own.set("format", source.value("inline_string"), source.place("inline_string"))
        own.set("format", layout.value("text_format"), layout.place("text_format"))
        own.set("format", log.value("format"), log.place("format"))
        source.close()
        layout.ignore("json_format", "omit_empty_values", "json_format_options", "formatters")
        layout.close()
        log.ignore("json_format", "typed_json_format")
        log.close()


def _limits(manager: Block, target: Target) -> None:
    common = manager.block("common_http_protocol_options")
    given = (
        (manager, "stream_idle_timeout", "stream_idle_timeout"),
        (manager, "request_headers_timeout", "header_timeout"),
        (common, "idle_timeout", "idle_timeout"),
    )
    limits = target.below("limits", manager.path)
    for block, name, key in given:
        value = block.value(name)
        if value in ("0s", 0):  # never, in Envoy
            block.notice(name, f"{name}: the longest there is, is a day")
            value = MAX_DURATION
        limits.set(key, value, block.place(name))
    size = manager.number("max_request_headers_kb")
    place = manager.place("max_request_headers_kb")
    limits.set("max_header_bytes", size and size * 1024, place)
    count = common.number("max_headers_count")
    limits.set("max_headers", count, common.place("max_headers_count"))
    common.ignore("max_connection_duration", "max_stream_duration")
    common.ignore("headers_with_underscores_action")
    common.close()
    # Trailers are passed on, and HTTP/1.0 is answered, whatever these say.
    manager.skip("http_protocol_options")
