"""Engines by name: built in, installed under an entry point, or registered by a plugin."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from anywasm.core.errors import EngineNotFoundError, EngineUnavailableError
from anywasm.core.fork import REMEDY, is_forked, watch_forks
from anywasm.core.hooks import may_load, plugin_manager
from anywasm.core.signals import trap_signals
from anywasm.core.vm import ENGINE_API_VERSION, VM

#: Entry-point group of third-party engines; each entry names a VM class.
ENGINE_GROUP = "anywasm.engines"

#: The engines of this package: where the VM class is, and the command that installs its binding.
#: Names, not imports: a binding is loaded when its engine is used.
BUILT_IN = {
    "wasmtime": ("anywasm.engines.wasmtime:WasmtimeVM", "pip install 'anywasm[wasmtime]'"),
    "wasmer": ("anywasm.engines.wasmer:make_vm", "pip install 'anywasm[wasmer]'"),
    "wasm3": ("anywasm.engines.wasm3:Wasm3VM", "pip install 'anywasm[wasm3]'"),
    "null": ("anywasm.engines.null:NullVM", ""),
    "wasm_c_api": ("anywasm.engines.wasm_c_api:WasmCApiVM", ""),
}

_lock = threading.RLock()
_vms: dict[str, VM] = {}


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """One known engine, as `anywasm engines` lists it.

    Attributes:
        name: Its name.
        origin: `built-in`, or the distribution or plugin that brings it.
        vm: The engine, when it is available.
        error: Why not, otherwise.
    """

    name: str
    origin: str
    vm: VM | None = None
    error: EngineUnavailableError | None = None


@dataclass(frozen=True, slots=True)
class _Source:
    """Where an engine comes from, not loaded yet."""

    origin: str
    remedy: str
    load: Callable[[], Callable[[], VM]]


def _built_in(path: str, remedy: str) -> _Source:
    module, _, attribute = path.partition(":")
    return _Source("built-in", remedy, lambda: getattr(import_module(module), attribute))


def _entry_point(entry: EntryPoint) -> _Source:
    origin = entry.dist.name if entry.dist is not None else entry.value
    return _Source(origin, f"pip install --upgrade {origin}", entry.load)


def _registered(factory: Callable[[], VM]) -> _Source:
    return _Source(getattr(factory, "__module__", "plugin"), "", lambda: factory)


def _sources() -> dict[str, _Source]:
    """All known engines. The first source of a name wins: built-in, entry point, plugin."""
    sources = {name: _built_in(path, hint) for name, (path, hint) in BUILT_IN.items()}

    def offer(name: str, source: _Source) -> None:
        if name in sources:
            warnings.warn(
                f"engine {name!r} of {source.origin} is ignored: "
                f"{sources[name].origin} has an engine of that name",
                stacklevel=4,
            )
        else:
            sources[name] = source

    for entry in entry_points(group=ENGINE_GROUP):
        if may_load(entry):
            offer(entry.name, _entry_point(entry))
    plugin_manager().hook.register_engines(
        register=lambda name, factory: offer(name, _registered(factory))
    )
    return sources


def _make(name: str, source: _Source) -> VM:
    trap_signals.prepare()
    try:
        vm = source.load()()
    except EngineUnavailableError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise EngineUnavailableError(name, reason, source.remedy) from error
    if not isinstance(vm, VM):
        raise EngineUnavailableError(name, f"{source.origin} made {vm!r}, which is no VM")
    version = getattr(vm, "engine_api_version", None)
    if version != ENGINE_API_VERSION:
        raise EngineUnavailableError(
            name,
            f"{source.origin} was written for engine API version {version}, "
            f"this is version {ENGINE_API_VERSION}",
            source.remedy,
        )
    if vm.capabilities.wasm:
        if is_forked():
            raise EngineUnavailableError(
                name, "this process was forked from one that had loaded an engine", REMEDY
            )
        trap_signals.remember()
        watch_forks(vm)
    return vm


def _get(name: str, source: _Source) -> VM:
    with _lock:
        vm = _vms.get(name)
        if vm is None or vm.closed:
            vm = _vms[name] = _make(name, source)
        return vm


def get_wasm_engine(name: str) -> VM:
    """The engine of that name: one VM per process, made when first asked for. Thread-safe.

    Args:
        name: A name that `known_engines` lists; what `vm_config.engine` holds.

    Raises:
        EngineNotFoundError: For a name that nobody offers; lists the known names.
        EngineUnavailableError: When its binding is missing or unfit; says why, and the remedy.
    """
    vm = _vms.get(name)
    if vm is not None and not vm.closed:
        return vm
    sources = _sources()
    if name not in sources:
        raise EngineNotFoundError(name, tuple(sources))
    return _get(name, sources[name])


def known_engines() -> tuple[str, ...]:
    """The names of all engines that are offered, whether they can run here or not."""
    return tuple(_sources())


def available_engines() -> tuple[str, ...]:
    """The names of the engines that can run here. Loads every one of them."""
    return tuple(status.name for status in engine_statuses() if status.vm is not None)


def engine_statuses() -> tuple[EngineStatus, ...]:
    """Every known engine with its VM, or the reason why there is none. Loads every one of them."""
    statuses = []
    for name, source in _sources().items():
        try:
            statuses.append(EngineStatus(name, source.origin, vm=_get(name, source)))
        except EngineUnavailableError as error:
            statuses.append(EngineStatus(name, source.origin, error=error))
    return tuple(statuses)
