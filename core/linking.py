"""Matching an importObject with what a module asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anywasm.core.capabilities import Capabilities
from anywasm.core.errors import LinkError, UnsupportedError
from anywasm.core.globals import Global
from anywasm.core.instance import Exports
from anywasm.core.memory import Memory
from anywasm.core.suspending import Suspending
from anywasm.core.tables import Table
from anywasm.core.types import ExternKind, GlobalType, ImportType

#: Module name -> import name -> value, as in the WebAssembly JS API.
ImportObject = Mapping[str, Mapping[str, Any]]


class MissingImportsError(LinkError):
    """The importObject lacks something; all that it lacks is listed at once.

    Attributes:
        missing: The imports that were not given.
    """

    def __init__(self, missing: tuple[ImportType, ...]) -> None:
        self.missing = missing
        listed = "; ".join(map(str, missing))
        super().__init__(f"{len(missing)} missing import(s): {listed}")


def _fits(
    item: ImportType, namespace: Mapping[str, Any], value: object, capabilities: Capabilities
) -> bool:
    if item.kind is ExternKind.FUNCTION:
        # An engine that does not link would take it, like any callable, for what is asked for.
        if isinstance(namespace, Exports) and not capabilities.linking:
            return namespace.types[item.name].type == item.type
        return callable(value)
    if item.kind is ExternKind.MEMORY:
        return isinstance(value, Memory)
    if item.kind is ExternKind.TABLE:
        return isinstance(value, Table)
    if isinstance(item.type, GlobalType):
        constant = isinstance(value, (int, float, bytes)) and not item.type.mutable
        return isinstance(value, Global) or constant
    return True


def resolve_imports(
    wanted: tuple[ImportType, ...], given: ImportObject | None, capabilities: Capabilities
) -> list[Any]:
    """The values for `wanted`, in its order (duplicate entries get the same value each).

    Raises:
        MissingImportsError: Naming every import that was not given, with its type.
        LinkError: For a value of another kind or type than the import.
        UnsupportedError: For a kind that the engine cannot import.
    """
    given = given or {}
    values: list[Any] = []
    missing: dict[tuple[str, str], ImportType] = {}
    wrong: list[str] = []
    for item in wanted:
        if item.kind not in capabilities.imports:
            raise UnsupportedError(f"this engine cannot import a {item.kind}: {item}")
        try:
            namespace = given[item.module]
            value = namespace[item.name]
        except KeyError:
            missing.setdefault((item.module, item.name), item)
            continue
        if isinstance(value, Suspending) and not capabilities.suspend:
            raise UnsupportedError(
                f"this engine cannot suspend guests, as {item} wants to: {value!r}"
            )
        if not _fits(item, namespace, value, capabilities):
            wrong.append(f"{item} was given {value!r}")
        values.append(value)
    if missing:
        raise MissingImportsError(tuple(missing.values()))
    if wrong:
        raise LinkError("imports of the wrong kind: " + "; ".join(wrong))
    return values
