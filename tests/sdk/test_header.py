"""Checks the header's declarations against the specification's types."""

from __future__ import annotations

from pathlib import Path

import wasmtime

import anywasm.abi.imports  # noqa: F401 (fills the table)
from anywasm.abi.table import HOST_FUNCTIONS as TABLE
from anywasm.core.types import FuncType
from anywasm.sdk.build import build_guest
from anywasm.sdk.guests import header_path

_N = "uint32_t"
#: C result and parameters of each callback.
CALLBACKS = {
    "proxy_on_context_create": ("void", [_N, _N]),
    "proxy_on_vm_start": ("bool", [_N, _N]),
    "proxy_on_configure": ("bool", [_N, _N]),
    "proxy_on_tick": ("void", [_N]),
    "proxy_on_request_headers": ("pw_action", [_N, _N, "bool"]),
    "proxy_on_request_body": ("pw_action", [_N, _N, "bool"]),
    "proxy_on_request_trailers": ("pw_action", [_N, _N]),
    "proxy_on_response_headers": ("pw_action", [_N, _N, "bool"]),
    "proxy_on_response_body": ("pw_action", [_N, _N, "bool"]),
    "proxy_on_response_trailers": ("pw_action", [_N, _N]),
    "proxy_on_new_connection": ("pw_action", [_N]),
    "proxy_on_downstream_data": ("pw_action", [_N, _N, "bool"]),
    "proxy_on_upstream_data": ("pw_action", [_N, _N, "bool"]),
    "proxy_on_downstream_connection_close": ("void", [_N, "pw_peer"]),
    "proxy_on_upstream_connection_close": ("void", [_N, "pw_peer"]),
    "proxy_on_http_call_response": ("void", [_N, _N, _N, _N, _N]),
    "proxy_on_grpc_receive_initial_metadata": ("void", [_N, _N, _N]),
    "proxy_on_grpc_receive": ("void", [_N, _N, _N]),
    "proxy_on_grpc_receive_trailing_metadata": ("void", [_N, _N, _N]),
    "proxy_on_grpc_close": ("void", [_N, _N, _N]),
    "proxy_on_queue_ready": ("void", [_N, _N]),
    "proxy_on_foreign_function": ("void", [_N, _N, _N]),
    "proxy_on_done": ("bool", [_N]),
    "proxy_on_log": ("void", [_N]),
    "proxy_on_delete": ("void", [_N]),
    "proxy_get_id": ("void", []),
}


def signature(type_: object) -> tuple[str, str]:
    """Parameters and results: i for an i32, l for an i64."""
    assert isinstance(type_, (wasmtime.FuncType, FuncType))
    letters = {"i32": "i", "i64": "l"}
    return (
        "".join(letters[str(value)] for value in type_.params),
        "".join(letters[str(value)] for value in type_.results),
    )


#: Host functions of the specification and of Layotto, as the host has them.
HOST_FUNCTIONS = {
    function.name: signature(function.signature.type)
    for function in TABLE.values()
    if function.versions is None or "0.2.1" in function.versions
}


def build(folder: Path, text: str) -> wasmtime.Module:
    source = folder / "guest.c"
    source.write_text(f'#include "proxywasm.h"\n{text}')
    return wasmtime.Module(wasmtime.Engine(), build_guest(source).read_bytes())


def test_host_functions_have_the_types_of_the_specification(tmp_path: Path) -> None:
    uses = ", ".join(f"(void *){name}" for name in HOST_FUNCTIONS)
    module = build(
        tmp_path,
        f"void *const uses[] = {{{uses}}};\n"
        "PW_EXPORT(test_use) void *test_use(uint32_t i) { return uses[i]; }\n",
    )
    assert {item.name: signature(item.type) for item in module.imports} == HOST_FUNCTIONS
    assert {item.module for item in module.imports} == {"env"}


def test_header_declares_no_other_host_function() -> None:
    text = header_path().read_text()
    declared = [
        line.split("(")[1].split(")")[0] for line in text.splitlines() if "IMPORT(p" in line
    ]
    assert sorted(declared) == sorted(HOST_FUNCTIONS)


def test_callbacks_are_exported_by_their_definition_alone(tmp_path: Path) -> None:
    definitions = []
    for name, (result, params) in CALLBACKS.items():
        named = ", ".join(f"{kind} p{index}" for index, kind in enumerate(params)) or "void"
        ignore = "".join(f"(void)p{index}; " for index in range(len(params)))
        value = "" if result == "void" else f"return ({result})1; "
        definitions.append(f"{result} {name}({named}) {{ {ignore}{value}}}")
    module = build(tmp_path, "\n".join(definitions))
    found = {item.name: signature(item.type) for item in module.exports if item.name in CALLBACKS}
    assert found == {
        name: ("i" * len(params), "" if result == "void" else "i")
        for name, (result, params) in CALLBACKS.items()
    }
