from __future__ import annotations

import json
from pathlib import Path

import pytest

from anywasm.core.errors import ConfigError
from anywasm.core.registry import BUILT_IN
from anywasm.testing.conformance import KnownFailures, Report, Result, Script, Status, read_known
from anywasm.testing.conformance.known import write_lines

FAILED = Status.FAILED


@pytest.fixture
def script(tmp_path: Path) -> Script:
    path = tmp_path / "a.wast"
    path.write_text("(module)")
    return Script(path, "a.wast")


@pytest.fixture
def known(script: Script, tmp_path: Path) -> KnownFailures:
    listed = [{"cause": "it rounds", "scripts": {"a.wast": {script.digest: "3 5-7"}}}]
    path = tmp_path / "known.json"
    path.write_text(json.dumps({"engines": {"acme": listed}}))
    return read_known(path)


@pytest.mark.parametrize("line", [3, 5, 6, 7])
def test_known_failures_are_no_news(known: KnownFailures, script: Script, line: int) -> None:
    assert list(known.news("acme", script, [Result(line, "action", FAILED, "x")])) == []
    assert known.cause("acme", script, line) == "it rounds"


def test_what_is_news(known: KnownFailures, script: Script) -> None:
    results = [
        Result(1, "module"),
        Result(3, "module", FAILED, "x"),
        Result(4, "assert_return", FAILED, "wrong"),
        Result(5, "assert_return"),
        Result(6, "action", Status.UNSUPPORTED, "no"),
        Result(8, "action", FAILED, "needs line 3", cause=3),
        Result(9, "action", Status.UNSUPPORTED, "no"),
    ]
    assert [str(item) for item in known.news("acme", script, results)] == [
        "acme: a.wast:4: assert_return: unexpected failure: wrong",
        "acme: a.wast:5: assert_return: unexpectedly passed: a known failure that is none",
        "acme: a.wast:6: action: unexpectedly unsupported: a known failure that is none",
    ]
    assert len(list(known.news("other", script, results))) == 2


def test_another_version_of_a_script_has_no_known_failures(
    known: KnownFailures, script: Script
) -> None:
    script.path.write_text("(module) ;; changed")
    changed = Script(script.path, script.name)
    assert known.cause("acme", changed, 3) is None


@pytest.mark.parametrize("text", ["", "[]", '{"engines": {"acme": [{}]}}', '{"engines": 1}'])
def test_what_is_no_list(tmp_path: Path, text: str) -> None:
    path = tmp_path / "known.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"known\.json is no list"):
        read_known(path)


def test_the_project_s_own_list_has_each_line_of_a_built_in_engine_once() -> None:
    causes = read_known()._causes
    assert {cause.engine for cause in causes} <= set(BUILT_IN)
    listed = [
        (cause.engine, digest, line)
        for cause in causes
        for digest, lines in cause.scripts.items()
        for line in lines
    ]
    assert len(set(listed)) == len(listed) > 0


def test_lines() -> None:
    assert write_lines([9, 3, 4, 5, 4]) == "3-5 9"


def test_report(known: KnownFailures, script: Script) -> None:
    report = Report({"acme": "7"}, "tool 1", known)
    report.add("acme", script, [Result(1, "module"), Result(3, "action", FAILED, "x")])
    assert report.as_expected
    nested = Script(script.path, "simd/a.wast")
    report.add("acme", nested, [Result(2, "action", Status.UNSUPPORTED, "no v128")])
    assert report.proposals() == ["core", "simd", "total"]
    assert report.cell("acme", "total") == (1, 1, 1)
    data = report.data()["engines"]["acme"]
    assert data["causes"] == {"it rounds": 1}
    assert data["proposals"]["simd"] == {"passed": 0, "failed": 0, "unsupported": 1}
    assert data["failures"] == {
        "a.wast": [{"line": 3, "kind": "action", "status": "failed", "reason": "x"}]
    }
    assert "| core | 1 / 1 / 0 |" in report.markdown()
    assert "| 1 | it rounds |" in report.markdown()
    report.add("acme", script, [Result(2, "action", FAILED, "new")])
    assert not report.as_expected
