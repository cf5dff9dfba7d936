"""An engine of a third party, installed beside the framework, serves the quickstart."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from anywasm.sdk import guest_path

SOURCE = Path(__file__).with_name("acme") / "engine.py"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder into which the engine's distribution was installed."""
    site = tmp_path / "site"
    info = site / "acme_wasm-7.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-wasm\nVersion: 7.0\n")
    (info / "entry_points.txt").write_text("[anywasm.engines]\nacme = acme_wasm:AcmeVM\n")
    (site / "acme_wasm.py").write_text(SOURCE.read_text())
    return site


def run(site: Path, code: str, **env: str) -> Any:
    output = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"PYTHONPATH": path_with(site), "PATH": "", **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert output.returncode == 0, output.stderr
    return json.loads(output.stdout)


def path_with(site: Path) -> str:
    """The import path of this process after the folder: the tests run on any checkout."""
    return ":".join([str(site), *filter(None, sys.path)])


def test_it_is_listed(site: Path) -> None:
    code = """
import json
from anywasm import engine_statuses
print(json.dumps([[s.name, s.origin, s.vm and s.vm.version] for s in engine_statuses()]))
"""
    assert ["acme", "acme-wasm", "7.0"] in run(site, code)
    assert not [item for item in run(site, code, ANYWASM_LOAD_PLUGINS="") if item[0] == "acme"]


def test_it_serves_the_quickstart(site: Path, start: Any) -> None:
    server = start(
        {
            "listeners": [{"name": "main", "address": "127.0.0.1:0"}],
            "plugins": [
                {"name": name, "vm_config": {"engine": "acme", "path": str(guest_path(name))}}
                for name in ("function_1", "function_2")
            ],
            "state_stores": {"state_demo": {"type": "memory", "data": {"book1": "100"}}},
        },
        PYTHONPATH=path_with(site),
    )
    answer = server.ask("main", "/?name=book1", "id_1")
    assert answer == (200, b"There are 100 inventories for book1.")
    assert server.warnings() == []


def test_it_keeps_the_contract(site: Path) -> None:
    code = """
import json, wasmtime
from anywasm import TrapError, MemoryBoundsError, ClosedError, get_wasm_engine
module = get_wasm_engine("acme").compile(wasmtime.wat2wasm('''(module
    (import "env" "double" (func $double (param i32) (result i32)))
    (memory (export "memory") 1)
    (global (export "g") (mut i32) (i32.const -1))
    (func (export "twice") (param i32) (result i32) (call $double (local.get 0)))
    (func (export "half") (param f64) (result f64) (f64.div (local.get 0) (f64.const 2)))
    (func (export "bad") unreachable))'''))

def double(value):
    if value == 13:
        raise KeyError("thirteen")
    return 2 * value

told = []
def told_by(call):
    try:
        call()
    except Exception as error:
        told.append(type(error).__name__)

with module.instantiate({"env": {"double": double}}) as instance:
    call = instance.exports
    numbers = [call["twice"](21), call["twice"](0x7FFFFFFF), call["g"].value, call["half"](1)]
    numbers.append(instance.call_bits("half", 0x3FF0000000000000))
    call["g"].value = 7
    numbers.append(call["g"].value)
    memory = instance.memory
    memory.write(10, b"here")
    numbers.append(memory.read(10, 4).decode())
    numbers.append(memory.grow(1))
    numbers.append(memory.size)
    told_by(lambda: call["twice"](13))
    told_by(call["bad"])
    told_by(lambda: memory.read(1 << 17, 1))
    told_by(lambda: call["twice"](1 << 32))
told_by(lambda: call["twice"](1))
told_by(lambda: memory.read(0, 1))
print(json.dumps([numbers, told]))
"""
    numbers, told = run(site, code)
    assert numbers == [42, 0xFFFFFFFE, 0xFFFFFFFF, 0.5, 0x3FE0000000000000, 7, "here", 1, 131072]
    assert told == [
        "KeyError",
        "TrapError",
        "MemoryBoundsError",
        "ArgumentError",
        "ClosedError",
        "ClosedError",
    ]
