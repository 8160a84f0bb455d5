"""A Gaussian process over the columns of points: what the predictor believes of untried points.

    k(x, y) = exp(-sum_c r_c (x_c - y_c)^2 / 2) + w sum_c r_c (x_c - m_c) (y_c - m_c)

The first part, a product over the columns, says that points alike in all that matters score alike;
the second, additive one, that every label has an effect of its own wherever it stands. How relevant
each column is (r), how much is additive (w) and the noise are learned from the results: those of
the greatest posterior density, that is marginal likelihood (Rasmussen and Williams, 2006, sections
2.2, 4.2.2 and 5.4.1) times log-normal priors, which keep a column that few results speak of near
what was believed of it before.

There are two noises. A point's own is what the columns cannot tell of it: it stays however often
the point is read. Seed noise is what readings of one point differ by; the mean of k readings has
1/k of its variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from .features import Features, Floats

_ADDITIVE, _OWN, _SEED = 0.1, 0.03, 0.07
"""Prior medians of the additive part's variance, of the own noise and of the seeds', as shares of
the product part's."""
_WIDTH, _WIDTH_ADDITIVE, _WIDTH_NOISE = 0.7, 1.5, 1.0
"""Standard deviations of the logarithms."""
FARTHEST = 8.0
"""How far from the medians' the logarithms may go, so that near-equal scores cannot drive them to
where arithmetic ends."""
_STEPS = 25
"""Iterations of the optimiser; each inverts an (n, n) matrix of the results at least once."""
_MOST_TUNED = 200
"""Results that the kernel is learned from: a step takes their number cubed."""
_CHUNK = 1024
"""Points whose kernel stays in a processor's cache."""
_JITTER = 1e-10
"""Added to a diagonal that rounding could leave not positive definite."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of n points: their columns (n, columns), the mean of the readings of each,
    how many there are, and the sum of squares of all readings about those means."""

    columns: Floats
    means: Floats
    times: Floats
    within: float = 0.0

    def __len__(self) -> int:
        return len(self.means)

    def some(self, n: int) -> Evidence:
        """At most `n` of them, evenly chosen."""
        at = np.linspace(0, len(self) - 1, min(len(self), n)).astype(np.int64)
        return Evidence(self.columns[at], self.means[at], self.times[at], self.within)

    def scaled(self, middle: float, scale: float) -> Evidence:
        """With `middle` taken off all readings, which are then divided by `scale`."""
        return Evidence(
            self.columns, (self.means - middle) / scale, self.times, self.within / scale**2
        )


@dataclass(frozen=True, eq=False)
class Kernel:
    """relevance: (columns,); additive: w; middle: (columns,) m; own and seed: the noises."""

    relevance: Floats
    additive: float
    middle: Floats
    own: float
    seed: float

    def product(self, left: Floats, right: Floats) -> Floats:
        """(n, columns), (m, columns) -> (n, m), the part that is a product over the columns."""
        # -|a - b|^2 / 2 as a.b - |a|^2 / 2 - |b|^2 / 2, columns scaled: one matrix product instead
        # of an array of (n, m, columns).
        roots = np.sqrt(self.relevance)
        left, right = left * roots, right * roots
        exponent = left @ right.T
        exponent -= np.einsum("ij,ij->i", left, left)[:, None] / 2
        exponent -= np.einsum("ij,ij->i", right, right) / 2
        return np.asarray(np.exp(exponent, out=exponent))

    def sums(self, left: Floats, right: Floats) -> Floats:
        """The additive part."""
        right = (right - self.middle) * (self.additive * self.relevance)
        return np.asarray(left @ right.T - right @ self.middle)

    def __call__(self, left: Floats, right: Floats) -> Floats:
        """(n, columns), (m, columns) -> (n, m)."""
        found = np.empty((len(left), len(right)))
        for i in range(0, len(left), _CHUNK):
            part = left[i : i + _CHUNK]
            found[i : i + _CHUNK] = self.product(part, right) + self.sums(part, right)
        return found

    def variance(self, columns: Floats) -> Floats:
        """(n,) the diagonal, without noise."""
        return 1.0 + ((columns - self.middle) ** 2) @ (self.additive * self.relevance)


def learned(features: Features, known: Evidence) -> Kernel:
    """The kernel of the greatest posterior density, from at most 200 of the points."""
    middle, scale = float(known.means.mean()), float(known.means.std()) or 1.0
    some = known.some(_MOST_TUNED).scaled(middle, scale)
    # What the additive part's variance is at w = 1 and median relevance, so that the prior of w
    # speaks of a share of the product part, whose variance is 1.
    typical = ((some.columns - features.middle) ** 2 @ features.medians).mean()
    medians = np.array([*features.medians, _ADDITIVE / max(typical, 1e-9), _OWN, _SEED])
    widths = np.array([*[_WIDTH] * len(features.medians), _WIDTH_ADDITIVE, *[_WIDTH_NOISE] * 2])

    def objective(logs: Floats) -> tuple[float, Floats]:
        value, slope = surprise(_kernel(features, np.exp(logs)), some)
        off = (logs - np.log(medians)) / widths
        return value + float(off @ off) / 2, slope + off / widths

    start = np.log(medians)
    found = minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[(each - FARTHEST, each + FARTHEST) for each in start],
        options={"maxiter": _STEPS},
    )
    return _kernel(features, np.exp(found.x if np.isfinite(found.fun) else start))


def _kernel(features: Features, values: Floats) -> Kernel:
    additive, own, seed = values[-3:].tolist()
    return Kernel(values[:-3], additive, features.middle, own, seed)


def surprise(kernel: Kernel, known: Evidence) -> tuple[float, Floats]:
    """Minus the log marginal likelihood of the readings, the variance at its best value, up to a
    constant; and its slope by the logarithms of relevance, w, own and seed noise."""
    n, again = len(known), float(known.times.sum()) - len(known)
    columns, centred = known.columns, known.columns - kernel.middle
    product, sums = kernel.product(columns, columns), kernel.sums(columns, columns)
    noise = kernel.own + kernel.seed / known.times
    size = len(kernel.relevance) + 3
    try:
        factor = cho_factor(product + sums + np.diag(noise), lower=True)
    except np.linalg.LinAlgError:
        return np.inf, np.zeros(size)
    inverse = cho_solve(factor, np.eye(n))
    solved = inverse @ known.means
    within = known.within / kernel.seed
    variance = (float(known.means @ solved) + within) / (n + again) or 1.0
    value = (n + again) * np.log(variance) / 2 + again * np.log(kernel.seed) / 2
    value += float(np.log(np.diag(factor[0])).sum())
    # (n, n) slope of the value by the entries of the covariance; what follows is the chain rule.
    pull = (inverse - np.outer(solved, solved) / variance) / 2
    drawn = pull * product
    # -sum_ij drawn_ij (x_ic - x_jc)^2 / 2 for each column c, `drawn` being symmetric.
    by_product = np.einsum("ic,ic->c", columns, drawn @ columns)
    by_product -= drawn.sum(axis=1) @ columns**2
    by_sums = kernel.additive * np.einsum("ic,ic->c", centred, pull @ centred)
    seeds = float(np.diag(pull) @ (kernel.seed / known.times)) + (again - within / variance) / 2
    rest = [float((pull * sums).sum()), float(np.trace(pull)) * kernel.own, seeds]
    return value, np.append((by_product + by_sums) * kernel.relevance, rest)


class Posterior:
    """What is believed after the readings; scores are in the readings' own units."""

    def __init__(self, kernel: Kernel, known: Evidence) -> None:
        self.kernel, self._known = kernel, known
        self._middle, self._scale = float(known.means.mean()), float(known.means.std()) or 1.0
        y = (known.means - self._middle) / self._scale
        alike = kernel(known.columns, known.columns)
        self._own_covariance = alike + kernel.own * np.eye(len(y))
        noise = kernel.own + kernel.seed / known.times
        self._factor = cholesky(alike + np.diag(noise), lower=True)
        self._solved = cho_solve((self._factor, True), y)
        self.variance = float(y @ self._solved) / len(y) or 1.0

    def mean(self, alike: Floats) -> Floats:
        """(n,) expected scores of points; alike: (n, known) the kernel between them and what is
        known."""
        return np.asarray(self._middle + self._scale * (alike @ self._solved))

    def deviation(self, columns: Floats, alike: Floats, pending: Floats | None = None) -> Floats:
        """(n,) standard deviations of the score without noise, as they will be when the points
        that are still being trained, (m, columns), have told (their scores need not be known:
        Desautels et al., JMLR 2014)."""
        factor, across = self._factor, alike.T
        if pending is not None and len(pending):
            # The Cholesky factor of known and pending points from that of the known, L, is
            # [[L, 0], [B', C]], where B = L^-1 K(known, pending) is (known, m) and
            # C C' = K(pending) + noise - B' B.
            joined = self.kernel(self._known.columns, pending)
            below = solve_triangular(factor, joined, lower=True)
            noise = (self.kernel.own + self.kernel.seed) * np.eye(len(pending))
            corner = self.kernel(pending, pending) + noise - below.T @ below
            corner = cholesky(corner + _JITTER * np.eye(len(corner)), lower=True)
            factor = np.block([[factor, np.zeros_like(joined)], [below.T, corner]])
            across = np.concatenate([across, self.kernel(pending, columns)])
        half = solve_triangular(factor, across, lower=True, check_finite=False)
        left = self.kernel.variance(columns) - np.einsum("ij,ij->j", half, half)
        return np.asarray(self._scale * np.sqrt(self.variance * np.maximum(left, 0.0)))

    def slopes(self) -> Floats:
        """(columns,) of the additive part's mean."""
        centred = self._known.columns - self.kernel.middle
        relevance = self.kernel.additive * self.kernel.relevance
        return np.asarray(self._scale * relevance * (self._solved @ centred))

    def of_known(self) -> tuple[Floats, Floats]:
        """Mean (n,) and covariance (n, n) of the true scores of the known points themselves, their
        own part included: what one more reading with another seed would be about."""
        half = solve_triangular(self._factor, self._own_covariance, lower=True)
        mean = self._middle + self._scale * (self._own_covariance @ self._solved)
        left = self._own_covariance - half.T @ half
        return mean, self._scale**2 * self.variance * left
