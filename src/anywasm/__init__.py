"""anywasm: one Python interface over every WebAssembly engine, and a proxy-wasm host above it.

>>> from anywasm import get_wasm_engine
>>> vm = get_wasm_engine("wasmtime")
>>> module = vm.compile(wasm_bytes)
>>> instance = module.instantiate({"env": {"log": print}})
>>> instance.exports["add"](1, 2)
3
"""

from anywasm.core import (
    ENGINE_API_VERSION,
    VM,
    AbiError,
    AnyWasmError,
    ArgumentError,
    Capabilities,
    ClosedError,
    CompileError,
    ConcurrencyError,
    ConfigError,
    DeadlineExceededError,
    EngineNotFoundError,
    EngineUnavailableError,
    ExitError,
    ExportNotFoundError,
    Feature,
    Global,
    Instance,
    InstantiationError,
    LinkError,
    Memory,
    MemoryBoundsError,
    Module,
    OutOfMemoryError,
    PluginError,
    ResourceLimits,
    TrapError,
    TrapKind,
    UnsupportedError,
    available_engines,
    engine_statuses,
    get_wasm_engine,
    hookimpl,
    known_engines,
    register_plugin,
    unregister_plugin,
)

__version__ = "0.1.0"

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
