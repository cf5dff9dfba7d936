"""Bar charts as SVG, so that a report needs neither a plotting library nor a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from anywasm.benchmarks.result import Result, show

_COLORS = ("#2f6fb0", "#d9822b", "#4a9d4f", "#8c6bb1", "#c0504d", "#7f7f7f", "#17a2a8", "#b5a22c")
_LABELS, _BARS, _VALUES = 190, 460, 110
_WIDTH = _LABELS + _BARS + _VALUES
_ROW, _GAP, _TOP = 17, 26, 12


def bar_chart(cases: Sequence[tuple[str, Sequence[Result]]], colors: Sequence[str]) -> str:
    """One bar for each result, on a logarithmic scale that all cases share.

    Args:
        cases: Names with results of one unit, at least one positive.
        colors: The subjects in the order in which they get their colors.
    """
    values = [item.median for _, results in cases for item in results if item.median > 0]
    low = math.floor(math.log10(min(values)) - 0.1)
    high = max(low + 1, math.ceil(math.log10(max(values))))
    unit = cases[0][1][0].unit

    def at(value: float) -> float:
        place = (math.log10(value) - low) / (high - low) if value > 0 else 0.0
        return _LABELS + _BARS * min(1.0, max(0.0, place))

    parts: list[str] = []
    y = _TOP
    for case, results in cases:
        parts.append(_text(4, y + 14, case, "font-weight='bold'"))
        y += _GAP
        for item in results:
            color = _COLORS[colors.index(item.subject) % len(_COLORS)]
            end = at(item.median)
            parts.append(_text(_LABELS - 6, y + 11, item.subject, "text-anchor='end'"))
            size = f"width='{end - _LABELS:.1f}' height='{_ROW - 4}'"
            parts.append(f"<rect x='{_LABELS}' y='{y}' {size} fill='{color}'/>")
            label = show(item.median, unit)
            parts.append(_text(end + 5, y + 11, label, "font-size='11'"))
            y += _ROW
        y += 4
    lines = []
    for power in range(low, high + 1):
        x = at(10.0**power)
        lines.append(f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{_TOP}' y2='{y}' stroke='#ddd'/>")
        label = show(10.0**power, unit) if unit != "bytes" else f"1e{power} B"
        lines.append(_text(x, y + 14, label, "text-anchor='middle' font-size='10'"))
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {y + 24}'"
    style = f"width='{_WIDTH}' font-family='sans-serif' font-size='12'"
    background = "<rect width='100%' height='100%' fill='white'/>"
    return f"{head} {style}>\n{background}\n" + "\n".join(lines + parts) + "\n</svg>\n"


def _text(x: float, y: float, words: str, attributes: str) -> str:
    return f"<text x='{x:.1f}' y='{y}' {attributes}>{escape(words)}</text>"
