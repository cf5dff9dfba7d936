"""Envoy's bootstrap file, and its Wasm filter alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from anywasm.core.errors import ConfigError
from anywasm.plugins.config import Address, LoadedConfig, load_filter_config

Load = Callable[..., LoadedConfig]
Change = Callable[..., str]

MANAGER = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config"
ROUTES = f"{MANAGER}.route_config.virtual_hosts[0]"
FILTER = f"{MANAGER}.http_filters[0]"
WASM = f"{FILTER}.typed_config.config"


def test_a_bootstrap_file(load: Load, bootstrap: str) -> None:
    loaded = load(bootstrap)
    assert loaded.notices == ()
    config = loaded.config
    (listener,), (plugin,), (cluster,) = config.listeners, config.plugins, config.clusters
    assert (listener.name, listener.address) == ("main", Address("0.0.0.0", 18000))
    assert (listener.filters, listener.virtual_host) == (("my_plugin",), "local_service")
    # Envoy's defaults, where they differ from the project's own.
    assert not listener.use_remote_address
    assert plugin.failure_policy == "fail_closed"
    direct, exact, rest = listener.routes
    assert (direct.prefix, direct.cluster) == ("/direct", None)
    assert direct.direct_response is not None
    assert direct.direct_response.model_dump() == {
        "status": 201,
        "body": "direct ok\n",
        "headers": {"x-a": "b"},
    }
    assert (exact.name, exact.path, exact.cluster, exact.timeout) == ("exact", "/exact", "up", 0.25)
    assert (exact.prefix_rewrite, exact.host_rewrite) == ("/v1", "a.b")
    assert (rest.prefix, rest.timeout) == ("/", 15)
    assert (plugin.name, plugin.root_id, plugin.plugin_config) == (
        "my_plugin",
        "my_root_id",
        b'{"a": 1}',
    )
    assert (plugin.vm_config.engine, plugin.vm_config.vm_id) == ("wasmtime", "my_vm")
    assert plugin.vm_config.path == Path.cwd() / "lib/filter.wasm"
    assert cluster.endpoints == (
        Address("localhost", 9000),
        Address("::1", 9001),
        Address(path=Path("/run/up.sock")),
    )
    assert (cluster.name, cluster.connect_timeout, cluster.tls) == ("up", 5, None)
    assert config.node_id == "node-1"


def test_modules_beside_the_file_are_found(load: Load, tmp_path: Path, bootstrap: str) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/filter.wasm").touch()
    assert load(bootstrap).config.plugins[0].vm_config.path == tmp_path / "lib/filter.wasm"


def test_camel_case_says_the_same(load: Load, change: Change, bootstrap: str) -> None:
    text = change(
        ("static_resources", "staticResources"),
        ("filter_chains", "filterChains"),
        ("vm_config", "vmConfig"),
        ("http_filters", "httpFilters"),
        ("lb_endpoints", "lbEndpoints"),
        ("host_rewrite_literal", "hostRewriteLiteral"),
        ("vm_id", "vmId"),
    )
    assert load(text).config == load(bootstrap).config


def test_what_a_plugin_can_say(load: Load, monkeypatch: pytest.MonkeyPatch, change: Change) -> None:
    monkeypatch.setenv("FROM_HOST", "here")
    monkeypatch.delenv("NOWHERE", raising=False)
    text = change(
        (
            "                root_id: my_root_id\n",
            """\
                failure_policy: FAIL_RELOAD
                reload_config: {backoff: {base_interval: 0.5s, max_interval: 5s}}
                allow_on_headers_stop_iteration: {value: true}
                capability_restriction_config: {allowed_capabilities: {proxy_log: {}}}
""",
        ),
        (
            "                  vm_id: my_vm\n",
            """\
                  environment_variables: {host_env_keys: [FROM_HOST, NOWHERE], key_values: {A: b}}
                  configuration: {"@type": x/google.protobuf.Struct, value: {k: [1, "v"]}}
""",
        ),
    )
    (plugin,) = load(text).config.plugins
    assert plugin.failure_policy == "fail_reload"
    assert plugin.reload_backoff.model_dump() == {"base": 0.5, "max": 5}
    assert plugin.allow_on_headers_stop_iteration is True
    assert plugin.capabilities == ("proxy_log",)
    assert plugin.vm_config.env == {"A": "b", "FROM_HOST": "here"}
    assert plugin.vm_config.configuration == b'{"k":[1,"v"]}'


@pytest.mark.parametrize(
    ("written", "policy"),
    [
        ("fail_open: true", "fail_open"),
        ("fail_open: false", "fail_closed"),
        ("failure_policy: FAIL_OPEN", "fail_open"),
        ("failure_policy: UNSPECIFIED", "fail_closed"),
        ("failurePolicy: fail_reload", "fail_reload"),
        ("allow_on_headers_stop_iteration: true", "fail_closed"),
    ],
)
def test_failure_policies(load: Load, written: str, policy: str, change: Change) -> None:
    (plugin,) = load(change(("root_id: my_root_id", written))).config.plugins
    assert plugin.failure_policy == policy


@pytest.mark.parametrize(
    ("any_value", "told"),
    [
        ('{"@type": x/google.protobuf.BytesValue, value: AAE=}', b"\x00\x01"),
        ('{"@type": x/google.protobuf.StringValue, value: ""}', b""),
        ('{"@type": x/google.protobuf.Struct, value: {}}', b"{}"),
    ],
)
def test_kinds_of_configuration(load: Load, any_value: str, told: bytes, change: Change) -> None:
    text = change(("vm_id: my_vm", f"configuration: {any_value}"))
    assert load(text).config.plugins[0].vm_config.configuration == told


def test_no_restriction_is_none(load: Load, change: Change) -> None:
    empty = "capability_restriction_config: {allowed_capabilities: {}}"
    (plugin,) = load(change(("root_id: my_root_id", empty))).config.plugins
    assert plugin.capabilities is None


@pytest.mark.parametrize(
    ("runtime", "expected", "notices"),
    [
        ("envoy.wasm.runtime.v8", "wasmtime", 1),
        ("envoy.wasm.runtime.wamr", "wasmtime", 1),
        ('"envoy.wasm.runtime.null"', "null", 0),
        ('""', "wasmtime", 0),
    ],
)
def test_runtimes(load: Load, runtime: str, expected: str, notices: int, change: Change) -> None:
    loaded = load(change(("envoy.wasm.runtime.wasmtime", runtime)))
    assert loaded.config.plugins[0].vm_config.engine == expected
    assert len(loaded.notices) == notices
    for notice in loaded.notices:
        assert f"{WASM}.vm_config.runtime: {runtime} is not there; the engine is" in notice


def test_a_typed_struct_is_unwrapped(load: Load, change: Change, bootstrap: str) -> None:
    inner = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"
    text = change(
        (
            f'"@type": {inner}\n',
            f'"@type": x/udpa.type.v1.TypedStruct\n              type_url: {inner}\n',
        ),
    )
    start = text.index("              config:\n")
    end = text.index("          - name: envoy.filters.http.router")
    wrapped = "              value:\n" + "".join(
        f"  {line}\n" for line in text[start:end].splitlines()
    )
    assert load(text[:start] + wrapped + text[end:]).config == load(bootstrap).config


SECOND = """\
          - name: again
            typed_config:
              "@type": x/wasm.v3.Wasm
              config: {name: my_plugin, vm_config: {code: {local: {filename: b.wasm}}}}
"""


def test_another_plugin_of_the_same_name_gets_its_own(load: Load, change: Change) -> None:
    router = "          - name: envoy.filters.http.router"
    loaded = load(change((router, SECOND + SECOND.replace("b.wasm", "c.wasm") + router)))
    assert loaded.config.listeners[0].filters == ("my_plugin", "main.my_plugin", "main.my_plugin.1")
    assert [str(plugin.vm_config.path)[-6:] for plugin in loaded.config.plugins] == [
        "r.wasm",
        "b.wasm",
        "c.wasm",
    ]
    assert '"my_plugin" is another plugin already; this is called "main.' in loaded.notices[0]


def test_equal_filters_of_two_listeners_share_a_plugin(load: Load, bootstrap: str) -> None:
    start, end = bootstrap.index("  - name: main"), bootstrap.index("  clusters:")
    other = bootstrap[start:end].replace("name: main", "name: other").replace("18000", "18001")
    config = load(bootstrap[:end] + other + bootstrap[end:]).config
    assert [listener.filters for listener in config.listeners] == [("my_plugin",)] * 2
    assert len(config.plugins) == 1


def test_limits_upgrades_and_logs(load: Load, change: Change) -> None:
    log = """\
          access_log:
          - name: file
            typed_config:
              "@type": x/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: /var/log/a.log
              log_format: {text_format_source: {inline_string: "%RESPONSE_CODE%\\n"}}
          - name: grpc
            typed_config: {"@type": x/access_loggers.grpc.v3.HttpGrpcAccessLogConfig}
"""
    more = """\
          stream_idle_timeout: 0s
          request_headers_timeout: 5s
          max_request_headers_kb: 96
          common_http_protocol_options: {idle_timeout: 3600s, max_headers_count: 200}
          http_protocol_options: {enable_trailers: true}
          upgrade_configs: [{upgrade_type: websocket}, {upgrade_type: CONNECT, enabled: false}]
          generate_request_id: {value: false}
          use_remote_address: true
          server_name: ours
"""
    loaded = load(
        change(
            ("          stat_prefix: ingress_http\n", log + more),
            (
                "    filter_chains:\n",
                "    per_connection_buffer_limit_bytes: 32768\n    filter_chains:\n",
            ),
        )
    )
    (listener,) = loaded.config.listeners
    limits = listener.limits
    assert (limits.stream_idle_timeout, limits.header_timeout) == (86400, 5)
    assert (limits.max_header_bytes, limits.max_headers) == (96 * 1024, 200)
    assert (limits.idle_timeout, limits.max_buffer_bytes) == (3600, 32768)
    assert listener.upgrade == ("websocket",)
    assert (listener.generate_request_id, listener.use_remote_address) == (False, True)
    assert listener.access_log is not None
    assert listener.access_log.path == "/var/log/a.log"
    assert listener.access_log.format == "%RESPONSE_CODE%\n"
    assert [notice.split(": ", 1)[1].replace(MANAGER, "M") for notice in loaded.notices] == [
        "M.access_log[1]: access log HttpGrpcAccessLogConfig is not written",
        "M.stream_idle_timeout: stream_idle_timeout: the longest there is, is a day",
        "M.server_name: has no effect here",
    ]


def test_tls_on_both_sides(load: Load, change: Change) -> None:
    downstream = """\
    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": x/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          common_tls_context:
            tls_certificates:
            - {certificate_chain: {filename: cert.pem}, private_key: {filename: /key.pem}}
            validation_context: {trusted_ca: {filename: /ca.pem}}
      filters:
"""
    upstream = """\
    type: strict_dns
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": x/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: shop.example
        common_tls_context: {validation_context: {trusted_ca: {filename: /up.pem}}}
"""
    text = change(("    - filters:\n", downstream), ("    type: strict_dns\n", upstream))
    loaded = load(text)
    tls = loaded.config.listeners[0].tls
    assert tls is not None
    assert (tls.cert_file.name, tls.key_file) == ("cert.pem", Path("/key.pem"))
    assert tls.client_ca_file == Path("/ca.pem")
    cluster = loaded.config.clusters[0].tls
    assert cluster is not None
    assert (cluster.sni, cluster.ca_file) == ("shop.example", Path("/up.pem"))
    assert not cluster.insecure
    assert loaded.notices == ()
    unverified = load(
        text.replace(
            "\n        common_tls_context: {validation_context: {trusted_ca: {filename: /up.pem}}}",
            "",
        )
    )
    cluster = unverified.config.clusters[0].tls
    assert cluster is not None
    assert cluster.insecure
    (notice,) = unverified.notices
    assert "certificates are not verified, as in Envoy" in notice


def test_options_of_a_cluster(load: Load, change: Change) -> None:
    more = """\
    type: STATIC
    lb_policy: LEAST_REQUEST
    connect_timeout: 0.5s
    health_checks: []
    circuit_breakers:
      thresholds:
      - {priority: HIGH, max_connections: 1}
      - {max_connections: 7, max_pending_requests: {value: 9}, max_requests: 3}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": x/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        common_http_protocol_options: {idle_timeout: 7s}
        explicit_http_config: {http2_protocol_options: {}}
"""
    loaded = load(change(("    type: strict_dns\n", more)))
    (cluster,) = loaded.config.clusters
    assert (cluster.max_connections, cluster.max_pending) == (7, 9)
    assert (cluster.connect_timeout, cluster.idle_timeout) == (0.5, 7)
    assert [notice.split(": ")[1].rpartition(".")[2] for notice in loaded.notices] == [
        "lb_policy",
        "health_checks",
        "max_requests",
        "http2_protocol_options",
    ]


def test_what_has_no_effect_is_said_once(load: Load, change: Change) -> None:
    text = change(
        ("node: {id: node-1}", "node: {id: node-1}\nadmin: {address: x}"),
        ("route: {cluster: up}", "route: {cluster: up, retry_policy: {retry_on: 5xx}}"),
        ("route: {cluster: up, timeout", "route: {retry_policy: {}, cluster: up, timeout"),
    )
    notices = [notice.split("anywasm.yaml:")[1] for notice in load(text).notices]
    assert notices == [
        "2: admin: has no effect here",
        f"25: {ROUTES}.routes[1].route.retry_policy: has no effect here",
    ]


FILTER_ALONE = """\
"@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
config:
  configuration: {"@type": x/google.protobuf.Struct, value: {a: 1}}
  vm_config: {runtime: envoy.wasm.runtime.v8, code: {local: {filename: /f.wasm}}}
"""


def test_a_filter_alone_gets_a_listener(load: Load) -> None:
    loaded = load(FILTER_ALONE)
    (listener,) = loaded.config.listeners
    assert (listener.address, listener.filters) == (Address("127.0.0.1", 8080), ("filter",))
    assert listener.routes[0].direct_response is not None
    assert loaded.config.plugins[0].plugin_config == b'{"a":1}'
    runtime, listening = loaded.notices
    assert ":4: config.vm_config.runtime: envoy.wasm.runtime.v8 is not there" in runtime
    assert '127.0.0.1:8080 answers 200 "ok" behind the filters' in listening


def test_a_filter_alone_without_its_type(tmp_path: Path) -> None:
    file = tmp_path / "filter.yaml"
    file.write_text(FILTER_ALONE.partition("\n")[2])
    (plugin,) = load_filter_config(file).filters
    assert (plugin.name, plugin.vm_config.path) == ("filter", Path("/f.wasm"))


def test_a_filter_from_values() -> None:
    vm_config = {"code": {"local": {"filename": "f.wasm"}}}
    loaded = load_filter_config({"config": {"name": "n", "vm_config": vm_config}})
    assert loaded.notices == ()
    assert loaded.filters[0].vm_config.path == Path("f.wasm")
    with pytest.raises(ConfigError, match=r"^config.vm_config.code.remote.http_uri.uri: requir"):
        load_filter_config({"config": {"vm_config": {"code": {"remote": {"a": "b"}}}}})
    with pytest.raises(ConfigError, match="must be something that JSON can say"):
        load_filter_config({"config": {"vm_config": object()}})


def test_a_plugin_of_the_own_schema_alone(tmp_path: Path) -> None:
    file = tmp_path / "plugin.yaml"
    file.write_text("name: p\nvm_config: {path: p.wasm}\nplugin_config: x\n")
    (plugin,) = load_filter_config(file).filters
    assert (plugin.vm_config.path, plugin.plugin_config) == (tmp_path / "p.wasm", b"x")
    file.write_text("name: p\nvm_config: {path: p.wasm}\nrootid: x\n")
    with pytest.raises(ConfigError, match=r'yaml:3: rootid: unknown key; did you mean "root_id"'):
        load_filter_config(file)


def test_a_remote_module_is_fetched() -> None:
    uri = {"uri": "https://x/y.wasm", "cluster": "c", "timeout": "5s"}
    remote = {"http_uri": uri, "sha256": "0" * 64, "retry_policy": {"num_retries": 7}}
    loaded = load_filter_config({"config": {"vm_config": {"code": {"remote": remote}}}})
    vm = loaded.filters[0].vm_config
    assert (vm.url, vm.sha256) == ("https://x/y.wasm", "0" * 64)
    assert (vm.fetch.timeout, vm.fetch.retries) == (5.0, 7)
