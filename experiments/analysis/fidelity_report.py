"""A fidelity report: rank correlations, beside that of two seeds, and the cheapest proxy.

Two long trainings of the same architectures agree only so far: that is how much noise there is in
what every other row is compared with. It bounds no row: a measure without noise of its own can
agree with one noisy reading better than two noisy readings do with one another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ...evaluators.table import TableRow, stages_text
from ...evaluators.training.scores import SCORES
from ...search_space import Architecture
from .agreement import Floats, agreement, kendall_tau

ENOUGH = 0.9
"""A proxy still ranks when its tau is this much of the best tau, and its interval above 0."""

_FEWEST = 4


@dataclass(frozen=True)
class Level:
    """One `evaluator:`, with which every architecture is evaluated `seeds` times."""

    name: str
    evaluator: Mapping[str, Any]
    seeds: int

    def key(self, arch: Architecture) -> str:
        """Under which the journal keeps it: no two levels have the same name."""
        return f"{self.name} | {stages_text(arch)}"

    @property
    def trains(self) -> bool:
        return bool(self.evaluator["name"] == "proxy")


def summary(
    levels: list[Level],
    chosen: list[Architecture],
    records: Mapping[tuple[str, int], TableRow],
) -> dict[str, Any] | None:
    """Plain data; None where too few architectures came through. `levels` begins with the long."""

    def of(level: Level, arch: Architecture) -> list[TableRow]:
        return [records[level.key(arch), seed] for seed in range(level.seeds)]

    # Only those that came through at every level, so that all rows are of the same ones.
    whole = [
        arch
        for arch in chosen
        if all(record.reason is None for level in levels for record in of(level, arch))
    ]
    if len(whole) < _FEWEST:
        return None

    def scores(level: Level, name: str) -> Floats:
        """(len(whole), level.seeds), a seed a column."""
        return np.array([[_score(record, name) for record in of(level, a)] for a in whole])

    long, *others = levels
    truth = scores(long, "accuracy")
    between_seeds = _row(long, "accuracy", truth, truth, records)
    candidates = [
        _row(level, name, scores(level, name), truth, records)
        for level in others
        for name in (SCORES if level.trains else ("score",))
    ]
    advised = _cheapest([*(c for c in candidates if c["trains"]), between_seeds])
    return {
        "architectures": len(whole),
        "failed": len(chosen) - len(whole),
        "seeds": long.seeds,
        "between_seeds": between_seeds,
        "candidates": candidates,
        "paste": advised and _pasted(advised["evaluator"]),
        "advised": advised and [advised["level"], advised["score"]],
        "truth": truth.mean(1).tolist(),
    }


def _row(
    level: Level,
    score: str,
    values: Floats,
    truth: Floats,
    records: Mapping[tuple[str, int], TableRow],
) -> dict[str, Any]:
    # (architectures, seeds). What was measured once stands beside every long training.
    wide = values if values.shape[1] > 1 else np.repeat(values, truth.shape[1], axis=1)
    found = agreement(wide, truth, measure=_between_seeds)
    seconds = [
        record.metrics.get("seconds", 0.0)
        for (key, _), record in records.items()
        if key.startswith(f"{level.name} | ") and record.reason is None
    ]
    return {
        "level": level.name,
        "score": score,
        "tau": _rounded(found.tau),
        "low": _rounded(found.low),
        "high": _rounded(found.high),
        "seconds": round(float(np.mean(seconds)), 4),
        "trains": level.trains,
        "evaluator": {**level.evaluator, **({"score": score} if level.trains else {})},
        "values": values.mean(1).tolist(),
    }


def _between_seeds(one: Floats, other: Floats) -> float:
    """Mean tau of a column of `one` and a column of `other`, of different seeds: trainings with the
    same seed begin with the same weights, which no search may count on."""
    pairs = product(range(one.shape[1]), range(other.shape[1]))
    return float(np.mean([kendall_tau(one[:, i], other[:, j]) for i, j in pairs if i != j]))


def _score(record: TableRow, name: str) -> float:
    """The score `name` of the last epoch; of what has no epochs, its only score."""
    return SCORES[name](record.epochs[-1]) if record.epochs else record.metrics["score"]


def _rounded(value: float) -> float | None:
    return round(value, 3) if np.isfinite(value) else None


def _cheapest(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The fastest row that still ranks, see `ENOUGH`; None where no interval is above 0."""
    ranking = [row for row in rows if row["low"] is not None and row["low"] > 0]
    if not ranking:
        return None
    best = max(row["tau"] for row in ranking)
    enough = [row for row in ranking if row["tau"] >= ENOUGH * best]
    return min(enough, key=lambda row: (row["seconds"], -row["tau"]))


def _pasted(evaluator: Mapping[str, Any]) -> str:
    """As a line of a config; JSON is YAML."""
    return f"evaluator: {json.dumps(dict(evaluator))}"


def lines(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A table: first its head, then the agreement of two seeds, then every candidate."""
    head = ("evaluator", "score", "seconds", "tau", "95 % interval")
    rows = [("long, seed against seed", found["between_seeds"])]
    rows += [(each["level"], each) for each in found["candidates"]]
    return [head] + [
        (
            name,
            row["score"],
            f"{row['seconds']:.3g}",
            _shown(row["tau"]),
            f"{_shown(row['low'])} to {_shown(row['high'])}",
        )
        for name, row in rows
    ]


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def verdict(found: Mapping[str, Any]) -> str:
    """What `summary` found, in one line for people."""
    if found["advised"] is None:
        return "no training here ranks: the architectures differ less than the seeds of one do"
    level, score = found["advised"]
    return (
        f"the cheapest that still ranks (tau at least {ENOUGH:.0%} of the best, interval above 0):"
        f" {level}, {score}"
    )


def markdown(found: Mapping[str, Any]) -> str:
    head, *rows = lines(found)
    table = [f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows)]
    made = ", ".join(f"{name} {value}" for name, value in found["conditions"].items())
    about = (
        f"{found['architectures']} architectures drawn uniformly ({found['failed']} more failed), "
        f"{found['seeds']} seeds. Tau: of one training and one long training with another seed. "
        "The agreement of two long trainings says how noisy these are; it bounds nothing, since a "
        "measure with less noise can agree better with one of them."
    )
    advice = f"`{found['paste']}`" if found["paste"] else ""
    parts = [
        f"# Fidelity of {found['name']}",
        about,
        "\n".join(table),
        verdict(found),
        advice,
        made,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def picture(found: Mapping[str, Any], path: Path) -> bool:
    """Scatter plots against the long trainings; False where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    shown = [row for row in found["candidates"] if row["trains"]]
    levels = list(dict.fromkeys(row["level"] for row in shown))
    names = list(dict.fromkeys(row["score"] for row in shown))
    size = (3.4 * len(names), 3.0 * len(levels))
    figure, axes = plt.subplots(len(levels), len(names), figsize=size, squeeze=False)
    for row in shown:
        axis = axes[levels.index(row["level"])][names.index(row["score"])]
        axis.scatter(row["values"], found["truth"], s=12)
        axis.set_title(f"tau {_shown(row['tau'])}", fontsize=9)
        axis.set_xlabel(f"{row['level']}, {row['score']}")
        axis.set_ylabel("accuracy, long")
        axis.locator_params(nbins=4)
    figure.suptitle(
        f"{found['name']}: seed against seed tau {_shown(found['between_seeds']['tau'])}"
    )
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True
