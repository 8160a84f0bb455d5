"""NNI's policy-based reinforcement learning, kept inside the budget and off repeats.

The policy (PPO, an LSTM over the factors, by tianshou) is made anew for every proposal from the
same seed and walks through the study: each result becomes the trajectory of its trial's own
options, in the order of the trials, so policy and replay buffer are those of a search that was
never cut off.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial

from ...search_space.feasible.feasible_set import FeasibleSet
from ..base import check_whole
from ..history import history
from ..nni_tuners import seed_from
from .strategies import NNINasStrategy


class NNINasRLStrategy(NNINasStrategy):
    """NNI's PolicyBasedRL. A proposal takes time in proportion to the results that there are.

    samples_per_update: results between two updates of the policy, which learns only from as many.
    """

    extra: ClassVar[str] = "nas-rl"
    tries: ClassVar[int] = 50

    def __init__(
        self, feasible: FeasibleSet[Any], *, seed: int = 0, samples_per_update: int = 20
    ) -> None:
        super().__init__(feasible, seed=seed)
        self.samples_per_update = check_whole("samples_per_update", samples_per_update, 1)

    def make(self, study: Study, trial: FrozenTrial, rng: np.random.Generator) -> Any:
        from nni.nas.strategy import PolicyBasedRL

        return PolicyBasedRL(samples_per_update=self.samples_per_update)

    def resume(
        self, strategy: Any, study: Study, trial: FrozenTrial, rng: np.random.Generator
    ) -> None:
        from nni.nas.strategy._rl_impl import TuningTrajectoryGenerator

        past = history(study, self.locate, rng)
        strategy._policy.train()
        for point, score in zip(past.points.tolist(), past.scores.tolist(), strict=True):
            # The generator is NNI's, its actions are the trial's: the trajectory has the options
            # that were trained, with what the policy thinks of them at this point of the replay.
            walk = TuningTrajectoryGenerator(strategy.model_space, strategy._policy)
            walk.policy = _Walking(walk, self.feasible.chain.params(point))
            walk.next_sample()
            strategy._add_trajectory(walk.send_reward(score))
        # The replay drew from the strategy's seed, the same for every proposal; what comes after it
        # is to differ from trial to trial.
        _seed_everything(seed_from(rng))

    @contextlib.contextmanager
    def randomness(self) -> Iterator[None]:
        """torch's and numpy's own generators, which tianshou draws from, are given back."""
        import torch

        before = np.random.get_state()
        with torch.random.fork_rng(devices=[]):
            _seed_everything(self.seed)
            try:
                yield
            finally:
                np.random.set_state(before)


class _Walking:
    """A policy whose actions are given: it says what it thinks of them, and takes them."""

    def __init__(self, walk: Any, sample: Mapping[str, Any]) -> None:
        self._policy = walk.policy
        self._actions = iter(
            walk.simplified_space[label].values.index(sample[label])
            for label, _ in walk.search_labels
        )

    def __call__(self, batch: Any, state: Any) -> Any:
        """The policy's own output with its actions overwritten, one factor a call."""
        result = self._policy(batch, state)
        result.act[:] = next(self._actions)
        return result

    def map_action(self, action: Any) -> Any:
        return self._policy.map_action(action)


def _seed_everything(seed: int) -> None:
    import torch

    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
