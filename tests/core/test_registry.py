from __future__ import annotations

import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from anywasm.core import (
    AnyWasmError,
    EngineNotFoundError,
    EngineUnavailableError,
    available_engines,
    engine_statuses,
    get_wasm_engine,
    hookimpl,
    known_engines,
    register_plugin,
    unregister_plugin,
)
from anywasm.core.hookspecs import RegisterEngine
from anywasm.core.registry import BUILT_IN
from anywasm.engines.null import NullVM

Install = Callable[..., None]
Run = Callable[..., subprocess.CompletedProcess[str]]

ENGINE = """
from anywasm.core import VM, Capabilities

class TinyVM(VM):
    name = "tiny"
    engine_api_version = 1
    capabilities = Capabilities()
    version = "1.0"

    def _compile(self, wasm, interface):
        raise NotImplementedError
"""
POINT = "[anywasm.engines]\ntiny = tiny_engine:TinyVM\n"


def test_built_in_engines_are_known_and_come_first() -> None:
    known = ("wasmtime", "wasmer", "wasm3", "null", "wasm_c_api")
    assert known_engines()[: len(BUILT_IN)] == known
    assert "null" in available_engines()
    assert {status.origin for status in engine_statuses()} >= {"built-in"}


def test_one_vm_per_name() -> None:
    vm = get_wasm_engine("null")
    assert get_wasm_engine("null") is vm
    vm.close()
    fresh = get_wasm_engine("null")
    assert fresh is not vm
    assert not fresh.closed


@pytest.mark.parametrize("name", ["", "wasmtim", "Null", "null "])
def test_unknown_engine_lists_the_known_ones(name: str) -> None:
    with pytest.raises(EngineNotFoundError) as caught:
        get_wasm_engine(name)
    assert caught.value.name == name
    assert caught.value.known == known_engines()
    assert "known engines: wasmtime, wasmer, wasm3, null" in str(caught.value)
    assert isinstance(caught.value, LookupError)


@pytest.mark.parametrize(
    ("engine", "binding", "remedy"),
    [
        ("wasmtime", "wasmtime", "pip install 'anywasm[wasmtime]'"),
        ("wasmer", "wasmer", "pip install 'anywasm[wasmer]'"),
        ("wasm3", "wasm3", "pip install 'anywasm[wasm3]'"),
    ],
)
def test_engine_without_its_binding(
    run_python: Run, engine: str, binding: str, remedy: str
) -> None:
    source = """
import sys
sys.modules[sys.argv[2]] = None  # what makes Python say that it cannot be imported
from anywasm.core import EngineUnavailableError, available_engines, get_wasm_engine, known_engines
try:
    get_wasm_engine(sys.argv[1])
except EngineUnavailableError as error:
    print(error.name, error.remedy, error.reason, error, sep="\\n")
print(sys.argv[1] in known_engines(), sys.argv[1] in available_engines())
"""
    name, hint, reason, *message, last = run_python(source, engine, binding).stdout.splitlines()
    assert name == engine
    assert remedy in hint
    assert binding in reason
    text = " ".join(message)
    assert text.startswith(f"WebAssembly engine {engine!r} is not available: ")
    assert remedy in text
    assert last == "True False"


@pytest.mark.parametrize("call", ["known_engines()", "get_wasm_engine('null')"])
def test_no_binding_is_imported_before_its_engine_is_used(run_python: Run, call: str) -> None:
    source = f"""
import sys
from anywasm.core import get_wasm_engine, known_engines
{call}
print(*{{"wasmtime", "wasmer", "wasm3", "wasmer_compiler_cranelift"}} & set(sys.modules))
print(*[name for name in sys.modules if name.startswith("anywasm.engines.")])
"""
    bindings, engines = run_python(source).stdout.split("\n")[:2]
    assert bindings == ""
    assert "wasm" not in engines.replace("anywasm", "")


def test_core_imports_pluggy_and_the_standard_library_only(run_python: Run) -> None:
    source = """
import sys
import anywasm.core
print(*{name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names))
"""
    found = set(run_python(source).stdout.split())
    assert {"anywasm", "pluggy"} <= found
    # What site hooks of the environment import is not the core's doing.
    start = set(run_python(source.replace("import anywasm.core\n", "")).stdout.split())
    assert found - start == {"anywasm", "pluggy"}


def test_installed_engine(install: Install) -> None:
    install("tiny-engine", POINT, tiny_engine=ENGINE)
    assert known_engines()[-1] == "tiny"
    vm = get_wasm_engine("tiny")
    assert (vm.name, vm.version) == ("tiny", "1.0")
    assert get_wasm_engine("tiny") is vm
    assert "tiny" in available_engines()
    origins = {status.name: status.origin for status in engine_statuses()}
    assert origins["tiny"] == "tiny-engine"


def test_installed_engine_is_imported_when_it_is_used(install: Install) -> None:
    install("tiny-engine", POINT, tiny_engine="raise RuntimeError('imported')")
    assert "tiny" in known_engines()
    assert "tiny_engine" not in sys.modules
    with pytest.raises(EngineUnavailableError, match="RuntimeError: imported") as caught:
        get_wasm_engine("tiny")
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert caught.value.remedy == "pip install --upgrade tiny-engine"
    assert "tiny" not in available_engines()
    errors = {status.name: status.error for status in engine_statuses()}
    assert "imported" in str(errors["tiny"])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (ENGINE.replace("engine_api_version = 1", "engine_api_version = 2"), "API version 2"),
        (ENGINE.replace("    engine_api_version = 1\n", ""), "API version None"),
        ("class TinyVM: pass", "which is no VM"),
        ("TinyVM = dict", "which is no VM"),
        ("TinyVM = 5", "TypeError"),
        ("", "AttributeError"),
        ("import anywasm_absent_binding", "No module named 'anywasm_absent_binding'"),
        (ENGINE.replace("def _compile", "def _other"), "abstract"),
    ],
)
def test_engine_that_does_not_fit_is_unavailable(
    install: Install, source: str, reason: str
) -> None:
    install("tiny-engine", POINT, tiny_engine=source)
    with pytest.raises(EngineUnavailableError, match=reason) as caught:
        get_wasm_engine("tiny")
    assert caught.value.name == "tiny"
    assert "null" in available_engines()


def test_engine_may_say_itself_why_it_is_unavailable(install: Install) -> None:
    source = ENGINE + (
        "    def __init__(self):\n"
        "        from anywasm.core import EngineUnavailableError\n"
        "        raise EngineUnavailableError('tiny', 'no licence', 'buy one')\n"
    )
    install("tiny-engine", POINT, tiny_engine=source)
    with pytest.raises(EngineUnavailableError, match="no licence") as caught:
        get_wasm_engine("tiny")
    assert caught.value.remedy == "buy one"


def test_built_in_name_wins_with_a_warning(install: Install) -> None:
    install("rival", "[anywasm.engines]\nnull = rival_engine:TinyVM\n", rival_engine=ENGINE)
    with pytest.warns(UserWarning, match="engine 'null' of rival is ignored: built-in has"):
        names = known_engines()
    assert names.count("null") == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert type(get_wasm_engine("null")).__name__ == "NullVM"


@pytest.mark.parametrize(
    ("allowed", "known"),
    [
        (None, True),
        ("", False),
        ("other", False),
        ("tiny-engine", True),
        ("tiny", True),
        ("other, tiny", True),
        ("TINY", False),
    ],
)
def test_loading_of_third_parties_can_be_restricted(
    install: Install, monkeypatch: pytest.MonkeyPatch, allowed: str | None, known: bool
) -> None:
    install("tiny-engine", POINT, tiny_engine=ENGINE)
    if allowed is not None:
        monkeypatch.setenv("ANYWASM_LOAD_PLUGINS", allowed)
    assert ("tiny" in known_engines()) is known
    assert set(BUILT_IN) <= set(known_engines())


def test_installed_plugin_registers_engines(run_python: Run, install: Install) -> None:
    plugin = """
from anywasm.core import hookimpl

@hookimpl
def register_engines(register):
    from tiny_engine import TinyVM
    register("tiny", TinyVM)
"""
    install(
        "tiny-plugin", "[anywasm]\ntiny = tiny_plugin\n", tiny_plugin=plugin, tiny_engine=ENGINE
    )
    source = """
import sys
sys.path.insert(0, sys.argv[1])
from anywasm.core import get_wasm_engine, known_engines
print(known_engines()[-1], "tiny" in known_engines() and get_wasm_engine("tiny").name)
"""
    assert run_python(source, sys.path[0]).stdout.split() == ["tiny", "tiny"]


class Plugin:
    """Registers the null engine under another name."""

    def __init__(self, name: str) -> None:
        self.name = name

    @hookimpl
    def register_engines(self, register: RegisterEngine) -> None:
        register(self.name, NullVM)


def test_plugin_registered_at_run_time() -> None:
    plugin = Plugin("mine")
    register_plugin(plugin)
    try:
        assert known_engines()[-1] == "mine"
        assert get_wasm_engine("mine").name == "null"
    finally:
        unregister_plugin(plugin)
    assert "mine" not in known_engines()


def test_plugin_cannot_take_a_built_in_name() -> None:
    plugin = Plugin("wasmtime")
    register_plugin(plugin, "taker")
    try:
        with pytest.warns(UserWarning, match="engine 'wasmtime' of .* is ignored"):
            known_engines()
    finally:
        unregister_plugin(plugin)


def test_plugin_is_registered_once() -> None:
    plugin = Plugin("mine")
    register_plugin(plugin)
    try:
        with pytest.raises(ValueError, match="already registered"):
            register_plugin(plugin)
    finally:
        unregister_plugin(plugin)


def test_plugin_with_an_unknown_hook_is_refused() -> None:
    class Wrong:
        @hookimpl
        def register_engine(self) -> None:
            pass

    plugin = Wrong()
    # It is not registered then, so that a second try says the same.
    for _ in range(2):
        with pytest.raises(Exception, match=r"unknown hook 'register_engine'; known: .*_engines,"):
            register_plugin(plugin)


def test_many_threads_get_the_same_vm(install: Install) -> None:
    slow = ENGINE + "    def __init__(self):\n        import time; time.sleep(0.05)\n"
    install("tiny-engine", POINT, tiny_engine=slow)
    start = threading.Barrier(4)

    def get(_: int) -> int:
        start.wait(60)
        return id(get_wasm_engine("tiny"))

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(get, range(4)))) == 1


def test_errors_have_the_root() -> None:
    for error in (EngineNotFoundError("x", ()), EngineUnavailableError("x", "because")):
        assert isinstance(error, AnyWasmError)
