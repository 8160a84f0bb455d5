"""The points of a search space inside a budget, as an object.

It can be counted, sampled uniformly, listed by cost and searched around exactly. It knows no
convolution: a chain of positions with integer costs is all it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from math import prod
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from ..budget import Limit
from ..chain.chain import Bools, Chain, Indices, Ints, Label
from .computed import Computed
from .enumerated import Enumerated, Listed
from .from_tables import Options, chain_from_points, chain_from_table
from .infeasible import nothing_within, refuse_impossible
from .limits import Limits
from .meet_in_the_middle import TooLarge
from .nearest import nearest

Point = TypeVar("Point")

_MOST_ENUMERATED = 1 << 22
_BLIND_TRIES = 2048


class SuggestsCategories(Protocol):
    """What is needed of an Optuna trial."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...

    def set_user_attr(self, key: str, value: Any) -> None: ...


class FeasibleSet(Generic[Point]):
    """The points of `chain` within `limits` (cost name -> (least, greatest), None: no limit).

    decode and encode turn a point's options into the point and back (encode raises ValueError
    for a point of another space); describe gives a point's user attributes. InfeasibleBudget
    where no point is within the limits. Options are numbered from 0 at every position;
    "indices" are arrays (n, n_positions) of them. rows: all points of the chain as indices, where
    it is a list that they come from; None: they are found when needed.
    """

    def __init__(
        self,
        chain: Chain,
        limits: Mapping[str, Limit],
        decode: Callable[[Indices], Point],
        encode: Callable[[Point], Indices],
        describe: Callable[[Point], dict[str, Any]],
        noun: str = "architecture",
        rows: Ints | None = None,
    ) -> None:
        self.chain, self._rows = chain, rows
        self.limits = dict(limits)
        self._decode, self._encode, self._describe, self._noun = decode, encode, describe, noun
        self._limits = Limits.of(chain, limits)
        refuse_impossible(chain, self._limits, noun, lambda indices: str(decode(indices)))
        self._binding = self._limits.binding(chain)
        self._engine: Enumerated | Listed | Computed
        if rows is not None:
            self._engine = Listed(chain, rows[self._limits.met_by(chain.cost_of(rows))])
        elif prod(chain.shape) <= _MOST_ENUMERATED:
            self._engine = Enumerated(chain, self._binding)
        else:
            self._engine = Computed(chain, self._binding)
        if self._engine.empty:
            raise nothing_within(chain, self._limits, noun)

    @staticmethod
    def from_table(
        options: Options,
        cost: Mapping[str, Any],
        coupling: Mapping[tuple[str, str], Any] | None = None,
        limit: int | Limit | None = None,
    ) -> FeasibleSet[dict[str, Label]]:
        """A set from plain tables, its points being dicts {position: option's name}.

        options: position -> names; cost: position -> an integer an option, added over positions;
        coupling: {(left, right): matrix} added for neighbouring positions; limit: the greatest
        total, or (least, greatest).
        """
        return FeasibleSet._of_labels(chain_from_table(options, cost, coupling), limit)

    @staticmethod
    def from_points(
        points: Sequence[Mapping[str, Label]], cost: Sequence[int], limit: int | Limit | None = None
    ) -> FeasibleSet[dict[str, Label]]:
        """A set from a list of points, for instance a table of a part of a space.

        points: dicts {position: option's name}, each point once, the positions the same in all;
        cost: an integer a point; limit: the greatest, or (least, greatest). What is not listed is
        outside the set at any limit.
        """
        chain, rows = chain_from_points(points, cost)
        return FeasibleSet._of_labels(chain, limit, rows)

    @staticmethod
    def _of_labels(
        chain: Chain, limit: int | Limit | None, rows: Ints | None = None
    ) -> FeasibleSet[dict[str, Label]]:
        names = [position.name for position in chain.positions]

        def encode(point: dict[str, Label]) -> Indices:
            if set(point) != set(names):
                raise ValueError(f"a point names an option for each of: {', '.join(names)}")
            return chain.locate(point)

        def describe(point: dict[str, Label]) -> dict[str, Any]:
            return {"cost": int(chain.cost_of(np.array([encode(point)]))[0, 0])}

        ends: Limit = limit if isinstance(limit, tuple) else (None, limit)
        return FeasibleSet(chain, {"cost": ends}, chain.params, encode, describe, "point", rows)

    # How many, and which

    @property
    def size(self) -> int:
        """The number of points of the space, within the limits or not."""
        return self.chain.size

    @property
    def count(self) -> int:
        """The exact number of points within the limits."""
        return self._engine.count

    @property
    def count_bounds(self) -> tuple[int, int]:
        """An interval that certainly holds `count`; both ends equal where it is known."""
        return self._engine.count_bounds

    @property
    def share(self) -> float:
        """The part of the space within the limits; where it is not counted, from the middle of
        `count_bounds`."""
        return sum(self.count_bounds) / 2 / self.size

    def holds_at_most(self, n: int) -> bool:
        """Whether there are at most `n` points; False where they are too many to be counted."""
        try:
            return self.count <= n
        except TooLarge:
            return False

    @property
    def acceptance(self) -> float:
        """The measured share of draws that sampling keeps (1 where none is thrown away)."""
        return self._engine.acceptance

    def __len__(self) -> int:
        return self.count

    def __bool__(self) -> bool:
        return True  # never empty, and not to be counted for being asked

    def __contains__(self, point: object) -> bool:
        try:
            indices = self._encode(point)  # type: ignore[arg-type]
        except (ValueError, TypeError, KeyError, AttributeError):
            return False
        return bool(self.feasible(np.array([indices]))[0])

    def __iter__(self) -> Iterator[Point]:
        """All points, in ascending order of the first cost."""
        return (self.point(row) for row in self.indices_in_order())

    def indices_in_order(self) -> Iterator[Indices]:
        """As iteration, as options."""
        return self._engine.in_order()

    def costs(self, indices: Ints) -> Ints:
        """(n, n_positions) -> (n, n_costs), the columns as in `chain.costs`."""
        return self.chain.cost_of(np.asarray(indices))

    def feasible(self, indices: Ints) -> Bools:
        """(n, n_positions) -> (n,), whether each point may be built and is within the limits."""
        indices = np.asarray(indices)
        return self.chain.allows(indices) & self._limits.met_by(self.chain.cost_of(indices))

    # Drawing

    def sample(self, rng: np.random.Generator, n: int) -> list[Point]:
        """`n` points, each exactly uniform over the set and independent of the others."""
        return [self.point(row) for row in self.sample_indices(rng, n).tolist()]

    def sample_indices(self, rng: np.random.Generator, n: int) -> Ints:
        """As `sample`, as an array (n, n_positions)."""
        return self._engine.sample(rng, n)

    def sample_unseen(self, rng: np.random.Generator, seen: Collection[Indices]) -> Indices | None:
        """One point, exactly uniform over those not in `seen` (a set); None where all are."""
        for n in (8, _BLIND_TRIES):
            for row in map(tuple, self.sample_indices(rng, n).tolist()):
                if row not in seen:
                    return row
        # Nearly all are seen, so there are hardly more points than `seen` holds: list them.
        left = [row for row in self.indices_in_order() if row not in seen]
        return left[int(rng.integers(len(left)))] if left else None

    def top(self, fraction: float) -> FeasibleSet[Point]:
        """The dearest `fraction` of the set by the first cost (ties with its edge included).

        Exact where the points fit in memory, or where at most the first cost is limited and they
        are counted; else the edge is that of 65,536 draws (within half a percentage point)."""
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction: {fraction} is not above 0 and at most 1")
        name = self.chain.costs[0]
        high = self.limits.get(name, (None, None))[1]
        limits = self.limits | {name: (self._engine.threshold(fraction), high)}
        same = self._decode, self._encode, self._describe, self._noun, self._rows
        return FeasibleSet(self.chain, limits, *same)

    # Around

    def cheapest(self) -> Point:
        """A point with the least first cost."""
        return self.point(self._engine.extreme(1))

    def dearest(self) -> Point:
        """A point with the greatest first cost."""
        return self.point(self._engine.extreme(-1))

    def neighbours(self, point: Point) -> list[Point]:
        """The points of the set that differ from `point` at exactly one position."""
        return [self.point(row) for row in self.neighbour_indices(self.indices(point)).tolist()]

    def neighbour_indices(self, indices: Sequence[int]) -> Ints:
        """As `neighbours`, as an array (n, n_positions); `indices` itself may be infeasible."""
        rows = self.chain.changed_once(indices)
        return rows[self.feasible(rows)]

    def repair(self, point: Point) -> Point:
        """A point of the set that differs from `point` at the fewest positions.

        Among those, one whose first cost is nearest to that of `point`. The fewest are certain
        where one end of one cost is limited or the points fit in memory (4 million combinations, 2
        million points); the nearest cost where at most 2,000 beginnings have to be followed."""
        return self.point(self.repair_indices(self.indices(point)))

    def repair_indices(self, indices: Sequence[int]) -> Indices:
        """As `repair`, as options."""
        given = tuple(map(int, indices))
        if self._rows is not None:
            return self._engine.closest(given)
        found = nearest(self.chain, self._binding, given, certain=self._engine.listable)
        return found or self._engine.closest(given)

    # Points, options, parameters

    def point(self, indices: Sequence[int]) -> Point:
        """The point that chooses these options."""
        return self._decode(tuple(map(int, indices)))

    def canonical(self, indices: Sequence[int]) -> Indices:
        """The options that stand for these, where several make the same point."""
        return self.chain.canonical(tuple(map(int, indices)))

    def indices(self, point: Point) -> Indices:
        """The options that `point` chooses; ValueError where it is not of this space."""
        return self._encode(point)

    def describe(self, point: Point) -> dict[str, Any]:
        """What is noted with a trial of this point, its costs among it."""
        return self._describe(point)

    def params(self, point: Point) -> dict[str, Label]:
        """The point as parameters, {factor: label}, as an Optuna trial holds them."""
        return self.chain.params(self.indices(point))

    def from_params(self, params: Mapping[str, Any]) -> Point:
        """The inverse of `params`; ValueError where they are not of this space."""
        return self.point(self.chain.locate(params))

    @property
    def distributions(self) -> dict[str, list[Label]]:
        """Parameter -> its labels."""
        return {name: list(labels) for name, labels in self.chain.parameters.items()}

    def suggest(self, trial: SuggestsCategories) -> Point:
        """The point that the study's sampler proposes for `trial` (an Optuna trial).

        Its description becomes user attributes. ValueError where it is outside the set, which
        happens only with a sampler that knows nothing of the set."""
        params = {
            name: trial.suggest_categorical(name, labels)
            for name, labels in self.distributions.items()
        }
        indices = self.chain.locate(params)
        if not self.feasible(np.array([indices]))[0]:
            costs = dict(zip(self.chain.costs, self.costs(np.array([indices]))[0], strict=True))
            told = ", ".join(f"{name} {value}" for name, value in costs.items())
            raise ValueError(
                f"{params} is outside the budget {self.limits} ({told}). Make the study's sampler "
                "with convnas.strategies.create(name, feasible), which stays inside it"
            )
        point = self.point(indices)
        for key, value in (self._describe(point) | {"feasible": True}).items():
            trial.set_user_attr(key, value)
        return point
