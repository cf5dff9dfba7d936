"""The seam that every engine backs: VM, Module, Instance, and what they speak of."""

from anywasm.core.capabilities import Capabilities, Feature
from anywasm.core.errors import (
    AbiError,
    AnyWasmError,
    ArgumentError,
    ClosedError,
    CompileError,
    ConcurrencyError,
    ConfigError,
    DeadlineExceededError,
    EngineNotFoundError,
    EngineUnavailableError,
    ExitError,
    ExportNotFoundError,
    ForkedError,
    InstantiationError,
    LinkError,
    MemoryBoundsError,
    OutOfMemoryError,
    PluginError,
    StateStoreError,
    TableBoundsError,
    TrapError,
    TrapKind,
    UnsupportedError,
)
from anywasm.core.globals import Global
from anywasm.core.hooks import register_plugin, unregister_plugin
from anywasm.core.hookspecs import hookimpl
from anywasm.core.instance import Instance
from anywasm.core.limits import ResourceLimits
from anywasm.core.memory import Memory
from anywasm.core.module import Module
from anywasm.core.registry import (
    available_engines,
    engine_statuses,
    get_wasm_engine,
    known_engines,
)
from anywasm.core.store import Store
from anywasm.core.suspending import Suspending
from anywasm.core.tables import Table
from anywasm.core.vm import ENGINE_API_VERSION, VM

__all__ = [
    "ENGINE_API_VERSION",
    "VM",
    "AbiError",
    "AnyWasmError",
    "ArgumentError",
    "Capabilities",
    "ClosedError",
    "CompileError",
    "ConcurrencyError",
    "ConfigError",
    "DeadlineExceededError",
    "EngineNotFoundError",
    "EngineUnavailableError",
    "ExitError",
    "ExportNotFoundError",
    "Feature",
    "ForkedError",
    "Global",
    "Instance",
    "InstantiationError",
    "LinkError",
    "Memory",
    "MemoryBoundsError",
    "Module",
    "OutOfMemoryError",
    "PluginError",
    "ResourceLimits",
    "StateStoreError",
    "Store",
    "Suspending",
    "Table",
    "TableBoundsError",
    "TrapError",
    "TrapKind",
    "UnsupportedError",
    "available_engines",
    "engine_statuses",
    "get_wasm_engine",
    "hookimpl",
    "known_engines",
    "register_plugin",
    "unregister_plugin",
]
