"""What a module asks of its host, matched with what this host has."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

# Importing the packages fills the tables.
import anywasm.abi.hostcalls
import anywasm.abi.wasi  # noqa: F401
from anywasm.abi.binding import bind_host_function
from anywasm.abi.enums import Status
from anywasm.abi.runtime import RUNTIME_FUNCTIONS
from anywasm.abi.table import HOST_FUNCTIONS
from anywasm.abi.waits import suspending
from anywasm.abi.wasi.table import WASI_FUNCTIONS, WASI_MODULES, Errno
from anywasm.core.errors import AbiError
from anywasm.core.types import ExternKind, FuncType, ImportType

_log = logging.getLogger("anywasm.abi")

if TYPE_CHECKING:
    from anywasm.abi.guest import Guest
    from anywasm.core.module import Module


def blocks(module: Module, *, shared: bool = False) -> bool:
    """Whether the module imports a host function that may wait for something outside.

    Args:
        module: The module.
        shared: Whether shared data and queues may.
    """
    imported = (
        HOST_FUNCTIONS[item.name]
        for item in module.imports
        if item.module == "env" and item.name in HOST_FUNCTIONS
    )
    return any(function.blocking or (shared and function.shared) for function in imported)


def shares(module: Module) -> bool:
    """Whether the module imports shared data or queues."""
    names = (item.name for item in module.imports if item.module == "env")
    return any(name in HOST_FUNCTIONS and HOST_FUNCTIONS[name].shared for name in names)


def bind_imports(guest: Guest) -> dict[str, dict[str, Callable[..., Any]]]:
    """The importObject for `guest`: exactly what its module asks for, as closures over it.

    Raises:
        AbiError: Naming every import that this host does not have for the guest's ABI version, or
            has with another type.
    """
    found: dict[str, dict[str, Callable[..., Any]]] = {}
    unknown: list[str] = []
    for item in guest.module.imports:
        bound = _bind(guest, item)
        if bound is None:
            unknown.append(str(item))
        else:
            found.setdefault(item.module, {})[item.name] = bound
    if unknown:
        raise AbiError(
            f"the module imports what this host does not provide to proxy-wasm {guest.abi.name}: "
            + "; ".join(dict.fromkeys(unknown))
        )
    return found


def _fits(declared: FuncType, imported: FuncType) -> bool:
    # The spec gives some functions of 0.1.0 no result where SDKs import one; either will do.
    return declared == imported or (declared.params == imported.params and not imported.results)


def _limited(
    guest: Guest, item: ImportType, function: Callable[..., Any], denied: int
) -> Callable[..., Any]:
    """The function, or a refusal where it is outside the plugin's capabilities."""
    assert isinstance(item.type, FuncType)
    answers = bool(item.type.results)
    if guest.allowed is not None and item.name not in guest.allowed:

        def refuse(*args: object) -> int | None:
            message = f"Attempted call to restricted proxy-wasm capability: {item.name}"
            _log.error("plugin %s: %s", guest.base.plugin.name, message)
            return denied if answers else None

        return refuse
    if answers or item.module != "env":
        return function

    def silent(*args: int) -> None:
        function(*args)

    return silent


def _bind(guest: Guest, item: ImportType) -> Callable[..., Any] | None:
    if item.kind is not ExternKind.FUNCTION or not isinstance(item.type, FuncType):
        return None
    if item.module in WASI_MODULES:
        shim = WASI_FUNCTIONS.get(item.name)
        if shim is None or shim.type != item.type:
            return None
        return _limited(guest, item, shim.bind(guest), Errno.NOTCAPABLE)
    if item.module != "env":
        return None
    function = HOST_FUNCTIONS.get(item.name)
    if function is not None:
        offered = function.versions is None or function.versions & guest.abi.lineage
        if not offered or not _fits(function.type, item.type):
            return None
        bound: Callable[..., Any] = bind_host_function(function, guest)
        if function.blocking and item.type.results and guest.module.vm.capabilities.suspend:
            bound = suspending(guest, bound)
        return _limited(guest, item, bound, Status.INTERNAL_FAILURE)
    runtime = RUNTIME_FUNCTIONS.get(item.name)
    return None if runtime is None or runtime.type != item.type else runtime.function
