"""A Gaussian process over the options of a chain: what the predictor believes of untried points.

Two points are alike where the factors that matter are equal, where they use the same labels equally
often, and where their costs are near:

    k(x, y) = exp(-sum_f a_f [x_f differs from y_f] - b |counts(x) - counts(y)|^2 / 2
                  - sum_j c_j (z_j(x) - z_j(y))^2 / 2)

for factors f; z holds the log of the cost and, where the chain has one, the zero-cost score, in
standard deviations. How much each of these matters, and the noise, are learned from the results:
the a_f, b, c_j and the noise of the greatest posterior density, that is marginal likelihood
(Rasmussen and Williams, 2006, sections 2.2 and 5.4.1) times log-normal priors which keep a factor
that few results speak of near the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from ..search_space.chain.chain import Chain, Ints, Label
from ..search_space.chain.score import SCORE

Floats = NDArray[np.float64]

_DIFFERING = 3.0
"""Prior median of the sum of all a_f."""
_BY_WORD = 0.7
"""The part of an a_f that is for its label's word, where labels share words."""
_COUNTS = 1.0
"""Prior median of b, times the number of factors."""
_SIZES = 0.2
"""Prior median of every c_j."""
_NOISE = 0.1
"""Prior median of the noise, as a share of the variance."""
_WIDTH, _WIDTH_NOISE = 0.7, 1.0
"""Standard deviations of the logarithms."""
FARTHEST = 8.0
"""How far from the medians' the logarithms may go, so that near-equal scores cannot drive them to
where arithmetic ends."""
_STEPS = 25
_MOST_TUNED = 200
"""Results that the kernel is learned from: a step takes their number cubed."""
_CHUNK = 1024
"""Points whose kernel stays in a processor's cache."""


@dataclass(frozen=True, eq=False)
class Described:
    """n points: one_hot (n, labels), counts of the distinct labels (n, kinds), sizes (n, 1 or 2):
    log cost, and the zero-cost score where the chain has one."""

    one_hot: Floats
    counts: Floats
    sizes: Floats

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, which: NDArray[np.int64]) -> Described:
        return Described(self.one_hot[which], self.counts[which], self.sizes[which])


class Describer:
    """Points of a chain as numbers.

    Labels of one word, like octave(alpha=0.25) and octave(alpha=0.5), are relatives: a factor that
    has some counts twice, by its label and by its label's word.
    """

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        labels = [each for place in chain.positions for each in place.factors.values()]
        words = [tuple(map(_word, each)) for each in labels]
        related = [i for i, each in enumerate(words) if 1 < len(set(each)) < len(each)]
        distinct = [tuple(dict.fromkeys(words[i])) for i in related]
        self._related = [
            (i, np.array([kinds.index(word) for word in words[i]]))
            for i, kinds in zip(related, distinct, strict=True)
        ]
        factors = [*labels, *distinct]
        self.starts = np.cumsum([0, *map(len, factors)])
        share = np.array([_BY_WORD if i in related else 0.0 for i in range(len(labels))])
        self.medians = np.append(1.0 - share, share[related]) * _DIFFERING / len(labels)
        # Factors that choose among the same labels are counted together.
        kinds = list(dict.fromkeys(factors))
        begins = np.cumsum([0, *map(len, kinds)])
        self._adds_to = np.zeros((self.starts[-1], begins[-1]))
        for start, each in zip(self.starts, factors, strict=False):
            at = begins[kinds.index(each)] + np.arange(len(each))
            self._adds_to[start + np.arange(len(each)), at] = 1.0

    def __call__(self, points: Ints) -> Described:
        """`points`: (n, n_positions) options."""
        places = enumerate(self.chain.positions)
        chosen = np.concatenate([place.options[points[:, i]] for i, place in places], axis=1)
        of_words = [word[chosen[:, i], None] for i, word in self._related]
        chosen = np.concatenate([chosen, *of_words], axis=1)
        one_hot = np.zeros((len(points), self.starts[-1]))
        np.put_along_axis(one_hot, chosen + self.starts[:-1], 1.0, axis=1)
        costs = self.chain.cost_of(points).astype(np.float64)
        sizes = [np.log(np.maximum(costs[:, 0], 0.0) + 1.0)]
        if SCORE in self.chain.costs:
            sizes.append(costs[:, self.chain.costs.index(SCORE)])
        return Described(one_hot, one_hot @ self._adds_to, np.stack(sizes, axis=1))


def _word(label: Label) -> Label:
    return label.partition("(")[0] if isinstance(label, str) else label


class GaussianProcess:
    """Fitted to the `scores` (n,) of n >= 1 points.

    weights: a_f of every factor, b, and c_j of every size; noise: of a score, as a share of
    `variance`, which is that of the scores in units of their own standard deviation.
    """

    def __init__(self, describe: Describer, points: Described, scores: Floats) -> None:
        self._starts, self._medians = describe.starts, describe.medians
        spread = points.sizes.std(axis=0)
        self._scales = np.where(spread > 0, spread, 1.0)
        self._mean, self._scale = float(scores.mean()), float(scores.std()) or 1.0
        y = (scores - self._mean) / self._scale
        some = np.linspace(0, len(y) - 1, min(len(y), _MOST_TUNED)).astype(np.int64)
        self.weights, self.noise = self._learned(points[some], y[some])
        self._known = self._embedded(points)
        kernel = _kernel(self._known, self._known) + self.noise * np.eye(len(y))
        self._inverse = np.linalg.inv(kernel)
        self._solved = self._inverse @ y
        self.variance = float(y @ self._solved) / len(y) or 1.0

    def mean(self, points: Described) -> Floats:
        """(n,) expected scores."""
        parts = [np.arange(i, min(i + _CHUNK, len(points))) for i in range(0, len(points), _CHUNK)]
        found = [self._alike(points[part]) @ self._solved for part in parts]
        return self._mean + self._scale * np.concatenate(found)

    def deviation(self, points: Described) -> Floats:
        """(n,) standard deviations, of the score without its noise."""
        alike = self._alike(points)
        left = np.maximum(1.0 - (alike @ self._inverse * alike).sum(axis=1), 0.0)
        return np.asarray(self._scale * np.sqrt(self.variance * left))

    def _learned(self, points: Described, y: Floats) -> tuple[Floats, float]:
        """The kernel's weights, and the noise."""
        sizes = [_SIZES] * len(self._scales)
        median = np.array([*self._medians, _COUNTS / len(self._medians), *sizes, _NOISE])
        width = np.array([_WIDTH] * (len(median) - 1) + [_WIDTH_NOISE])
        terms = self._terms(points)

        def objective(logs: Floats) -> tuple[float, Floats]:
            value, slope = surprise(terms, y, np.exp(logs))
            off = (logs - np.log(median)) / width
            return value + float(off @ off) / 2, slope + off / width

        start = np.log(median)
        found = minimize(
            objective,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=[(middle - FARTHEST, middle + FARTHEST) for middle in start],
            options={"maxiter": _STEPS},
        )
        best = np.exp(found.x if np.isfinite(found.fun) else start)
        return best[:-1], float(best[-1])

    def _terms(self, points: Described) -> Floats:
        """(weights, n, n) half squared distances, which the weights multiply in the exponent."""
        parts = [points.one_hot[:, start:end] for start, end in pairwise(self._starts)]
        parts.append(points.counts)
        parts += list((points.sizes / self._scales).T[:, :, None])
        return np.stack([-_exponent(part, part) for part in parts])

    def _alike(self, points: Described) -> Floats:
        return _kernel(self._embedded(points), self._known)

    def _embedded(self, points: Described) -> Floats:
        # Half the squared distance of two embeddings is the exponent at the head of this file, so
        # that one matrix product and one exponential make the kernel.
        roots = np.sqrt(self.weights)
        factors = len(self._medians)
        parts = (
            points.one_hot * np.repeat(roots[:factors], np.diff(self._starts)),
            points.counts * roots[factors],
            points.sizes * (roots[factors + 1 :] / self._scales),
        )
        return np.concatenate(parts, axis=1)


def surprise(terms: Floats, y: Floats, weights: Floats) -> tuple[float, Floats]:
    """Minus the log marginal likelihood of `y` (n,), the variance at its best value, up to a
    constant; and its slope by the logarithms of the weights.

    terms: (k, n, n); weights: (k + 1,), the last one the noise.
    """
    n = len(y)
    kernel = np.exp(-np.tensordot(weights[:-1], terms, 1))
    try:
        factor = cho_factor(kernel + weights[-1] * np.eye(n), lower=True)
    except np.linalg.LinAlgError:
        return np.inf, np.zeros(len(weights))
    inverse = cho_solve(factor, np.eye(n))
    solved = inverse @ y
    variance = float(y @ solved) / n or 1.0
    value = n * np.log(variance) / 2 + float(np.log(np.diag(factor[0])).sum())
    pull = (inverse - np.outer(solved, solved) / variance) / 2
    slope = -np.tensordot(terms, pull * kernel, 2)
    return value, np.append(slope, np.trace(pull)) * weights


def _exponent(left: Floats, right: Floats) -> Floats:
    """(n, m) minus half the squared distances of rows."""
    exponent = left @ right.T
    exponent -= (left**2).sum(axis=1)[:, None] / 2
    exponent -= (right**2).sum(axis=1) / 2
    return np.asarray(exponent)


def _kernel(left: Floats, right: Floats) -> Floats:
    exponent = _exponent(left, right)
    return np.asarray(np.exp(exponent, out=exponent))
