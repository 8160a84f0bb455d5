"""What very many workers do to proposals and duplicates: trainings simulated, all else real.

A PostgreSQL server of its own, Optuna's storage, the table of claims and the strategies are the
real ones; only time is virtual. A worker asks, "trains" for a drawn time, tells, and asks again.
Each ask runs for real when its moment comes and is timed; between its reading of the study and its
claim the clock goes on, so others ask and claim meanwhile, as on machines of their own. Taking a
trial happens under one lock: whoever comes while it is held waits for it. Most workers share a
storage's cache, or a thousand would not fit into one process; a few, the probes, have one of their
own, and so read whatever has been finished since they asked last.

Not in it: the server's slowing down when many speak to it at once, and the network.

Run: python -m convnas.benchmarks.cluster [--workers 10 1000]; kept in
benchmarks/results/cluster.json.
"""

from __future__ import annotations

import argparse
import copy
import heapq
import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.trial import Trial

from convnas import Architecture, Budget, FeasibleSet, SearchSpace, strategies
from convnas.benchmarks.record import keep
from convnas.experiments.cluster.ledger import PostgresLedger
from convnas.experiments.machine import conditions
from convnas.experiments.run.postgres import Database
from convnas.tests.experiments.cluster.postgres import Server

PROBES = 40
MORE = 300
"""Trials after every worker has had its first."""
TRAINING = 600.0
"""Seconds a training takes on average; log-normal, sigma 0.4."""
RAMP = 60.0
"""Seconds over which the workers start."""

CONVOLUTIONS = {"conv": ["vanilla", "octave", "hetconv", "res2net"], "scales": [2, 4, 8]}
NUMBERS = {"alpha": [0.125, 0.25, 0.5, 0.75], "p": [2, 4, 8]}
SPACES: dict[str, tuple[dict[str, Any], str]] = {
    "small": (
        {
            "backbone": "resnet-cifar",
            "input": [1, 8, 8],
            "classes": 10,
            "stage": {**CONVOLUTIONS, **NUMBERS, "depth": [1, 2, 3]},
        },
        "1M",
    ),
    "large": (
        {
            "backbone": "resnet20",
            "input": [3, 32, 32],
            "classes": 10,
            "granularity": "block",
            "stage": {
                "conv": ["vanilla", "octave", "hetconv"],
                "alpha": [0.125, 0.25, 0.5],
                "p": [2, 4],
            },
        },
        "30M",
    ),
}


@dataclass(frozen=True)
class Asked:
    """Seconds of one proposal. `later`: the worker has trained before, so all are at work."""

    probe: bool
    later: bool
    waited: float
    took: float
    chose: float
    wrote: float
    refusals: int

    @property
    def whole(self) -> float:
        return self.waited + self.took + self.chose + self.wrote


class Client:
    """What a worker needs; shared by the many, owned by a probe."""

    def __init__(self, database: Database, strategy: strategies.Strategy) -> None:
        self.storage = database.open(connections=4)
        self.study = optuna.load_study(study_name=database.study, storage=self.storage)
        self.strategy = strategy
        self.ledger = PostgresLedger(self.storage, self.study._study_id, grace=10.0**9)


class Ask:
    """One worker's proposal, run in a thread that stands still between choosing and claiming."""

    def __init__(self, client: Client, feasible: FeasibleSet[Architecture], trial_id: int) -> None:
        self._client, self._feasible, self._trial_id = client, feasible, trial_id
        self.refusals, self._claims = 0, 0
        self.architecture: Architecture | None = None
        self.trial: Trial | None = None
        self._go, self._stands = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)

    def choose(self) -> float:
        """Seconds until there is something to claim."""
        started = time.perf_counter()
        self._thread.start()
        self._stands.wait()
        return time.perf_counter() - started

    def claim(self) -> float:
        """Seconds until it is claimed and written down."""
        started = time.perf_counter()
        self._go.set()
        self._thread.join()
        return time.perf_counter() - started

    def _run(self) -> None:
        study = copy.copy(self._client.study)
        study._thread_local = optuna.study.study._ThreadLocalStudyAttribute()
        study.sampler = sampler = copy.copy(self._client.strategy)
        sampler.claim = self._claim
        try:
            self.trial = Trial(study, self._trial_id)
            self.architecture = self._feasible.suggest(self.trial)
        finally:
            self._stands.set()

    def _claim(self, trial_id: int, point: Sequence[int]) -> bool:
        if not self._claims:
            self._stands.set()
            self._go.wait()
        self._claims += 1
        key = self._feasible.point(point).key
        won = self._client.ledger.claim("simulated", trial_id, key)
        self.refusals += not won
        return won


class Simulation:
    """`workers` workers that make `trials` trials by `strategy`, from an empty study."""

    def __init__(
        self,
        database: Database,
        feasible: FeasibleSet[Architecture],
        strategy: str,
        *,
        workers: int,
        trials: int,
    ) -> None:
        self.feasible, self.trials = feasible, trials
        self.asked: list[Asked] = []
        self.told: list[float] = []
        PostgresLedger.make_table(database.open(create=True))
        optuna.create_study(
            storage=database.open(), study_name=database.study, direction="maximize"
        )

        def client() -> Client:
            return Client(database, strategies.create(strategy, feasible, seed=0))

        shared = client()
        probes = min(PROBES, workers)
        self.clients = [client() for _ in range(probes)] + [shared] * (workers - probes)
        self.probes, self.shared = probes, shared
        self._rng = np.random.default_rng(1)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = itertools.count()
        self._lock_free = 0.0
        self.busy = 0.0
        self.end = 0.0
        worth = np.random.default_rng(2)
        self._worth = {
            label: worth.normal(size=len(of)) for label, of in feasible.distributions.items()
        }

    def run(self) -> None:
        for worker in range(len(self.clients)):
            self._at(float(self._rng.uniform(0, RAMP)), self._asking(worker))
        while self._events:
            now, _, event = heapq.heappop(self._events)
            event(now)
            self.end = now

    def _at(self, when: float, event: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), event))

    def _asking(self, worker: int) -> Callable[[float], None]:
        client, probed = self.clients[worker], worker < self.probes

        def begin(now: float) -> None:
            started = time.perf_counter()
            taken = client.ledger.take("simulated", self.trials, None)
            if taken.trial_id is None:
                return
            took = time.perf_counter() - started
            waited = max(0.0, self._lock_free - now)
            self._lock_free = now + waited + took
            ask = Ask(client, self.feasible, taken.trial_id)
            chose = ask.choose()

            def claim(then: float) -> None:
                wrote = ask.claim()
                later = now > RAMP
                self.asked.append(Asked(probed, later, waited, took, chose, wrote, ask.refusals))
                training = TRAINING * float(self._rng.lognormal(-0.08, 0.4))
                self.busy += training
                self._at(then + wrote + training, self._telling(worker, ask))

            self._at(now + waited + took + chose, claim)

        return begin

    def _telling(self, worker: int, ask: Ask) -> Callable[[float], None]:
        client = self.clients[worker]

        def tell(now: float) -> None:
            assert ask.trial is not None
            labels = self.feasible.distributions
            worth = sum(
                self._worth[name][labels[name].index(label)]
                for name, label in ask.trial.params.items()
            )
            started = time.perf_counter()
            client.study.tell(ask.trial.number, float(worth + self._rng.normal(0, 0.3)))
            told = time.perf_counter() - started
            self.told.append(told)
            self._at(now + told, self._asking(worker))

        return tell

    def report(self) -> dict[str, Any]:
        made = self.shared.study.get_trials(deepcopy=False)
        held = [tuple(sorted(trial.params.items())) for trial in made]
        for client in {id(each): each for each in self.clients}.values():
            client.storage.engine.dispose()
        return {
            "workers": len(self.clients),
            "trials": len(made),
            "duplicates": len(held) - len(set(held)),
            "first_choice_already_claimed": sum(a.refusals > 0 for a in self.asked),
            "claims_refused": sum(a.refusals for a in self.asked),
            "at_the_start": figures(a for a in self.asked if not a.later),
            "with_all_at_work": figures(a for a in self.asked if a.later),
            "with_all_at_work_probes_alone": figures(a for a in self.asked if a.later and a.probe),
            "telling_seconds": spread(self.told),
            "share_of_time_in_training": round(
                self.busy / (self.busy + sum(a.whole for a in self.asked) + sum(self.told)), 5
            ),
            "virtual_hours": round(self.end / 3600, 2),
        }


def figures(asked: Iterable[Asked]) -> dict[str, Any]:
    these = list(asked)
    if not these:
        return {"proposals": 0}
    return {
        "proposals": len(these),
        "seconds": spread([a.whole for a in these]),
        "waiting_for_the_lock": spread([a.waited for a in these]),
        "taking_a_trial": spread([a.took for a in these]),
        "reading_and_choosing": spread([a.chose for a in these]),
        "claiming_and_writing": spread([a.wrote for a in these]),
    }


def spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    places = {"median": len(ordered) // 2, "p95": int(0.95 * len(ordered)), "most": -1}
    return {name: round(ordered[place], 4) for name, place in places.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 1000])
    parser.add_argument("--strategies", nargs="+", default=["predictor", "tpe", "random"])
    parser.add_argument("--spaces", nargs="+", default=list(SPACES))
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    result: dict[str, Any] = {
        "what": (__doc__ or "").splitlines()[0],
        "conditions": {
            **conditions(),
            "postgres": "of its own on this machine, fsync off",
            "training_seconds": TRAINING,
            "workers_start_over_seconds": RAMP,
            "trials": f"as many as workers, and {MORE}",
        },
        "runs": [],
    }
    with Server() as server:
        os.environ["PGPASSWORD"] = server.password
        for name in given.spaces:
            space, budget = SPACES[name]
            feasible = SearchSpace.from_config({"space": space}).within(Budget(flops=budget))
            for strategy, workers in itertools.product(given.strategies, given.workers):
                database = Database.parse(server.new_database(), "simulated")
                trials = workers + MORE
                simulation = Simulation(
                    database, feasible, strategy, workers=workers, trials=trials
                )
                started = time.perf_counter()
                simulation.run()
                run = {
                    "space": name,
                    "architectures": feasible.count,
                    "strategy": strategy,
                    **simulation.report(),
                    "real_seconds": round(time.perf_counter() - started, 1),
                }
                result["runs"].append(run)
                print(json.dumps(run), flush=True)
                keep("cluster.json", result)


if __name__ == "__main__":
    main()
