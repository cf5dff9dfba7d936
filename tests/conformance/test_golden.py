"""This host answers as Envoy did when the cases were recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from anywasm.core.errors import ConfigError
from anywasm.core.registry import get_wasm_engine
from anywasm.testing.golden import GuestFinder, Outcome, Runner, read_cases
from anywasm.testing.golden.case import Answer, Case, LogLine, Request, read_case
from anywasm.testing.golden.client import CLOSED, TIMEOUT, ask
from anywasm.testing.golden.compare import answer_differences, log_differences, mask
from anywasm.testing.golden.host import DeadPort
from anywasm.testing.golden.report import details
from anywasm.testing.golden.upstream import EchoUpstream

DATA = Path(__file__).parents[1] / "data" / "golden"
CASES = {case.id: (path, case) for path, case in read_cases(DATA)}
OWN_GUESTS = [name for name, (_, case) in CASES.items() if case.package is None]
THIRD_PARTY = [name for name, (_, case) in CASES.items() if case.package is not None]
#: One case for each of their modules, some of which take wasm3 a quarter of a minute to compile.
ONE_A_MODULE = {CASES[name][1].wasm: name for name in THIRD_PARTY}.values()


def _replay(name: str, engine: str, wheels: Path | None = None) -> None:
    path, case = CASES[name]
    result = Runner(GuestFinder(wheels)).run(path, case, get_wasm_engine(engine))
    if result.outcome is Outcome.UNSUPPORTED:
        pytest.skip(result.reason)
    assert result.outcome is Outcome.OK, "\n" + "\n".join(details(result))


@pytest.mark.parametrize("name", OWN_GUESTS)
def test_edge_behaviour(name: str, engine: str) -> None:
    _replay(name, engine)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", ONE_A_MODULE)
def test_third_party_plugins(name: str, engine: str, wheels: Path) -> None:
    _replay(name, engine, wheels)


@pytest.mark.parametrize("name", sorted(set(THIRD_PARTY).difference(ONE_A_MODULE)))
def test_further_cases_of_third_party_plugins(name: str, wheels: Path) -> None:
    """On one engine: `anywasm golden` runs them on all."""
    _replay(name, "wasmtime", wheels)


def test_all_cases_are_covered() -> None:
    assert len(OWN_GUESTS) == 19
    assert len(THIRD_PARTY) == 8


# --- the tool itself: it must see what differs ---


def _changed(tmp_path: Path, name: str, change: dict[str, Any]) -> tuple[Path, Case]:
    """A recorded case with other contents, beside the guests."""
    data = json.loads((DATA / "cases" / f"{name}.json").read_text()) | change
    (tmp_path / "guests").symlink_to(DATA / "guests")
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(data))
    return path, read_case(path)


def _lines(path: Path, case: Case) -> list[str]:
    result = Runner(GuestFinder()).run(path, case, get_wasm_engine("wasmtime"))
    assert result.outcome is Outcome.DIFFERS
    return [line for _, lines in result.differences for line in lines]


@pytest.mark.parametrize(
    "answered", [{"status": 201}, {"body": "other"}, {"headers": [["a", "b"]]}]
)
def test_another_answer_is_a_difference(tmp_path: Path, answered: dict[str, Any]) -> None:
    step = json.loads((DATA / "cases" / "edge-misc.json").read_text())["steps"][0]
    step["expect"] |= answered
    assert _lines(*_changed(tmp_path, "edge-misc", {"steps": [step]}))


def test_other_lines_in_the_log_are_a_difference(tmp_path: Path) -> None:
    step = json.loads((DATA / "cases" / "edge-misc.json").read_text())["steps"][0]
    step["log"] = [{"level": "info", "msg": "never logged"}]
    lines = _lines(*_changed(tmp_path, "edge-misc", {"steps": [step]}))
    assert "- log: info: never logged" in lines
    assert any(line.startswith("+ log: info: on_log /buf") for line in lines)


def test_a_hang_that_should_not_be_is_a_difference(tmp_path: Path) -> None:
    request = {"path": "/pause", "timeout": 0.5}
    step = {"request": request, "expect": {"status": 200}}
    lines = _lines(*_changed(tmp_path, "edge-body", {"steps": [step]}))
    assert {"- status: 200", "+ error: timeout"} <= set(lines)


def test_a_start_that_should_have_failed_is_a_difference(tmp_path: Path) -> None:
    change = {"expect_start": "fail", "steps": []}
    assert _lines(*_changed(tmp_path, "edge-misc", change)) == ["- refused", "+ started"]


def test_a_refused_start_is_a_difference(tmp_path: Path) -> None:
    lines = _lines(*_changed(tmp_path, "edge-cfgfail", {"start_ok": True}))
    assert lines[0] == "- started"
    assert "proxy_on_configure" in lines[1]


# --- what counts as equal ---


def _answer(body: str = "", *headers: tuple[str, str]) -> Answer:
    return Answer(status=200, headers=headers, body=body)


def test_what_a_proxy_adds_is_no_difference() -> None:
    before = _answer('{"headers": [["a", "1"], ["x-forwarded-proto", "http"]]}', ("b", "2"))
    after = _answer('{"headers":[["a","1"]]}', ("Server", "x"), ("b", "2"), ("Date", "now"))
    assert answer_differences(before, after) == []
    assert answer_differences(before, _answer('{"headers": [["a", "2"]]}', ("b", "2"))) != []
    assert answer_differences(_answer("text\n"), _answer("text")) != []


def test_times_and_peers_are_masked() -> None:
    one = r"request\x00time = 0 [8] \x90mK\xbc\xfdX\xea\x18" + "\nsource\\x00port = 0 [8] 4\\x8c"
    one += r"\x00\x00\x00\x00\x00\x00" + "\nsource\\x00address = 0 [15] 127.0.0.1:35892\nx = 1"
    two = r"request\x00time = 0 [8] \xd8|\xf4\x00\xfeX\xea\x18" + "\nsource\\x00port = 0 [8] B\\x8c"
    two += r"\x00\x00\x00\x00\x00\x00" + "\nsource\\x00address = 0 [14] 127.0.0.1:3589\nx = 1"
    assert mask(one) == mask(two)
    assert mask(one) != mask(two.replace("x = 1", "x = 2"))


def test_log_lines_count_once_and_by_their_first_line() -> None:
    def line(message: str) -> LogLine:
        return LogLine(level="info", msg=message)

    tick = line("tick")
    assert log_differences([tick, tick], [line("tick\nmore")], complete=True) == []
    assert log_differences([tick], [tick, line("other")], complete=False) == []
    assert log_differences([tick], [tick, line("other")], complete=True) == ["+ log: info: other"]
    assert log_differences([tick], [], complete=False) == ["- log: info: tick"]
    assert log_differences([tick], [LogLine(level="warning", msg="tick")], complete=True) != []


# --- cases and guests ---


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "the case: must be a mapping"),
        ('{"id": 5}', "id: must be text"),
        ('{"id": "x", "steps": [{"request": {"path": "/"}}]}', "steps[0].expect: required"),
        ('{"id": "x", "steps": [{"request": {"path": "/", "timeout": -1}}]}', "timeout"),
    ],
)
def test_malformed_cases_are_refused_in_words(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "case.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"case\.json") as caught:
        read_case(path)
    assert message in str(caught.value)


def test_unknown_keys_are_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "case.json"
    path.write_text('{"id": "x", "recorder": {"version": 7}, "opts": {"later": 1}}')
    assert read_case(path).id == "x"


def test_a_folder_without_cases_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no golden cases"):
        read_cases(tmp_path)
    with pytest.raises(ConfigError, match="no case fits nothing"):
        read_cases(DATA, ["nothing"])


def test_a_module_with_another_checksum_is_not_taken(tmp_path: Path) -> None:
    path, case = _changed(tmp_path, "edge-misc", {"sha256": "0" * 64})
    result = Runner(GuestFinder()).run(path, case, get_wasm_engine("wasmtime"))
    assert result.outcome is Outcome.NO_GUEST
    assert "not with sha256" in result.reason


def test_modules_are_found_in_unpacked_wheels(tmp_path: Path) -> None:
    folder = tmp_path / "some-1.0" / "some" / "plugins"
    folder.mkdir(parents=True)
    (folder / "plugin.wasm").symlink_to(DATA / "guests" / "edge.wasm")
    case = Case(id="x", package="some==1.0", wasm="some/plugins/plugin.wasm")
    assert GuestFinder(tmp_path).find(case, DATA) == folder / "plugin.wasm"


# --- client and upstream ---


def test_the_upstream_echoes_what_the_client_sends() -> None:
    request = Request(
        method="POST",
        path="/e?q=1",
        headers=(("A", "b"),),
        chunks=("x", "yz"),
        trailers=(("T", "1"),),
    )
    with EchoUpstream() as upstream:
        answer = ask(upstream.port, request)
    assert json.loads(answer.body) == {
        "method": "POST",
        "path": "/e?q=1",
        "headers": [
            ["a", "b"],
            ["connection", "close"],
            ["host", "example.test"],
            ["te", "trailers"],
            ["transfer-encoding", "chunked"],
        ],
        "body": "xyz",
        "trailers": {"t": "1"},
    }
    assert ("x-upstream", "echo") in answer.headers


def test_the_upstream_has_its_special_paths() -> None:
    with EchoUpstream() as upstream:

        def get(path: str, body: str = "") -> Answer:
            return ask(upstream.port, Request(method="POST", path=path, body=body))

        assert get("/auth-deny").status == 403
        assert ("x-auth-user", "alice") in get("/auth-allow").headers
        assert get("/trailers").trailers == (("x-up-trailer", "t1"),)
        assert get("/chunks").body == "aaabbbccc"
        assert get("/sleep").body == "slept"
        assert get("/v1/chat/completions", '{"stream": true}').body.endswith("data: [DONE]\n\n")
        assert json.loads(get("/v1/chat/completions", "{}").body)["echo_body"] == "{}"


def test_the_client_tells_apart_why_there_is_no_answer() -> None:
    with DeadPort() as dead:
        assert "cannot connect" in (ask(dead.port, Request(path="/")).error or "")
    with EchoUpstream() as upstream:
        assert ask(upstream.port, Request(path="/sleep", timeout=0.1)).error == TIMEOUT
        # A chunk that is none: the server drops the connection.
        broken = Request(path="/", headers=(("transfer-encoding", "chunked"),), body="zz\r\n")
        assert ask(upstream.port, broken).error == CLOSED


# --- the command ---


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "anywasm", "golden", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=100, check=False, env=dict(os.environ)
    )


def test_the_command_shows_a_table_and_writes_json(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    result = _command(
        str(DATA), "--engine", "wasmtime", "--case", "edge-misc*", "--json", str(target)
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[:2] == [
        "case                wasmtime",
        "edge-misc-badlevel  ok",
    ]
    written = json.loads(target.read_text())
    assert {item["outcome"] for item in written} == {"ok"}
    assert len(written) == 4


def test_the_command_fails_on_a_difference(tmp_path: Path) -> None:
    _changed(tmp_path, "edge-misc", {"start_ok": False})
    result = _command(str(tmp_path), "--engine", "wasmtime")
    assert result.returncode == 1
    assert "+ started" in result.stdout


def test_the_command_fails_when_nothing_could_be_run() -> None:
    result = _command(str(DATA), "--engine", "wasmtime", "--case", "transformer-request", "-v")
    assert result.returncode == 1
    assert "--wheels" in result.stdout


def test_the_command_names_a_folder_without_cases(tmp_path: Path) -> None:
    result = _command(str(tmp_path))
    assert result.returncode == 2
    assert "no golden cases" in result.stderr
