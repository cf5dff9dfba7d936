"""Which engines a command works on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from anywasm.core.vm import VM

#: For a command on all engines that run WebAssembly.
WasmEnginesOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Only this engine. Repeatable. By default all that run WebAssembly here.",
    ),
]


def chosen_engines(names: Sequence[str] | None, *, wasm_only: bool = False) -> list[VM]:
    """The engines asked for, or all that can run here.

    Args:
        names: What was asked for; nothing for all.
        wasm_only: Leave out of all those that run no WebAssembly.

    Raises:
        EngineNotFoundError: For a name that nobody offers.
        EngineUnavailableError: For one whose binding is not installed.
    """
    from anywasm.core.registry import engine_statuses, get_wasm_engine

    if names:
        return [get_wasm_engine(name) for name in dict.fromkeys(names)]
    vms = [status.vm for status in engine_statuses() if status.vm is not None]
    return [vm for vm in vms if vm.capabilities.wasm or not wasm_only]
