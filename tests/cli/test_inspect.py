from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime

from anywasm.abi.guest import Guest
from anywasm.abi.host import HostServices
from anywasm.abi.imports import blocks
from anywasm.abi.plugin import PluginIdentity
from anywasm.cli.report import report_on
from anywasm.core.errors import AbiError, CompileError
from anywasm.core.registry import get_wasm_engine
from anywasm.sdk import guest_bytes, guest_names, guest_path

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def _wat(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


MARKER = '(func (export "proxy_abi_version_0_2_1"))'


@pytest.mark.parametrize("name", ["function_1", "add_header"])
def test_a_guest_of_the_sdk(run: Run, name: str) -> None:
    wasm = guest_bytes(name)
    result = run("inspect", str(guest_path(name)), columns=40)
    assert result.returncode == 0
    assert hashlib.sha256(wasm).hexdigest() in result.stdout
    assert f"{len(wasm)}\n" in result.stdout
    assert "0.2.1" in result.stdout
    assert "  has    env.proxy_log: func (i32 i32 i32) -> (i32)\n" in result.stdout
    assert "  proxy_on_memory_allocate: func (i32) -> (i32)\n" in result.stdout
    assert "lacks" not in result.stdout
    is_function = name == "function_1"
    assert ("Layotto function" in result.stdout) == is_function
    assert ("thread (may wait in proxy_invoke_service)" in result.stdout) == is_function
    assert ("inline" in result.stdout) != is_function


def test_json_is_the_same_in_data(run: Run) -> None:
    result = run("inspect", str(guest_path("function_2")), "--json")
    data = json.loads(result.stdout)
    assert data["path"] == str(guest_path("function_2"))
    assert data["abi_version"] == "0.2.1"
    assert data["execution"].startswith("thread")
    assert {item["name"] for item in data["imports"]} >= {"proxy_get_state", "proxy_log"}
    assert all(item["lacks"] is None for item in data["imports"])


@pytest.mark.parametrize("name", guest_names())
def test_execution_is_what_the_server_decides(name: str) -> None:
    report = report_on(guest_bytes(name))
    assert report.execution is not None
    module = get_wasm_engine("wasmtime").compile(guest_bytes(name))
    assert report.execution.startswith("thread") == blocks(module)


#: What a guest needs beside its imports.
RUNNABLE = """
  (memory (export "memory") 1)
  (func (export "malloc") (param i32) (result i32) (i32.const 0))
"""
IMPORTS = {
    '"env" "proxy_log" (func (param i32 i32 i32) (result i32))': None,
    '"env" "proxy_log" (func (param i32 i32 i32))': None,
    '"env" "proxy_get_log_level" (func (param i32) (result i32))': None,
    '"env" "proxy_continue_stream" (func (param i32) (result i32))': None,
    '"env" "proxy_log" (func (param i32) (result i32))': "its type here is func (i32 i32 i32)",
    '"env" "proxy_continue_request" (func (result i32))': "only in proxy-wasm 0.1.0",
    '"env" "proxy_no_such" (func)': "unknown",
    '"env" "pthread_equal" (func (param i32 i32) (result i32))': None,
    '"wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32))': None,
    '"wasi_snapshot_preview1" "fd_write" (func (result i32))': "its type here is",
    '"wasi_unstable" "proc_exit" (func (param i32))': None,
    '"wasi_snapshot_preview1" "no_such" (func)': "unknown",
    '"other" "proxy_log" (func (param i32 i32 i32) (result i32))': "unknown",
    '"env" "table" (table 1 funcref)': "a table cannot be imported",
}


@pytest.mark.parametrize(("text", "reason"), IMPORTS.items())
def test_what_the_host_lacks_is_what_it_refuses(text: str, reason: str | None) -> None:
    wasm = _wat(f"(module (import {text}) {MARKER} {RUNNABLE})")
    report = report_on(wasm)
    (item,) = report.interface.imports
    lacks = report.lacks(item)
    assert lacks is None if reason is None else lacks is not None and reason in lacks
    module = get_wasm_engine("wasmtime").compile(wasm)
    if reason is None:
        Guest(module, PluginIdentity("f"), HostServices()).close()
    else:
        with pytest.raises(AbiError, match="imports what this host does not provide"):
            Guest(module, PluginIdentity("f"), HostServices())


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("(module)", "no proxy-wasm module"),
        ('(module (func (export "proxy_abi_version_0_9_9")))', "unknown version"),
        ('(module (memory (export "proxy_abi_version_0_2_1") 1))', "unknown version"),
        (f"(module {MARKER})", "filter"),
        (f'(module {MARKER} (func (export "proxy_get_id")))', "Layotto function"),
    ],
)
def test_kinds(text: str, kind: str) -> None:
    report = report_on(_wat(text))
    assert kind in report.kind
    assert (report.execution is None) == (report.abi is None)


def test_memory_start_sections_and_producers(run: Run, tmp_path: Path) -> None:
    name = b"producers"
    content = b"\x01\x0cprocessed-by\x01\x05clang\x0219"
    section = bytes([len(name)]) + name + content
    text = '(module (memory (export "other") 2 5) (memory 1) (func $s) (start $s))'
    file = tmp_path / "x.wasm"
    file.write_bytes(_wat(text) + b"\0" + bytes([len(section)]) + section)
    lines = run("inspect", str(file)).stdout
    assert "memory 2..5, exported as 'other'" in lines
    assert "function 0" in lines
    assert f"producers: {len(content)} bytes" in lines
    assert "processed-by: clang 19" in lines


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "byte 0x0"),
        (b"#!/bin/sh\n", "byte 0x0"),
        (b"\0asm\x0d\0\1\0", "component"),
        (guest_bytes("function_1")[:-100], "byte 0x"),
    ],
)
def test_what_is_no_module(run: Run, tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(CompileError, match=words):
        report_on(content)
    file = tmp_path / "x.wasm"
    file.write_bytes(content)
    result = run("inspect", str(file), "--json")
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"anywasm: {file}: ")
    assert words in result.stderr
