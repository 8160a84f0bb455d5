"""What a run has found, read from its study: for `status`, the closing table and `export`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from ...evaluators.base import ACCURACY
from ...search_space import Architecture
from ...search_space.errors import InputError
from ..config.schema import ExperimentConfig
from ..search import zero_cost
from ..search.pruning import Rung, correlations, rung_epochs
from . import study as records
from .directory import RunDirectory
from .finalists import Finalist, finalists
from .objectives import front, score_name
from .postgres import Database


@dataclass(frozen=True)
class Found:
    """A complete trial. `score` is the evaluator's, on the validation split where there is one;
    `objective` the name of what it measures.

    latency_ms: milliseconds by the run's latency table, None where it has none. final: its scores
    with new seeds, where the run has made its final choice and it took part.
    """

    trial: int
    score: float
    flops: int
    params: int
    architecture: Architecture
    final: Finalist | None = None
    values: tuple[float, ...] = ()
    latency_ms: float | None = None
    objective: str = ACCURACY

    @property
    def score_name(self) -> str:
        return score_name(self.objective)

    def to_dict(self) -> dict[str, Any]:
        return {
            "trial": self.trial,
            "score": self.score,
            "objective": self.objective,
            "flops": self.flops,
            "params": self.params,
            "latency_ms": self.latency_ms,
            "key": self.architecture.key,
            "architecture": self.architecture.to_dict(),
            "values": list(self.values),
            "final": self.final.to_dict() if self.final else None,
        }


@dataclass(frozen=True)
class Results:
    """A run's config and its trials, of the search and of its final choice: read once, together."""

    config: ExperimentConfig
    trials: list[FrozenTrial]
    final: list[FrozenTrial]

    @classmethod
    def of(cls, run: RunDirectory) -> Results:
        """Raises InputError where the run has no study, RunError where it cannot be read."""
        config = run.read_config()
        return cls(config, *records.read_all(run.study, config.objectives))

    def best(self, top: int) -> list[Found]:
        """As `best_of`."""
        judged = self._judged()
        places = {number: place for place, number in enumerate(judged)}
        # The sort is stable: trials that the final choice has not seen keep the search's order.
        ranked = sorted(
            records.ranked(self.trials), key=lambda t: places.get(t.number, len(places))
        )
        return [self._found(trial, judged) for trial in ranked[:top]]

    def front(self) -> list[Found]:
        """The Pareto front, most accurate first; of one objective, its best trial."""
        judged = self._judged()
        trials = front(self.trials, self.config.objectives)
        return [self._found(trial, judged) for trial in trials]

    def trial(self, number: int) -> Found:
        """The complete trial of that number. Raises InputError, naming complete ones."""
        complete = {trial.number: trial for trial in records.ranked(self.trials)}
        if number not in complete:
            best = ", ".join(str(each) for each in list(complete)[:5])
            more = f"; the best: {best}" if best else ", and there is none yet"
            raise InputError("trial", number, f"the number of a complete trial{more}")
        return self._found(complete[number], self._judged())

    def rungs(self) -> list[Rung]:
        """How well each rung of the run's pruner predicts; none where it has no rungs."""
        pruner = self.config.pruner
        if not pruner.has_rungs:
            return []
        epochs = rung_epochs(self.config.epochs, eta=pruner.eta, min_epochs=pruner.min_epochs)
        return correlations(self.trials, epochs)

    def _judged(self) -> dict[int, Finalist]:
        return {one.trial: one for one in finalists(self.final)}

    def _found(self, trial: FrozenTrial, judged: Mapping[int, Finalist]) -> Found:
        attrs = trial.user_attrs
        values = tuple(trial.values)
        return Found(
            trial=trial.number,
            # The first objective is the score, see `check_objectives`.
            score=values[0],
            flops=attrs["flops"],
            params=attrs["params"],
            architecture=Architecture.from_dict(attrs["architecture"]),
            final=judged.get(trial.number),
            values=values,
            latency_ms=attrs.get("latency_ms"),
            objective=self.config.objective_names[0],
        )


def best_of(run: RunDirectory, top: int) -> list[Found]:
    """The `top` best complete trials, best first; fewer where there are fewer.

    Those of the final choice come first, by what it found, the others by the search's score.
    """
    return Results.of(run).best(top)


def need_best(run: RunDirectory, top: int, *, front: bool = False) -> list[Found]:
    """As `best_of`, or the Pareto front, but InputError where no trial is complete."""
    results = Results.of(run)
    found = results.front() if front else results.best(top)
    if not found:
        raise InputError("RUN_DIR", str(run.path), "it must hold at least one complete trial")
    return found


def status(run: RunDirectory) -> dict[str, Any]:
    """JSON-able: trials by state and wanted, the best, the workers of a launch going on."""
    return status_of(run, Results.of(run))


def status_of(run: RunDirectory, results: Results) -> dict[str, Any]:
    """As `status`, of results that have been read."""
    config, trials = results.config, results.trials
    workers, nodes = run.workers(), _nodes(run)
    # Workers on other machines hold no lock here: they count while they have been heard of lately.
    heard = [one for one in nodes if config.storage and one["silent"] < config.storage.grace]
    best = results.best(1)
    several = len(config.objectives) > 1
    return {
        "run": str(run.path),
        "name": config.name,
        "strategy": config.strategy.name,
        "objectives": config.objective_names,
        "device": config.device,
        "active": workers is not None or bool(heard),
        "wanted": config.trials,
        "trials": records.count(trials),
        "best": best[0].to_dict() if best else None,
        "front": [found.to_dict() for found in results.front()] if several else [],
        "rungs": [rung.to_dict() for rung in results.rungs()],
        "zero_cost": zero_cost.facts_of(config.zero_cost, trials),
        "failures": records.reasons(trials),
        "workers": workers or [],
        "nodes": nodes,
    }


def _nodes(run: RunDirectory) -> list[dict[str, Any]]:
    place = run.study
    if not isinstance(place, Database):
        return []
    from ..cluster.place import nodes_at

    with records.storage_errors(place):
        return nodes_at(place)


def verdict(found: list[Found]) -> str | None:
    """The final choice in one sentence; None where there was none."""
    if not found or found[0].final is None:
        return None
    best = found[0].final
    said = f"winner: trial {found[0].trial}, {best.shown} over {best.seeds}"
    if best.spread is None:
        return f"{said}; one seed cannot say how certain that is (final: {{seeds: 3}})"
    ties = [str(one.trial) for one in found[1:] if one.final and one.final.tied]
    if ties:
        said += f"; a tie: trial{'s' * (len(ties) > 1)} {', '.join(ties)} cannot be told from it"
    return said
