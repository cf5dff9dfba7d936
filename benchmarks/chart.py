"""Bar charts of results, drawn by matplotlib."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.figure import Figure

from anywasm.benchmarks.result import Result, show

_ROW, _HEAD, _EDGES = 0.19, 0.2, 1.0  # inches
_WIDTH = 8.6
_DOTS_PER_INCH = 110
#: Text stays text, so that a page can be searched; and the same figures make the same file.
_SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "anywasm", "font.size": 8.5}
_COLORS = mpl.colormaps["tab10"].colors  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture in two formats.

    Attributes:
        svg: For pages; its text can be searched and scaled.
        png: For places that show nothing else.
    """

    svg: str
    png: bytes


def bar_chart(
    title: str, cases: Sequence[tuple[str, Sequence[Result]]], colors: Sequence[str]
) -> Chart:
    """One bar for each result, with its interquartile range, on one logarithmic scale.

    Args:
        title: What is shown.
        cases: Names with results of one unit, at least one positive.
        colors: The subjects in the order in which they get their colors.
    """
    rows = sum(len(results) + 1 for _, results in cases)
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(_WIDTH, _EDGES + _HEAD + _ROW * rows), layout="constrained")
        axes = figure.add_subplot()
        labels: list[tuple[float, str, bool]] = []
        place = 0.0
        for case, results in cases:
            labels.append((place, case, True))
            for item in results:
                place += 1
                labels.append((place, item.subject, False))
                color = _COLORS[colors.index(item.subject) % len(_COLORS)]
                axes.barh(place, item.median, height=0.75, color=color)
                if item.iqr:
                    reach = [[min(item.iqr / 2, item.median * 0.9)], [item.iqr / 2]]
                    axes.errorbar(item.median, place, xerr=reach, color="0.2", lw=0.8, capsize=2)
                end = item.median + item.iqr / 2
                axes.annotate(
                    show(item.median, item.unit),
                    (end, place),
                    (4, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=7.5,
                )
            place += 1
        unit = cases[0][1][0].unit
        # What lies beyond the axes is not drawn; figures stand at the ends of spreads.
        ends = [item.median + item.iqr / 2 for _, results in cases for item in results]
        _scale(axes, [*ends, *(item.median for _, results in cases for item in results)], unit)
        axes.set_yticks([y for y, _, _ in labels], [text for _, text, _ in labels])
        for tick, (_, _, is_case) in zip(axes.get_yticklabels(), labels):
            tick.set_fontweight("bold" if is_case else "normal")
        axes.set_ylim(place, -1)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="0.88")
        axes.set_axisbelow(True)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        better = "more is better" if cases[0][1][0].more_is_better else "less is better"
        axes.set_title(f"{title} ({better})", loc="left", fontsize=10)
        return Chart(_save(figure, "svg").decode(), _save(figure, "png"))


def _scale(axes: mpl.axes.Axes, values: Sequence[float], unit: str) -> None:
    positive = [value for value in values if value > 0]
    low = math.floor(math.log10(min(positive)) - 0.15)
    high = max(low + 1, math.ceil(math.log10(max(positive)) + 0.15))
    axes.set_xscale("log")
    axes.set_xlim(10.0**low, 10.0**high)
    powers = [10.0**power for power in range(low, high + 1)]
    axes.set_xticks(powers, [show(power, unit) for power in powers])
    axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())


def _save(figure: Figure, form: str) -> bytes:
    file = io.BytesIO()
    metadata = {"Date": None} if form == "svg" else None
    figure.savefig(file, format=form, dpi=_DOTS_PER_INCH, metadata=metadata)
    return file.getvalue()
