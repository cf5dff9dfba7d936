from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from anywasm.core.errors import AnyWasmError
from anywasm.sdk.build import COMPILER_FLAGS, BuildError, ToolchainError, build_guest, main
from anywasm.sdk.guests import (
    GuestNotFoundError,
    guest_bytes,
    guest_names,
    guest_path,
    guest_source,
    header_path,
)

ALWAYS = {
    "memory",
    "proxy_abi_version_0_2_1",
    "proxy_on_memory_allocate",
    "malloc",
    "_initialize",
}
IMPORTS = {
    # What its table of calls names.
    "hostcalls": set(re.findall(r"CALL\((proxy_\w+), ", guest_source("hostcalls").read_text())),
    "add_header": {"proxy_add_header_map_value", "proxy_log"},
    "function_1": {
        "proxy_get_buffer_bytes",
        "proxy_set_buffer_bytes",
        "proxy_invoke_service",
        "proxy_send_local_response",
        "proxy_log",
    },
    "function_2": {
        "proxy_get_buffer_bytes",
        "proxy_set_buffer_bytes",
        "proxy_get_state",
        "proxy_send_local_response",
        "proxy_log",
    },
    "wrap_body": {
        "proxy_remove_header_map_value",
        "proxy_replace_header_map_value",
        "proxy_set_buffer_bytes",
        "proxy_log",
    },
}


def compile_module(wasm: bytes) -> wasmtime.Module:
    return wasmtime.Module(wasmtime.Engine(), wasm)


# --- the committed guests ------------------------------------------------------------------------


@pytest.mark.parametrize("name", guest_names())
def test_committed_guest_is_what_its_source_builds_to(name: str, tmp_path: Path) -> None:
    # Elsewhere, and under another name: neither may show in the bytes.
    source = tmp_path / "other.c"
    shutil.copy(guest_source(name), source)
    assert build_guest(source).read_bytes() == guest_bytes(name)


@pytest.mark.parametrize("name", guest_names())
def test_committed_guest_builds_without_warnings(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build_guest(guest_source(name), tmp_path / "guest.wasm")
    assert not caplog.records


def test_each_example_has_a_committed_guest() -> None:
    examples = header_path().parent / "examples"
    assert guest_names() == tuple(sorted(path.stem for path in examples.glob("*.c")))
    assert guest_names() == tuple(sorted(IMPORTS))


@pytest.mark.parametrize("name", guest_names())
def test_committed_guest_imports_only_what_it_uses(name: str) -> None:
    module = compile_module(guest_bytes(name))
    assert {(item.module, item.name) for item in module.imports} == {
        ("env", function) for function in IMPORTS[name]
    }
    callbacks = {item.name for item in module.exports} - ALWAYS
    assert {item.name for item in module.exports} >= ALWAYS
    assert all(callback.startswith("proxy_") for callback in callbacks)
    assert len(guest_bytes(name)) < (10_000 if name == "hostcalls" else 6000)


def test_guests_are_found_by_name() -> None:
    assert guest_path("function_1").read_bytes() == guest_bytes("function_1")


@pytest.mark.parametrize("name", ["nothing", "", "../c/proxywasm", "function_1.wasm"])
def test_unknown_guest_is_named_with_those_there_are(name: str) -> None:
    with pytest.raises(GuestNotFoundError, match="function_1, function_2") as caught:
        guest_path(name)
    assert caught.value.name == name
    assert isinstance(caught.value, AnyWasmError)


# --- build_guest ---------------------------------------------------------------------------------


def test_module_lies_beside_the_source_unless_told_otherwise(tmp_path: Path) -> None:
    source = tmp_path / "empty.c"
    source.write_text('#include "proxywasm.h"\n')
    assert build_guest(source) == tmp_path / "empty.wasm"
    output = tmp_path / "elsewhere.wasm"
    assert build_guest(source, output) == output
    assert output.read_bytes() == (tmp_path / "empty.wasm").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "elsewhere.wasm",
        "empty.c",
        "empty.wasm",
    ]


def test_relative_paths_work_even_with_a_leading_dash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-o.c").write_text('#include "proxywasm.h"\n')
    assert build_guest(Path("-o.c")) == Path("-o.wasm")
    assert Path("-o.wasm").is_file()


def test_refused_source_shows_what_the_compiler_said(tmp_path: Path) -> None:
    source = tmp_path / "wrong.c"
    source.write_text('#include "proxywasm.h"\nint proxy_on_tick(void) { return missing; }\n')
    (tmp_path / "wrong.wasm").write_bytes(b"kept")
    with pytest.raises(BuildError, match="conflicting types for 'proxy_on_tick'") as caught:
        build_guest(source)
    assert caught.value.source == source
    assert "'missing'" in caught.value.diagnostics
    assert (tmp_path / "wrong.wasm").read_bytes() == b"kept"


def test_what_the_host_does_not_offer_is_an_error_of_the_build(tmp_path: Path) -> None:
    source = tmp_path / "libc.c"
    source.write_text(
        '#include "proxywasm.h"\nint puts(const char *);\n'
        'void proxy_on_tick(uint32_t context) { (void)context; puts("x"); }\n'
    )
    with pytest.raises(BuildError, match="undefined symbol: puts"):
        build_guest(source)


def test_warnings_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = tmp_path / "warns.c"
    source.write_text('#include "proxywasm.h"\nvoid proxy_on_tick(uint32_t unused_one) {}\n')
    build_guest(source)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "unused_one" in record.getMessage()


@pytest.mark.parametrize(
    ("name", "words"), [("absent.c", "no such file"), ("x.rs", "suffix"), ("x", "suffix")]
)
def test_a_file_that_cannot_be_a_source_is_named(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(BuildError, match=words) as caught:
        build_guest(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    output = tmp_path / "no" / "such" / "folder.wasm"
    with pytest.raises(BuildError, match="cannot be written") as caught:
        build_guest(guest_source("add_header"), output)
    assert str(output) in str(caught.value)


def test_a_missing_compiler_is_reported_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the import system keeps for a module that is not there.
    monkeypatch.setitem(sys.modules, "ziglang", None)
    with pytest.raises(ToolchainError, match=r"pip install 'anywasm\[dev\]'"):
        build_guest(guest_source("add_header"), tmp_path / "x.wasm")


def test_command_builds_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "x.wasm"
    assert main([str(guest_source("add_header")), "-o", str(output)]) == 0
    assert output.read_bytes() == guest_bytes("add_header")
    assert str(output) in capsys.readouterr().out


def test_command_reports_a_failure_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "absent.c")]) == 1
    assert "no such file" in capsys.readouterr().err


def test_command_rebuilds_all_guests_of_an_installation(tmp_path: Path) -> None:
    # In a copy, so that the test cannot touch the committed modules.
    package = tmp_path / "anywasm"
    shutil.copytree(header_path().parents[1], package / "sdk")
    shutil.copytree(
        Path(sys.modules["anywasm.core.errors"].__file__ or "").parent, package / "core"
    )
    (package / "__init__.py").touch()
    for module in (package / "sdk" / "wasm").iterdir():
        module.unlink()
    run = subprocess.run(
        [sys.executable, "-m", "anywasm.sdk.build"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    built = {path.stem: path.read_bytes() for path in (package / "sdk" / "wasm").iterdir()}
    assert built == {name: guest_bytes(name) for name in guest_names()}


# --- the header ----------------------------------------------------------------------------------


def test_header_compiles_as_cpp_and_constructors_run_once(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    source = tmp_path / "guest.cc"
    source.write_text(
        """
        #include "proxywasm.h"
        static uint32_t count;
        struct Counter { Counter() { count++; } ~Counter() { count = 0; } };
        static Counter counter;
        PW_ID("cpp")
        PW_EXPORT(test_count) uint32_t test_count() { return count; }
        pw_action proxy_on_request_headers(uint32_t, uint32_t, bool) {
            return pw_respond(200, PW_STR("text/plain"), PW_STR("hello"));
        }
        """
    )
    host = start(build_guest(source).read_bytes())
    assert [host.guest.call("test_count") for _ in range(3)] == [1, 1, 1]
    host.guest.call("proxy_get_id")
    assert host.buffers[8] == b"cpp"
    assert host.guest.call("proxy_on_request_headers", 2, 1, 1) == 1
    ((code, body, _, _),) = host.told("respond")
    assert (code, body) == (200, b"hello")


@pytest.mark.parametrize("version", ["0_2_0", "0_2_1", "0_2_100"])
def test_header_declares_the_chosen_abi(tmp_path: Path, version: str) -> None:
    source = tmp_path / "guest.c"
    source.write_text(f'#define PW_ABI_VERSION {version}\n#include "proxywasm.h"\n')
    exports = {item.name for item in compile_module(build_guest(source).read_bytes()).exports}
    assert {name for name in exports if name and name.startswith("proxy_abi")} == {
        f"proxy_abi_version_{version}"
    }


def test_files_of_one_guest_share_the_allocator(tmp_path: Path) -> None:
    (tmp_path / "one.c").write_text(
        '#include "proxywasm.h"\nPW_EXPORT(one) void *one(uint32_t n) { return pw_alloc(n); }\n'
    )
    (tmp_path / "two.c").write_text(
        '#include "proxywasm.h"\nPW_EXPORT(two) void *two(uint32_t n) { return pw_alloc(n); }\n'
    )
    module = tmp_path / "both.wasm"
    compiler = [sys.executable, "-m", "ziglang", "cc", *COMPILER_FLAGS]
    files = [f"-I{header_path().parent}", "-o", str(module), "one.c", "two.c"]
    cache = {"ZIG_GLOBAL_CACHE_DIR": str(tmp_path), "ZIG_LOCAL_CACHE_DIR": str(tmp_path)}
    subprocess.run([*compiler, *files], cwd=tmp_path, env=os.environ | cache, check=True)
    store = wasmtime.Store()
    instance = wasmtime.Instance(store, wasmtime.Module(store.engine, module.read_bytes()), [])
    one, two = instance.exports(store)["one"], instance.exports(store)["two"]
    assert isinstance(one, wasmtime.Func)
    assert isinstance(two, wasmtime.Func)
    first, second = one(store, 100), two(store, 100)
    assert second - first == 112
