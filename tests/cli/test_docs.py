"""What README.md and docs/cli.md say is so."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime
from typer.main import get_command

from anywasm.cli.app import app
from anywasm.core.capabilities import Capabilities
from anywasm.core.registry import BUILT_IN, engine_statuses
from anywasm.sdk import guest_bytes, guest_names

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
CLI = (ROOT / "docs" / "cli.md").read_text()


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", ["README.md", "docs/cli.md"])
def test_links_lead_somewhere(name: str) -> None:
    path = ROOT / name
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert links
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("text", _blocks(README, "yaml"), ids=["functions", "filters"])
def test_configurations_can_be_served(
    text: str, tmp_path: Path, run: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    for name in guest_names():
        (tmp_path / f"{name}.wasm").write_bytes(guest_bytes(name))
    (tmp_path / "example.yaml").write_text(text)
    result = run("check", "-c", "example.yaml", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("engine", [s.name for s in engine_statuses() if s.vm and s.name != "null"])
def test_library_example_runs_on_every_engine(
    engine: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wasm = wasmtime.wat2wasm("""
      (module (import "env" "log" (func (param i32))) (memory (export "memory") 1)
        (func (export "fail") unreachable)
        (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))
    """)
    (tmp_path / "add.wasm").write_bytes(wasm)
    monkeypatch.chdir(tmp_path)
    (example,) = _blocks(README, "python")
    source = example.replace('"wasmtime")', f'"{engine}")')
    exec(compile(source, "README.md", "exec"), {})  # noqa: S102
    shown = capsys.readouterr().out.splitlines()
    assert shown == ["['env.log: func (i32) -> ()']", "3", "unreachable"]


COLUMNS: tuple[Callable[[Capabilities], bool], ...] = (
    lambda claims: claims.interrupt,
    lambda claims: claims.memory_limit,
    lambda claims: claims.serialize,
    lambda claims: claims.parallel,
)


def test_table_of_engines_says_what_they_claim() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+(\|.*\|)$", README, re.MULTILINE))
    assert list(rows) == list(BUILT_IN)
    for status in engine_statuses():
        if status.vm is not None and status.name in rows:
            cells = rows[status.name].strip("|").split("|")
            said = [cell.strip().strip("*").startswith("yes") for cell in cells]
            assert said == [claim(status.vm.capabilities) for claim in COLUMNS], status.name


def test_every_option_is_described() -> None:
    group = get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        section = CLI.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        commands = getattr(command, "commands", {name: command}).values()
        options = [
            option for each in commands for parameter in each.params for option in parameter.opts
        ]
        assert options
        for option in options:
            if option.startswith("--") and option not in ("--help", "--config"):
                assert option in section, f"{name} {option}"
        assert command.hidden or f"anywasm {name}" in README + CLI
