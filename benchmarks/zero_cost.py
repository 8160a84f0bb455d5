"""Zero-cost measures on the digits table: do they rank, do they add up over stages, do they help?

The table `digits` holds 1,331 architectures trained with three seeds; those inside 1M flops are
searched, 40 trainings a search, and a searcher sees one seed. Each search measures 128
architectures of its own draw. Regret is the gap, in points of accuracy averaged over the seeds,
between the best architecture inside the budget and the one seen the highest.

Run: python -m convnas.benchmarks.zero_cost [--repeats 30]    (kept in results/zero_cost.json)
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from convnas import Architecture, Budget, FeasibleSet, SearchSpace, evaluators, strategies
from convnas.benchmarks.record import keep
from convnas.experiments import ExperimentConfig, read_config
from convnas.experiments.analysis.agreement import agreement
from convnas.experiments.analysis.statistics import band, holm, paired_p
from convnas.experiments.config.schema import demo_config
from convnas.experiments.machine import conditions
from convnas.search_space.chain.score import SCORE, Additive, fitted

LOGARITHM = ("snip", "grad-norm")
MEASURES = (*LOGARITHM, "synflow", "naswot")
SEEDS, MEASURED, TRAININGS, REREAD = 3, 128, 40, 5
MARKS = (10, 20, 40)
Set = FeasibleSet[Architecture]


class Table:
    """Everything inside the budget: rows are points in order of cost."""

    def __init__(self, config: ExperimentConfig) -> None:
        self.space: SearchSpace = config.search_space()
        self.inside: Set = self.space.within(Budget.from_config(config.budget))
        self.points = np.array(list(self.inside.indices_in_order()))
        self.row = {tuple(point): i for i, point in enumerate(self.points.tolist())}
        architectures = [self.inside.point(point) for point in self.points.tolist()]
        self.scores = np.array(
            [
                [one.evaluate(each, seed=seed).score for seed in range(SEEDS)]
                for one in [self._evaluator(config, "tabular", table="digits")]
                for each in architectures
            ]
        )
        self.measured = {}
        for name in MEASURES:
            one = self._evaluator(config, name)
            found = np.array([one.evaluate(each, seed=0).score for each in architectures])
            self.measured[name] = np.log(found) if name in LOGARITHM else found
            print(f"{name}: {len(found)} measured", flush=True)

    def _evaluator(self, config: ExperimentConfig, name: str, **settings: Any) -> Any:
        return evaluators.create(
            {"name": name, **settings},
            config.data,
            input=self.space.input,
            classes=self.space.classes,
            device="cpu",
            seed=0,
        )

    def fit(self, measure: str, sign: int, seed: int) -> Additive:
        rng = np.random.default_rng((seed, 9))
        chosen = rng.choice(len(self.points), MEASURED, replace=False)
        values = sign * self.measured[measure][chosen]
        return fitted(self.space.chain, self.points[chosen], values)

    def guided(self, measure: str, use: str, sign: int, seed: int) -> Set:
        fit = self.fit(measure, sign, seed)
        space = self.space.scored(SCORE, fit.effects)
        if use == "feature":
            return space.within(Budget(flops="1M"))
        least = int(np.quantile(fit.of(self.points), 0.5, method="higher"))
        return space.within(Budget(flops="1M"), least={SCORE: least})

    def regrets(self, strategy: str, inside: Set, seed: int) -> list[float]:
        """In points, after each of MARKS, and with the best five seen read on all seeds."""
        rng = np.random.default_rng((seed, 3))
        shown = self.scores[np.arange(len(self.scores)), rng.integers(SEEDS, size=len(self.scores))]
        mean = self.scores.mean(axis=1)
        sampler = strategies.create(strategy, inside, seed=seed)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        rows: list[int] = []
        for _ in range(TRAININGS):
            trial = study.ask()
            rows.append(self.row[inside.indices(inside.suggest(trial))])
            study.tell(trial, float(shown[rows[-1]]))
        tried = np.array(rows)
        winners = [tried[np.argmax(shown[tried[:n]])] for n in MARKS]
        top = tried[np.argsort(-shown[tried], kind="stable")[:REREAD]]
        ends = [*mean[winners], mean[top].max()]
        return [100 * float(mean.max() - end) for end in ends]


COLUMNS = (*(f"at {n}" for n in MARKS), f"top {REREAD} re-read")


def searches(
    table: Table, strategy: str, inside_of: Callable[[int], Set], repeats: int
) -> NDArray[np.float64]:
    """(repeats, columns) regrets; the r-th search of every case has seed r."""
    return np.array([table.regrets(strategy, inside_of(seed), seed) for seed in range(repeats)])


def means(found: NDArray[np.float64]) -> dict[str, list[float]]:
    pairs = zip(COLUMNS, *band(found), strict=True)
    return {name: [round(float(mean), 3), round(float(half), 3)] for name, mean, half in pairs}


def against_no_measure(found: dict[str, NDArray[np.float64]]) -> dict[str, dict[str, float]]:
    """Each case beside its own strategy without a measure, with the best five re-read: the mean
    difference, p of the paired test, and p as one of so many comparisons."""
    guided = {label: label.partition(",")[0] for label in found if "," in label}
    gaps = {label: found[label][:, -1] - found[base][:, -1] for label, base in guided.items()}
    ps = [paired_p(gap) for gap in gaps.values()]
    return {
        label: {"difference": round(float(gap.mean()), 3), "p": p, "p_corrected": corrected}
        for (label, gap), p, corrected in zip(gaps.items(), ps, holm(ps), strict=True)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=30)
    repeats = parser.parse_args().repeats
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    table = Table(read_config(demo_config().with_name("digits-table.yaml")))
    mean = table.scores.mean(axis=1)
    measures = {}
    for name, values in table.measured.items():
        tau = agreement(values, mean, draws=200)
        measures[name] = {
            "tau": round(tau.tau, 3),
            "interval_95": [round(tau.low, 3), round(tau.high, 3)],
            "explained_by_a_sum": round(table.fit(name, 1, 0).explained, 3),
        }
        print(name, measures[name], flush=True)
    cases: dict[str, tuple[str, Callable[[int], Set]]] = {
        "random": ("random", lambda seed: table.inside),
        "predictor": ("predictor", lambda seed: table.inside),
    }
    for name in MEASURES:
        cases[f"predictor, feature {name}"] = (
            "predictor",
            partial(table.guided, name, "feature", 1),
        )
    for name, sign in (("snip", 1), ("snip", -1), ("grad-norm", -1), ("synflow", 1)):
        for strategy in ("random", "predictor"):
            cases[f"{strategy}, filter {'highest' if sign > 0 else 'lowest'} {name}"] = (
                strategy,
                partial(table.guided, name, "filter", sign),
            )
    found = {}
    for label, (strategy, inside_of) in cases.items():
        found[label] = searches(table, strategy, inside_of, repeats)
        print(label, means(found[label]), flush=True)
    result = {
        "what": (__doc__ or "").splitlines()[0],
        "conditions": {
            **conditions(),
            "repeats": repeats,
            "trainings": TRAININGS,
            "measured": MEASURED,
        },
        "architectures": len(table.points),
        "measures": measures,
        "regret_mean_and_half_interval_95": {label: means(each) for label, each in found.items()},
        "against_no_measure": against_no_measure(found),
    }
    keep("zero_cost.json", result)


if __name__ == "__main__":
    main()
