"""Charts as inline SVG: no script, no network; colours come from the page's style.

Not by matplotlib, which draws the PNG files: its SVG of the same charts is four to nine times as
long, keeps one theme's colours on a dark page, names no point, and would be needed by every report.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

from ...search_space.budget import format_quantity
from .charts import Axis, BarChart, Chart, Line, ParallelChart, Points, Rule, XYChart

WIDTH, HEIGHT = 720, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 30, 46
_TITLED = 400
"""So many points get a title of their own; more are drawn as one path."""


def svg(chart: Chart) -> str:
    """The chart as one svg element, its words escaped for HTML."""
    if isinstance(chart, XYChart):
        return _xy(chart)
    return _bars(chart) if isinstance(chart, BarChart) else _parallel(chart)


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from `low` to `high`, at most `most` and one more."""
    if not high > low:
        return [low]
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    # 0.999 and 1e-9 below: ends that are round numbers but for rounding count as such.
    step = next(power * f for f in (1, 2, 2.5, 5, 10) if power * f >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def span(values: Iterable[float]) -> tuple[float, float]:
    """The ends of an axis: the values' own with 5 % around them."""
    kept = list(values)
    low, high = min(kept), max(kept)
    # Never 0, or the scales would divide by it.
    pad = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    return low - pad, high + pad


def _open(title: str, width: float, height: float) -> str:
    label = escape(title, quote=True)
    return f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{label}">'


def _text(x: float, y: float, words: str, kind: str = "", turn: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}"{turn}>{escape(words)}</text>'


def _xy(chart: XYChart) -> str:
    drawn = [mark for mark in chart.marks if isinstance(mark, Points | Line)]
    rules = [mark for mark in chart.marks if isinstance(mark, Rule)]
    xs = [x for mark in drawn for x in mark.x] + [rule.x for rule in rules]
    ys = [y for mark in drawn for y in mark.y]
    (x_low, x_high), (y_low, y_high) = span(xs), span(ys)
    inner, tall = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def at_x(x: float) -> float:
        return _LEFT + inner * (x - x_low) / (x_high - x_low)

    def at_y(y: float) -> float:
        return _TOP + tall * (1 - (y - y_low) / (y_high - y_low))

    out = [_open(chart.title, WIDTH, HEIGHT)]
    for y in nice_ticks(y_low, y_high):
        out.append(f'<path class="grid" d="M{_LEFT} {at_y(y):.1f}H{WIDTH - _RIGHT}"/>')
        out.append(_text(_LEFT - 6, at_y(y) + 4, f"{y:g}", "end"))
    for x in nice_ticks(x_low, x_high):
        # Only the padding is below 0 there: a count of trials or multiply-adds is not.
        if x < 0 <= min(xs):
            continue
        words = format_quantity(round(x)) if chart.quantity else f"{x:g}"
        out.append(_text(at_x(x), HEIGHT - _BOTTOM + 18, words, "middle"))
    out.append(_text(_LEFT + inner / 2, HEIGHT - 8, chart.x_label, "middle"))
    out.append(_text(_LEFT - 6, _TOP - 12, chart.y_label, "end"))
    for rule in rules:
        out.append(f'<path class="rule" d="M{at_x(rule.x):.1f} {_TOP}V{HEIGHT - _BOTTOM}"/>')
        out.append(_text(at_x(rule.x) - 4, HEIGHT - _BOTTOM - 6, rule.label, "end halo"))
    out += [
        _points(mark, at_x, at_y) if isinstance(mark, Points) else _line(mark, at_x, at_y)
        for mark in drawn
    ]
    out += _legend([mark for mark in drawn if mark.label])
    return "".join([*out, "</svg>"])


_Scale = Callable[[float], float]


def _points(mark: Points, at_x: _Scale, at_y: _Scale) -> str:
    pairs = list(zip(mark.x, mark.y, strict=True))
    if len(pairs) > _TITLED:
        # Lines of no length: the style's round caps make dots of them.
        path = "".join(f"M{at_x(x):.1f} {at_y(y):.1f}h0" for x, y in pairs)
        return f'<path class="dots {mark.role}" d="{path}"/>'
    return "".join(
        f'<circle class="dot {mark.role}" cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="3.5">'
        f"<title>{x:,g}: {y:.4f}</title></circle>"
        for x, y in pairs
    )


def _line(mark: Line, at_x: _Scale, at_y: _Scale) -> str:
    path = ""
    for i, (x, y) in enumerate(zip(mark.x, mark.y, strict=True)):
        if i == 0:
            path = f"M{at_x(x):.1f} {at_y(y):.1f}"
        elif mark.step:
            path += f"H{at_x(x):.1f}V{at_y(y):.1f}"
        else:
            path += f"L{at_x(x):.1f} {at_y(y):.1f}"
    return f'<path class="line {mark.role}" d="{path}"/>'


def _legend(marks: Sequence[Points | Line]) -> list[str]:
    out, x = [], float(_LEFT + 60)
    for mark in marks:
        kind = "dots" if isinstance(mark, Points) else "line"
        sign = "h0" if isinstance(mark, Points) else "h18"
        out.append(f'<path class="{kind} {mark.role}" d="M{x:.1f} {_TOP - 16}{sign}"/>')
        out.append(_text(x + (8 if sign == "h0" else 24), _TOP - 12, mark.label))
        x += 50 + 7.5 * len(mark.label)
    return out


def _bars(chart: BarChart) -> str:
    left = min(260, 16 + 7 * max(map(len, chart.labels)))
    tall, inner = 24, WIDTH - left - 60
    height = tall * len(chart.labels) + 50

    def at(value: float) -> float:
        return left + inner * (value - chart.low) / (chart.high - chart.low)

    out = [_open(chart.title, WIDTH, height)]
    for x in nice_ticks(chart.low, chart.high, 5):
        out.append(f'<path class="grid" d="M{at(x):.1f} 4V{height - 44}"/>')
        out.append(_text(at(x), height - 28, f"{x:g}", "middle"))
    for i, (label, value) in enumerate(zip(chart.labels, chart.values, strict=True)):
        y, start = 4 + i * tall, min(at(0), at(value))
        out.append(_text(left - 8, y + 16, label, "end"))
        wide = max(1.0, abs(at(value) - at(0)))
        role = "accent" if value >= 0 else "bad"
        out.append(
            f'<rect class="bar {role}" x="{start:.1f}" y="{y + 4}" width="{wide:.1f}" height="16"/>'
        )
        out.append(_text(max(at(value), at(0)) + 5, y + 16, f"{value:.2f}"))
    out.append(_text(left + inner / 2, height - 8, chart.x_label, "middle"))
    return "".join([*out, "</svg>"])


def _parallel(chart: ParallelChart) -> str:
    top, tall = 34, 300
    # Each axis leaves room for its words, which stand on its left.
    xs, x = [], 0.0
    for axis in chart.axes:
        x += max(70, len(axis.name) * 7, 18 + 6.4 * max(len(words) for _, words in axis.ticks))
        xs.append(x)
    out = [_open(chart.title, x + 40, top + tall + 20)]
    for places, strength in chart.rows:
        pairs = zip(xs, places, strict=True)
        points = "L".join(f"{x:.0f} {top + tall * (1 - place):.1f}" for x, place in pairs)
        role = "accent" if strength > 0.9 else "muted"
        opacity = 0.08 + 0.8 * strength**4
        out.append(f'<path class="thread {role}" opacity="{opacity:.2f}" d="M{points}"/>')
    for axis, x in zip(chart.axes, xs, strict=True):
        out += _axis(axis, x, top, tall)
    return "".join([*out, "</svg>"])


def _axis(axis: Axis, x: float, top: float, tall: float) -> list[str]:
    out = [
        f'<path class="axis" d="M{x:.1f} {top}v{tall}"/>',
        _text(x, top - 14, axis.name, "middle name"),
    ]
    out += [
        _text(x - 5, top + tall * (1 - place) + 4, words, "end halo") for place, words in axis.ticks
    ]
    return out
