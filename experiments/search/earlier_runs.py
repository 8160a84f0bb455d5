"""What a new run begins with from earlier ones: `convnas launch NEW.yaml --from RUN_DIR`.

Trials that were measured as this run measures are taken over with their scores; of a run that was
measured otherwise only its best architectures are of use, as the first to be tried.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from ... import evaluators
from ...search_space import Architecture
from ...search_space.errors import InputError, shortened
from ..config.schema import PATHS, ExperimentConfig, first_difference
from ..run import study as records
from ..run.directory import RunDirectory
from ..run.objectives import directions, measured
from .prepare import Prepared

_KEY = "--from"
_TRIED_FIRST = 5
"""How many of a run that was measured otherwise."""


@dataclass(frozen=True)
class EarlierRun:
    """`path` as the user wrote it; its complete trials, best first."""

    path: str
    run: RunDirectory
    config: ExperimentConfig
    trials: list[FrozenTrial]


def read(paths: Sequence[str | Path], run: RunDirectory, prepared: Prepared) -> list[EarlierRun]:
    """The runs that `run`, prepared and not begun, is to begin with; none where it has begun with
    just these before. Raises InputError where one is no run of this backbone with a complete trial,
    or `run` cannot take any over."""
    if not paths:
        return []
    first = str(paths[0])
    if prepared.config.storage is not None:
        raise InputError(_KEY, first, "a run whose study is in a database takes no trials over")
    if run.study_path.exists():
        kept = [t.user_attrs.get(records.FROM_RUN) for t in records.read_trials(run.study_path)]
        if {name for name in kept if name} == {_place(RunDirectory(path)) for path in paths}:
            return []
        allowed = f"{run.path} has begun already: leave it out, or choose another folder with -o"
        raise InputError(_KEY, first, allowed)
    return [_read(path, prepared.feasible.cheapest().backbone) for path in paths]


def _read(path: str | Path, backbone: str) -> EarlierRun:
    try:
        run = RunDirectory.existing(path)
    except InputError as e:
        raise InputError(_KEY, str(path), e.allowed) if e.key == "RUN_DIR" else e from None
    config = run.read_config()
    trials = records.ranked(records.read_all(run.study, config.objectives)[0])
    if not trials:
        raise InputError(_KEY, str(path), "it must hold at least one complete trial")
    theirs = _architecture(trials[0]).backbone
    if theirs != backbone:
        raise InputError(_KEY, str(path), f"its backbone is {theirs}, and here it is {backbone}")
    return EarlierRun(str(path), run, config, trials)


def beginning(
    earlier: Sequence[EarlierRun], prepared: Prepared
) -> tuple[list[FrozenTrial], list[str]]:
    """The trials that the study begins with, complete or waiting; and a line for each run that says
    what has become of its trials."""
    example = prepared.feasible.cheapest()
    trials: list[FrozenTrial] = []
    lines, seen = [], set[str]()
    for each in earlier:
        found: list[tuple[FrozenTrial, Architecture]] = []
        there = 0
        for trial in each.trials:
            # With another input the same choices may make another network, or none.
            architecture = replace(
                _architecture(trial), input=example.input, classes=example.classes
            )
            if architecture.key in seen:
                there += 1
            elif architecture in prepared.feasible:
                seen.add(architecture.key)
                found.append((trial, architecture))
        otherwise = _difference(each, prepared.config, example)
        if otherwise is None:
            found.sort(key=lambda pair: pair[0].number)
            trials += [_taken_over(*pair, each.run, prepared) for pair in found]
        else:
            # What does not become a trial may come of the next run.
            seen -= {architecture.key for _, architecture in found[_TRIED_FIRST:]}
            del found[_TRIED_FIRST:]
            trials += [_tried_first(*pair, each.run, prepared) for pair in found]
        lines.append(_said(each, len(found), there, otherwise))
    return trials, lines


def _said(each: EarlierRun, kept: int, there: int, otherwise: str | None) -> str:
    """`kept` and `there`: how many of its trials are used, and were there from another run."""
    every = len(each.trials)
    none = f"none of its {every} finished trials is in this space and budget"
    if there:
        none += " and not there already"
    if otherwise is not None:
        which = f"its best {kept} that fit are" if kept != 1 else "its best that fits is"
        what = f"{which} tried first" if kept else none
        return f"{each.path} was measured otherwise ({otherwise}): {what}"
    if not kept:
        return f"{each.path}: {none}"
    counted = [(every - kept - there, "not in this space or budget"), (there, "there already")]
    left = [f"{n} {'is' if n == 1 else 'are'} {why}" for n, why in counted if n]
    why = f" ({', '.join(left)})" if left else ""
    return f"{kept} of {every} finished trials of {each.path} taken over{why}"


def _difference(each: EarlierRun, config: ExperimentConfig, example: Architecture) -> str | None:
    """The first thing that another score may come from; None: the same network scores the same."""
    was = _measuring(each.config, _architecture(each.trials[0]))
    now = _measuring(config, example)
    for name in now:
        if was[name] != now[name]:
            key, old, new = first_difference(name, was[name], now[name])
            return f"{key}: {shortened(old)}, here {shortened(new)}"
    return None


def _measuring(config: ExperimentConfig, example: Architecture) -> dict[str, Any]:
    """All that a score depends on, besides the architecture, with its defaults."""
    beside = config.model_dump(mode="json")
    for section, key in PATHS:
        if isinstance(beside[section].get(key), str):
            beside[section][key] = os.path.realpath(beside[section][key])
    goals = measured(config.objectives)
    evaluator, data = evaluators.in_force(beside["evaluator"], beside["data"], goals)
    return {
        "space": {"input": list(example.input), "classes": example.classes},
        "data": data,
        "evaluator": evaluator,
        "objectives": [
            {"name": name, "direction": way}
            for name, way in zip(config.objective_names, directions(config.objectives), strict=True)
        ],
        # It divides the data, where they have no split_seed, and every training begins with it.
        "seed": config.seed,
        "latency": beside["latency"] if "latency" in config.objective_names else None,
    }


def _taken_over(
    trial: FrozenTrial, architecture: Architecture, run: RunDirectory, prepared: Prepared
) -> FrozenTrial:
    feasible = prepared.feasible
    labels = feasible.distributions
    kept = ("curve", "pruned", "values", "score")
    said = {k: v for k, v in trial.user_attrs.items() if k in kept or k.startswith("metric.")}
    taken = create_trial(
        values=trial.values,
        params=feasible.params(architecture),
        distributions={name: CategoricalDistribution(labels[name]) for name in labels},
        intermediate_values=trial.intermediate_values,
        user_attrs={
            **said,
            # As `Proposer` notes it with a trial of this run.
            **feasible.describe(architecture),
            "feasible": True,
            "key": architecture.key,
            "architecture": architecture.to_dict(),
            **_origin(trial, run),
            records.TAKEN_OVER: True,
        },
    )
    taken.datetime_start, taken.datetime_complete = trial.datetime_start, trial.datetime_complete
    return taken


def _tried_first(
    trial: FrozenTrial, architecture: Architecture, run: RunDirectory, prepared: Prepared
) -> FrozenTrial:
    """As Optuna's `enqueue_trial` makes it."""
    return create_trial(
        state=TrialState.WAITING,
        system_attrs={"fixed_params": prepared.feasible.params(architecture)},
        user_attrs=_origin(trial, run),
    )


def _origin(trial: FrozenTrial, run: RunDirectory) -> dict[str, Any]:
    return {records.FROM_RUN: _place(run), records.FROM_TRIAL: trial.number}


def _place(run: RunDirectory) -> str:
    return os.path.realpath(run.path)


def _architecture(trial: FrozenTrial) -> Architecture:
    return Architecture.from_dict(trial.user_attrs["architecture"])
