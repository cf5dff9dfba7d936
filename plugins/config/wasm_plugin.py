"""`WasmPlugin`, the Kubernetes resource of Istio and of Higress.

Translated into filters of the project's own schema and then validated like them. Read from
`extensions.istio.io/v1alpha1` and `extensions.higress.io/v1alpha1`, and from how the two control
planes turn the resource into Envoy's configuration.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from anywasm.plugins.config.block import Block
from anywasm.plugins.config.target import Target
from anywasm.plugins.config.translation import Translation

_GROUPS = ("extensions.istio.io/", "extensions.higress.io/")
#: In the order in which Istio puts them into the chain; without a phase comes last.
_PHASES = ("AUTHN", "AUTHZ", "STATS", "UNSPECIFIED_PHASE")
_POLICIES = {
    "": "fail_closed",
    "FAIL_CLOSE": "fail_closed",
    "FAIL_OPEN": "fail_open",
    "FAIL_RELOAD": "fail_reload",
}
_IGNORED = (
    "image_pull_policy",
    "image_pull_secret",
    "match",
    "selector",
    "target_ref",
    "target_refs",
    "verification_key",
)
#: What a rule's condition is called in what a Higress plugin reads.
_CONDITIONS = {"ingress": "_match_route_", "domain": "_match_domain_", "service": "_match_service_"}


def is_wasm_plugin(data: Mapping[str, Any]) -> bool:
    """Whether a document is a `WasmPlugin`."""
    version = data.get("apiVersion")
    return (
        data.get("kind") == "WasmPlugin"
        and isinstance(version, str)
        and version.startswith(_GROUPS)
    )


def translate_wasm_plugin(data: dict[str, Any]) -> tuple[Translation, tuple[int, int]]:
    """Translate a document into one plugin, or none where it is disabled.

    Returns:
        The translation, and the plugin's place in the chain of filters: lowest first.
    """
    translation = Translation()
    block = Block(translation, data, ())
    metadata = block.block("metadata")
    spec = block.block("spec")
    block.skip("api_version", "kind", "status")
    block.close()
    target = Target(translation, ("plugins", 0), spec.path)
    target.set("name", metadata.text("name") or spec.text("plugin_name"), metadata.place("name"))
    target.set("root_id", spec.text("plugin_name"), spec.place("plugin_name"))
    configured = _configuration(spec, target)
    _failure(spec, target)
    vm = target.below("vm_config", spec.path)
    _module(spec, vm)
    _environment(spec.block("vm_config"), vm)
    if spec.choice("type") not in ("", "HTTP", "UNSPECIFIED_PLUGIN_TYPE"):
        spec.problem("type", "only HTTP plugins are served")
    spec.ignore(*_IGNORED)
    place = _place(spec)
    spec.close()
    if configured:
        translation.data["plugins"].append(target.data)
    else:
        translation.notice(spec.path, "is disabled: no configuration is left to run with")
    return translation, place


def _place(spec: Block) -> tuple[int, int]:
    phase = spec.choice("phase") or _PHASES[-1]
    if phase not in _PHASES:
        spec.problem("phase", f"must be one of {', '.join(_PHASES)}")
        phase = _PHASES[-1]
    return _PHASES.index(phase), -(spec.number("priority") or 0)


def _module(spec: Block, vm: Target) -> None:
    url = spec.text("url")
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme == "file" and parts.path and parts.netloc in ("", "localhost"):
        vm.set("path", unquote(parts.path), spec.place("url"))
    elif url:
        spec.problem("url", "is not served yet; download the module and name it as file:///PATH")
    else:
        spec.problem("url", "required, but missing: file:///PATH")
    vm.set("sha256", spec.text("sha256").removeprefix("sha256:") or None, spec.place("sha256"))


def _environment(config: Block, vm: Target) -> None:
    variables: dict[str, object] = {}
    for item in config.blocks("env"):
        name, source = item.text("name"), item.choice("value_from")
        value = item.value("value")
        if source == "HOST":
            value = os.environ.get(name)
        elif source not in ("", "INLINE"):
            item.problem("value_from", "must be INLINE or HOST")
        if value is not None:
            variables[name] = value
        item.close()
    config.close()
    if variables:
        vm.set("env", variables, config.place("env"))


def _failure(spec: Block, target: Target) -> None:
    policy = _POLICIES.get(spec.choice("fail_strategy"))
    if policy is None:
        known = ", ".join(filter(None, _POLICIES))
        spec.problem("fail_strategy", f"must be one of {known}")
    target.set("failure_policy", policy, spec.place("fail_strategy"))


def _configuration(spec: Block, target: Target) -> bool:
    """Whether the plugin runs. What it reads is put together as Higress does it.

    `pluginConfig` wins; else it is `defaultConfig` with the rules under the key `_rules_`, which
    the plugin itself holds against the request.
    """
    rules = [rule for item in spec.blocks("match_rules") if (rule := _rule(item)) is not None]
    given = "plugin_config" if "plugin_config" in spec else "default_config"
    disabled = spec.switch("default_config_disable") is True
    off = disabled and given == "default_config"
    value = spec.value(given)
    if given == "plugin_config" and rules:
        spec.notice("match_rules", "have no effect beside pluginConfig")
    elif rules:
        base = {} if off else spec.translation.mapping(value, spec.place(given))
        value = {**base, "_rules_": rules}
    elif off:
        value = None
    spec.skip("plugin_config", "default_config")
    target.set("plugin_config", value, spec.place(given))
    return bool(rules) or not off


def _rule(item: Block) -> dict[str, Any] | None:
    config = dict(item.translation.mapping(item.value("config"), item.place("config")))
    conditions = {own: item.value(name) for name, own in _CONDITIONS.items() if name in item}
    item.skip(*_CONDITIONS)
    item.ignore("route_type")
    disabled = item.switch("config_disable")
    item.close()
    if not any(conditions.values()):
        item.translation.problem(item.path, "needs an ingress, a domain or a service")
    for name, own in _CONDITIONS.items():
        names = conditions.get(own)
        if names is not None and not isinstance(names, list):
            item.problem(name, "must be a list")
    return None if disabled else {**config, **conditions}
