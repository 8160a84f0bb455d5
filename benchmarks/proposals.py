"""What a proposal costs: our strategies, asked singly and for batches of 10, after 100 and 1,000
results.

On a set of 15,495 points, which the predictor scores whole, and on one of 11^12, which nobody can
write out. Seconds are of `study.ask()` alone. Singly each proposal follows a new result, as with
one worker, and the model is fitted for it; in a batch it is fitted once for all.

Run: python -m convnas.benchmarks.proposals [--batches 7]; kept in results/proposals.json.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np
import optuna

from convnas import FeasibleSet, strategies

from .record import keep
from .search.tasks import nasbench201
from .timing import conditions

NAMES = ("predictor", "evolution", "local-search", "random")
BATCH = 10
FINISHED = (100, 1000)


def vast() -> FeasibleSet[Any]:
    rng = np.random.default_rng(0)
    places = [f"op{i}" for i in range(12)]
    costs = {place: rng.integers(1, 10**6, size=11).tolist() for place in places}
    options = dict.fromkeys(places, tuple(range(11)))
    return FeasibleSet.from_table(options=options, cost=costs, limit=5 * 10**6)


def studied(name: str, feasible: FeasibleSet[Any], finished: int) -> optuna.Study:
    """A study with `finished` uniform trials, scored by a noisy sum over the options."""
    sampler = strategies.create(name, feasible, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    rng = np.random.default_rng(1)
    worth = rng.normal(size=(len(feasible.chain), max(feasible.chain.shape)))
    labels: dict[str, optuna.distributions.BaseDistribution] = {
        key: optuna.distributions.CategoricalDistribution(value)
        for key, value in feasible.distributions.items()
    }
    rows = np.unique(feasible.sample_indices(rng, 2 * finished), axis=0)
    for row in rng.permutation(rows)[:finished].tolist():
        value = float(sum(worth[i, option] for i, option in enumerate(row)) + rng.normal(0, 0.3))
        study.add_trial(
            optuna.trial.create_trial(
                params=feasible.chain.params(row), distributions=labels, value=value
            )
        )
    return study


def seconds(
    name: str, feasible: FeasibleSet[Any], finished: int, batches: int, batch: int
) -> list[float]:
    """Seconds a proposal, of each batch; the first batch, which sets up, is not among them."""
    study, taken = studied(name, feasible, finished), []
    for _ in range(batches + 1):
        start = time.perf_counter()
        trials = [study.ask() for _ in range(batch)]
        taken.append((time.perf_counter() - start) / batch)
        for trial in trials:
            feasible.suggest(trial)
        study.tell(trials[0], 0.0)  # a new result, so the next batch fits anew
        for trial in trials[1:]:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return taken[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=7)
    batches = parser.parse_args().batches
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sets = {"15,495 points": nasbench201(150.0).feasible, "11^12 points": vast()}
    result: dict[str, Any] = {"what": (__doc__ or "").splitlines()[0]}
    result["conditions"] = {**conditions("cpu"), "batch": BATCH}
    for label, feasible in sets.items():
        for name in NAMES:
            for finished in FINISHED:
                for batch, how in ((BATCH, ""), (1, ", singly")):
                    found = seconds(name, feasible, finished, batches, batch)
                    key = f"{label}, {name}, {finished} finished{how}"
                    result[key] = {
                        "milliseconds_median": round(1000 * statistics.median(found), 2),
                        "least_and_most": [
                            round(1000 * end, 2) for end in (min(found), max(found))
                        ],
                    }
                    print(f"{key}: {result[key]['milliseconds_median']} ms", flush=True)
    keep("proposals.json", result)


if __name__ == "__main__":
    main()
