"""A run as Markdown with pictures, and as one HTML page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from anywasm.benchmarks.chart import Chart, bar_chart
from anywasm.benchmarks.result import Result, Run, ratio, show
from anywasm.benchmarks.suite import BINDING
from anywasm.benchmarks.summary import ratios, summary

_TITLES = {
    "crossing": "Crossing between Python and guests",
    "kernels": "Computing",
    "abi": "proxy-wasm without a server",
    "cold": "Cold start",
    "scaling": "Scaling",
    "http": "HTTP",
}
_UNITS = {"s": "time", "bytes": "memory", "requests/s": "requests per second"}
_HEAD = ("subject", "median", "IQR", "best", "rounds", "to the best", "to its binding")
#: Rows of one picture at most, the names of cases among them.
_ROWS = 44
_RATIOS = ("what", "here", "there", "who", "here / there", "best rounds")
_RATIO_NOTE = (
    "Below 1 is better for this host, whatever the unit. Ratios of medians of this run, and of the "
    "best round of each."
)
_NOTE = (
    "Medians of all rounds with the interquartile range. Ratios are between medians of this run: "
    "how many times worse than the best subject, and than the binding's own API. "
    "Bars are on a logarithmic scale, their lines show the interquartile range."
)
_STYLE = (
    "body{font:15px sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:.5em 0 1.5em}td,th{border:1px solid #ccc;"
    "padding:.15em .6em;text-align:left}svg{max-width:100%;height:auto}"
)
_Case = tuple[str, list[Result]]


def write_report(run: Run, folder: Path) -> tuple[Path, Path]:
    """Write `report.md` with its pictures (SVG and PNG), and `report.html`, which stands alone.

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
    for name, chart in pictures.items():
        (folder / f"{name}.svg").write_text(chart.svg, encoding="utf-8")
        (folder / f"{name}.png").write_bytes(chart.png)
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
    """The cases by group, and by what is measured there: what stands after the colon, or a unit."""
    groups: dict[str, dict[str, list[_Case]]] = {}
    for (group, case, unit), results in run.cases().items():
        measure = case.rpartition(": ")[2] if group == "http" and ": " in case else _UNITS[unit]
        groups.setdefault(group, {}).setdefault(measure, []).append((case, results))
    return groups


def _pictures(run: Run) -> Iterator[tuple[str, Chart]]:
    subjects = list(dict.fromkeys([*run.engines, *(result.subject for result in run.results)]))
    for group, measures in _groups(run).items():
        for measure, cases in measures.items():
            for number, part in enumerate(_parts(cases)):
                title = f"{_TITLES[group]}, {measure}"
                yield _picture(group, measure, number), bar_chart(title, part, subjects)


def _parts(cases: Sequence[_Case]) -> Iterator[list[_Case]]:
    """The cases with something to show, in pictures that are not too long."""
    part: list[_Case] = []
    rows = 0
    for case, results in cases:
        if not any(result.median > 0 for result in results):
            continue
        rows += len(results) + 1
        if part and rows > _ROWS:
            yield part
            part, rows = [], len(results) + 1
        part.append((case, results))
    if part:
        yield part


def _picture(group: str, measure: str, number: int) -> str:
    name = f"{group}-{re.sub('[^a-z0-9]+', '-', measure.lower())}"
    return f"{name}-{number + 1}" if number else name


def _shown(pictures: dict[str, Chart], group: str, measure: str) -> Iterator[tuple[str, Chart]]:
    """The pictures of one measure, with their names."""
    number = 0
    while (name := _picture(group, measure, number)) in pictures:
        yield name, pictures[name]
        number += 1


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


def _ratio_rows(run: Run) -> Iterator[tuple[str, ...]]:
    for item in ratios(run):
        shares = (f"{x:.3f}" if x < 0.1 else f"{x:.2f}" for x in (item.share, item.best))
        yield item.what, item.ours, item.theirs, item.who, *shares


def _markdown(run: Run, pictures: dict[str, Chart]) -> Iterator[str]:
    yield "# anywasm benchmarks\n"
    yield from _markdown_table(("", ""), _facts(run))
    sentences = list(summary(run))
    if sentences:
        yield "\n## Which engine when\n"
        yield from (f"- {sentence}" for sentence in sentences)
    rows = list(_ratio_rows(run))
    if rows:
        yield f"\n## Beside bindings and Envoy\n\n{_RATIO_NOTE}\n"
        yield from _markdown_table(_RATIOS, iter(rows))
    yield f"\n{_NOTE}"
    for group, measures in _groups(run).items():
        yield f"\n## {_TITLES[group]}"
        for measure, cases in measures.items():
            for name, _ in _shown(pictures, group, measure):
                yield f"\n![{_TITLES[group]}, {measure}]({name}.svg)"
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


def _html(run: Run, pictures: dict[str, Chart]) -> Iterator[str]:
    yield "<!doctype html>\n<html lang='en'><meta charset='utf-8'><title>anywasm benchmarks</title>"
    yield f"<style>{_STYLE}</style>\n<h1>anywasm benchmarks</h1>"
    yield from _html_table((), _facts(run))
    sentences = list(summary(run))
    if sentences:
        yield "<h2>Which engine when</h2><ul>"
        yield from (f"<li>{escape(sentence)}</li>" for sentence in sentences)
        yield "</ul>"
    rows = list(_ratio_rows(run))
    if rows:
        yield f"<h2>Beside bindings and Envoy</h2><p>{_RATIO_NOTE}</p>"
        yield from _html_table(_RATIOS, iter(rows))
    yield f"<p>{_NOTE}</p>"
    for group, measures in _groups(run).items():
        yield f"<h2>{_TITLES[group]}</h2>"
        for measure, cases in measures.items():
            for _, chart in _shown(pictures, group, measure):
                # A page has the declarations already.
                yield chart.svg[chart.svg.index("<svg") :]
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
