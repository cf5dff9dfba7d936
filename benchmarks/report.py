"""A run as Markdown with pictures, and as one HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from anywasm.benchmarks.chart import bar_chart
from anywasm.benchmarks.result import Result, Run, ratio, show
from anywasm.benchmarks.suite import BINDING

_TITLES = {
    "crossing": "Crossing between Python and guests",
    "kernels": "Computing",
    "abi": "proxy-wasm without a server",
    "cold": "Cold start",
    "scaling": "Scaling",
    "http": "HTTP",
}
_HEAD = ("subject", "median", "IQR", "best", "rounds", "to the best", "to its binding")
_NOTE = (
    "Medians of all rounds with the interquartile range. Ratios are between medians of this run: "
    "how many times worse than the best subject, and than the binding's own API. "
    "Bars are on a logarithmic scale."
)
_STYLE = (
    "body{font:15px sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:.5em 0 1.5em}td,th{border:1px solid #ccc;"
    "padding:.15em .6em;text-align:left}svg{max-width:100%;height:auto}"
)
_Case = tuple[str, list[Result]]


def write_report(run: Run, folder: Path) -> tuple[Path, Path]:
    """Write `report.md` with its pictures, and `report.html`, which stands alone.

    Args:
        run: At least one result.
        folder: Made if it is missing.

    Returns:
        The paths of both.

    Raises:
        OSError: When they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = dict(_pictures(run))
    for name, svg in pictures.items():
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
    markdown, html = folder / "report.md", folder / "report.html"
    markdown.write_text("\n".join(_markdown(run, pictures)) + "\n", encoding="utf-8")
    html.write_text("\n".join(_html(run, pictures)) + "\n", encoding="utf-8")
    return markdown, html


def text_table(run: Run) -> Iterator[str]:
    """The results as plain lines: median, IQR, best, ratios to the best and to its binding."""
    for (group, case, _), results in run.cases().items():
        yield f"{group}: {case}"
        for subject, median, iqr, best, _, to_best, to_binding in _rows(results):
            figures = f"{median:>16} {iqr:>14} {best:>16} {to_best:>10} {to_binding:>10}"
            yield f"  {subject:<18} {figures}".rstrip()


def _groups(run: Run) -> dict[str, dict[str, list[_Case]]]:
    """The cases by group and unit."""
    groups: dict[str, dict[str, list[_Case]]] = {}
    for (group, case, unit), results in run.cases().items():
        groups.setdefault(group, {}).setdefault(unit, []).append((case, results))
    return groups


def _pictures(run: Run) -> Iterator[tuple[str, str]]:
    subjects = list(dict.fromkeys([*run.engines, *(result.subject for result in run.results)]))
    for group, units in _groups(run).items():
        for unit, cases in units.items():
            if any(result.median > 0 for _, results in cases for result in results):
                yield _picture(group, unit), bar_chart(cases, subjects)


def _picture(group: str, unit: str) -> str:
    return f"{group}-{unit.replace('/', '-per-')}"


def _rows(results: Sequence[Result]) -> Iterator[tuple[str, ...]]:
    by_subject = {result.subject: result for result in results}
    for result in results:
        binding = by_subject.get(result.subject + BINDING)
        yield (
            result.subject,
            show(result.median, result.unit),
            show(result.iqr, result.unit) if result.rounds > 1 else "",
            show(result.best, result.unit),
            str(result.rounds),
            f"x {ratio(result, results[0]):.2f}",
            f"x {ratio(result, binding):.2f}" if binding else "",
        )


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    yield from run.facts.items()
    for name, version in run.engines.items():
        yield f"engine {name}", version


def _markdown(run: Run, pictures: dict[str, str]) -> Iterator[str]:
    yield "# anywasm benchmarks\n"
    yield from _markdown_table(("", ""), _facts(run))
    yield f"\n{_NOTE}"
    for group, units in _groups(run).items():
        yield f"\n## {_TITLES[group]}"
        for unit, cases in units.items():
            name = _picture(group, unit)
            if name in pictures:
                yield f"\n![{_TITLES[group]}, {unit}]({name}.svg)"
            for case, results in cases:
                yield f"\n### {case}\n"
                yield from _markdown_table(_HEAD, _rows(results))
    for title, notes in _notes(run):
        yield f"\n## {title}\n"
        for name, reason in notes:
            yield f"- {name}: {reason}"


def _markdown_table(head: Sequence[str], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def _html(run: Run, pictures: dict[str, str]) -> Iterator[str]:
    yield "<!doctype html>\n<html lang='en'><meta charset='utf-8'><title>anywasm benchmarks</title>"
    yield f"<style>{_STYLE}</style>\n<h1>anywasm benchmarks</h1>"
    yield from _html_table((), _facts(run))
    yield f"<p>{_NOTE}</p>"
    for group, units in _groups(run).items():
        yield f"<h2>{_TITLES[group]}</h2>"
        for unit, cases in units.items():
            yield pictures.get(_picture(group, unit), "")
            for case, results in cases:
                yield f"<h3>{escape(case)}</h3>"
                yield from _html_table(_HEAD, _rows(results))
    for title, notes in _notes(run):
        yield f"<h2>{title}</h2><ul>"
        for name, reason in notes:
            yield f"<li>{escape(name)}: {escape(reason)}</li>"
        yield "</ul>"
    yield "</html>"


def _html_table(head: Sequence[str], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield "<table>"
    if head:
        yield "<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"
    for row in rows:
        yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
    yield "</table>"


def _notes(run: Run) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """What there are no figures of; of an error its last line, which says what it was."""
    if run.skipped:
        yield "Not measured", list(run.skipped.items())
    if run.failed:
        failed = run.failed.items()
        yield "Failed", [(name, text.strip().rpartition("\n")[2]) for name, text in failed]
