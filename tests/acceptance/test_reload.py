"""A module that is replaced under load: no request fails, and the new one answers."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import wasmtime

from anywasm.sdk import guest_path

#: Another build of function_2, which knows only one answer.
SEVEN = """(module
  (import "env" "proxy_set_buffer_bytes" (func $set (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "id_2seven")
  (global $top (mut i32) (i32.const 1024))
  (func (export "proxy_abi_version_0_2_0"))
  (func (export "malloc") (param $size i32) (result i32)
    (global.get $top)
    (global.set $top (i32.rem_u (i32.add (global.get $top) (local.get $size)) (i32.const 65536))))
  (func (export "proxy_get_id")
    (drop (call $set (i32.const 8) (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 4))))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (call $set (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 20) (i32.const 5))))"""


def test_reload_under_load(start: Any, tools: Any, tmp_path: Path, engine: str) -> None:
    wrk = tools.needed("wrk")
    module = tmp_path / "function_2.wasm"
    original = guest_path("function_2").read_bytes()
    module.write_bytes(original)

    def plugin(name: str, path: Path) -> dict[str, Any]:
        return {
            "name": name,
            "vm_config": {"engine": engine, "path": str(path)},
            "instance_num": 2,
            # A slow machine makes requests slow; only failures count here.
            "timeouts": {"lease": 15, "call": 10},
        }

    server = start(
        {
            "listeners": [{"name": "main", "address": "127.0.0.1:0"}],
            "plugins": [
                plugin("function_1", guest_path("function_1")),
                plugin("function_2", module),
            ],
            "state_stores": {"state_demo": {"type": "memory", "data": {"book1": "100"}}},
        }
    )

    def answers(count: bytes) -> bool:
        status, body = server.ask("main", "/?name=book1", "id_1")
        assert status == 200, body
        assert body in (
            b"There are 100 inventories for book1.",
            b"There are seven inventories for book1.",
        )
        return bool(body.split()[2] == count)

    assert answers(b"100")
    # For as long as the reloads take; it reports early when it is interrupted.
    command = [wrk, "-t1", "-c8", "-d60", "--timeout", "20s", "-H", "id: id_1"]
    command.append(f"http://{server.address('main')}/?name=book1")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
        # In place, as cp does.
        module.write_bytes(wasmtime.wat2wasm(SEVEN))
        tools.eventually(lambda: answers(b"seven"))
        # By an atomic rename, as package managers do.
        other = tmp_path / "function_2.wasm.new"
        other.write_bytes(original)
        other.replace(module)
        tools.eventually(lambda: answers(b"100"))
        # By removing it first.
        module.unlink()
        shutil.copyfile(guest_path("function_1"), tmp_path / "unrelated.wasm")
        module.write_bytes(wasmtime.wat2wasm(SEVEN))
        tools.eventually(lambda: answers(b"seven"))
        assert load.poll() is None, "the load ended before the reloads did"
        load.send_signal(signal.SIGINT)
        report, _ = load.communicate()
    assert load.returncode == 0
    requests = re.search(r"(\d+) requests in", report)
    assert requests is not None, report
    assert int(requests[1]) > 0
    assert "Non-2xx" not in report, report
    assert "Socket errors" not in report, report
    assert answers(b"seven")
    assert server.warnings() == []
