"""Exactly uniform draws from the points within limits, of a chain of any size.

`weights[i][s, b]` counts the ways from state `s` at position `i` with `b` bins spent to an end
inside the grid's outer window. A whole number below the count of all of them names one way, so
uniform numbers give uniform points; points whose true cost misses a limit are drawn again.

Counts beyond 62 bits are kept in larger units, rounded up. A way is then drawn with the chance
1 / (rounded count of all), whatever the rounding, and a number that falls into what was added by
rounding is drawn again: the draws stay exactly uniform.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..chain.chain import Bools, Chain, Ints
from .bins import FloorGrid
from .limits import Limits

_GREATEST = 2**62
_TABLE_ENTRIES = 2_000_000
_TABLE_ENTRIES_SEVERAL = 16_000_000
_BATCH = 1 << 13
_DRAWS_TO_GIVE_UP = 1 << 25


@dataclass(frozen=True, eq=False)
class _Step:
    """What drawing needs at one position.

    before: (states * bins << log2,) the ways through earlier options, flat; past the last option
    beyond every count. Then by (state << log2) + option, node: what the option adds to state * bins
    + bin, state: what it hands over, costs: what it adds to the costs in question. shift, total:
    numbers gain `shift` bits on arriving, and those not below total[node] are void (None where
    nothing was rounded).
    """

    log2: int
    before: Ints
    node: Ints
    state: Ints
    costs: tuple[Ints, ...]
    shift: int
    total: Ints | None


class Drawing:
    """Tables for drawing from `chain` within `limits`, each of which some point must meet."""

    def __init__(self, chain: Chain, limits: Limits) -> None:
        self.chain = chain
        self.limits = limits
        columns = [
            chain.n_states(i) << _log2(position.n_options)
            for i, position in enumerate(chain.positions)
        ]
        # Several limits share the bins, so each is coarser and more draws are lost.
        entries = _TABLE_ENTRIES if len(limits.rows) < 2 else _TABLE_ENTRIES_SEVERAL
        # All positions' tables together have sum(columns) entries a bin.
        self.grid = FloorGrid.of(chain, limits, entries // sum(columns))
        # Where nothing was rounded every draw is within the limits, and no cost need be known.
        self._rows = [] if self.grid.exact else list(limits.rows)
        self._steps, self.total = self._tables()

    @property
    def whole(self) -> bool:
        """Whether `total` is a plain count, so that the numbers below it list every way once."""
        return all(step.total is None for step in self._steps)

    @cached_property
    def acceptance(self) -> float:
        """The share of draws that are within the limits, measured on one batch."""
        if not self.total:
            return 0.0
        rng = np.random.default_rng(0)
        _, kept = self._unrank(rng.integers(self.total, size=_BATCH), rng)
        return float(kept.mean())

    def sample(self, rng: np.random.Generator, n: int) -> Ints:
        """(n, n_positions). RuntimeError where practically no draw is within the limits."""
        out = np.empty((n, len(self.chain)), dtype=np.int64)
        filled = drawn = 0
        while filled < n:
            if (drawn >= _DRAWS_TO_GIVE_UP and not filled) or not self.total:
                raise RuntimeError("the limits leave so few points that none was met by drawing")
            size = min(_BATCH, int((n - filled) / max(self.acceptance, 1e-3) * 1.1) + 8)
            rows, kept = self._unrank(rng.integers(self.total, size=size), rng)
            rows = rows[:, kept][:, : n - filled] if not kept.all() else rows[:, : n - filled]
            out[filled : filled + rows.shape[1]] = rows.T
            filled += rows.shape[1]
            drawn += size
        return out

    def listed(self) -> Ints:
        """(count, n_positions) every point within the limits; only where `whole`."""
        found = [np.zeros((0, len(self.chain)), dtype=np.int64)]
        for start in range(0, self.total, _BATCH):
            numbers = np.arange(start, min(start + _BATCH, self.total))
            rows, kept = self._unrank(numbers, np.random.default_rng(0))
            found.append(rows[:, kept].T)
        return np.concatenate(found)

    def _tables(self) -> tuple[list[_Step], int]:
        chain, bins = self.chain, self.grid.bins
        cells = int(np.prod(bins))
        ends = self.grid.ends(self.grid.outer).astype(np.int64)
        following = np.stack([ends] * chain.n_states(len(chain)))
        steps: list[_Step] = []
        for i in reversed(range(len(chain))):
            position, log2 = chain.positions[i], _log2(chain.positions[i].n_options)
            n_states, n_options = position.allowed.shape
            before = np.full((n_states, *bins, 1 << log2), np.iinfo(np.int64).max)
            ways = np.zeros((n_states, *bins), dtype=np.int64)
            joined = {(state, option): place for state, option, *place in self.grid.steps(i)}
            for state in range(n_states):
                for option in range(n_options):
                    # A step off the grid adds no ways, so no number falls to it and
                    # its `node` is not used.
                    before[state, ..., option] = ways[state]
                    if place := joined.get((state, option)):
                        start, end = place
                        ways[state][start] += following[position.state[state, option]][end]
            total: Ints | None = None
            shift = 0
            # The position before adds up at most this many counts, each rounded up by less than 1;
            # their sum must stay below 2**62.
            fan_out = chain.shape[i - 1] if i else 1
            while (int(ways.max()) >> shift) + 1 >= _GREATEST // fan_out:
                shift += 1
            if shift:
                total, ways = ways.reshape(-1), -(-ways >> shift)
            following = ways
            flat = np.zeros(position.allowed.shape, dtype=np.int64)
            for by, size in zip(self.grid.offsets[i], bins, strict=True):
                flat = flat * size + by
            node = (position.state - np.arange(n_states)[:, None]) * cells + flat
            costs = position.cost[self._rows]
            if i == len(chain) - 1:
                costs = costs + chain.final[self._rows][:, position.state]
            nodes, states, *added = (
                _padded(table, log2) for table in (node, position.state, *costs)
            )
            steps.append(_Step(log2, before.reshape(-1), nodes, states, tuple(added), shift, total))
        return steps[::-1], int(following.reshape(-1)[0])

    def _unrank(self, number: Ints, rng: np.random.Generator) -> tuple[Ints, Bools]:
        """(n,) numbers below `total` -> (n_positions, n) options and (n,) which to keep."""
        n = len(number)
        rows = np.empty((len(self._steps), n), dtype=np.int64)
        kept = np.ones(n, dtype=np.bool_)
        node, state = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        costs = [np.zeros(n, dtype=np.int64) for _ in self._rows]
        for i, step in enumerate(self._steps):
            if step.total is not None:
                number = (number << step.shift) | rng.integers(1 << step.shift, size=n)
                kept &= number < step.total[node]
                # Void draws go on as 0, a number that every node reached has,
                # and are dropped at the end.
                number[~kept] = 0
            # Bisection for the last option whose `before` is not above the number.
            place = node << step.log2
            for bit in reversed(range(step.log2)):
                probe = place + (1 << bit)
                place = np.where(step.before.take(probe) <= number, probe, place)
            number = number - step.before.take(place)
            option = place & ((1 << step.log2) - 1)
            rows[i] = option
            key = (state << step.log2) + option
            node = node + step.node.take(key)
            state = step.state.take(key)
            for cost, added in zip(costs, step.costs, strict=True):
                cost += added.take(key)
        for cost, row in zip(costs, self._rows, strict=True):
            low, high = self.limits.rows[row]
            if low is not None:
                kept &= cost >= low
            if high is not None:
                kept &= cost <= high
        return rows, kept


def _log2(n: int) -> int:
    """The bits that numbers below `n` need."""
    return (n - 1).bit_length()


def _padded(table: Ints, log2: int) -> Ints:
    """(n_states, n_options) -> (n_states << log2,)."""
    wide = np.zeros((len(table), 1 << log2), dtype=np.int64)
    wide[:, : table.shape[1]] = table
    return wide.reshape(-1)
