"""A Gaussian process over the options of a chain: what the predictor believes of untried points.

Two points are alike where few factors differ, where they use the same labels equally often, and
where their costs are near:

    k(x, y) = exp(-(a differing(x, y) + b |counts(x) - counts(y)|^2) / F - c (log cost ratio)^2)

for F factors, log costs in standard deviations. a, b and the noise are those of the greatest
marginal likelihood on a small grid (Rasmussen and Williams, 2006, sections 2.2 and 5.4.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ..search_space.exact.chain import Chain, Ints

Floats = NDArray[np.float64]

_DIFFERING = (1.2, 3.0)
_COUNTS = (0.0, 0.6)
_COST = 0.3
_NOISE = (0.03, 0.1, 0.3)
_MOST_TUNED = 200
"""Results that a grid is searched with: an eigendecomposition takes their number cubed."""


_CHUNK = 1024
"""Points whose kernel stays in a processor's cache."""


@dataclass(frozen=True, eq=False)
class Described:
    """n points: one_hot (n, labels), counts of the distinct labels (n, kinds), log_cost (n,)."""

    one_hot: Floats
    counts: Floats
    log_cost: Floats

    def __len__(self) -> int:
        return len(self.log_cost)

    def __getitem__(self, which: NDArray[np.int64]) -> Described:
        return Described(self.one_hot[which], self.counts[which], self.log_cost[which])


class Describer:
    """Points of a chain as numbers."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        factors = [labels for place in chain.positions for labels in place.factors.values()]
        self.factors = len(factors)
        self._starts = np.cumsum([0, *map(len, factors)])
        # Factors that choose among the same labels are counted together.
        kinds = list(dict.fromkeys(factors))
        begins = np.cumsum([0, *map(len, kinds)])
        self._adds_to = np.zeros((self._starts[-1], begins[-1]))
        for start, labels in zip(self._starts, factors, strict=False):
            at = begins[kinds.index(labels)] + np.arange(len(labels))
            self._adds_to[start + np.arange(len(labels)), at] = 1.0

    def __call__(self, points: Ints) -> Described:
        """`points`: (n, n_positions) options."""
        places = enumerate(self.chain.positions)
        chosen = np.concatenate([place.options[points[:, i]] for i, place in places], axis=1)
        one_hot = np.zeros((len(points), self._starts[-1]))
        np.put_along_axis(one_hot, chosen + self._starts[:-1], 1.0, axis=1)
        cost = self.chain.cost_of(points)[:, 0].astype(np.float64)
        return Described(one_hot, one_hot @ self._adds_to, np.log(np.maximum(cost, 0.0) + 1.0))


class GaussianProcess:
    """Fitted to the `scores` (n,) of n >= 1 points.

    shape: the kernel's a and b; noise: of a score, as a share of `variance`, which is that of the
    scores in units of their own standard deviation.
    """

    def __init__(self, factors: int, points: Described, scores: Floats) -> None:
        self._factors, self._points = factors, points
        self._cost_scale = float(points.log_cost.std()) or 1.0
        self._mean, self._scale = float(scores.mean()), float(scores.std()) or 1.0
        y = (scores - self._mean) / self._scale
        some = np.linspace(0, len(y) - 1, min(len(y), _MOST_TUNED)).astype(np.int64)
        self.shape, self.noise, self.variance = self._tuned(points[some], y[some])
        kernel = self._kernel(points, points) + self.noise * np.eye(len(y))
        self._inverse = np.linalg.inv(kernel)
        self._weights = self._inverse @ y

    def mean(self, points: Described) -> Floats:
        """(n,) expected scores."""
        parts = [np.arange(i, min(i + _CHUNK, len(points))) for i in range(0, len(points), _CHUNK)]
        found = [self._kernel(points[part], self._points) @ self._weights for part in parts]
        return self._mean + self._scale * np.concatenate(found)

    def deviation(self, points: Described) -> Floats:
        """(n,) standard deviations, of the score without its noise."""
        alike = self._kernel(points, self._points)
        left = np.maximum(1.0 - (alike @ self._inverse * alike).sum(axis=1), 0.0)
        return np.asarray(self._scale * np.sqrt(self.variance * left))

    def _tuned(self, points: Described, y: Floats) -> tuple[tuple[float, float], float, float]:
        """Kernel's a and b, noise as a share of the variance, and the variance."""
        best: tuple[float, tuple[float, float], float, float] | None = None
        for shape in product(_DIFFERING, _COUNTS):
            self.shape = shape
            values, vectors = np.linalg.eigh(self._kernel(points, points))
            seen = (vectors.T @ y) ** 2
            for noise in _NOISE:
                spectrum = np.maximum(values, 0.0) + noise
                variance = float((seen / spectrum).mean()) or 1.0
                likelihood = -len(y) * np.log(variance) - np.log(spectrum).sum()
                if best is None or likelihood > best[0]:
                    best = (likelihood, shape, noise, variance)
        assert best is not None
        return best[1:]

    def _kernel(self, a: Described, b: Described) -> Floats:
        # Half the squared distance of two embeddings is the exponent at the head of this file, so
        # that one matrix product and one exponential make the kernel.
        left, right = self._embedded(a), self._embedded(b)
        exponent = left @ right.T
        exponent -= (left**2).sum(axis=1)[:, None] / 2
        exponent -= (right**2).sum(axis=1) / 2
        return np.asarray(np.exp(exponent, out=exponent))

    def _embedded(self, points: Described) -> Floats:
        differing, counts = self.shape
        parts = (
            points.one_hot * np.sqrt(differing / self._factors),
            points.counts * np.sqrt(2 * counts / self._factors),
            points.log_cost[:, None] * (np.sqrt(2 * _COST) / self._cost_scale),
        )
        return np.concatenate(parts, axis=1)
