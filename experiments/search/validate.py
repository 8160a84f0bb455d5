"""Whether what a config says means something: the rooms are asked, and nothing is built."""

from __future__ import annotations

from ... import evaluators, strategies
from ...evaluators.device import check_device
from ...evaluators.settings import read_settings
from ...search_space import Budget
from ...search_space.errors import InputError
from ..config.plugins import load_plugins
from ..config.schema import ExperimentConfig
from ..run.objectives import check_objectives, measured
from ..run.postgres import Database
from ..tracking.registry import check_trackers
from . import latency, zero_cost


def validate(config: ExperimentConfig) -> None:
    """Raises InputError. The config's plugins are imported."""
    load_plugins(config.plugins)
    check_device(config.device)
    check_objectives(config.objectives)
    check_trackers(config.track)
    _check_storage(config)
    evaluators.check_settings(config.evaluator, config.data, measured(config.objectives))
    read_settings(evaluators.RetrainSettings, config.training, "training")
    latency.check(config.latency)
    zero_cost.check(config.zero_cost, config.strategy.name)
    _check_pruner(config)
    strategies.settings_of(config.strategy.name)
    Budget.from_config(config.budget)


def _check_storage(config: ExperimentConfig) -> None:
    if config.storage is None:
        return
    Database.parse(config.storage.url, config.name, key="storage.url")
    if config.storage.grace < 2 * config.storage.heartbeat:
        allowed = f"it must be at least twice the heartbeat, {config.storage.heartbeat:g}"
        raise InputError("storage.grace", config.storage.grace, allowed)
    if config.backend.name == "nni":
        allowed = "NNI runs the trials of one machine: local, or leave storage out"
        raise InputError("backend.name", "nni", allowed)


def _check_pruner(config: ExperimentConfig) -> None:
    pruner = config.pruner
    if len(config.objectives) > 1 and pruner.name == "median":
        allowed = "with several objectives: none, asha or hyperband"
        raise InputError("pruner.name", "median", allowed)
    if pruner.has_rungs and config.epochs <= pruner.min_epochs:
        allowed = f"it must be less than the {config.epochs} epochs of an evaluation"
        raise InputError("pruner.min_epochs", pruner.min_epochs, allowed)
