"""The HTTP filter `envoy.extensions.filters.http.wasm.v3.Wasm`."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anywasm.plugins.config.block import Block
from anywasm.plugins.config.envoy.anything import guest_configuration
from anywasm.plugins.config.file_path import find_module
from anywasm.plugins.config.target import Target
from anywasm.plugins.config.translation import Translation

_RUNTIME = "envoy.wasm.runtime."
_ENGINES = {"v8": "wasmtime", "wasmtime": "wasmtime", "wamr": "wasmtime", "null": "null"}


def is_wasm_filter(data: Mapping[str, Any]) -> bool:
    """Whether a document is the `typed_config` of one filter alone."""
    config = data.get("config")
    kind = data.get("@type")
    return (isinstance(kind, str) and kind.endswith(".wasm.v3.Wasm")) or (
        isinstance(config, dict) and ("vm_config" in config or "vmConfig" in config)
    )


def translate_filter(data: dict[str, Any], folder: Path | None) -> Translation:
    """Translate the `typed_config` of one filter into one plugin."""
    translation = Translation()
    block = Block(translation, data, ())
    block.skip("@type")
    add_plugin(block, folder, "filter")
    return translation


def add_plugin(block: Block, folder: Path | None, default_name: str, prefix: str = "") -> str:
    """Translate a filter's `typed_config` into a plugin.

    Args:
        block: The filter's `typed_config`.
        folder: That of the configuration file.
        default_name: The plugin's name where the filter gives none.
        prefix: Put before the name when another plugin has it; empty: there is no other.

    Returns:
        The plugin's name. Filters that say the same share one plugin.
    """
    translation = block.translation
    config = block.block("config")
    block.close()
    plugins: list[dict[str, Any]] = translation.data["plugins"]
    target = Target(translation, ("plugins", len(plugins)), config.path)
    target.set("name", config.text("name") or default_name, config.place("name"))
    target.set("root_id", config.text("root_id"), config.place("root_id"))
    plugin_config = guest_configuration(config, "configuration")
    target.set("plugin_config", plugin_config, config.place("configuration"))
    _failure(config, target)
    _capabilities(config, target)
    stop = config.switch("allow_on_headers_stop_iteration")
    place = config.place("allow_on_headers_stop_iteration")
    target.set("allow_on_headers_stop_iteration", stop, place)
    _vm(config.block("vm_config"), target.below("vm_config", config.place("vm_config")), folder)
    config.close()
    return _added(plugins, target, prefix, config)


def _added(plugins: list[dict[str, Any]], target: Target, prefix: str, config: Block) -> str:
    """Add a plugin unless it is there; under another name where its own is taken."""
    wanted: str = target.data["name"]
    for number in itertools.count():
        if target.data in plugins:
            break
        if all(plugin["name"] != target.data["name"] for plugin in plugins):
            plugins.append(target.data)
            break
        target.data["name"] = f"{prefix}.{wanted}" + (f".{number}" if number else "")
    name: str = target.data["name"]
    if name != wanted:
        config.notice("name", f'"{wanted}" is another plugin already; this is called "{name}"')
    return name


def _failure(config: Block, target: Target) -> None:
    """Envoy's default is to fail closed; `fail_open` is the older form of `failure_policy`."""
    policy = config.choice("failure_policy") or None
    fail_open = config.switch("fail_open")
    if policy is not None and fail_open:
        config.problem("fail_open", "fail_open and failure_policy exclude each other; keep policy")
    key = "failure_policy" if policy is not None else "fail_open"
    given = policy if policy is not None else "fail_open" if fail_open else "fail_closed"
    target.set("failure_policy", given, config.place(key))
    if "reload_config" in config:
        reload = config.block("reload_config")
        backoff = reload.block("backoff")
        reload.close()
        own = target.below("reload_backoff", backoff.path)
        base, longest = backoff.value("base_interval"), backoff.value("max_interval")
        own.set("base", base, backoff.place("base_interval"))
        own.set("max", longest, backoff.place("max_interval"))
        backoff.close()


def _capabilities(config: Block, target: Target) -> None:
    """An empty map restricts nothing in Envoy."""
    restriction = config.block("capability_restriction_config")
    allowed = restriction.value("allowed_capabilities")
    restriction.close()
    if allowed:
        place = restriction.place("allowed_capabilities")
        target.set("capabilities", {"allowed_capabilities": allowed}, place[:-1])


def _vm(vm: Block, target: Target, folder: Path | None) -> None:
    target.set("vm_id", vm.text("vm_id"), vm.place("vm_id"))
    target.set("configuration", guest_configuration(vm, "configuration"), vm.place("configuration"))
    _engine(vm, target)
    _environment(vm, target)
    vm.ignore("allow_precompiled", "nack_on_code_cache_miss")
    _module(vm.block("code"), target, folder)
    vm.close()


def _module(code: Block, target: Target, folder: Path | None) -> None:
    local = code.block("local")
    path = local.value("filename")
    target.set("path", find_module(path, folder), local.place("filename"))
    inline = [key for key in ("inline_string", "inline_bytes") if key in local]
    for key in inline:
        local.problem(key, "is not served; write the module to a file and set filename")
    if "remote" in code:
        _remote(code.block("remote"), target)
    elif path is None and not inline:
        local.problem("filename", "required, but missing: the module's file")
    local.skip("inline_string", "inline_bytes")
    local.ignore("watched_directory")
    local.close()
    code.close()


def _remote(remote: Block, target: Target) -> None:
    """Fetched directly, not through the cluster that Envoy wants for it."""
    uri = remote.block("http_uri")
    target.set("url", uri.text("uri") or None, uri.place("uri"))
    if "uri" not in uri:
        uri.problem("uri", "required, but missing: where the module is")
    target.set("sha256", remote.text("sha256") or None, remote.place("sha256"))
    if "sha256" not in remote:
        remote.problem("sha256", "required, but missing, as in Envoy")
    fetch = target.below("fetch", uri.path)
    fetch.set("timeout", uri.value("timeout"), uri.place("timeout"))
    uri.skip("cluster")
    uri.close()
    retry = remote.block("retry_policy")
    fetch.set("retries", retry.number("num_retries"), retry.place("num_retries"))
    retry.ignore("retry_back_off")
    retry.close()
    remote.close()


def _engine(vm: Block, target: Target) -> None:
    runtime = vm.text("runtime")
    if not runtime:
        return
    engine = _ENGINES.get(runtime.removeprefix(_RUNTIME))
    if engine is None:
        vm.problem(
            "runtime", f"unknown runtime; known: {', '.join(_RUNTIME + n for n in _ENGINES)}"
        )
    elif runtime.removeprefix(_RUNTIME) != engine:
        vm.notice("runtime", f'{runtime} is not there; the engine is "{engine}"')
    target.set("engine", engine, vm.place("runtime"))


def _environment(vm: Block, target: Target) -> None:
    block = vm.block("environment_variables")
    values = dict(block.translation.mapping(block.value("key_values"), block.place("key_values")))
    names = block.value("host_env_keys") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        block.problem("host_env_keys", "must be a list of names")
        names = []
    for name in names:
        if name in values:
            block.problem("host_env_keys", f'"{name}" is in key_values too; keep one')
        elif name in os.environ:
            values[name] = os.environ[name]
    block.close()
    if values:
        target.set("env", values, block.place("key_values"))
