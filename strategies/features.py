"""Points of a chain as numbers: what the predictor's kernel compares."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..search_space.chain.chain import Ints, Label
from ..search_space.chain.score import SCORE
from ..search_space.feasible.feasible_set import FeasibleSet

Floats = NDArray[np.float64]

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_DIFFERING = 3.0
"""Median of what two points that differ in every factor are apart, in exponents."""
_BY_WORD, _BY_NUMBER = 0.5, 0.5
"""The parts of it that are for labels' words and numbers, where labels have both."""
_COUNTS = 1.0
"""Median relevance of a count, times the number of factors."""
_SIZES = 0.2
"""Median relevance of the log cost, and of a zero-cost score."""
_DRAWS = 512
"""Points whose mean and spread scale the sizes and centre the columns."""


class Features:
    """Columns of a point: a 0 or 1 for every label, word and number of every factor, how often
    each occurs, the log cost and, where the chain has one, the zero-cost score.

    Labels of one word, like octave(alpha=0.25) and octave(alpha=0.5), are relatives: they share a
    column of their word, and their number is a column of its own, in the order of its values and
    from -1/2 to 1/2 (0 for labels of other words). A label that is a number has the empty word.
    medians: (columns,) what is believed of each column's relevance before any result.
    """

    def __init__(self, feasible: FeasibleSet[Any]) -> None:
        self.chain = feasible.chain
        factors = [each for place in self.chain.positions for each in place.factors.values()]
        tables = [_columns(labels) for labels in factors]
        self._tables = [table for table, _ in tables]
        self.starts = np.cumsum([0, *(table.shape[1] for table in self._tables)])
        medians = [median / len(factors) for _, median in tables]
        # Factors that choose among the same labels are counted together.
        kinds = list(dict.fromkeys(factors))
        begins = np.cumsum([0, *(_columns(kind)[0].shape[1] for kind in kinds)])
        self._adds_to = np.zeros((self.starts[-1], begins[-1]))
        for start, each in zip(self.starts, factors, strict=False):
            begin, end = begins[kinds.index(each) :][:2]
            self._adds_to[start + np.arange(end - begin), np.arange(begin, end)] = 1.0
        counts = np.full(begins[-1], _COUNTS / len(factors))
        sizes = np.full(1 + (SCORE in self.chain.costs), _SIZES)
        self.medians = np.concatenate([*medians, counts, sizes])
        # The first call measures unscaled sizes; the one for `middle` below needs them scaled. A
        # fixed seed, so that every process gives a point the same columns.
        self._middle, self._spread = np.zeros(len(sizes)), np.ones(len(sizes))
        drawn = self(feasible.sample_indices(np.random.default_rng(0), _DRAWS))
        self._middle = drawn[:, -len(sizes) :].mean(axis=0)
        spread = drawn[:, -len(sizes) :].std(axis=0)
        self._spread = np.where(spread > 1e-9, spread, 1.0)
        self.middle = self(feasible.sample_indices(np.random.default_rng(0), _DRAWS)).mean(axis=0)

    def __call__(self, points: Ints) -> Floats:
        """(n, n_positions) options -> (n, columns)."""
        places = enumerate(self.chain.positions)
        # (n, factors): the label of every factor, positions joined.
        chosen = np.concatenate([place.options[points[:, i]] for i, place in places], axis=1)
        each = [table[chosen[:, i]] for i, table in enumerate(self._tables)]
        of_factors = np.concatenate(each, axis=1)
        costs = self.chain.cost_of(points).astype(np.float64)
        sizes = [np.log(np.maximum(costs[:, 0], 0.0) + 1.0)]
        if SCORE in self.chain.costs:
            sizes.append(costs[:, self.chain.costs.index(SCORE)])
        scaled = (np.stack(sizes, axis=1) - self._middle) / self._spread
        return np.concatenate([of_factors, of_factors @ self._adds_to, scaled], axis=1)

    def effects(self, slopes: Floats) -> list[Floats]:
        """For every position (n_options,): what its options add to `slopes` @ columns, the sizes
        (which are no sums over positions) left out."""
        slopes = slopes[: len(slopes) - len(self._middle)]
        # A count is a sum over factors, so its slope belongs to every column that adds to it.
        own = slopes[: self.starts[-1]] + self._adds_to @ slopes[self.starts[-1] :]
        parts = [
            t @ own[a:b] for t, (a, b) in zip(self._tables, pairwise(self.starts), strict=True)
        ]
        found, factor = [], 0
        for place in self.chain.positions:
            of = range(len(place.factors))
            found.append(sum((parts[factor + i][place.options[:, i]] for i in of), np.zeros(1)))
            factor += len(place.factors)
        return found


def _columns(labels: tuple[Label, ...]) -> tuple[Floats, Floats]:
    """A factor's labels -> (labels, columns), and the columns' median relevances."""
    words = [_NUMBER.sub("#", str(label)) for label in labels]
    numbers = [list(map(float, _NUMBER.findall(str(label)))) for label in labels]
    distinct = list(dict.fromkeys(words))
    parts = [np.eye(len(labels))]
    shared = len(distinct) < len(labels)
    if 1 < len(distinct) < len(labels):
        parts.append(np.array([[float(word == own) for word in distinct] for own in words]))
    ordered = []
    for word in distinct:
        members = [i for i, own in enumerate(words) if own == word]
        # Labels of one word hold equally many numbers; a column here is one of those. Ranks, so
        # that the values of a factor are evenly spaced whatever they are.
        for column in np.array([numbers[i] for i in members]).T:
            values, rank = np.unique(column, return_inverse=True)
            if len(values) > 1:
                ordered.append(np.zeros(len(labels)))
                ordered[-1][members] = rank / (len(values) - 1) - 0.5
    if ordered:
        parts.append(np.stack(ordered, axis=1))
    by_word = _BY_WORD if shared and len(distinct) > 1 else 0.0
    by_number = _BY_NUMBER if ordered else 0.0
    medians = [np.full(len(labels), 1.0 - (by_word + by_number) / 2)]
    medians += [np.full(len(distinct), by_word)] * bool(by_word)
    # Half the squared distance of the ends is 1/2 for a number, 1 for a label.
    medians += [np.full(len(ordered), 2 * by_number / max(1, len(ordered) ** 0.5))] * bool(ordered)
    return np.concatenate(parts, axis=1), _DIFFERING * np.concatenate(medians)
