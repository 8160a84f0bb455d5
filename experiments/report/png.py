"""The same charts as PNG files, by matplotlib (extra `plot`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...search_space.budget import format_quantity
from ...search_space.errors import InputError
from .charts import BarChart, Chart, Line, ParallelChart, Points, XYChart

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {"muted": "#8a94a6", "accent": "#2563eb", "front": "#c2410c", "bad": "#b91c1c"}


def write_png(chart: Chart, path: Path) -> None:
    """Raises InputError where matplotlib is not installed."""
    drawn(chart).savefig(path, format="png")


def drawn(chart: Chart) -> Figure:
    """As matplotlib's figure. Raises InputError where that is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError as e:
        missing = "it needs matplotlib, which pip install 'convnas[plot]' brings"
        raise InputError("figure", chart.key, missing) from e
    figure = Figure(figsize=(9, 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.set_title(chart.title, loc="left")
    if isinstance(chart, XYChart):
        _xy(chart, axes)
    elif isinstance(chart, BarChart):
        _bars(chart, axes)
    else:
        _parallel(chart, axes)
    return figure


def _xy(chart: XYChart, axes: Any) -> None:
    for mark in chart.marks:
        if isinstance(mark, Points):
            axes.scatter(mark.x, mark.y, s=14, color=_COLOURS[mark.role], label=mark.label or None)
        elif isinstance(mark, Line):
            style = "steps-post" if mark.step else "default"
            colour = _COLOURS[mark.role]
            axes.plot(mark.x, mark.y, drawstyle=style, color=colour, label=mark.label or None)
        else:
            axes.axvline(mark.x, color="black", linestyle="--", linewidth=1, label=mark.label)
    if chart.quantity:
        axes.xaxis.set_major_formatter(lambda x, _: format_quantity(round(max(x, 0))))
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    axes.grid(alpha=0.3)
    axes.legend()


def _bars(chart: BarChart, axes: Any) -> None:
    colours = [_COLOURS["accent" if value >= 0 else "bad"] for value in chart.values]
    axes.barh(range(len(chart.labels)), chart.values, color=colours)
    axes.set_yticks(range(len(chart.labels)), chart.labels, fontsize=8)
    # The first bar on top, as in the page; matplotlib counts upwards.
    axes.invert_yaxis()
    axes.set_xlim(chart.low, chart.high)
    axes.set_xlabel(chart.x_label)


def _parallel(chart: ParallelChart, axes: Any) -> None:
    for places, strength in chart.rows:
        colour = _COLOURS["accent" if strength > 0.9 else "muted"]
        axes.plot(range(len(places)), places, color=colour, alpha=0.08 + 0.8 * strength**4)
    for i, axis in enumerate(chart.axes):
        axes.axvline(i, color="black", linewidth=0.8)
        for place, words in axis.ticks:
            axes.annotate(words, (i, place), ha="right", va="center", fontsize=7)
    axes.set_xticks(range(len(chart.axes)), [axis.name for axis in chart.axes], fontsize=8)
    axes.set_yticks([])
