"""A chain made from plain tables of costs, for instance of a tabular benchmark."""

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


def _integers(key: str, values: Any, shape: tuple[int, ...]) -> Ints:
    array = np.asarray(values)
    if array.dtype.kind not in "iu" or array.shape != shape:
        raise InputError(key, values, f"integers of shape {shape} are needed")
    return array.astype(np.int64)
