"""Writes the table of `docs/engines.md` from what the engines claim, and how they do in tests.

python -m anywasm.testing.engine_table docs/engines.md

The results of WebAssembly 2.0's tests are those that `anywasm conformance --totals` put into
`conformance.json` beside the page. Needs every engine; `wasm_c_api` is shown with wasmtime's
library, to which `ANYWASM_WASM_C_API` has to point.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from anywasm.core.capabilities import Capabilities, Feature
from anywasm.core.registry import BUILT_IN, get_wasm_engine
from anywasm.core.types import ExternKind, ValueType
from anywasm.testing.conformance.report import TOTAL
from anywasm.testing.conformance.result import Status

#: What stands around the table.
_BEGIN, _END = "<!-- claims -->", "<!-- end of claims -->"
_TABLE = re.compile(rf"(?<={_BEGIN}\n).*(?={_END})", re.DOTALL)


def engine_table(results: Mapping[str, Any]) -> str:
    """The table: a row for each claim, a column for each engine of this package.

    Args:
        results: The totals of the conformance tests, by engine.

    Raises:
        EngineUnavailableError: When one of them is missing.
    """
    claims = [get_wasm_engine(name).capabilities for name in BUILT_IN]
    return "\n".join([*_rows(claims), _conformance(results), ""])


def fill_in(page: str, results: Mapping[str, Any]) -> str:
    """The page with the table as it is now between its marks."""
    assert _TABLE.search(page), f"the page has no {_BEGIN}"
    return _TABLE.sub(lambda _: engine_table(results), page)


def _rows(claims: list[Capabilities]) -> Iterator[str]:
    yield f"| | {' | '.join(f'`{name}`' for name in BUILT_IN)} |"
    yield "|" + " --- |" * (1 + len(BUILT_IN))
    for field in fields(Capabilities):
        values = [getattr(claim, field.name) for claim in claims]
        if isinstance(values[0], bool):
            yield _row(f"`{field.name}`", values)
    for kind in ExternKind:
        yield _row(f"imports: {kind}", [kind in claim.imports for claim in claims])
    for value in ValueType:
        yield _row(f"values: {value}", [value in claim.values for claim in claims])
    for feature in Feature:
        yield _row(f"wasm: {feature}", [feature in claim.features for claim in claims])


def _conformance(results: Mapping[str, Any]) -> str:
    totals = (results[name]["proposals"][TOTAL] if name in results else None for name in BUILT_IN)
    cells = ["-" if total is None else " / ".join(map(str, total.values())) for total in totals]
    return _line(f"WebAssembly 2.0's tests: {' / '.join(Status)}", cells)


def _line(title: str, cells: Sequence[str]) -> str:
    return f"| {title} | {' | '.join(cells)} |"


def _row(title: str, claimed: list[bool]) -> str:
    return _line(title, ["yes" if claim else "-" for claim in claimed])


if __name__ == "__main__":
    path = Path(sys.argv[1])
    found = json.loads(path.with_name("conformance.json").read_text())
    path.write_text(fill_in(path.read_text(), found))
