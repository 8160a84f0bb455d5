"""What a report says of a run: numbers alone, read from its study."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from ...search_space import Architecture, Choice
from ...search_space.backbones import get_backbone
from ..run import study as records
from ..run.finalists import Finalist

Factors = dict[str, str]


@dataclass(frozen=True)
class ScoredTrial:
    """A complete trial."""

    number: int
    score: float
    flops: int
    params: int
    architecture: Architecture
    metrics: dict[str, float]
    curve: tuple[float, ...]

    by_block: bool = False
    """Whether each block of a stage was chosen for itself."""

    @cached_property
    def factors(self) -> Factors:
        """What was chosen, a word for each thing that could be: "stage 1" -> "octave(alpha=.5)".

        An architecture names no depth, width or kernel that is the backbone's own; here they are
        named, since another trial may have chosen another.
        """
        found: Factors = {}
        backbone = get_backbone(self.architecture.backbone)
        for i, (stage, own) in enumerate(
            zip(self.architecture.stages, backbone.stages, strict=True), 1
        ):
            usual = {"depth": own.depth, "width": 1, "kernel": 3}
            blocks: Mapping[str, Choice]
            if isinstance(stage, Choice) and not self.by_block:
                blocks = {f"stage {i}": stage}
            else:
                del usual["depth"]
                if isinstance(stage, Choice):
                    stage = (stage,) * (stage.depth or own.depth)
                blocks = {f"stage {i}.{j}": choice for j, choice in enumerate(stage, 1)}
            for name, choice in blocks.items():
                found[name] = choice.text
                for more, value in usual.items():
                    found[f"{name} {more}"] = f"{getattr(choice, more) or value:g}"
        return found


def scored(trials: Iterable[FrozenTrial]) -> list[ScoredTrial]:
    """The complete trials, in the order of their numbers."""
    return [
        ScoredTrial(
            trial.number,
            trial.values[0],
            trial.user_attrs["flops"],
            trial.user_attrs["params"],
            Architecture.from_dict(trial.user_attrs["architecture"]),
            records.metrics_of(trial),
            tuple(trial.user_attrs.get("curve", ())),
            by_block=any(".block" in name for name in trial.user_attrs),
        )
        for trial in trials
        if trial.state == TrialState.COMPLETE and "architecture" in trial.user_attrs
    ]


def pareto(found: Sequence[ScoredTrial]) -> list[ScoredTrial]:
    """Those that none beats in score at as few flops, cheapest first."""
    kept: list[ScoredTrial] = []
    # Cheapest first and, of equal cost, best first: whoever comes later must score more to stay.
    for one in sorted(found, key=lambda s: (s.flops, -s.score, s.number)):
        if not kept or one.score > kept[-1].score:
            kept.append(one)
    return kept


def best_so_far(found: Sequence[ScoredTrial]) -> list[tuple[int, float]]:
    """(trial, score) at each improvement."""
    steps: list[tuple[int, float]] = []
    for one in found:
        if not steps or one.score > steps[-1][1]:
            steps.append((one.number, one.score))
    return steps


@dataclass(frozen=True)
class Importance:
    """The share of the scores' variance that one choice explains alone, corrected for chance.

    Epsilon squared of a one-way analysis of variance (Kelley, 1935): 0 where the choice does
    nothing, 1 where it decides everything; what chance alone would explain is taken off.
    """

    factor: str
    share: float


def importances(found: Sequence[ScoredTrial]) -> list[Importance]:
    """The greatest first; only of choices with at least two values, over at least 3 trials."""
    result = []
    for factor, groups in _groups(found).items():
        scores = [score for group in groups.values() for score in group]
        n, k = len(scores), len(groups)
        mean = statistics.fmean(scores)
        total = sum((score - mean) ** 2 for score in scores)
        # Without a second value, a spare degree of freedom or any spread the share is undefined.
        if k < 2 or n <= k or total == 0:
            continue
        within = sum(
            (score - statistics.fmean(group)) ** 2 for group in groups.values() for score in group
        )
        # Mean squares, not sums: with more groups less is left within them by chance alone.
        share = 1 - (within / (n - k)) / (total / (n - 1))
        result.append(Importance(factor, max(0.0, share)))
    return sorted(result, key=lambda one: -one.share)


@dataclass(frozen=True)
class Effect:
    """Trials with a choice against the others: difference of the mean scores and its standard
    error (None where a side has one trial alone)."""

    factor: str
    label: str
    trials: int
    difference: float
    error: float | None

    @property
    def clear(self) -> bool:
        """Whether the difference is beyond two standard errors."""
        return self.error is not None and abs(self.difference) > 2 * self.error


def effects(found: Sequence[ScoredTrial]) -> list[Effect]:
    """For every choice that some trials made and some did not; operators also over all stages."""
    made = [set(one.factors.items()) | _operators(one) for one in found]
    factors = list(dict.fromkeys(factor for one in found for factor in one.factors))
    every = {factor: i for i, factor in enumerate([*factors, _ANY])}
    choices = sorted(set().union(*made), key=lambda c: (every[c[0]], natural(c[1])))
    result = []
    for choice in choices:
        mine = [one.score for one, its in zip(found, made, strict=True) if choice in its]
        others = [one.score for one, its in zip(found, made, strict=True) if choice not in its]
        if others:
            difference = statistics.fmean(mine) - statistics.fmean(others)
            result.append(Effect(*choice, len(mine), difference, _error(mine, others)))
    return result


_ANY = "any stage"


def _operators(one: ScoredTrial) -> set[tuple[str, str]]:
    """Each operator that a trial has in some stage."""
    # Depths, widths and kernels are factors as well; they begin with a digit.
    words = (text.partition("(")[0] for text in one.factors.values() if text[0].isalpha())
    return {(_ANY, conv) for conv in words}


def natural(label: str) -> tuple[int, float, str]:
    """Sorts numbers by size, before words."""
    try:
        return 0, float(label), ""
    except ValueError:
        return 1, 0.0, label


def _error(one: list[float], other: list[float]) -> float | None:
    if min(len(one), len(other)) < 2:
        return None
    # Welch's: the two sides need not vary alike.
    return math.sqrt(statistics.variance(one) / len(one) + statistics.variance(other) / len(other))


def _groups(found: Sequence[ScoredTrial]) -> dict[str, dict[str, list[float]]]:
    groups: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in found:
        for factor, label in one.factors.items():
            groups[factor][label].append(one.score)
    return groups


@dataclass(frozen=True)
class Proxy:
    """How well something known early or cheaply orders the trials: Spearman's rho."""

    name: str
    rho: float
    trials: int


def proxies(found: Sequence[ScoredTrial], final: Sequence[Finalist]) -> list[Proxy]:
    """Of the score after each epoch, of costs and of other metrics, with the score at the end; and
    of the score with the mean over new seeds, where there was a final choice."""
    from scipy.stats import spearmanr

    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for one in found:
        # The last epoch foretells nothing.
        for epoch, score in enumerate(one.curve[:-1], 1):
            pairs[f"score after epoch {epoch}"].append((score, one.score))
        pairs["flops"].append((one.flops, one.score))
        pairs["params"].append((one.params, one.score))
        for name, value in one.metrics.items():
            if name not in ("accuracy", "score") and math.isfinite(value):
                pairs[name.replace("_", " ")].append((value, one.score))
    by_number = {one.number: one.score for one in found}
    for finalist in final:
        if finalist.trial in by_number:
            pair = by_number[finalist.trial], finalist.mean
            pairs["score, with the mean of new seeds"].append(pair)
    return [
        Proxy(name, float(spearmanr(*zip(*values, strict=True)).statistic), len(values))
        for name, values in pairs.items()
        # Nothing correlates with what is the same for all.
        if len(values) >= 3 and all(len(set(side)) > 1 for side in zip(*values, strict=True))
    ]


@dataclass(frozen=True)
class Spent:
    """What the search took. `seconds`: training, over all trials; `wall`: from the first trial's
    start to the last one's end, pauses between launches included. Trials that were taken over from
    an earlier run are in neither."""

    seconds: float
    wall: float
    trials: dict[str, int]
    final: int
    failures: dict[str, int]


def spent(trials: Sequence[FrozenTrial], final: Sequence[FrozenTrial]) -> Spent:
    own = [t for t in trials if not t.user_attrs.get(records.TAKEN_OVER)]
    starts = [t.datetime_start for t in own if t.datetime_start]
    ends = [t.datetime_complete for t in own if t.datetime_complete]
    wall = (max(ends) - min(starts)).total_seconds() if starts and ends else 0.0
    seconds = np.nansum([records.metrics_of(t).get("seconds", 0.0) for t in own])
    return Spent(
        float(seconds), wall, records.count(list(trials)), len(final), records.reasons(list(trials))
    )
