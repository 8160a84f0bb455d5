"""The figures of a report as data: what is drawn where, in the units of the axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..run.finalists import Finalist
from . import facts

Role = Literal["muted", "accent", "front", "bad"]

MOST_LINES = 300
"""Trials drawn in the parallel coordinates: more would be one grey surface."""


@dataclass(frozen=True)
class Points:
    """`label`: the words of the legend; empty: not in it."""

    x: Sequence[float]
    y: Sequence[float]
    role: Role
    label: str


@dataclass(frozen=True)
class Line:
    """`step`: level until the next point."""

    x: Sequence[float]
    y: Sequence[float]
    role: Role
    label: str
    step: bool = False


@dataclass(frozen=True)
class Rule:
    """A vertical line across the chart."""

    x: float
    label: str


@dataclass(frozen=True)
class XYChart:
    """`key`: names the figure's file and its place in the page. `quantity`: the x axis is labelled
    400K, 1M."""

    key: str
    title: str
    caption: str
    x_label: str
    y_label: str
    marks: Sequence[Points | Line | Rule]
    quantity: bool = False


@dataclass(frozen=True)
class BarChart:
    """Horizontal bars, the first on top. `low`..`high`: the ends of the axis."""

    key: str
    title: str
    caption: str
    x_label: str
    labels: Sequence[str]
    values: Sequence[float]
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True)
class Axis:
    """`ticks`: (place from 0 at the bottom to 1, words)."""

    name: str
    ticks: Sequence[tuple[float, str]]


@dataclass(frozen=True)
class ParallelChart:
    """A line for each trial: its place on each axis, and its strength from 0 (worst) to 1."""

    key: str
    title: str
    caption: str
    axes: Sequence[Axis]
    rows: Sequence[tuple[Sequence[float], float]]


Chart = XYChart | BarChart | ParallelChart


def charts_of(
    found: list[facts.ScoredTrial],
    final: list[Finalist],
    flops_limits: tuple[int | None, int | None],
    score: str,
) -> list[Chart]:
    """All figures that these trials can fill; `score`: what it is called."""
    if not found:
        return []
    made: list[Chart | None] = [
        _progress(found, score),
        _tradeoff(found, flops_limits, score),
        _parallel(found, score),
        _importance(found),
        _proxies(found, final),
    ]
    return [chart for chart in made if chart is not None]


def _progress(found: list[facts.ScoredTrial], score: str) -> Chart:
    steps = facts.best_so_far(found)
    x, y = [n for n, _ in steps], [s for _, s in steps]
    # Level on to the last trial, also where that was no improvement.
    ends = [*x, found[-1].number], [*y, y[-1]]
    return XYChart(
        "progress",
        "Best so far",
        "Each point is a complete trial; the line is the best until then.",
        "trial",
        score,
        [
            Points([s.number for s in found], [s.score for s in found], "muted", "trial"),
            Line(*ends, "accent", "best so far", step=True),
        ],
    )


def _tradeoff(
    found: list[facts.ScoredTrial], limits: tuple[int | None, int | None], score: str
) -> Chart:
    front = facts.pareto(found)
    words = ("least allowed", "budget")
    rules = [Rule(x, word) for x, word in zip(limits, words, strict=True) if x is not None]
    x, y = [s.flops for s in front], [s.score for s in front]
    return XYChart(
        "tradeoff",
        "Score against cost",
        "The Pareto front joins the trials that none beats at as few multiply-adds.",
        "multiply-adds of one image",
        score,
        [
            Points([s.flops for s in found], [s.score for s in found], "muted", "trial"),
            Line(x, y, "front", "Pareto front", step=True),
            Points(x, y, "front", ""),
            *rules,
        ],
        quantity=True,
    )


def _parallel(found: list[facts.ScoredTrial], score: str) -> Chart | None:
    labels: dict[str, set[str]] = {}
    for one in found:
        for factor, label in one.factors.items():
            labels.setdefault(factor, set()).add(label)
    varied = {
        name: sorted(found_, key=facts.natural)
        for name, found_ in labels.items()
        if len(found_) > 1
    }
    low, high = min(s.score for s in found), max(s.score for s in found)
    if not varied or high == low:
        return None
    axes = [
        Axis(name, [(i / (len(words) - 1), word) for i, word in enumerate(words)])
        for name, words in varied.items()
    ]
    ends = [(i / 4, f"{low + (high - low) * i / 4:.3f}") for i in range(5)]
    axes.append(Axis(score, ends))
    places = {
        name: {word: i / (len(words) - 1) for i, word in enumerate(words)}
        for name, words in varied.items()
    }
    ranked = sorted(found, key=lambda s: s.score)
    drawn = _thinned(ranked)
    rows = []
    for order, one in enumerate(drawn):
        # A trial without the factor (say, its block is not there) is drawn at the bottom.
        place = [places[name].get(one.factors.get(name, ""), 0.0) for name in varied]
        strength = order / max(1, len(drawn) - 1)
        rows.append(([*place, (one.score - low) / (high - low)], strength))
    which = (
        ""
        if len(drawn) == len(found)
        else (
            f" Drawn are {len(drawn)} of {len(found):,} trials: the best third of the lines are the"
            " best trials, the others are spread evenly over the rest."
        )
    )
    caption = f"A line is a trial; the darker, the better its rank.{which}"
    return ParallelChart("parallel", "Choices and score", caption, axes, rows)


def _thinned(ranked: list[facts.ScoredTrial]) -> list[facts.ScoredTrial]:
    """Worst first, and so drawn below the better ones."""
    if len(ranked) <= MOST_LINES:
        return ranked
    best = MOST_LINES // 3
    rest = ranked[:-best]
    count = MOST_LINES - best
    return [rest[i * len(rest) // count] for i in range(count)] + ranked[-best:]


def _importance(found: list[facts.ScoredTrial]) -> Chart | None:
    ranked = facts.importances(found)[:24]
    if not ranked:
        return None
    return BarChart(
        "importance",
        "Which choices matter",
        "The share of the scores' variance that each choice explains alone, what chance would"
        " explain taken off (epsilon squared). A search that follows its strategy tries some"
        " choices more often than others: read it as a hint.",
        "share of the variance",
        [one.factor for one in ranked],
        [one.share for one in ranked],
    )


def _proxies(found: list[facts.ScoredTrial], final: list[Finalist]) -> Chart | None:
    known = facts.proxies(found, final)
    if not known:
        return None
    return BarChart(
        "proxies",
        "What foretells the score",
        "Spearman's rank correlation with the score at the end, over the complete trials.",
        "rank correlation",
        [one.name for one in known],
        [one.rho for one in known],
        low=-1.0,
    )
