from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from anywasm.core.errors import ConfigError
from anywasm.plugins.config import LoadedConfig, load_config

Load = Callable[..., LoadedConfig]
Refused = Callable[..., list[str]]
Change = Callable[..., str]

HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"

BOOTSTRAP = """\
node: {id: node-1}
static_resources:
  listeners:
  - name: main
    address: {socket_address: {address: 0.0.0.0, port_value: 18000}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/HCM
          stat_prefix: ingress_http
          codec_type: auto
          route_config:
            name: local_routes
            virtual_hosts:
            - name: local_service
              domains: ["*"]
              routes:
              - match: {prefix: "/direct"}
                direct_response: {status: 201, body: {inline_string: "direct ok\\n"}}
                response_headers_to_add: [{header: {key: x-a, value: b}}]
              - match: {path: /exact}
                name: exact
                route: {cluster: up, timeout: 0.25s, prefix_rewrite: /v1, host_rewrite_literal: a.b}
              - match: {prefix: ""}
                route: {cluster: up}
          http_filters:
          - name: envoy.filters.http.wasm
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
              config:
                name: my_plugin
                root_id: my_root_id
                configuration:
                  "@type": type.googleapis.com/google.protobuf.StringValue
                  value: '{"a": 1}'
                vm_config:
                  runtime: envoy.wasm.runtime.wasmtime
                  vm_id: my_vm
                  code: {local: {filename: lib/filter.wasm}}
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: up
    type: strict_dns
    load_assignment:
      cluster_name: up
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: localhost, port_value: 9000}}}
        - endpoint: {address: {socket_address: {address: "::1", port_value: 9001}}}
        - endpoint: {address: {pipe: {path: /run/up.sock}}}
""".replace("HCM", HCM)


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANYWASM_MANAGEMENT_TOKEN", raising=False)


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Writes a configuration and loads it."""

    def write_and_load(text: str | bytes, name: str = "anywasm.yaml") -> LoadedConfig:
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_config(file)

    return write_and_load


@pytest.fixture
def refused(load: Load, tmp_path: Path) -> Refused:
    """Loads what must be refused; the lines of the message, without the folder."""

    def load_and_fail(text: str | bytes, name: str = "anywasm.yaml") -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(text, name)
        return [line.removeprefix(f"{tmp_path}/") for line in str(caught.value).splitlines()]

    return load_and_fail


@pytest.fixture
def bootstrap() -> str:
    """Envoy's bootstrap file, as its documentation shows it."""
    return BOOTSTRAP


@pytest.fixture
def change() -> Change:
    """The bootstrap file with some places changed."""

    def change(*changes: tuple[str, str]) -> str:
        text = BOOTSTRAP
        for good, bad in changes:
            assert text.count(good) == 1, good
            text = text.replace(good, bad)
        return text

    return change
