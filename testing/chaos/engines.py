"""The engines that there is something to try on."""

from __future__ import annotations

from anywasm.core.registry import engine_statuses


def wasm_engines() -> list[str]:
    """The names of the engines here that run WebAssembly."""
    return [
        status.name
        for status in engine_statuses()
        if status.vm is not None and status.vm.capabilities.wasm
    ]
