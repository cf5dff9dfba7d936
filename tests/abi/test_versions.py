"""ABI versions: what 0.1.0 has of its own, Higress's name, and those of third parties."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from anywasm.abi.guest import Guest
from anywasm.abi.plugin import PluginIdentity
from anywasm.abi.table import HOST_FUNCTIONS, host_function
from anywasm.abi.versions import RegisterAbiVersion, known_versions
from anywasm.core.errors import AbiError
from anywasm.core.hooks import register_plugin, unregister_plugin
from anywasm.core.hookspecs import hookimpl

Start = Callable[..., Guest]
Text = Callable[..., str]

PLUGIN = PluginIdentity("p", configuration=b"plugin", vm_configuration=b"vm")
GIVE = '(func (export "malloc") (param i32) (result i32) (i32.const 1024))'


def marker(version: str) -> str:
    return f'(func (export "proxy_abi_version_{version}"))'


def test_the_oldest_version_reads_the_configuration_that_is_offered(
    start: Start, module_text: Text
) -> None:
    store = (
        "(drop (call $get (i32.const {at}) (i32.const {size})))"
        " (i32.store8 (i32.const {copy}) (i32.load8_u (i32.load (i32.const {at}))))"
    )
    guest = start(
        module_text(
            '(func (export "proxy_on_vm_start") (param i32 i32) (result i32)'
            + store.format(at=16, size=20, copy=256) + " (i32.const 1))",
            '(func (export "proxy_on_configure") (param i32 i32) (result i32)'
            + store.format(at=24, size=28, copy=257) + " (i32.const 1))",
            '(func (export "outside") (result i32) (call $get (i32.const 32) (i32.const 36)))',
            marker=marker("0_1_0"),
            imports='(import "env" "proxy_get_configuration"'
            " (func $get (param i32 i32) (result i32)))",
        ),
        PLUGIN,
    )  # fmt: skip
    root = guest.create_root(PLUGIN)
    memory: Any = guest.instance.memory
    assert memory.read(256, 2) == b"vp"
    assert (memory.read_u32(20), memory.read_u32(28)) == (2, 6)
    assert guest.call(root, guest.instance.exports["outside"]) == 0
    assert memory.read_u32(36) == 0


@pytest.mark.parametrize("result", [" (result i32)", ""])
def test_functions_without_a_result_are_served_either_way(
    start: Start, module_text: Text, result: str
) -> None:
    names = ["proxy_continue_request", "proxy_continue_response", "proxy_clear_route_cache"]
    guest = start(
        module_text(
            *(f'(func (export "{name}"){result} (call ${name}))' for name in names),
            marker=marker("0_1_0"),
            imports="".join(f'(import "env" "{name}" (func ${name}{result}))' for name in names),
        )
    )
    stream = guest.create_stream(guest.create_root(PLUGIN))
    stream.responding = True
    answers = [guest.call(stream, guest.instance.exports[name]) for name in names]
    assert answers == ([0, 0, 0] if result else [None] * 3)
    assert stream.continued == {0, 1}


@pytest.mark.parametrize(
    ("version", "name", "params", "served"),
    [
        ("0_1_0", "proxy_redis_call", "i32 i32 i32 i32 i32", False),
        ("0_2_1", "proxy_redis_call", "i32 i32 i32 i32 i32", False),
        ("0_2_100", "proxy_redis_call", "i32 i32 i32 i32 i32", True),
        ("0_2_100", "proxy_get_log_level", "i32", True),
        ("0_2_100", "proxy_get_configuration", "i32 i32", False),
        ("0_2_0", "proxy_get_log_level", "i32", False),
        ("0_2_0", "proxy_continue_stream", "i32", True),
        ("0_1_0", "proxy_continue_stream", "i32", False),
    ],
)
def test_each_version_has_its_functions(
    start: Start, module_text: Text, version: str, name: str, params: str, served: bool
) -> None:
    text = module_text(
        marker=marker(version),
        imports=f'(import "env" "{name}" (func (param {params}) (result i32)))',
    )
    if served:
        assert start(text).abi.name == version.replace("_", ".")
    else:
        with pytest.raises(AbiError, match=name):
            start(text)


def test_the_two_argument_header_callbacks_are_called(start: Start, module_text: Text) -> None:
    guest = start(
        module_text(
            *(
                f'(func (export "proxy_on_{name}_headers") (param i32 i32) (result i32)'
                f" (i32.store (i32.const {at}) (i32.add (local.get 0) (local.get 1)))"
                f" (i32.const 1))"
                for name, at in (("request", 256), ("response", 260))
            ),
            marker=marker("0_1_0"),
        )
    )
    stream = guest.create_stream(guest.create_root(PLUGIN))
    callbacks: Any = guest.callbacks
    for at, callback in ((256, callbacks.on_request_headers), (260, callbacks.on_response_headers)):
        assert guest.call(stream, callback, stream.id, 40, 1) == 1
        memory: Any = guest.instance.memory
        assert memory.read_u32(at) == 42


# --- third parties -------------------------------------------------------------------------------


class Acme:
    """A third party's version, with a function of its own."""

    based_on = "0.2.1"

    @hookimpl
    def register_abi_versions(self, register: RegisterAbiVersion) -> None:
        register("acme", "proxy_abi_version_acme", self.based_on)
        register("0.2.1", "proxy_abi_version_forged")


@pytest.fixture
def acme() -> Iterator[Acme]:
    """The version, registered, and its function."""
    plugin = Acme()
    register_plugin(plugin)
    host_function("proxy_acme_double", "u32 -> u32", versions=("acme",))(lambda _, n: 2 * n)
    yield plugin
    del HOST_FUNCTIONS["proxy_acme_double"]
    unregister_plugin(plugin)


IMPORTS = (
    '(import "env" "proxy_acme_double" (func $double (param i32 i32) (result i32)))'
    '(import "env" "proxy_get_log_level" (func (param i32) (result i32)))'
)
DOUBLE = (
    '(func (export "double") (result i32) (drop (call $double (i32.const 21) (i32.const 16)))'
    " (i32.load (i32.const 16)))"
)


@pytest.mark.usefixtures("acme")
def test_a_third_party_brings_a_version(start: Start, module_text: Text) -> None:
    guest = start(module_text(DOUBLE, GIVE, marker=marker("acme"), imports=IMPORTS))
    assert guest.abi.name == "acme"
    root = guest.create_root(PLUGIN)
    assert guest.call(root, guest.instance.exports["double"]) == 42
    # Modules of other versions do not get its function, and known names stay what they are.
    with pytest.raises(AbiError, match="proxy_acme_double"):
        start(module_text(DOUBLE, imports=IMPORTS))
    with pytest.raises(AbiError, match="unknown proxy-wasm ABI"):
        start(module_text(marker=marker("forged")))


def test_a_version_that_is_based_on_nothing_known_is_an_error() -> None:
    before = known_versions()
    plugin = Acme()
    plugin.based_on = "9.9"
    register_plugin(plugin)
    try:
        with pytest.raises(AbiError, match=r"acme is based on 9\.9, which is not known"):
            known_versions()
    finally:
        unregister_plugin(plugin)
    assert known_versions() == before


def test_without_it_the_version_is_unknown(start: Start, module_text: Text) -> None:
    with pytest.raises(AbiError, match="proxy_abi_version_acme"):
        start(module_text(marker=marker("acme")))
