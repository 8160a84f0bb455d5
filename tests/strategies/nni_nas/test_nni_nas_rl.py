"""NNI's policy-based reinforcement learning walks through the study and learns from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import torch
from optuna.trial import FrozenTrial

from convnas import strategies
from convnas.search_space.feasible.feasible_set import FeasibleSet
from convnas.strategies.nni_nas.loading import load_nni_nas
from convnas.strategies.nni_nas.reinforcement import NNINasRLStrategy

LABELS: dict[str, list[Any]] = {"op0": ["a", "b", "c"], "op1": ["x", "y"], "op2": [1, 2, 3]}
COST = {"op0": [0, 1, 2], "op1": [0, 1], "op2": [0, 1, 2]}

optuna.logging.set_verbosity(optuna.logging.WARNING)


def told(n: int, updates: int) -> tuple[optuna.Study, FeasibleSet[Any], NNINasRLStrategy]:
    """A study of n results; a point scores 1 with `c`, 0 without."""
    feasible = FeasibleSet.from_table(LABELS, COST)
    sampler = NNINasRLStrategy(feasible, seed=0, samples_per_update=n // updates)
    # Another strategy's: the policy learns from what it did not ask for, too.
    other = strategies.create("random", feasible, seed=0)
    study = optuna.create_study(direction="maximize", sampler=other)
    for _ in range(n):
        trial = study.ask()
        study.tell(trial, float(feasible.suggest(trial)["op0"] == "c"))
    return study, feasible, sampler


def resumed(sampler: NNINasRLStrategy, study: optuna.Study, feasible: FeasibleSet[Any]) -> Any:
    load_nni_nas()
    from convnas.strategies.nni_nas.engine import FeasibleModels, _OneModel

    trial: FrozenTrial = study.trials[-1]
    with sampler.randomness():
        strategy = sampler.make(study, trial, np.random.default_rng(0))
        strategy.initialize(FeasibleModels(feasible), _OneModel())
        sampler.resume(strategy, study, trial, np.random.default_rng(0))
    return strategy


def test_each_result_is_the_trajectory_of_its_trials_own_options() -> None:
    study, feasible, sampler = told(6, 1)
    buffer = resumed(sampler, study, feasible)._replay_buffer
    actions = buffer.act.reshape(6, 3)
    wanted = [
        [labels.index(t.params[name]) for name, labels in LABELS.items()] for t in study.trials
    ]
    assert actions.tolist() == wanted
    rewards = buffer.rew.reshape(6, 3)
    assert not rewards[:, :2].any()
    assert rewards[:, 2].tolist() == [t.value for t in study.trials]


def chance_of_c(strategy: Any) -> float:
    from nni.nas.strategy._rl_impl import TuningTrajectoryGenerator

    walk = TuningTrajectoryGenerator(strategy.model_space, strategy._policy)
    walk.next_sample()
    return float(walk.sample_logits["op0"][2])


def test_what_was_rewarded_becomes_likelier() -> None:
    study, feasible, sampler = told(18, 1)
    empty = optuna.create_study(direction="maximize")
    empty.ask()
    before = chance_of_c(resumed(sampler, empty, feasible))
    assert chance_of_c(resumed(sampler, study, feasible)) > before


def test_the_generators_of_torch_and_numpy_are_given_back() -> None:
    study, feasible, sampler = told(4, 1)
    study.sampler = sampler
    torch.manual_seed(3)
    np.random.seed(3)
    feasible.suggest(study.ask())
    after = torch.rand(1), np.random.rand()
    torch.manual_seed(3)
    np.random.seed(3)
    assert after == (torch.rand(1), np.random.rand())
