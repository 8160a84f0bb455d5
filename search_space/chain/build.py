"""Slots to the tables of a chain: every option's exact cost after every state that can arrive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..layers.base import LayerCost, NotBuildable, Signal
from .chain import Chain, Ints, Label, Position
from .left_out import LeftOut
from .slots import ABSENT, Option, Slot, State

COSTS = LayerCost._fields
Step = tuple[LayerCost, State] | NotBuildable | None
Excluded = Callable[[Slot, Option], bool]


@dataclass(frozen=True)
class Tabulated:
    """chain: its tables. kept: the options of every slot, in the chain's order. arriving: the
    states that can arrive at every slot, likewise."""

    chain: Chain
    kept: list[list[Option]]
    arriving: list[list[State]]


def tabulated(
    slots: Sequence[Slot],
    start: tuple[LayerCost, Signal],
    end: Callable[[Signal], LayerCost],
    *,
    excluded: Excluded,
    place_of: Callable[[Slot], str],
    left_out: LeftOut,
) -> Tabulated:
    """The slots as a chain. Of options that build the same network after a state, only the first
    may be chosen there.

    start: the stem's cost and what it hands on; end: the head's. Options that can be built after
    no state are left out; InputError where none is left in a slot.
    """
    arriving = [State(start[1])]
    positions, kept, states = [], [], []
    for slot in slots:
        options, steps = _buildable(slot, arriving, excluded, place_of(slot), left_out)
        if not any(option is not None for option in options):
            # A number that fits nowhere is the better message, so it is looked for first.
            left_out.check()
            why = "; ".join([f"nothing is left to choose for {slot.name}", *left_out.notes])
            raise InputError(f"{place_of(slot)}.conv", "this list", why)
        # Equal states are one column of the next tables, whatever way led to them. First met, first
        # numbered (by option, then by state): `slot_parts` relies on the same order.
        leaving = list(dict.fromkeys(s[1] for row in steps for s in row if isinstance(s, tuple)))
        same = _twins(slot, options, steps, arriving, left_out)
        positions.append(_position(slot, options, steps, leaving, same))
        kept.append(options)
        states.append(arriving)
        arriving = leaving
    # A chain has a cost after its last position but none before its first: the stem goes here.
    positions[0].cost[...] += np.array(start[0])[:, None, None]
    final = np.array([end(state.signal) for state in arriving], dtype=np.int64).T
    return Tabulated(Chain(tuple(positions), final, COSTS), kept, states)


def _twins(
    slot: Slot,
    options: list[Option],
    steps: list[list[Step]],
    arriving: list[State],
    left_out: LeftOut,
) -> Ints:
    """(n_states, n_options): the first option that builds the same after a state."""
    same = np.tile(np.arange(len(options)), (len(arriving), 1))
    for before, (row, state) in enumerate(zip(same, arriving, strict=True)):
        first: dict[Option, int] = {}
        for i, option in enumerate(options):
            if isinstance(steps[i][before], tuple):
                row[i] = first.setdefault(slot.form(state, option), i)
    for i, option in enumerate(options):
        there = [
            row[i] for row, step in zip(same, steps[i], strict=True) if isinstance(step, tuple)
        ]
        if option is not None and any(twin != i for twin in there):
            twin = options[next(twin for twin in there if twin != i)]
            left_out.merge(slot.name, option, twin, always=all(twin != i for twin in there))
    return same


def _buildable(
    slot: Slot, arriving: list[State], excluded: Excluded, place: str, left_out: LeftOut
) -> tuple[list[Option], list[list[Step]]]:
    """The options that some state allows, and option -> its step after every state."""
    options: list[Option] = []
    steps: list[list[Step]] = []
    for option in slot.options():
        if excluded(slot, option):
            continue
        row = [_step(slot, state, option) for state in arriving]
        reasons = [step for step in row if isinstance(step, NotBuildable)]
        if any(isinstance(step, tuple) for step in row):
            if option is not None:
                left_out.keep(place, option)
            options.append(option)
            steps.append(row)
        elif option is not None and reasons:
            left_out.drop(place, slot.name, option, reasons[0])
    return options, steps


def _step(slot: Slot, state: State, option: Option) -> Step:
    try:
        return slot.after(state, option)
    except NotBuildable as e:
        return e


def _position(
    slot: Slot, options: list[Option], steps: list[list[Step]], leaving: list[State], same: Ints
) -> Position:
    factors: dict[str, tuple[Label, ...]] = {}
    columns = []
    texts: list[Label] = [ABSENT if option is None else option.text for option in options]
    for name, values in (
        (slot.name, texts),
        *((f"{slot.name}.{factor}", _values(options, factor)) for factor in slot.factors),
    ):
        factors[name] = tuple(dict.fromkeys(values))
        columns.append([factors[name].index(value) for value in values])
    index = {state: i for i, state in enumerate(leaving)}
    # Steps that are not allowed still need a cost and a state in range: costs are looked up for
    # all of them, and `allowed` is applied apart.
    nothing = (LayerCost(), leaving[0])
    table = [[step if isinstance(step, tuple) else nothing for step in row] for row in steps]
    # (n_options, n_states_before, n_costs), turned round below.
    costs = np.array([[cost for cost, _ in row] for row in table], dtype=np.int64)
    can = np.array([[isinstance(step, tuple) for step in row] for row in steps]).T
    own = same == np.arange(len(options))
    return Position(
        name=slot.name,
        factors=factors,
        options=np.array(columns, dtype=np.int64).T,
        cost=costs.transpose(2, 1, 0).copy(),
        allowed=can & own,
        state=np.array([[index[state] for _, state in row] for row in table], dtype=np.int64).T,
        same=None if own.all() else same,
    )


def _values(options: list[Option], factor: str) -> list[Label]:
    return [ABSENT if option is None else getattr(option, factor) for option in options]
