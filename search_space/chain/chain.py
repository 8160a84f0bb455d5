"""The cost model of a search space: a chain of positions, each with options.

A point chooses one option at every position. Its cost is a sum over positions of integers that
depend on the option and on the state its left neighbour handed over (in a network: the share of
low-frequency channels, or the width, that arrives). Nothing here knows what an option means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Label = str | int | float
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Indices = tuple[int, ...]
"""A point as the option chosen at each position."""

# As FAR ("no way") in feasible/extremes.py: a sum of costs is less,
# and the two together fit int64.
_GREATEST_COST = 2**62


@dataclass(frozen=True, eq=False)
class Position:
    """One place in the chain and its options.

    factors: parameter name -> its labels. An option is one label of every factor; `options`,
        (n_options, n_factors), lists which combinations exist, as label indices.
    cost: (n_costs, n_states_before, n_options), added when the option is chosen after that state.
    allowed: (n_states_before, n_options), False where an option cannot follow that state.
    state: (n_states_before, n_options), the state that the option hands to the next position;
        given as (n_options,) where it does not depend on the state before.
    same: (n_states_before, n_options), the option that stands for an option after that state; it is
        another one where two make the same point, and then only that one is allowed. None: each
        stands for itself.
    """

    name: str
    factors: Mapping[str, tuple[Label, ...]]
    options: Ints
    cost: Ints
    allowed: Bools
    state: Ints
    same: Ints | None = None

    def __post_init__(self) -> None:
        for name, dtype in (("options", int), ("cost", int), ("state", int), ("allowed", bool)):
            given = np.asarray(getattr(self, name))
            # Counts are exact only for integers, so floats are refused, not rounded.
            if dtype is int and given.dtype.kind not in "iu":
                raise ValueError(f"{self.name}.{name}: integers are needed, not {given.dtype}")
            object.__setattr__(self, name, given.astype(np.int64 if dtype is int else np.bool_))
        shape = (self.n_states_before, self.n_options)
        if self.n_options == 0 or self.options.shape != (self.n_options, len(self.factors)):
            raise ValueError(f"{self.name}: options must be (n_options >= 1, n_factors)")
        if self.cost.shape[1:] != shape or self.allowed.shape != shape:
            raise ValueError(f"{self.name}: cost and allowed must be (..., n_states, n_options)")
        if self.state.shape == (self.n_options,):
            object.__setattr__(self, "state", np.tile(self.state, (self.n_states_before, 1)))
        if self.state.shape != shape or self.state.min() < 0:
            raise ValueError(f"{self.name}: state must hold one state from 0 up for each option")
        if self.same is not None and self.same.shape != shape:
            raise ValueError(f"{self.name}: same must hold one option for each option")

    @property
    def n_options(self) -> int:
        return len(self.options)

    @property
    def n_states_before(self) -> int:
        return int(self.cost.shape[1])

    @cached_property
    def forgets(self) -> bool:
        """Whether what is handed on depends on the option alone."""
        return bool((self.state == self.state[0]).all())

    @cached_property
    def labels(self) -> tuple[dict[str, Label], ...]:
        """Option -> its label of every factor."""
        return tuple(
            {
                name: values[index]
                for (name, values), index in zip(self.factors.items(), row, strict=True)
            }
            for row in self.options.tolist()
        )

    @cached_property
    def option_of(self) -> dict[tuple[Any, ...], int]:
        """Labels in the factors' order -> option."""
        return {tuple(labels.values()): option for option, labels in enumerate(self.labels)}


@dataclass(frozen=True, eq=False)
class Chain:
    """Positions from left to right; `costs` names the rows of every cost array.

    final: (n_costs, n_states), added after the last position, by the state it hands over.
    """

    positions: tuple[Position, ...]
    final: Ints
    costs: tuple[str, ...] = ("cost",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "positions", tuple(self.positions))
        object.__setattr__(self, "final", np.asarray(self.final, dtype=np.int64))
        if not self.positions or not self.costs or self.final.ndim != 2:
            raise ValueError("a chain needs positions, costs and final (n_costs, n_states)")
        for i, position in enumerate(self.positions):
            if position.cost.shape[0] != len(self.costs):
                raise ValueError(f"{position.name}: cost must have {len(self.costs)} rows")
            if position.state.max() >= self.n_states(i + 1):
                raise ValueError(f"{position.name}: hands over a state that nothing expects")
        if self.n_states(0) != 1 or len(self.final) != len(self.costs):
            raise ValueError("one state arrives at the first position; final needs a row a cost")
        names = [name for position in self.positions for name in position.factors]
        if len(set(names)) != len(names):
            raise ValueError("two factors share a name")
        # A bound for all costs at once: the greatest entry of each position, in whichever row.
        greatest = sum(int(np.abs(position.cost).max()) for position in self.positions)
        if greatest + int(np.abs(self.final).max()) >= _GREATEST_COST:
            raise ValueError("the costs add up beyond 2**62")

    def __len__(self) -> int:
        return len(self.positions)

    def n_states(self, i: int) -> int:
        """How many states can arrive at position `i`; `len(chain)`: at the end."""
        return int(self.final.shape[1] if i == len(self) else self.positions[i].n_states_before)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """The number of options of every position."""
        return tuple(position.n_options for position in self.positions)

    @cached_property
    def size(self) -> int:
        """The exact number of points (allowed combinations of options)."""
        return self._ways([position.allowed for position in self.positions])

    @cached_property
    def spellings(self) -> int:
        """As `size`, with every option that another one stands for, see `Position.same`."""
        return self._ways(
            [
                position.allowed
                if position.same is None
                else position.allowed | (position.same != np.arange(position.n_options))
                for position in self.positions
            ]
        )

    def _ways(self, allowed: Sequence[Bools]) -> int:
        # Python ints, since the points may be more than int64 holds.
        ways = [1]
        for i, (position, may) in enumerate(zip(self.positions, allowed, strict=True)):
            arriving, ways = ways, [0] * self.n_states(i + 1)
            for before, option in np.argwhere(may).tolist():
                ways[position.state[before, option]] += arriving[before]
        return sum(ways)

    @cached_property
    def parameters(self) -> dict[str, tuple[Label, ...]]:
        """Factor name -> its labels, over all positions."""
        return {name: labels for place in self.positions for name, labels in place.factors.items()}

    def cost_of(self, indices: Ints) -> Ints:
        """(n, n_positions) options -> (n, n_costs); without meaning where `allows` is False."""
        state = np.zeros(len(indices), dtype=np.int64)
        total = np.zeros((len(self.costs), len(indices)), dtype=np.int64)
        for position, chosen in zip(self.positions, indices.T, strict=True):
            total += position.cost[:, state, chosen]
            state = position.state[state, chosen]
        return (total + self.final[:, state]).T

    def allows(self, indices: Ints) -> Bools:
        """(n, n_positions) options -> (n,), whether the options may follow one another."""
        state = np.zeros(len(indices), dtype=np.int64)
        good = np.ones(len(indices), dtype=np.bool_)
        for position, chosen in zip(self.positions, indices.T, strict=True):
            good &= position.allowed[state, chosen]
            state = position.state[state, chosen]
        return good

    def changed_once(self, indices: Sequence[int]) -> Ints:
        """(n, n_positions) all that differ from `indices` at one position, allowed or not."""
        given = np.asarray(indices, dtype=np.int64)
        changed = []
        for place, n_options in enumerate(self.shape):
            rows = np.tile(given, (n_options, 1))
            rows[:, place] = np.arange(n_options)
            changed.append(np.delete(rows, given[place], axis=0))
        return np.concatenate(changed)

    def params(self, indices: Sequence[int]) -> dict[str, Label]:
        """Factor name -> chosen label."""
        chosen: dict[str, Label] = {}
        for position, option in zip(self.positions, indices, strict=True):
            chosen.update(position.labels[option])
        return chosen

    @cached_property
    def _has_twins(self) -> bool:
        return any(position.same is not None for position in self.positions)

    def canonical(self, indices: Indices) -> Indices:
        """The options that stand for these, see `Position.same`."""
        if not self._has_twins:
            return indices
        state, found = 0, []
        for position, option in zip(self.positions, indices, strict=True):
            own = option if position.same is None else int(position.same[state, option])
            found.append(own)
            state = int(position.state[state, own])
        return tuple(found)

    def locate(self, params: Mapping[str, Any]) -> Indices:
        """The options that stand for those whose labels `params` gives (other keys are ignored).

        ValueError where a factor is missing or its labels are no option.
        """
        found: list[int] = []
        for position in self.positions:
            given = {name: params.get(name) for name in position.factors}
            option = position.option_of.get(tuple(given.values()))
            if option is None:
                raise ValueError(f"{position.name} has no option {given}")
            found.append(option)
        return self.canonical(tuple(found))
