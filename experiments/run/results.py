"""What a run has found, read from its study: for `status`, the closing table and `export`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from ...search_space import Architecture
from ...search_space.errors import InputError
from ..config.schema import ExperimentConfig
from ..search import zero_cost
from ..search.pruning import Rung, correlations, rung_epochs
from . import study as records
from .directory import RunDirectory
from .finalists import Finalist, finalists
from .objectives import front
from .postgres import Database


@dataclass(frozen=True)
class Found:
    """A complete trial. `score` is the evaluator's, on the validation split where there is one.

    latency_ms: milliseconds by the run's latency table, None where it has none. final: its scores with new seeds, where the run has made its final choice and it took part.
    """

    trial: int
    score: float
    flops: int
    params: int
    architecture: Architecture
    final: Finalist | None = None
    values: tuple[float, ...] = ()
    latency_ms: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "trial": self.trial,
            "score": self.score,
            "flops": self.flops,
            "params": self.params,
            "latency_ms": self.latency_ms,
            "key": self.architecture.key,
            "architecture": self.architecture.to_dict(),
            "values": list(self.values),
            "final": self.final.to_dict() if self.final else None,
        }


def best_of(run: RunDirectory, top: int) -> list[Found]:
    """The `top` best complete trials, best first; fewer where there are fewer.

    Those of the final choice come first, by what it found, the others by the search's score.
    """
    return best_among(*records.read_all(run.study), top)


def best_among(trials: list[FrozenTrial], final: list[FrozenTrial], top: int) -> list[Found]:
    """As `best_of`, of trials that have been read."""
    judged = {one.trial: one for one in finalists(final)}
    places = {number: place for place, number in enumerate(judged)}
    ranked = sorted(records.ranked(trials), key=lambda t: places.get(t.number, len(places)))
    return [_found(trial, judged.get(trial.number)) for trial in ranked[:top]]


def front_of(run: RunDirectory) -> list[Found]:
    """The Pareto front of a run with several objectives, most accurate first."""
    objectives = run.read_config().objectives
    trials, final = records.read_all(run.study, objectives)
    judged = {one.trial: one for one in finalists(final)}
    return [_found(trial, judged.get(trial.number)) for trial in front(trials, objectives)]


def found_by_trial(run: RunDirectory, number: int) -> Found:
    """The complete trial of that number. Raises InputError, naming complete ones."""
    trials, final = records.read_all(run.study)
    complete = {trial.number: trial for trial in records.ranked(trials)}
    if number not in complete:
        best = ", ".join(str(each) for each in list(complete)[:5])
        more = f"; the best: {best}" if best else ", and there is none yet"
        raise InputError("trial", number, f"the number of a complete trial{more}")
    judged = {one.trial: one for one in finalists(final)}
    return _found(complete[number], judged.get(number))


def _found(trial: FrozenTrial, final: Finalist | None) -> Found:
    attrs = trial.user_attrs
    architecture = Architecture.from_dict(attrs["architecture"])
    values = tuple(trial.values)
    return Found(
        trial=trial.number,
        score=values[0],
        flops=attrs["flops"],
        params=attrs["params"],
        architecture=architecture,
        final=final,
        values=values,
        latency_ms=attrs.get("latency_ms"),
    )


def status(run: RunDirectory) -> dict[str, Any]:
    """JSON-able: trials by state and wanted, the best, the workers of a launch going on."""
    config = run.read_config()
    trials = records.read_trials(run.study)
    workers = run.workers()
    best = best_of(run, 1)
    several = len(config.objectives) > 1
    nodes = _nodes(run)
    heard = [one for one in nodes if config.storage and one["silent"] < config.storage.grace]
    return {
        "run": str(run.path),
        "name": config.name,
        "strategy": config.strategy.name,
        "objectives": config.objectives,
        "device": config.device,
        "active": workers is not None or bool(heard),
        "wanted": config.trials,
        "trials": records.count(trials),
        "best": best[0].to_dict() if best else None,
        "front": [found.to_dict() for found in front_of(run)] if several else [],
        "rungs": [rung.to_dict() for rung in rungs_of(config, trials)],
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


def rungs_of(config: ExperimentConfig, trials: list[FrozenTrial]) -> list[Rung]:
    """How well each rung of the run's pruner predicts; none where it has no rungs."""
    if not config.pruner.has_rungs:
        return []
    settings = config.pruner
    epochs = rung_epochs(config.epochs, eta=settings.eta, min_epochs=settings.min_epochs)
    return correlations(trials, epochs)


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


def need_best(run: RunDirectory, top: int, *, front: bool = False) -> list[Found]:
    """As `best_of`, or `front_of` with `front`, but InputError where no trial is complete."""
    found = front_of(run) if front else best_of(run, top)
    if not found:
        raise InputError("RUN_DIR", str(run.path), "it must hold at least one complete trial")
    return found
