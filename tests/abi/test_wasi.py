"""WASI preview 1 as Envoy answers it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest

from anywasm.abi.enums import LogLevel
from anywasm.abi.guest import Guest
from anywasm.abi.plugin import PluginIdentity

SUCCESS, BADF, FAULT, INVAL, NOENT, NOSYS, NOTSUP = 0, 8, 21, 28, 44, 52, 58
ENOTDIR_OF_ENVOY = 20
OUTSIDE = 4 * 65536

#: One answer whatever is asked.
FIXED = {
    "args_get": SUCCESS,
    "fd_advise": SUCCESS,
    "fd_close": SUCCESS,
    "fd_fdstat_set_flags": NOSYS,
    "fd_filestat_get": BADF,
    "fd_pread": NOSYS,
    "fd_prestat_dir_name": NOSYS,
    "fd_prestat_get": BADF,
    "fd_read": NOSYS,
    "fd_renumber": NOTSUP,
    "path_create_directory": NOTSUP,
    "path_filestat_get": NOTSUP,
    "path_filestat_set_times": NOTSUP,
    "path_link": NOTSUP,
    "path_open": NOENT,
    "path_readlink": NOTSUP,
    "path_remove_directory": NOTSUP,
    "path_rename": NOTSUP,
    "path_symlink": NOTSUP,
    "path_unlink_file": NOTSUP,
    "proc_raise": NOTSUP,
    "sched_yield": SUCCESS,
    "sock_accept": NOTSUP,
    "sock_recv": NOTSUP,
    "sock_send": NOTSUP,
    "sock_shutdown": NOTSUP,
}


def vectors(probe: Any, *parts: bytes) -> tuple[int, int]:
    """An array of iovecs: its address and count."""
    table = b"".join(struct.pack("<II", *probe.put(part)) for part in parts)
    return probe.put(table)[0], len(parts)


@pytest.mark.parametrize("name", FIXED)
@pytest.mark.parametrize("value", [0, 1, 0x7FFFFFFF])
def test_what_has_one_answer_gives_it(
    probe: Any, wasi_functions: dict[str, str], name: str, value: int
) -> None:
    assert probe.call(name, *[value] * len(wasi_functions[name])) == FIXED[name]


@pytest.mark.parametrize(
    "name",
    [
        "fd_allocate",
        "fd_datasync",
        "fd_fdstat_set_rights",
        "fd_filestat_set_size",
        "fd_filestat_set_times",
        "fd_sync",
        "fd_tell",
    ],
)
def test_the_standard_streams_can_be_handled_and_nothing_else(
    probe: Any, wasi_functions: dict[str, str], name: str
) -> None:
    rest = [64] * (len(wasi_functions[name]) - 1)
    answers = [probe.call(name, fd, *rest) for fd in (0, 1, 2, 3, 0xFFFFFFFF)]
    assert answers == [BADF, SUCCESS, SUCCESS, BADF, BADF]


@pytest.mark.parametrize("function", ["fd_write", "fd_pwrite"])
def test_writing_is_logging(probe: Any, function: str) -> None:
    at = probe.cell()
    offset = (0,) if function == "fd_pwrite" else ()
    for fd, parts in ((1, (b"line 1\nli", b"", b"ne 2\n")), (2, (b"bad\n\n",)), (1, (b"\xff",))):
        assert probe.call(function, fd, *vectors(probe, *parts), *offset, at) == SUCCESS
        assert probe.u32(at) == len(b"".join(parts))
    assert probe.lines == [
        (LogLevel.INFO, "line 1\nline 2"),
        (LogLevel.ERROR, "bad\n"),
        (LogLevel.INFO, "\\xff"),
    ]


def test_writing_nothing_is_an_empty_line(probe: Any) -> None:
    at = probe.cell()
    assert probe.call("fd_write", 1, 0, 0, at) == SUCCESS
    assert (probe.u32(at), probe.lines) == (0, [(LogLevel.INFO, "")])


def test_other_descriptors_cannot_be_written(probe: Any) -> None:
    for fd in (0, 3, 5, 0xFFFFFFFF):
        assert probe.call("fd_write", fd, *vectors(probe, b"x"), probe.cell()) == BADF
    assert probe.lines == []


def test_output_below_the_level_counts_as_written(probing: Callable[..., Any]) -> None:
    probe = probing(log_level=LogLevel.WARN)
    at = probe.cell()
    assert probe.call("fd_write", 1, *vectors(probe, b"quiet"), at) == SUCCESS
    assert (probe.u32(at), probe.lines) == (5, [])


def test_a_bad_vector_is_a_fault_and_nothing_is_logged(probe: Any) -> None:
    at = probe.cell()
    bad = probe.put(struct.pack("<IIII", *probe.put(b"ok"), OUTSIDE, 1))[0]
    assert probe.call("fd_write", 1, bad, 2, at) == FAULT
    assert probe.call("fd_write", 1, OUTSIDE - 4, 1, at) == FAULT
    assert probe.call("fd_write", 1, 0xFFFFFFFF, 1, at) == FAULT
    assert probe.call("fd_write", 1, *vectors(probe, b"x"), OUTSIDE) == FAULT
    assert probe.lines == []


def test_vectors_over_the_same_bytes_do_not_add_up_without_end(probe: Any) -> None:
    at = probe.cell()
    table, _ = probe.put(struct.pack("<II", 0, 2 * 65536) * 4000)
    assert probe.call("fd_write", 1, table, 4000, at) == SUCCESS
    assert probe.u32(at) == 1024 * 1024
    assert len(probe.lines) == 1
    few, _ = probe.put(struct.pack("<II", 0, 1) * 2000)
    assert probe.call("fd_write", 1, few, 2000, at) == SUCCESS
    assert probe.u32(at) == 1024


def test_there_are_two_clocks(probing: Callable[..., Any]) -> None:
    probe = probing(realtime=lambda: 2**63 + 5, monotonic=lambda: 7)
    at = probe.cell()
    assert probe.call("clock_time_get", 0, 2**63, at) == SUCCESS
    assert probe.u64(at) == 2**63 + 5
    assert probe.call("clock_time_get", 1, 0, at) == SUCCESS
    assert probe.u64(at) == 7
    assert probe.call("clock_res_get", 1, at) == SUCCESS
    assert probe.u64(at) == 1
    for clock in (2, 3, 9, 0xFFFFFFFF):
        assert probe.call("clock_time_get", clock, 0, at) == NOTSUP
        assert probe.call("clock_res_get", clock, at) == NOTSUP


def test_random_bytes_up_to_64_kib(probe: Any) -> None:
    assert probe.call("random_get", 65536, 65536) == SUCCESS
    assert len(set(probe.memory.read(65536, 65536))) == 256
    assert probe.call("random_get", 65536, 65537) == INVAL
    assert probe.call("random_get", OUTSIDE - 1, 2) == FAULT
    assert probe.call("random_get", 0, 0) == SUCCESS


def test_there_are_no_arguments(probe: Any) -> None:
    at, _ = probe.put(b"\xff" * 8)
    assert probe.call("args_sizes_get", at, at + 4) == SUCCESS
    assert (probe.u32(at), probe.u32(at + 4)) == (0, 0)


def test_the_environment_is_the_plugins_own(
    probing: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYWASM_SECRET", "of the host")
    probe = probing(PluginIdentity("probe", env={"FOO": "bar", "UML": "ü=1", "NIL": ""}))
    at, pointers, data = probe.cell(), probe.cell(), probe.cell(64)
    assert probe.call("environ_sizes_get", at, at + 4) == SUCCESS
    wanted = b"FOO=bar\0UML=\xc3\xbc=1\0NIL=\0"
    assert (probe.u32(at), probe.u32(at + 4)) == (3, len(wanted))
    assert probe.call("environ_get", pointers, data) == SUCCESS
    assert probe.memory.read(data, len(wanted)) == wanted
    assert [probe.u32(pointers + 4 * i) - data for i in range(3)] == [0, 8, 17]


def test_an_empty_environment_needs_no_room(probe: Any) -> None:
    at = probe.cell()
    assert probe.call("environ_sizes_get", at, at + 4) == SUCCESS
    assert (probe.u32(at), probe.u32(at + 4)) == (0, 0)
    assert probe.call("environ_get", OUTSIDE, OUTSIDE) == SUCCESS


def test_the_standard_streams_are_of_no_type_and_can_be_written(probe: Any) -> None:
    at, _ = probe.put(b"\xff" * 24)
    for fd in (1, 2):
        assert probe.call("fd_fdstat_get", fd, at) == SUCCESS
        assert probe.memory.read(at, 24) == bytes(8) + struct.pack("<QQ", 64, 0)
    for fd in (0, 3, 5):
        assert probe.call("fd_fdstat_get", fd, at) == BADF


def test_positions_are_always_the_start(probe: Any) -> None:
    at, _ = probe.put(b"\xff" * 8)
    assert probe.call("fd_seek", 1, 2**63, 2, at) == SUCCESS
    assert probe.u64(at) == 0


def test_there_are_no_directories(probe: Any) -> None:
    at, _ = probe.put(b"\xff" * 4)
    assert probe.call("fd_readdir", 3, 0, 9, 0, at) == ENOTDIR_OF_ENVOY
    assert probe.u32(at) == 0


def test_polling_succeeds_at_once_without_events(probe: Any) -> None:
    at, _ = probe.put(b"\xff" * 4)
    assert probe.call("poll_oneoff", 0, 0, 5, at) == SUCCESS
    assert probe.u32(at) == 0


@pytest.mark.parametrize("code", [0, 3, 0xFFFFFFFF])
def test_exit_returns_to_the_guest(probe: Any, code: int) -> None:
    assert probe.call("proc_exit", code) is None
    assert probe.lines == []
    assert probe.call("sched_yield") == SUCCESS


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("args_sizes_get", (0, OUTSIDE)),
        ("clock_res_get", (0, OUTSIDE)),
        ("clock_time_get", (0, 0, OUTSIDE - 7)),
        ("environ_sizes_get", (OUTSIDE, 0)),
        ("fd_fdstat_get", (1, OUTSIDE - 23)),
        ("fd_seek", (1, 0, 0, OUTSIDE)),
        ("fd_tell", (1, OUTSIDE)),
        ("fd_readdir", (3, 0, 0, 0, OUTSIDE)),
        ("poll_oneoff", (0, 0, 0, 0xFFFFFFFF)),
    ],
)
def test_a_bad_pointer_is_a_fault(probe: Any, name: str, args: tuple[int, ...]) -> None:
    assert probe.call(name, *args) == FAULT
    assert probe.guest.failed is None


def test_every_function_is_there_under_the_older_name_too(probing: Callable[..., Any]) -> None:
    probe = probing(wasi="wasi_unstable")
    assert probe.call("fd_write", 2, *vectors(probe, b"old"), probe.cell()) == SUCCESS
    assert probe.lines == [(LogLevel.ERROR, "old")]


def test_an_import_may_be_written_twice(
    start: Callable[..., Guest], module_text: Callable[..., str]
) -> None:
    twice = (
        '(import "wasi_snapshot_preview1" "fd_write"'
        " (func $a (param i32 i32 i32 i32) (result i32)))"
    )
    guest = start(
        module_text(
            '(func (export "a") (result i32)'
            " (call $a (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 0)))",
            '(func (export "b") (result i32)'
            " (call $b (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 0)))",
            imports=twice + twice.replace("$a", "$b"),
        )
    )
    assert [guest.instance.exports[name]() for name in "ab"] == [BADF, BADF]
