"""Every mistake is named with file, line, key path and remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from anywasm.core.errors import ConfigError
from anywasm.plugins.config import load_config

Refused = Callable[..., list[str]]

GOOD = """\
listeners:
  - name: functions
    address: 127.0.0.1:2045
    plugins: [one]
    limits: {max_body_bytes: 1MiB}
plugins:
  - name: one
    vm_config:
      engine: wasmtime
      path: one.wasm
    instance_num: 2
    timeouts: {call: 1s}
state_stores:
  demo: {type: memory}
management: {address: 127.0.0.1:34998}
watch: true
"""

DURATION = 'must be a number of seconds, or text such as "250ms", "1s" or "2m"; at most a day'
SIZE = 'must be a number of bytes, or text such as "64KiB" or "1MiB"; 1 to 4 GiB'
ADDRESS = 'must be "host:port", "[ipv6]:port" or "unix:/absolute/path"'

MISTAKES = [
    ("engine: w", "engin: w", '9: plugins[0].vm_config.engin: unknown key; did you mean "engine"?'),
    ("engine: w", "runtime: w", '9: plugins[0].vm_config.runtime: unknown key; did you mean "engi'),
    ("instance_num: 2", "configuration: 2", "11: plugins[0].configuration: unknown key; did you m"),
    ("watch: true", "zzz: 1", "16: zzz: unknown key; known: listeners, plugins, clusters, state_s"),
    (
        "engine: wasmtime",
        "engine: wasmtiem",
        '9: plugins[0].vm_config.engine: unknown engine "wasmtiem"; known: wasmtime, wasmer, wasm3',
    ),
    (
        "engine: wasmtime",
        "engine: null",
        "9: plugins[0].vm_config.engine: must be text, not null; put it in quotes",
    ),
    (
        "path: one.wasm",
        "vm_id: x",
        "8: plugins[0].vm_config.path: required, but missing: the module's file",
    ),
    (
        "path: one.wasm",
        "url: http://me:secret@x/one.wasm",
        "10: plugins[0].vm_config.url: must be https://, http:// or oci://, a host, and no user n",
    ),
    (
        "path: one.wasm",
        "url: http://x/one.wasm\n      fetch: {username: me}",
        "11: plugins[0].vm_config.fetch.username: username needs a password_env or a password_fil",
    ),
    (
        "path: one.wasm",
        "url: http://x/one.wasm\n      fetch: {pull_policy: never}",
        "11: plugins[0].vm_config.fetch.pull_policy: must be ",
    ),
    (
        "path: one.wasm",
        "path: a\n      url: http://b",
        "11: plugins[0].vm_config.url: path and url exclude each other; keep path",
    ),
    (
        "path: one.wasm",
        "path: a\n      sha256: abc",
        "11: plugins[0].vm_config.sha256: must be 64 hexadecimal digits",
    ),
    (
        "path: one.wasm",
        f"path: a\n      md5: {'g' * 32}",
        "11: plugins[0].vm_config.md5: must be 32 hexadecimal digits",
    ),
    ("path: one.wasm", "path: /", "10: plugins[0].vm_config.path: must be the path of a file"),
    (
        "path: one.wasm",
        "path: a\n      env: {A: 80}",
        "11: plugins[0].vm_config.env.A: must be text, not 80; put it in quotes",
    ),
    (
        "path: one.wasm",
        "path: a\n      env: {'A=B': x}",
        "11: plugins[0].vm_config.env: variable 'A=B': a name has no '='",
    ),
    (
        "    instance_num: 2",
        "    instance_num: 0",
        "11: plugins[0].instance_num: must be great",
    ),
    (
        "instance_num: 2",
        "instance_num: 9999",
        "11: plugins[0].instance_num: must be less than or",
    ),
    (
        "instance_num: 2",
        'instance_num: "2"',
        "11: plugins[0].instance_num: must be a whole number,",
    ),
    (
        "instance_num: 2",
        "instance_num: true",
        "11: plugins[0].instance_num: must be a whole number",
    ),
    (
        "instance_num: 2",
        "execution: fast",
        "11: plugins[0].execution: must be 'inline' or 'threa",
    ),
    ("call: 1s", "call: -1", f"12: plugins[0].timeouts.call: {DURATION}"),
    ("call: 1s", "call: 1 fortnight", f"12: plugins[0].timeouts.call: {DURATION}"),
    ("call: 1s", "call: .nan", f"12: plugins[0].timeouts.call: {DURATION}"),
    ("call: 1s", "call: true", f"12: plugins[0].timeouts.call: {DURATION}"),
    ("call: 1s", "call: 0s", "12: plugins[0].timeouts.call: must be longer than zero"),
    ("1MiB", "1 MiBit", f"5: listeners[0].limits.max_body_bytes: {SIZE}"),
    ("1MiB", "0", f"5: listeners[0].limits.max_body_bytes: {SIZE}"),
    ("1MiB", "1.5", f"5: listeners[0].limits.max_body_bytes: {SIZE}"),
    ("127.0.0.1:2045", "2045", f"3: listeners[0].address: {ADDRESS}"),
    ("127.0.0.1:2045", "localhost", f"3: listeners[0].address: {ADDRESS}"),
    ("127.0.0.1:2045", "'::1:2045'", f"3: listeners[0].address: {ADDRESS}"),
    ("127.0.0.1:2045", "unix:relative", f"3: listeners[0].address: {ADDRESS}"),
    ("127.0.0.1:2045", "1.2.3:80", "3: listeners[0].address: 1.2.3 is no IP address"),
    ("127.0.0.1:2045", "a:70000", "3: listeners[0].address: port must be at most 65535"),
    ("[one]", "[two]", '4: listeners[0].plugins[0]: unknown plugin "two"; known: one'),
    ("[one]", "[one, one]", '4: listeners[0].plugins[1]: "one" is listed twice'),
    ("[one]", "[]", "4: listeners[0].plugins: must not be empty"),
    ("[one]", "one", '4: listeners[0].plugins: must be a list, not "one"'),
    ("name: functions", "name: ''", "2: listeners[0].name: must not be empty"),
    ("name: functions", 'name: "a\\nb"', "2: listeners[0].name: must not hold control characters"),
    ("name: functions", "name: [x]", "2: listeners[0].name: must be text, not a list"),
    ("address: 127.0.0.1:2045", "# gone", "2: listeners[0].address: required, but missing"),
    ("{type: memory}", "{}", "14: state_stores.demo.type: required, but missing"),
    ("{type: memory}", "7", "14: state_stores.demo: must be a mapping, not 7"),
    (
        "127.0.0.1:34998",
        "0.0.0.0:34998",
        "15: management.address: other machines can reach it, so it needs a token: set management",
    ),
    (
        "127.0.0.1:34998",
        "127.0.0.1:2045",
        "15: management.address: 127.0.0.1:2045 is the address of listeners[0] already",
    ),
    ("127.0.0.1:34998", "'[::1]:1', token: ''", "15: management.token: must be printable ASCII"),
    ("watch: true", "watch: yes", '16: watch: must be true or false, not "yes"'),
    ("watch: true", "log_level: loud", "16: log_level: must be 'debug', 'info', 'warning' or 'err"),
    ("watch: true", "watch: true\nwatch: true", '17: key "watch" is there already, on line 16'),
    ("watch: true", "1: x", "16: keys must be text; put them in quotes"),
    ("watch: true", "<<: {watch: true}", "16: merge keys (<<) are not part of YAML 1.2"),
    ("watch: true", "watch: !!python/name:os.system x", "16: the tag 'tag:yaml.org,2002:python/na"),
    ("watch: true", "watch: !!int x", "16: the tag 'tag:yaml.org,2002:int' is not supported here"),
    ("watch: true", "watch: *nowhere", "16: not valid YAML: found undefined alias"),
    ("watch: true", "watch: [", "17: not valid YAML: while parsing a flow node"),
    ("watch: true", "\twatch: true", "16: not valid YAML: "),
    ("watch: true", "watch: &a [*a]", "16: values are nested more than 64 deep"),
    ("watch: true", "watch: \x07", "16: not valid YAML: special characters are not allowed"),
    ("watch: true", "---\nlisteners: []", "17: expected a single document; only WasmPl"),
]


@pytest.mark.parametrize(
    ("good", "bad", "message"), MISTAKES, ids=[f"{bad!a:.40}" for _, bad, _ in MISTAKES]
)
def test_a_mistake_is_named_with_its_place(
    refused: Refused, good: str, bad: str, message: str
) -> None:
    assert GOOD.count(good) == 1, "the case must change one place"
    lines = refused(GOOD.replace(good, bad))
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"anywasm.yaml:{message}"), lines[0]


def test_several_mistakes_are_named_from_the_top_down(refused: Refused) -> None:
    text = GOOD.replace("watch: true", "wach: true").replace("2045", "x").replace("1s", "1x")
    assert [line.split(": ")[:2] for line in refused(text)] == [
        ["anywasm.yaml:3", "listeners[0].address"],
        ["anywasm.yaml:12", "plugins[0].timeouts.call"],
        ["anywasm.yaml:16", "wach"],
    ]


def test_names_and_addresses_are_unique(refused: Refused) -> None:
    listener = "\n  - {name: functions, address: '127.0.0.1:2045'}\nplugins:"
    plugin = "\n  - {name: one, vm_config: {path: x}}\nstate_stores:"
    text = GOOD.replace("\nplugins:", listener).replace("\nstate_stores:", plugin)
    taken = "127.0.0.1:2045 is the address of listeners[0] already"
    assert refused(text) == [
        'anywasm.yaml:6: listeners[1].name: "functions" is the name of listeners[0] already',
        f"anywasm.yaml:6: listeners[1].address: {taken}",
        'anywasm.yaml:14: plugins[1].name: "one" is the name of plugins[0] already',
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "anywasm.yaml: the file is empty"),
        (b" \n\t\n", "anywasm.yaml: the file is empty"),
        (b"# nothing\n", "anywasm.yaml: the file holds no values"),
        (b"null\n", "anywasm.yaml: the file holds no values"),
        (b"- a\n", "anywasm.yaml:1: the top level must be a mapping"),
        (b"words\n", "anywasm.yaml:1: the top level must be a mapping"),
        (b"a: x\nb: \xff\n", "anywasm.yaml:2: is not UTF-8 text"),
        (b"watch: true\n", "anywasm.yaml:1: listeners: required, but missing"),
        (b"listeners: []\n", "anywasm.yaml:1: listeners: must not be empty"),
        (b'a: "\\ud800"\n', "anywasm.yaml: an escape such as \\ud800 is half a character"),
        (b"a: " + b"[" * 5000, "anywasm.yaml:1: values are nested more than 64 deep"),
        (b"a: " + b"[" * 80 + b"]" * 80, "anywasm.yaml:1: values are nested more than 64 deep"),
        (b"a: 1" + b"0" * 5000, "anywasm.yaml:1: the tag 'tag:yaml.org,2002:int'"),
        (b"#" * 1_048_577, "anywasm.yaml: is larger than 1048576 bytes"),
    ],
    ids=lambda value: f"{value!a:.24}",
)
def test_a_file_that_is_no_configuration(refused: Refused, text: bytes, message: str) -> None:
    lines = refused(text)
    assert len(lines) == 1
    assert lines[0].startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.json: the file is empty"),
        ('{"a": 1,\n"b": }', "a.json:2: not valid JSON: "),
        ("[1]", "a.json:1: the top level must be a mapping"),
        ("null", "a.json: the file holds no values"),
        ('{"a": 1,\n "b": {"c": 1,\n"c": 2}}', 'a.json:3: key "c" is there already, on line 2'),
        ('{"a": NaN}', "a.json:1: not valid JSON: NaN is no JSON"),
        ('{"a": "\\ud83d"}', "a.json: an escape such as"),
        ('{"a": 1' + "0" * 5000 + "}", "a.json:1: not valid JSON: "),
        ('{"a": ' + "[" * 80 + "]" * 80 + "}", "a.json:1: values are nested more than 64 deep"),
        ("[" * 100_000, "a.json:1: "),
        ('{"listeners":\n\t[\n\t{"name": 1}]}', "a.json:3: listeners[0].name: must be text, not 1"),
        ('{"listeners": [1,\n\t2]}', "a.json:1: listeners[0]: must be a mapping, not 1"),
    ],
    ids=lambda value: f"{value!a:.24}",
)
def test_json_has_lines_too(refused: Refused, text: str, message: str) -> None:
    assert refused(text, "a.json")[0].startswith(message)


def test_json_is_known_by_its_first_character(refused: Refused) -> None:
    assert refused('{"a": 1,}', "config")[0].startswith("config:1: not valid JSON")


def test_aliases_cannot_multiply_without_end(refused: Refused) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (message,) = refused("\n".join(lines))
    assert "more than 100000 values, counting repeated aliases" in message


def test_secrets_are_not_repeated(refused: Refused) -> None:
    lines = refused(GOOD.replace("127.0.0.1:34998", "127.0.0.1:34998, token: [hunter2]"))
    assert lines == ["anywasm.yaml:15: management.token: must be text"]


def test_a_folder_and_nothing_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder, not a configuration file"):
        load_config(tmp_path)
    with pytest.raises(ConfigError, match=r"nothing.yaml: there is no such file$"):
        load_config(tmp_path / "nothing.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "a\0b.yaml")
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Too many levels of symbolic links"):
        load_config(tmp_path / "loop.yaml")
