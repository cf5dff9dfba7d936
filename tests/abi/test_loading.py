"""What a module must be to become a guest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from anywasm.abi.guest import Guest
from anywasm.abi.headers import HeaderMap
from anywasm.abi.host import HostServices
from anywasm.abi.imports import blocks
from anywasm.abi.plugin import PluginIdentity
from anywasm.abi.versions import abi_version
from anywasm.core.errors import AbiError, AnyWasmError
from anywasm.core.instance import Instance
from anywasm.core.module import Module

Compile = Callable[[str], Module]
Text = Callable[..., str]
Start = Callable[..., Guest]


def marker(*versions: str) -> str:
    return "".join(f'(func (export "proxy_abi_version_{version}"))' for version in versions)


@pytest.mark.parametrize(
    ("versions", "spoken"),
    [
        (("0_1_0",), "0.1.0"),
        (("0_2_0",), "0.2.0"),
        (("0_2_1",), "0.2.1"),
        (("0_2_1", "0_2_0"), "0.2.0"),
        (("0_2_1", "0_1_0"), "0.1.0"),
        (("0_9_9", "0_2_1"), "0.2.1"),
    ],
)
def test_the_version_is_told_by_an_export(
    compiled: Compile, module_text: Text, versions: tuple[str, ...], spoken: str
) -> None:
    assert abi_version(compiled(module_text(marker=marker(*versions)))).name == spoken


def test_an_unknown_version_is_named(compiled: Compile, module_text: Text) -> None:
    with pytest.raises(AbiError, match=r"it exports proxy_abi_version_9_9_9; known are .*0_2_1"):
        abi_version(compiled(module_text(marker=marker("9_9_9"))))


def test_no_version_is_an_error(compiled: Compile, module_text: Text) -> None:
    with pytest.raises(AbiError, match=r"it exports no proxy_abi_version_\*"):
        abi_version(compiled(module_text(marker="")))


def test_only_a_function_marks_a_version(compiled: Compile, module_text: Text) -> None:
    text = module_text(marker='(global (export "proxy_abi_version_0_2_1") i32 (i32.const 1))')
    with pytest.raises(AbiError, match="missing or unknown"):
        abi_version(compiled(text))


def test_everything_that_is_missing_is_named_at_once(start: Start, module_text: Text) -> None:
    text = module_text(
        imports='(import "env" "proxy_made_up" (func (param i32) (result i32)))'
        '(import "env" "proxy_log" (func (param i32) (result i32)))'
        '(import "other" "proxy_log" (func (param i32 i32 i32) (result i32)))'
        '(import "wasi_snapshot_preview1" "made_up" (func))'
        '(import "wasi_snapshot_preview1" "fd_close" (func (param i64) (result i32)))'
        '(import "env" "emscripten_notify_memory_growth" (func (param i64)))'
        '(import "env" "proxy_continue_request" (func (result i32)))',
    )
    with pytest.raises(AbiError) as caught:
        start(text)
    message = str(caught.value)
    assert "does not provide to proxy-wasm 0.2.1" in message
    for name in (
        "env.proxy_made_up: func (i32) -> (i32)",
        "env.proxy_log: func (i32) -> (i32)",
        "other.proxy_log: func (i32 i32 i32) -> (i32)",
        "wasi_snapshot_preview1.made_up: func () -> ()",
        "wasi_snapshot_preview1.fd_close: func (i64) -> (i32)",
        "env.emscripten_notify_memory_growth: func (i64) -> ()",
        "env.proxy_continue_request: func () -> (i32)",
    ):
        assert name in message


@pytest.mark.parametrize(
    ("version", "name", "params"),
    [
        ("0_1_0", "proxy_continue_stream", " (param i32)"),
        ("0_1_0", "proxy_close_stream", " (param i32)"),
        ("0_1_0", "proxy_get_log_level", " (param i32)"),
        ("0_2_0", "proxy_get_log_level", " (param i32)"),
        ("0_2_0", "proxy_continue_request", ""),
        ("0_2_1", "proxy_continue_response", ""),
    ],
)
def test_a_function_of_another_version_is_missing(
    start: Start, module_text: Text, version: str, name: str, params: str
) -> None:
    text = module_text(
        marker=marker(version), imports=f'(import "env" "{name}" (func{params} (result i32)))'
    )
    spoken = version.replace("_", ".")
    with pytest.raises(AbiError, match=rf"to proxy-wasm {spoken}: env\.{name}"):
        start(text)


def test_the_oldest_version_continues_in_its_own_way_and_reads_missing_headers_as_empty(
    start: Start, module_text: Text
) -> None:
    guest = start(
        module_text(
            '(func (export "request") (result i32) (call $request))',
            '(func (export "response") (result i32) (call $response))',
            '(func (export "get") (result i32) (call $get (i32.const 0) (i32.const 0)'
            " (i32.const 1) (i32.const 16) (i32.const 20)))",
            marker=marker("0_1_0"),
            imports='(import "env" "proxy_continue_request" (func $request (result i32)))'
            '(import "env" "proxy_continue_response" (func $response (result i32)))'
            '(import "env" "proxy_get_header_map_value"'
            " (func $get (param i32 i32 i32 i32 i32) (result i32)))",
        )
    )
    root = guest.create_root(PluginIdentity("probe"))
    stream = guest.create_stream(root)
    stream.maps[0] = HeaderMap()
    stream.responding = True
    for name in ("request", "response", "get"):
        assert guest.call(stream, guest.instance.exports[name]) == 0
    assert stream.continued == {0, 1}
    assert guest.call(root, guest.instance.exports["request"]) == 2


def test_runtime_functions_of_emscripten_are_there(start: Start, module_text: Text) -> None:
    guest = start(
        module_text(
            '(func (export "same") (param i32 i32) (result i32)'
            " (call $equal (local.get 0) (local.get 1)))",
            '(func (export "grew") (call $grew (i32.const 0)))',
            imports='(import "env" "pthread_equal" (func $equal (param i32 i32) (result i32)))'
            '(import "env" "emscripten_notify_memory_growth" (func $grew (param i32)))',
        )
    )
    exports = guest.instance.exports
    assert (exports["same"](7, 7), exports["same"](7, 8), exports["grew"]()) == (1, 0, None)


def test_who_may_wait_is_told_by_the_imports(compiled: Compile, module_text: Text) -> None:
    state = '(import "env" "proxy_get_state" (func (param i32 i32 i32 i32 i32 i32) (result i32)))'
    assert blocks(compiled(module_text(imports=state)))
    assert not blocks(compiled(module_text(imports=state.replace("env", "other"))))
    assert not blocks(compiled(module_text()))


# --- exports of other types ----------------------------------------------------------------------

NO_ALLOCATOR = "exports neither proxy_on_memory_allocate nor malloc"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory": ""}, "exports no memory"),
        ({"allocator": ""}, NO_ALLOCATOR),
        ({"allocator": '(global (export "malloc") i32 (i32.const 0))'}, NO_ALLOCATOR),
        (
            {"allocator": '(func (export "malloc") (param i32))'},
            r"exports malloc as func \(i32\) -> \(\) instead of func \(i32\) -> \(i32\)",
        ),
        (
            {
                "allocator": '(func (export "malloc") (param i32 i32) (result i32) (i32.const 9))',
            },
            r"exports malloc as func \(i32 i32\)",
        ),
    ],
)
def test_memory_and_an_allocator_are_needed(
    start: Start, module_text: Text, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(AbiError, match=message):
        start(module_text(**changes))


@pytest.mark.parametrize(
    ("name", "declared"),
    [
        ("proxy_on_request_headers", "(param i32) (result i32) (i32.const 0)"),
        ("proxy_on_request_headers", "(param i32 i32 i32 i32) (result i32) (i32.const 0)"),
        ("proxy_on_request_headers", "(param i32 i32 i32)"),
        ("proxy_on_response_headers", "(param i32 i32)"),
        ("proxy_on_request_body", "(param i32 i32) (result i32) (i32.const 0)"),
        ("proxy_on_request_body", "(param i32 i32 i64) (result i32) (i32.const 0)"),
        ("proxy_on_request_trailers", "(param i32 i32) (result i64) (i64.const 0)"),
        ("proxy_on_vm_start", "(param i32 i32)"),
        ("proxy_on_configure", "(param i32 i32) (result f32) (f32.const 1)"),
        ("proxy_on_context_create", "(param i32)"),
        ("proxy_on_done", "(param i32)"),
        ("proxy_on_log", "(param i32 i32)"),
        ("proxy_get_id", "(param i32)"),
        ("_initialize", "(param i32)"),
        ("_start", "(param i32)"),
    ],
)
def test_a_callback_of_another_type_is_refused_by_name(
    start: Start, module_text: Text, name: str, declared: str
) -> None:
    with pytest.raises(AbiError, match=rf"the guest exports {name} as func"):
        start(module_text(f'(func (export "{name}") {declared})'))


def test_header_callbacks_are_called_with_what_they_take(start: Start, module_text: Text) -> None:
    guest = start(
        module_text(
            '(func (export "proxy_on_request_headers") (param i32 i32) (result i32)',
            "  (i32.add (local.get 0) (local.get 1)))",
            '(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)',
            "  (i32.add (local.get 0) (i32.add (local.get 1) (local.get 2))))",
        )
    )
    callbacks: Any = guest.callbacks
    assert callbacks.on_request_headers(100, 10, 1) == 110
    assert callbacks.on_response_headers(100, 10, 1) == 111
    assert callbacks.on_request_body is None
    assert callbacks.on_done is None


def test_an_export_that_is_no_function_is_no_callback(start: Start, module_text: Text) -> None:
    guest = start(module_text('(global (export "proxy_on_done") i32 (i32.const 1))'))
    assert guest.callbacks.on_done is None


def test_what_returns_too_much_where_nothing_counts_is_fine(
    start: Start, module_text: Text
) -> None:
    guest = start(
        module_text(
            '(func (export "proxy_on_log") (param i32) (result i32) (i32.const 1))',
            '(func (export "_initialize") (result i32) (i32.const 1))',
        )
    )
    assert guest.callbacks.on_log is not None


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ('(func (export "proxy_on_done"))', {}),
        ("", {"allocator": ""}),
        ("", {"memory": ""}),
        ('(func (export "_initialize") unreachable)', {}),
    ],
)
def test_a_guest_that_does_not_start_leaves_no_instance(
    compiled: Compile,
    module_text: Text,
    part: str,
    changes: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = compiled(module_text(part, **changes))
    instances: list[Instance] = []
    instantiate = module.instantiate

    def remember(*args: Any) -> Instance:
        instances.append(instantiate(*args))
        return instances[-1]

    monkeypatch.setattr(module, "instantiate", remember)
    with pytest.raises(AnyWasmError):
        Guest(module, PluginIdentity("p"), HostServices())
    assert [instance.closed for instance in instances] == [True]
