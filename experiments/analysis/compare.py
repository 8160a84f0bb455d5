"""`convnas compare`: a folder with readings, curves, a table and a picture."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ... import evaluators
from ...evaluators import resolve_device
from ...evaluators.table import Table
from ...search_space import Architecture, FeasibleSet
from ...search_space.errors import InputError
from ...search_space.files import atomic_write
from ..config.schema import ExperimentConfig, as_yaml, check_continues, parse_config, resolved
from ..run.directory import RunDirectory
from ..run.outputs import refusals
from ..search import zero_cost_fit
from ..search.jobs import setup_of, slots_of
from ..search.prepare import Prepared
from ..search.signals import StopRequest
from ..workers.pool import WorkerPool
from .compare_report import markdown, picture
from .repeated_searches import compared, names_and_settings
from .statistics import Truth, summary

_CONFIG = "config.yaml"


def compare(
    prepared: Prepared,
    names: list[str],
    repeats: int,
    folder: Path,
    tell: Callable[[str], None],
) -> dict[str, Any] | None:
    """Run the comparison, or go on with one, and write it into `folder`; None where stopped.

    Raises InputError, also where `folder` holds another experiment's comparison.
    """
    config = prepared.config
    if len(config.objectives) > 1:
        raise InputError("objectives", config.objective_names, "compare looks at one alone")
    config = resolved(config, device=str(resolve_device(config.device)))
    # For its errors alone: an unknown strategy is refused before the folder is made.
    names_and_settings(config, names)
    kept = _open(folder, config)
    prepared = zero_cost_fit.with_measured(
        replace(prepared, config=config), kept, log_path=folder / "log.txt", log=tell
    )
    config, feasible = prepared.config, prepared.feasible
    # With the zero-cost fit in it, so that going on searches the same feasible set.
    _keep(folder, config)
    setup = setup_of(config, feasible.cheapest())
    slots = slots_of(config, feasible.dearest(), trials=config.trials * repeats)
    with (
        WorkerPool(slots, setup, log=folder / "log.txt", timeout=config.trial_timeout) as pool,
        StopRequest(pool.wake) as stop,
    ):
        runs = compared(prepared, names, repeats, pool, folder, stop=lambda: stop.asked, tell=tell)
    if runs is None:
        return None
    result = summary(runs, config.trials, _truth(config, feasible))
    atomic_write(folder / "compare.json", json.dumps(result, indent=1) + "\n")
    atomic_write(folder / "compare.md", markdown(result, config.name))
    if not picture(result, folder / "compare.png", config.name):
        tell("no picture: matplotlib is not installed (pip install 'convnas[plot]')")
    return result


def _truth(config: ExperimentConfig, feasible: FeasibleSet[Architecture]) -> Truth | None:
    """None where one training is all that is known of an architecture."""
    if config.evaluator["name"] != "tabular" or config.evaluator.get("mean"):
        return None
    first = feasible.cheapest()
    by_mean = evaluators.create(
        {**config.evaluator, "mean": True},
        config.data,
        input=first.input,
        classes=first.classes,
        objectives=config.objective_names,
    )
    seeds = Table.load(config.evaluator["table"]).header["seeds"]

    @cache
    def mean_of(arch: Architecture | None) -> float:
        try:
            return math.nan if arch is None else by_mean.evaluate(arch, seed=0).score
        except evaluators.EvaluationError:
            return math.nan

    return (
        Truth(seeds, np.nanmax([mean_of(arch) for arch in feasible]), mean_of)
        if seeds > 1
        else None
    )


def _open(folder: Path, config: ExperimentConfig) -> ExperimentConfig | None:
    """Make the folder; the config of the comparison that goes on there, None where none does."""
    kept = folder / _CONFIG
    with refusals(folder):
        if RunDirectory(folder).study_path.exists():
            raise InputError("out", str(folder), "a run of launch is there; choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        if kept.exists():
            found = parse_config(kept)
            check_continues(found, config)
            return found
        if any(folder.iterdir()):
            allowed = "it must be a new or empty folder, or a comparison"
            raise InputError("out", str(folder), allowed)
    return None


def _keep(folder: Path, config: ExperimentConfig) -> None:
    with refusals(folder):
        atomic_write(folder / _CONFIG, as_yaml(config))
