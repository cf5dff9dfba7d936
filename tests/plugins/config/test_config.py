from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from anywasm.plugins.config import (
    Address,
    AppConfig,
    LimitsConfig,
    LoadedConfig,
    config_schema,
    load_config,
)
from anywasm.server.http.limits import HttpLimits

Load = Callable[..., LoadedConfig]

FULL = """\
# Everything that can be said.
listeners:
  - name: functions
    address: 127.0.0.1:2045
    plugins: [one]
    limits: {max_body_bytes: 2MiB, max_header_bytes: 1000, idle_timeout: 2m}
  - name: local
    address: unix:/run/anywasm.sock
plugins:
  - name: one
    vm_config:
      engine: wasm3
      path: modules/one.wasm
      sha256: 0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef
      md5: 0123456789abcdef0123456789abcdef
      vm_id: shared
      env: {LANG: C}
      configuration: {answer: no, number: 010}
    instance_num: 3
    root_id: root
    plugin_config: "plain ü"
    execution: thread
    timeouts: {call: 250ms, start: 1m, request: 20, lease: 0.5}
  - name: two
    vm_config: {path: /abs/two.wasm}
state_stores:
  demo: {type: memory, data: {book1: "100"}}
management: {address: "[::1]:34998", token: s3cret}
watch: false
drain_timeout: 0
log_level: debug
"""


def test_everything_arrives(load: Load, tmp_path: Path) -> None:
    loaded = load(FULL)
    config = loaded.config
    assert loaded.notices == ()
    functions, local = config.listeners
    assert functions.address == Address("127.0.0.1", 2045)
    assert functions.plugins == ("one",)
    assert functions.limits.max_body_bytes == 2 * 1024 * 1024
    assert functions.limits.idle_timeout == 120.0
    assert local.address.path == Path("/run/anywasm.sock")
    assert local.plugins is None
    one, two = config.plugins
    assert one.vm_config.engine == "wasm3"
    assert one.vm_config.path == tmp_path / "modules/one.wasm"
    assert one.vm_config.sha256 == "0123456789abcdef" * 4
    assert one.vm_config.env == {"LANG": "C"}
    # YAML 1.2: `no` is a word, `010` is ten.
    assert one.vm_config.configuration == b'{"answer":"no","number":10}'
    assert one.plugin_config == "plain ü".encode()
    assert (one.instance_num, one.root_id, one.execution) == (3, "root", "thread")
    assert one.timeouts.model_dump() == {"call": 0.25, "start": 60, "request": 20, "lease": 0.5}
    assert two.vm_config.path == Path("/abs/two.wasm")
    assert config.state_stores["demo"].type == "memory"
    assert config.state_stores["demo"].options == {"data": {"book1": "100"}}
    assert config.management is not None
    assert config.management.token is not None
    assert config.management.token.get_secret_value() == "s3cret"
    assert (config.watch, config.drain_timeout, config.log_level) == (False, 0, "debug")


def test_defaults(load: Load) -> None:
    config = load(
        "listeners: [{name: a, address: 'localhost:0'}]\n"
        "plugins: [{name: p, vm_config: {path: p.wasm}}]\n"
    ).config
    plugin = config.plugins[0]
    assert (plugin.vm_config.engine, plugin.vm_config.vm_id, plugin.instance_num) == (
        "wasmtime",
        "",
        1,
    )
    assert (plugin.plugin_config, plugin.vm_config.configuration) == (b"", b"")
    assert plugin.execution is None
    assert plugin.timeouts.model_dump() == {"call": 1, "start": 30, "request": 15, "lease": 1}
    assert config.management is None
    assert (config.watch, config.drain_timeout, config.log_level) == (True, 10, "info")


def test_the_limits_have_the_data_planes_defaults() -> None:
    of_filters = {"max_buffer_bytes", "stream_idle_timeout"}
    assert HttpLimits(**LimitsConfig().model_dump(exclude=of_filters)) == HttpLimits()


def test_json_says_the_same_as_yaml(load: Load) -> None:
    data = {
        "listeners": [{"name": "a", "address": "127.0.0.1:1"}],
        "plugins": [{"name": "p", "vm_config": {"path": "p"}, "plugin_config": {"emoji": "🔑"}}],
    }
    from_json = load(json.dumps(data, indent="\t"), "a.json").config
    from_yaml = load(
        "listeners: [{name: a, address: '127.0.0.1:1'}]\n"
        "plugins: [{name: p, vm_config: {path: p}, plugin_config: {emoji: 🔑}}]\n"
    ).config
    assert from_json == from_yaml
    assert from_json.plugins[0].plugin_config == '{"emoji":"🔑"}'.encode()


def test_a_byte_order_mark_and_windows_line_ends(load: Load) -> None:
    text = b"\xef\xbb\xbflisteners:\r\n  - name: a\r\n    address: 127.0.0.1:1\r\n"
    assert load(text).config.listeners[0].name == "a"


def test_anchors_can_be_used_for_repetition(load: Load) -> None:
    config = load(
        "listeners: [{name: a, address: '127.0.0.1:1'}]\n"
        "plugins:\n"
        "  - {name: p, vm_config: &vm {path: p.wasm}}\n"
        "  - {name: q, vm_config: *vm}\n"
    ).config
    assert config.plugins[0].vm_config == config.plugins[1].vm_config


def test_modules_are_found_beside_the_file_wherever_one_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "conf"
    folder.mkdir()
    (folder / "a.yaml").write_text(
        "listeners: [{name: a, address: '127.0.0.1:1'}]\n"
        "plugins: [{name: p, vm_config: {path: ../p.wasm}}]\n"
    )
    monkeypatch.chdir(tmp_path)
    path = load_config(Path("conf/a.yaml")).config.plugins[0].vm_config.path
    assert path == folder / "../p.wasm"


def test_management_opens_to_others_only_with_a_token(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "listeners: [{name: a, address: '127.0.0.1:1'}]\nmanagement: {address: '0.0.0.0:2'}\n"
    monkeypatch.setenv("ANYWASM_MANAGEMENT_TOKEN", "from-the-environment")
    management = load(text).config.management
    assert management is not None
    assert management.token is not None
    assert management.token.get_secret_value() == "from-the-environment"


@pytest.mark.parametrize("address", ["unix:/x", "localhost:1", "127.8.8.8:1", "[::1]:1"])
def test_management_needs_no_token_where_only_this_machine_reaches_it(
    load: Load, address: str
) -> None:
    text = f"listeners: [{{name: a, address: '127.0.0.1:9'}}]\nmanagement: {{address: '{address}'}}"
    management = load(text).config.management
    assert management is not None
    assert management.token is None
    assert str(management.address) == address


def test_a_printed_configuration_holds_no_secret(load: Load) -> None:
    config = load(
        "listeners: [{name: a, address: '127.0.0.1:1'}]\n"
        "state_stores: {s: {type: redis, url: 'redis://:hunter2@h'}}\n"
        "management: {token: hunter2}\n"
    ).config
    assert "hunter2" not in repr(config)
    assert "hunter2" not in str(config)


def test_a_configuration_cannot_be_changed(load: Load) -> None:
    config = load(FULL).config
    with pytest.raises(ValidationError, match="frozen"):
        config.watch = True


def test_the_schema_names_every_key() -> None:
    schema = config_schema()
    assert set(schema["properties"]) == set(AppConfig.model_fields)
    assert schema["required"] == ["listeners"]
    vm = schema["$defs"]["VmConfig"]
    assert vm["additionalProperties"] is False
    assert set(vm["properties"]) >= {"engine", "path", "sha256", "md5", "configuration"}
    assert all("description" in it for it in vm["properties"].values())
    json.dumps(schema)
