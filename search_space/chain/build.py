"""Slots to the tables of a chain: every option's exact cost after every state that can arrive."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import InputError
from ..layers.base import LayerCost, NotBuildable, Signal
from .chain import Chain, Label, Position
from .left_out import LeftOut
from .slots import ABSENT, Option, Slot, State

COSTS = LayerCost._fields
Step = tuple[LayerCost, State] | NotBuildable | None
Excluded = Callable[[Slot, Option], bool]


def tabulated(
    slots: Sequence[Slot],
    start: tuple[LayerCost, Signal],
    end: Callable[[Signal], LayerCost],
    *,
    excluded: Excluded,
    place_of: Callable[[Slot], str],
    left_out: LeftOut,
) -> tuple[Chain, list[list[Option]]]:
    """The chain, and the options kept in every slot, in the chain's order.

    start: the stem's cost and what it hands on; end: the head's. Options that can be built after
    no state are left out; InputError where none is left in a slot.
    """
    arriving = [State(start[1])]
    positions, kept = [], []
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
        positions.append(_position(slot, options, steps, leaving))
        kept.append(options)
        arriving = leaving
    # A chain has a cost after its last position but none before its first: the stem goes here.
    positions[0].cost[...] += np.array(start[0])[:, None, None]
    final = np.array([end(state.signal) for state in arriving], dtype=np.int64).T
    return Chain(tuple(positions), final, COSTS), kept


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
    slot: Slot, options: list[Option], steps: list[list[Step]], leaving: list[State]
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
    return Position(
        name=slot.name,
        factors=factors,
        options=np.array(columns, dtype=np.int64).T,
        cost=costs.transpose(2, 1, 0).copy(),
        allowed=np.array([[isinstance(step, tuple) for step in row] for row in steps]).T,
        state=np.array([[index[state] for _, state in row] for row in table], dtype=np.int64).T,
    )


def _values(options: list[Option], factor: str) -> list[Label]:
    return [ABSENT if option is None else getattr(option, factor) for option in options]
