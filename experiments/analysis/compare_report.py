"""A comparison of strategies for people: a table, sentences, a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .statistics import SIGNIFICANT, least_repeats


def rows(result: dict[str, Any]) -> list[list[str]]:
    """The table, best first, its head first. The p-values are corrected for their number."""
    trials = result["trials"]
    marks = sorted({max(1, trials // 4), max(1, trials // 2), trials})
    by_mean = "table" in result
    head = [
        "strategy",
        *(f"best of {n}" for n in marks),
        "reaches random's end",
        "above random",
        "p",
        *(["regret by the mean", "above random by the mean", "p by the mean"] if by_mean else []),
    ]
    # By the mean at the end; a strategy without one (None) comes last.
    order = sorted(result["strategies"].items(), key=lambda item: -(item[1]["mean"][-1] or -1e300))
    table = [head]
    for name, one in order:
        reached = one["trainings_to_reach_random"]
        table.append(
            [
                name,
                *(_cell(one["mean"][n - 1], one["half_interval_95"][n - 1]) for n in marks),
                "-" if reached is None else f"after {reached}",
                *_beside_random(one),
            ]
        )
        if by_mean:
            regret = _cell(*one["by_mean"]["regret_and_half_interval_95"])
            table[-1] += [regret, *_beside_random(one["by_mean"])]
    return table


def _beside_random(standing: dict[str, Any]) -> list[str]:
    above, half = standing["above_random"], standing["above_random_half_interval_95"]
    p = standing["p_corrected"]
    return [_cell(above, half, "+"), "-" if p is None else f"{p:.3g}"]


def _cell(mean: float | None, half: float | None, sign: str = "") -> str:
    return "-" if mean is None or half is None else f"{mean:{sign}.4f} +- {half:.4f}"


def said(result: dict[str, Any]) -> list[str]:
    """What the numbers allow to be said, and what they do not: a sentence each."""
    strategies, repeats = result["strategies"], result["repeats"]
    comparisons = len(strategies) - 1
    lines = []
    if comparisons and repeats < least_repeats(comparisons):
        # The least p of n pairs is 2 / 2^n: all differences of one sign, or all of the other.
        lines.append(
            f"{repeats} repeats tell nobody apart: the p of {comparisons} paired "
            f"comparison{'s' * (comparisons > 1)} cannot fall below "
            f"{min(1, comparisons * 2 / 2**repeats):.3g}; ask for --repeats "
            f"{least_repeats(comparisons)} or more"
        )
    lines.append(_not_told_apart(strategies, "the highest readings"))
    if "table" in result:
        means = {name: one["by_mean"] for name, one in strategies.items()}
        seeds = result["table"]["seeds"]
        lines.append(_not_told_apart(means, f"the winners' means over the table's {seeds} seeds"))
    return [line for line in lines if line]


def _not_told_apart(standings: dict[str, Any], by: str) -> str:
    ps = {name: one["p_of_best_corrected"] for name, one in standings.items()}
    # Nobody is tested against himself, so the leader is the one without a p.
    (leader,) = (name for name, p in ps.items() if p is None)
    tied = [f"{name} (p {p:.2g})" for name, p in ps.items() if p is not None and p >= SIGNIFICANT]
    if not tied:
        return f"by {by}: {leader} is told apart from all others" if len(ps) > 1 else ""
    return f"by {by}: {leader} ends best, and is not told apart from {', '.join(tied)}"


def markdown(result: dict[str, Any], title: str) -> str:
    """The table for a file."""
    head, *body = rows(result)
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body)]
    about = (
        f"{result['repeats']} repeats of {result['trials']} trainings; means and their 95 % "
        "t-intervals of the best score so far; p of the paired difference from random at the end, "
        "two-sided, by flipping signs, corrected for the number of comparisons (Holm)."
    )
    return "\n".join(
        [f"# {title}", "", about, "", *lines, "", *(f"- {s}" for s in said(result)), ""]
    )


def picture(result: dict[str, Any], path: Path, title: str) -> bool:
    """Anytime curves against trainings and seconds; False where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(12, 4.5), sharey=True)
    trainings = np.arange(1, result["trials"] + 1)
    views = (
        (axes[0], trainings, "mean", "half_interval_95", "trainings"),
        (
            axes[1],
            result["seconds"],
            "mean_in_time",
            "half_interval_95_in_time",
            "seconds of training",
        ),
    )
    for axis, x, mean_key, half_key, label in views:
        for name, one in result["strategies"].items():
            mean = np.array(one[mean_key], dtype=np.float64)
            half = np.array(one[half_key], dtype=np.float64)
            axis.plot(x, mean, label=name)
            axis.fill_between(x, mean - half, mean + half, alpha=0.15)
        axis.set_xlabel(label)
    axes[0].set_ylabel("best score so far")
    axes[0].legend()
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True
