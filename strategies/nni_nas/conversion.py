"""A search space as a model space of nni.nas, and its samples back as architectures.

    conversion = Conversion(space, Budget(flops="1M"))
    strategy = DARTS()  # from nni.nas.strategy
    strategy(RawFormatModelSpace(conversion.model_space(), evaluator), SequentialExecutionEngine())
    best = conversion.best(strategy)  # an Architecture inside the budget

For the whole search as trials of a study there are the strategies `nni-nas-...`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from torch import nn

from ...search_space import Architecture, Budget, SearchSpace
from ...search_space.chain.chain import Indices, Ints
from .loading import load_nni_nas, missing
from .samples import Sample, Samples

_MOST_LISTED = 200_000


class Conversion:
    """A search space and a budget for nni.nas, which has no way to keep one of its own that counts
    as we do.

    A layer choice is a stage, or at granularity "block" a block; a candidate is named as the choice
    is written, with "_" for ".", which torch has in no name: "octave(alpha=0_25, depth=1)"; a block
    that is not there is "-". ModuleNotFoundError where the extra `nas` is not installed.
    """

    def __init__(self, space: SearchSpace, budget: Budget | None = None) -> None:
        if (needed := missing("nas")) is not None:
            raise ModuleNotFoundError(f"nni.nas cannot be used: {needed}")
        self.space, self.feasible = space, space.within(budget)
        self._samples = Samples(space)

    def model_space(self) -> Any:
        """A new nni.nas ModelSpace, see `supernet.Models`."""
        load_nni_nas()
        from .supernet import Models

        return Models(self.space.to_dict())

    def architecture(self, sample: Mapping[str, Any]) -> Architecture:
        """ValueError where a label is missing, a name unknown, or blocks do not fit together."""
        return self._samples.architecture(sample)

    def sample(self, architecture: Architecture) -> Sample:
        """ValueError where the architecture is of another space."""
        return self._samples.sample(self.feasible.indices(architecture))

    def inside(self, model: Any) -> bool:
        """Whether a sample, or an NNI model with a sample, is inside the budget.

        For `nni.nas.strategy.middleware.Filter(conversion.inside)`.
        """
        try:
            point = self._samples.point(getattr(model, "sample", model))
        except ValueError:
            return False
        return bool(self.feasible.feasible(np.array([point]))[0])

    def random_one_shot(self, *, seed: int = 0) -> Any:
        """NNI's RandomOneShot, which trains a supernet path by path; these paths are uniform over
        what is inside the budget."""
        load_nni_nas()
        from .one_shot import RandomInside

        rng = np.random.default_rng(seed)
        return RandomInside(lambda: self.sample(self.feasible.sample(rng, 1)[0]))

    def best_path(
        self, strategy: Any, score: Callable[[nn.Module], float], *, n: int = 100, seed: int = 0
    ) -> Architecture:
        """The best of `n` paths inside the budget through the supernet that a one-shot strategy has
        trained, all of them where there are fewer.

        score: a path with its weights, which it shares with the others -> higher is better. The
        batch norms of a path hold statistics of all paths: a careful score estimates them anew.
        """
        rng = np.random.default_rng(seed)
        seen: dict[Indices, float] = {}
        while len(seen) < n and (point := self.feasible.sample_unseen(rng, seen)) is not None:
            sample = self.sample(self.feasible.point(point))
            seen[point] = score(strategy.supernet.freeze(sample))
        return self.feasible.point(max(seen.items(), key=lambda scored: scored[1])[0])

    def best(self, strategy: Any) -> Architecture:
        """What a differentiable one-shot strategy of NNI prefers after its run, inside the budget.

        That is the architecture with the greatest product of its candidates' probabilities; in sets
        too large to be listed, the best that local search from NNI's own choice finds. ValueError
        for a strategy that weighs no candidates: RandomOneShot, for which there is `best_path`.
        """
        weights = {}
        for module in strategy.supernet.modules():
            logits = getattr(module, "_arch_alpha", None)
            if logits is not None:
                # Logarithms: their sum ranks as the product does, and cannot underflow.
                chances = logits.detach().double().log_softmax(-1).cpu().numpy()
                weights[module.label] = dict(zip(module.names, chances, strict=True))
        if weights.keys() != self._samples.names.keys():
            raise ValueError(f"{type(strategy).__name__} weighs no candidates; try best_path")
        return self.feasible.point(
            self._likeliest(
                [np.array([weights[k][n] for n in v]) for k, v in self._samples.names.items()]
            )
        )

    def _likeliest(self, chances: list[np.ndarray[Any, np.dtype[np.float64]]]) -> Indices:
        def likelihood(points: Ints) -> np.ndarray[Any, np.dtype[np.float64]]:
            picked = [chance[points[:, i]] for i, chance in enumerate(chances)]
            return np.asarray(np.sum(picked, axis=0))

        if self.feasible.holds_at_most(_MOST_LISTED):
            points = self._listed
            return tuple(points[int(np.argmax(likelihood(points)))].tolist())
        at = np.array([self.feasible.repair_indices([int(np.argmax(c)) for c in chances])])
        while True:
            # The point itself comes first and argmax takes the first of equals, so every move is
            # strictly upwards and the walk ends.
            around = np.concatenate([at, self.feasible.neighbour_indices(at[0])])
            best = int(np.argmax(likelihood(around)))
            if best == 0:
                return tuple(at[0].tolist())
            at = around[best : best + 1]

    @cached_property
    def _listed(self) -> Ints:
        return np.array(list(self.feasible.indices_in_order()))
