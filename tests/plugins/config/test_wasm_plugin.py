"""Istio's and Higress's `WasmPlugin`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anywasm.core.errors import ConfigError
from anywasm.plugins.config import Address, LoadedConfig, load_filter_config, read_wasm_plugins

Load = Callable[..., LoadedConfig]
Refused = Callable[..., list[str]]

SHA256 = "0123456789abcdef" * 4

SEVERAL = f"""\
# One of Higress, two of Istio.
apiVersion: extensions.higress.io/v1alpha1
kind: WasmPlugin
metadata: {{name: request-block, namespace: higress-system}}
spec:
  defaultConfig: {{block_urls: [swagger.html]}}
  matchRules:
  - ingress: [default/foo]
    config: {{block_bodies: [foo]}}
  - domain: ["*.example.com"]
    config: {{block_bodies: [bar]}}
    configDisable: true
  url: file:///opt/plugins/plugin.wasm
  imagePullPolicy: Always
---
apiVersion: v1
kind: ConfigMap
---
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {{name: low}}
spec:
  selector: {{matchLabels: {{istio: ingressgateway}}}}
  url: file:///opt/low.wasm
  phase: AUTHN
  priority: 1
---
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {{name: basic-auth}}
spec:
  selector: {{matchLabels: {{istio: ingressgateway}}}}
  url: file:///opt/basic%20auth.wasm
  sha256: {SHA256}
  phase: AUTHN
  priority: 10
  failStrategy: FAIL_OPEN
  pluginName: auth_root
  pluginConfig: {{basic_auth_rules: [{{prefix: /}}]}}
  vmConfig:
    env:
    - {{name: POD_NAME, valueFrom: HOST}}
    - {{name: TRUST_DOMAIN, value: cluster.local}}
"""


def test_a_file_of_several(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAME", "pod-1")
    loaded = load(SEVERAL)
    (listener,) = loaded.config.listeners
    assert listener.address == Address("127.0.0.1", 8080)
    assert listener.filters == ("basic-auth", "low", "request-block")
    auth, low, block = loaded.config.plugins
    assert (auth.root_id, auth.failure_policy) == ("auth_root", "fail_open")
    assert auth.plugin_config == b'{"basic_auth_rules":[{"prefix":"/"}]}'
    assert auth.vm_config.path == Path("/opt/basic auth.wasm")
    assert auth.vm_config.sha256 == SHA256
    assert auth.vm_config.env == {"POD_NAME": "pod-1", "TRUST_DOMAIN": "cluster.local"}
    assert (low.plugin_config, low.failure_policy, low.vm_config.sha256) == (
        b"",
        "fail_closed",
        None,
    )
    assert json.loads(block.plugin_config) == {
        "block_urls": ["swagger.html"],
        "_rules_": [{"block_bodies": ["foo"], "_match_route_": ["default/foo"]}],
    }
    assert [notice.split("anywasm.yaml:")[1] for notice in loaded.notices] == [
        "14: spec.imagePullPolicy: has no effect here",
        "16: ConfigMap is no WasmPlugin, left out",
        "23: spec.selector: has no effect here",
        "32: spec.selector: has no effect here",
        '2: there is no listener; 127.0.0.1:8080 answers 200 "ok" behind the filters',
    ]


def plugin(name: str = "p", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "extensions.higress.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"name": name},
        "spec": {"url": "file:///p.wasm", **spec},
    }


def told(**spec: Any) -> Any:
    (read,) = read_wasm_plugins([plugin(**spec)])
    return json.loads(read.plugin_config)


def test_order_of_phases_and_priorities() -> None:
    documents = [
        plugin("a"),
        plugin("b", phase="STATS"),
        plugin("c", phase="AUTHZ"),
        plugin("d", priority=5),
        plugin("e", phase="AUTHN", priority=-1),
        plugin("f", phase="AUTHN"),
        plugin("g", phase="UNSPECIFIED_PHASE"),
    ]
    assert "".join(item.name for item in read_wasm_plugins(documents)) == "fecbdag"


def test_rules_become_what_the_plugin_reads() -> None:
    rules = [
        {"ingress": ["i"], "service": ["s.dns"], "config": {"a": 1}},
        {"domain": ["d"]},
    ]
    translated = [
        {"a": 1, "_match_route_": ["i"], "_match_service_": ["s.dns"]},
        {"_match_domain_": ["d"]},
    ]
    assert told(matchRules=rules) == {"_rules_": translated}
    assert told(matchRules=rules, defaultConfig={"b": 2}) == {"b": 2, "_rules_": translated}
    assert told(matchRules=rules, defaultConfig={"b": 2}, defaultConfigDisable=True) == {
        "_rules_": translated
    }
    assert told(matchRules=rules, pluginConfig={"c": 3}) == {"c": 3}
    assert told(defaultConfig={"b": 2}, defaultConfigDisable=False) == {"b": 2}


def test_a_disabled_plugin_is_left_out() -> None:
    off = plugin("off", defaultConfig={"b": 2}, defaultConfigDisable=True)
    loaded = load_filter_config([off, plugin("on")])
    assert [item.name for item in loaded.filters] == ["on"]
    assert loaded.notices == ("spec: is disabled: no configuration is left to run with",)
    with pytest.raises(ConfigError, match="every WasmPlugin is disabled"):
        load_filter_config([off])


@pytest.mark.parametrize(
    ("written", "policy"),
    [
        ("FAIL_CLOSE", "fail_closed"),
        ("FAIL_OPEN", "fail_open"),
        ("FAIL_RELOAD", "fail_reload"),
    ],
)
def test_fail_strategies(written: str, policy: str) -> None:
    (read,) = read_wasm_plugins([plugin(failStrategy=written)])
    assert read.failure_policy == policy


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"url": "ftp://x/y.wasm"}, "spec.url: must begin with https://, http://, oci:// or file"),
        ({"url": "https://a:b@x/y.wasm"}, "spec.url: must be https://, http:// or oci://, a host"),
        ({"url": "file://host/y"}, "spec.url: must begin with https://"),
        ({"url": "file://[x"}, "spec.url: must begin with https://"),
        ({"url": None}, "spec.url: required, but missing: https://, http://, oci:// or file:///P"),
        ({"url": f"oci://x.y/z@sha256:{'0' * 64}", "sha256": "1" * 64}, "spec.sha256: is another"),
        ({"url": "oci://x.y/z", "imagePullPolicy": "Never"}, "spec.imagePullPolicy: must be IfNot"),
        ({"url": "oci://x.y/z", "imagePullSecret": "s"}, "spec.imagePullSecret: mount it as FOLD"),
        ({"url": "file:///a%00b"}, "spec.url: must be the path of a file"),
        ({"sha256": "abc"}, "spec.sha256: must be 64 hexadecimal digits"),
        ({"phase": "FIRST"}, "spec.phase: must be one of AUTHN, AUTHZ, STATS, UNSPECIFIED_PHASE"),
        ({"priority": "high"}, "spec.priority: must be a whole number"),
        ({"failStrategy": "X"}, "spec.failStrategy: must be one of FAIL_CLOSE, FAIL_OPEN, FAIL_RE"),
        ({"type": "NETWORK"}, "spec.type: only HTTP plugins are served"),
        ({"priorty": 1}, "spec.priorty: is not known, or not served; understood here: default_c"),
        ({"matchRules": [{"config": {}}]}, "spec.matchRules[0]: needs an ingress, a domain or a "),
        ({"matchRules": [{"ingress": "i"}]}, "spec.matchRules[0].ingress: must be a list"),
        ({"vmConfig": {"env": [{"name": "A=B", "value": "x"}]}}, "spec.vmConfig.env: variable 'A="),
        ({"vmConfig": {"env": [{"name": "A", "valueFrom": "X"}]}}, "spec.vmConfig.env[0].valueFro"),
    ],
)
def test_a_mistake_is_named_with_its_place(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_wasm_plugins([plugin(**spec)])
    assert str(caught.value).startswith(message)


def test_the_line_is_that_of_the_file(refused: Refused) -> None:
    assert refused(SEVERAL.replace("file:///opt/low.wasm", "ftp://low")) == [
        "anywasm.yaml:24: spec.url: must begin with https://, http://, oci:// or file:///"
    ]
    twice = SEVERAL.replace("{name: low}", "{name: basic-auth}")
    assert refused(twice) == [
        'anywasm.yaml:30: metadata.name: "basic-auth" is the name of another WasmPlugin already'
    ]
    assert refused(SEVERAL.replace("{name: low}", "{}")) == [
        "anywasm.yaml:21: metadata.name: must not be empty"
    ]


def test_other_resources_are_no_configuration(refused: Refused) -> None:
    text = SEVERAL.partition("---")[0].replace("kind: WasmPlugin", "kind: Gateway")
    assert refused(text)[0].startswith("anywasm.yaml:2: ")


@pytest.mark.parametrize(
    ("spec", "url", "sha256", "policy"),
    [
        ({"url": "https://x/y.wasm", "sha256": "0" * 64}, "https://x/y.wasm", "0" * 64, None),
        # Of an image Istio checks the image's digest.
        (
            {"url": "oci://x.y/z:1", "sha256": "sha256:" + "0" * 64},
            f"oci://x.y/z:1@sha256:{'0' * 64}",
            None,
            None,
        ),
        ({"url": "x.y/z:1"}, "oci://x.y/z:1", None, None),
        ({"url": "oci://x.y/z"}, "oci://x.y/z", None, "always"),
        ({"url": "oci://x.y:5000/z"}, "oci://x.y:5000/z", None, "always"),
        ({"url": "oci://x.y/z:latest"}, "oci://x.y/z:latest", None, "always"),
        (
            {"url": "oci://x.y/z:latest", "imagePullPolicy": "IfNotPresent"},
            "oci://x.y/z:latest",
            None,
            None,
        ),
        ({"url": "oci://x.y/z:1", "imagePullPolicy": "Always"}, "oci://x.y/z:1", None, "always"),
    ],
)
def test_where_modules_come_from(
    spec: dict[str, str], url: str, sha256: str | None, policy: str | None
) -> None:
    vm = read_wasm_plugins([plugin(**spec)])[0].vm_config
    assert (vm.path, vm.url, vm.sha256) == (None, url, sha256)
    assert vm.fetch.pull_policy == (policy or "if_not_present")


def test_a_pull_secret_is_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYWASM_PULL_SECRETS", "/secrets")
    (read,) = read_wasm_plugins([plugin(url="oci://x.y/z:1", imagePullSecret="mine")])
    assert read.vm_config.fetch.docker_config == Path("/secrets/mine/.dockerconfigjson")
