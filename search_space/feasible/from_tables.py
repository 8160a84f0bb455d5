"""A chain made from plain tables of costs, or from a list of points with theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..chain.chain import Chain, Ints, Label, Position
from ..errors import InputError

Options = Mapping[str, Sequence[Label]]


def chain_from_table(
    options: Options, cost: Mapping[str, Any], coupling: Mapping[tuple[str, str], Any] | None
) -> Chain:
    """A chain with one cost, "cost": `cost[name]` an integer an option, added over the positions.

    coupling: {(left, right): matrix (n_left, n_right)} of integers added for the options chosen
    at two neighbouring positions. InputError where the tables do not fit one another.
    """
    names = list(options)
    if not names:
        raise InputError("options", options, "at least one position is needed")
    for name in [*cost, *names]:
        if name not in options or name not in cost:
            raise InputError(f"cost.{name}", name, f"one row for each of: {', '.join(names)}")
    neighbours = list(pairwise(names))
    for pair in coupling or {}:
        if pair not in neighbours:
            raise InputError("coupling", pair, "a pair (left, right) of neighbouring positions")
    positions = []
    # (n_states, n_options here): what the coupling with the left neighbour adds.
    arriving: Ints = np.zeros((1, len(options[names[0]])), dtype=np.int64)
    for i, name in enumerate(names):
        labels = tuple(options[name])
        if not labels or len(set(labels)) != len(labels):
            raise InputError(f"options.{name}", labels, "at least one name, each name once")
        own = _integers(f"cost.{name}", cost[name], (len(labels),))
        following = len(options[names[i + 1]]) if i + 1 < len(names) else 1
        matrix: Ints = np.zeros((len(labels), following), dtype=np.int64)
        if coupling and i + 1 < len(names) and neighbours[i] in coupling:
            matrix = _integers(f"coupling.{neighbours[i]}", coupling[neighbours[i]], matrix.shape)
        # Options whose rows are equal hand over the same state.
        handed_over, state = np.unique(matrix, axis=0, return_inverse=True)
        positions.append(
            Position(
                name=name,
                factors={name: labels},
                options=np.arange(len(labels))[:, None],
                cost=(arriving + own)[None],
                allowed=np.ones(arriving.shape, dtype=np.bool_),
                state=state.reshape(-1),
            )
        )
        arriving = handed_over
    return Chain(tuple(positions), np.zeros((1, len(arriving)), dtype=np.int64))


def chain_from_points(
    points: Sequence[Mapping[str, Label]], cost: Sequence[int]
) -> tuple[Chain, Ints]:
    """A chain that allows the listed points alone, and them as options (n, n_positions).

    The states are the beginnings that the points have in common (a trie), so that after the last
    position the state is the point, whose cost is the chain's final one and need not be a sum.
    Labels are in the order of their first use. InputError where points do not name the same
    positions or are not distinct, or the costs are not an integer a point.
    """
    if not points:
        raise InputError("points", points, "at least one point is needed")
    names = list(points[0])
    for point in points:
        if not names or set(point) != set(names):
            raise InputError("points", dict(point), f"a label for each of: {', '.join(names)}")
    own = _integers("cost", cost, (len(points),))
    labels = {name: tuple(dict.fromkeys(point[name] for point in points)) for name in names}
    number = {name: {label: i for i, label in enumerate(each)} for name, each in labels.items()}
    rows = np.array([[number[name][point[name]] for name in names] for point in points])
    before: Ints = np.zeros(len(rows), dtype=np.int64)
    positions = []
    for i, name in enumerate(names):
        n_options = len(labels[name])
        # A step is a beginning and an option; the distinct ones are the next position's states.
        steps, after = np.unique(before * n_options + rows[:, i], return_inverse=True)
        state: Ints = np.zeros((int(before.max()) + 1, n_options), dtype=np.int64)
        allowed = np.zeros(state.shape, dtype=np.bool_)
        state.flat[steps], allowed.flat[steps] = np.arange(len(steps)), True
        positions.append(
            Position(
                name=name,
                factors={name: labels[name]},
                options=np.arange(n_options)[:, None],
                cost=np.zeros((1, *state.shape), dtype=np.int64),
                allowed=allowed,
                state=state,
            )
        )
        before = after.reshape(-1)
    # Equal points end in the same state.
    ends, first, times = np.unique(before, return_index=True, return_counts=True)
    if len(ends) < len(points):
        raise InputError("points", dict(points[first[times.argmax()]]), "each point once")
    return Chain(tuple(positions), own[first][None]), rows


def _integers(key: str, values: Any, shape: tuple[int, ...]) -> Ints:
    array = np.asarray(values)
    if array.dtype.kind not in "iu" or array.shape != shape:
        raise InputError(key, values, f"integers of shape {shape} are needed")
    return array.astype(np.int64)
