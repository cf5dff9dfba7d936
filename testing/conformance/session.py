"""Runs the commands of one script on one engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from anywasm.core.errors import (
    AnyWasmError,
    CompileError,
    InstantiationError,
    LinkError,
    TrapError,
    TrapKind,
    UnsupportedError,
)
from anywasm.core.globals import Global
from anywasm.core.instance import Instance
from anywasm.core.types import REFERENCES, FuncType
from anywasm.core.vm import VM
from anywasm.testing.conformance.converter import Converter
from anywasm.testing.conformance.result import Result, Status
from anywasm.testing.conformance.spectest import spectest
from anywasm.testing.conformance.values import Json, bits_of, fits, python_of, shown

#: Commands that are no test of their own.
_SILENT = {"register"}


class _FailedError(Exception):
    """The engine did something else than the script says."""


class _MissingError(Exception):
    """A module is not there that the command needs.

    Attributes:
        result: What became of it.
    """

    def __init__(self, result: Result) -> None:
        self.result = result
        super().__init__(result.reason)


class Session:
    """The state of a script: its modules by name, and what it registered for import."""

    def __init__(self, vm: VM, folder: Path, converter: Converter) -> None:
        """Make ready for a script.

        Args:
            vm: The engine.
            folder: Where the script's binaries are.
            converter: Tells whether a module needs more than the engine claims.
        """
        self._vm = vm
        self._folder = folder
        self._converter = converter
        self._store = vm.new_store() if vm.capabilities.linking else None
        self._modules: dict[str | None, Instance | Result] = {}
        self._registered: dict[str, Mapping[str, Any] | Result] = {
            "spectest": spectest(vm, self._store)
        }
        self._do: dict[str, Callable[[Json], None]] = {
            "module": self._module,
            "register": self._register,
            "action": self._action,
            "assert_return": self._assert_return,
            "assert_trap": self._assert_trap,
            "assert_exhaustion": self._assert_trap,
            "assert_invalid": self._assert_invalid,
            "assert_malformed": self._assert_invalid,
            "assert_unlinkable": self._assert_unlinkable,
            "assert_uninstantiable": self._assert_uninstantiable,
        }

    def run(self, commands: Sequence[Json]) -> Iterator[Result]:
        """Run them one by one.

        Modules in text that the converter left as they are test readers of text, not engines, and
        are passed over.
        """
        for command in commands:
            kind, line = command["type"], command["line"]
            if command.get("module_type") == "text" and "binary_filename" not in command:
                continue
            result = self._run(command, line, kind)
            if kind == "module" and result.status is not Status.PASSED:
                self._modules[None] = result
                self._modules[command.get("name")] = result
            if kind not in _SILENT:
                yield result

    def _run(self, command: Json, line: int, kind: str) -> Result:
        do = self._do.get(kind)
        if do is None:
            return Result(
                line, kind, Status.UNSUPPORTED, "a command that this runner does not know"
            )
        try:
            do(command)
        except _MissingError as missing:
            cause = missing.result
            reason = f"needs the module of line {cause.cause or cause.line}: {cause.reason}"
            reason = cause.reason if cause.cause else reason
            return Result(line, kind, cause.status, reason, cause.cause or cause.line)
        except UnsupportedError as error:
            return Result(line, kind, Status.UNSUPPORTED, str(error))
        except CompileError as error:
            needs = self._lacks(command)
            status = Status.UNSUPPORTED if needs else Status.FAILED
            return Result(line, kind, status, f"{type(error).__name__}: {error}")
        except (AnyWasmError, _FailedError) as error:
            name = "" if isinstance(error, _FailedError) else f"{type(error).__name__}: "
            return Result(line, kind, Status.FAILED, f"{name}{error}")
        return Result(line, kind)

    def _lacks(self, command: Json) -> bool:
        """Whether the module is valid, but not with the features alone that the engine claims."""
        features = self._vm.capabilities.features
        return not self._converter.is_valid(self._path(command), features)

    # --- modules ---

    def _path(self, command: Json) -> Path:
        name: str = command.get("binary_filename", command["filename"])
        return self._folder / name

    def _instantiate(self, command: Json) -> Instance:
        module = self._vm.compile(self._path(command).read_bytes())
        given: dict[str, Mapping[str, Any]] = {}
        for wanted in module.imports:
            found = self._registered.get(wanted.module, {})
            if isinstance(found, Result):
                raise _MissingError(found)
            given[wanted.module] = found
        return module.instantiate(given, store=self._store)

    def _module(self, command: Json) -> None:
        instance = self._instantiate(command)
        self._modules[None] = self._modules[command.get("name")] = instance

    def _register(self, command: Json) -> None:
        found = self._modules.get(command.get("name"))
        self._registered[command["as"]] = found.exports if isinstance(found, Instance) else found  # type: ignore[assignment]

    def _instance(self, name: str | None) -> Instance:
        found = self._modules[name]
        if isinstance(found, Result):
            raise _MissingError(found)
        return found

    # --- actions ---

    def _perform(self, action: Json) -> tuple[tuple[Any, ...], bool]:
        """The results of an action, and whether they are bits."""
        instance = self._instance(action.get("module"))
        name = action["field"]
        if action["type"] == "get":
            variable: Global = instance.exports[name]
            return (variable.value,), False
        args = action["args"]
        func_type = self._type(action)
        raw = REFERENCES.isdisjoint(func_type.params + func_type.results)
        if raw:
            result: Any = instance.call_bits(name, *map(bits_of, args))
        else:
            result = instance.exports[name](*map(python_of, args))
        if not func_type.results:
            return (), raw
        return (result if isinstance(result, tuple) else (result,)), raw

    def _type(self, action: Json) -> FuncType:
        exports = self._instance(action.get("module")).module.exports_by_name
        return cast(FuncType, exports[action["field"]].type)

    def _action(self, command: Json) -> None:
        self._perform(command["action"])

    # --- assertions ---

    def _assert_return(self, command: Json) -> None:
        expected = command["expected"]
        results, raw = self._perform(command["action"])
        if len(results) != len(expected) or not all(
            fits(pattern, value, raw=raw) for pattern, value in zip(expected, results)
        ):
            wanted = ", ".join(f"{item['type']} {item.get('value', '')}" for item in expected)
            got = shown(expected, results, raw=raw)
            raise _FailedError(f"{command['action']['field']}: {got} instead of {wanted}")

    def _assert_trap(self, command: Json) -> None:
        try:
            results, raw = self._perform(command["action"])
        except TrapError as trap:
            _check_trap(trap, command["text"])
        else:
            # Not all converters say what it would return, did it not trap.
            kinds = [{"type": str(kind)} for kind in self._type(command["action"]).results]
            got = shown(kinds, results, raw=raw)
            raise _FailedError(f"{got} instead of the trap {command['text']!r}")

    def _assert_invalid(self, command: Json) -> None:
        if not self._vm.capabilities.validates:
            raise UnsupportedError("the engine does not validate (capabilities.validates)")
        try:
            self._vm.compile(self._path(command).read_bytes())
        except CompileError:
            return
        if self._converter.is_valid(self._path(command), self._vm.capabilities.features):
            raise UnsupportedError(f"valid with what the engine supports: {command['text']}")
        raise _FailedError(f"compiled, although: {command['text']}")

    def _assert_unlinkable(self, command: Json) -> None:
        try:
            self._instantiate(command)
        except LinkError:
            return
        raise _FailedError(f"linked, although: {command['text']}")

    def _assert_uninstantiable(self, command: Json) -> None:
        try:
            self._instantiate(command)
        except InstantiationError as error:
            trap = error.__cause__
            if not isinstance(trap, TrapError):
                raise _FailedError(f"{error} instead of the trap {command['text']!r}") from error
            _check_trap(trap, command["text"])
        else:
            raise _FailedError(f"started, although: {command['text']}")


def _check_trap(trap: TrapError, text: str) -> None:
    # Some engines have one kind for what scripts tell apart, and name both in their message.
    known = trap.kind is not TrapKind.OTHER and text.startswith(trap.kind.value)
    if not known and text not in trap.message:
        raise _FailedError(f"the trap {trap.message!r} ({trap.kind}) instead of {text!r}")
