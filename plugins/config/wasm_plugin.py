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
from anywasm.plugins.config.fetch import SECRETS_VARIABLE, pull_secret
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
    "match",
    "selector",
    "target_ref",
    "target_refs",
    "verification_key",
)
#: What a rule's condition is called in what a Higress plugin reads.
_CONDITIONS = {"ingress": "_match_route_", "domain": "_match_domain_", "service": "_match_service_"}


_PULL_POLICIES = {
    "": "",
    "UNSPECIFIED_POLICY": "",
    "IfNotPresent": "if_not_present",
    "Always": "always",
}


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
    sha256 = spec.text("sha256").removeprefix("sha256:") or None
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme == "file" and parts.path and parts.netloc in ("", "localhost"):
        vm.set("path", unquote(parts.path), spec.place("url"))
    elif parts.scheme in ("http", "https"):
        vm.set("url", url, spec.place("url"))
    elif url and (parts.scheme == "oci" or "://" not in url):
        # Istio takes what has no scheme for an image, and checks the image's digest, not the
        # module's.
        vm.set("url", _image(spec, url.removeprefix("oci://"), sha256), spec.place("url"))
        sha256 = None
    elif url:
        spec.problem("url", "must begin with https://, http://, oci:// or file:///")
    else:
        spec.problem("url", "required, but missing: https://, http://, oci:// or file:///PATH")
    vm.set("sha256", sha256, spec.place("sha256"))
    _pulling(spec, vm)


def _image(spec: Block, image: str, sha256: str | None) -> str:
    """The URL of an image, with the digest that it must have."""
    name, _, digest = image.partition("@sha256:")
    if digest and sha256 is not None and digest != sha256:
        spec.problem("sha256", "is another digest than that in url; keep one")
    digest = digest or sha256 or ""
    return f"oci://{name}@sha256:{digest}" if digest else f"oci://{name}"


def _pulling(spec: Block, vm: Target) -> None:
    policy = _PULL_POLICIES.get(spec.text("image_pull_policy"))
    if policy is None:
        spec.problem("image_pull_policy", "must be IfNotPresent or Always")
    secret = spec.text("image_pull_secret")
    if "url" not in vm.data:
        spec.ignore("image_pull_policy", "image_pull_secret")
        return
    url: str = vm.data["url"]
    name = url.rpartition("/")[2]
    if policy == "" and url.startswith("oci://") and "@" not in url:
        # As in Kubernetes: only what is called latest is expected to change.
        policy = "always" if ":" not in name or name.endswith(":latest") else ""
    fetch = vm.below("fetch", spec.path)
    fetch.set("pull_policy", policy or None, spec.place("image_pull_policy"))
    if not secret:
        return
    path = pull_secret(secret)
    if path is None:
        spec.problem(
            "image_pull_secret",
            f"mount it as FOLDER/NAME/.dockerconfigjson and set {SECRETS_VARIABLE}=FOLDER",
        )
    fetch.set("docker_config", str(path), spec.place("image_pull_secret"))


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
