from __future__ import annotations

from pathlib import Path

from anywasm.abi.table import HOST_FUNCTIONS
from anywasm.testing.support import support_table

_PAGE = Path(__file__).parents[2] / "docs" / "proxy-wasm-support.md"


def test_the_committed_page_is_what_the_tables_say() -> None:
    assert _PAGE.read_text(encoding="utf-8") == support_table(), (
        "run: python -m anywasm.testing.support > docs/proxy-wasm-support.md"
    )


def test_every_host_function_has_a_row() -> None:
    page = support_table()
    assert [name for name in HOST_FUNCTIONS if f"| `{name}` |" not in page] == []
