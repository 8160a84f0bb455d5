"""The point with the least of one cost while another stays within a limit, exactly.

A multiple-choice knapsack on a chain: beginnings that another one beats in both costs at the same
state are dropped (Nemhauser and Ullmann, Management Science 15, 1969), and so are those that no
end can bring within the limit.
"""

from __future__ import annotations

import numpy as np

from ..chain.chain import Chain, Indices, Ints
from .extremes import FAR, ToGo


def least_sum(chain: Chain, row: int, limited: int, most: int) -> Indices | None:
    """The point whose cost `limited` is at most `most` and whose cost `row` is least; of equals one
    with the least `limited`. None where there is none."""
    to_go = ToGo.of(chain, limited)
    state: Ints = np.zeros(1, dtype=np.int64)
    paid: Ints = np.zeros((2, 1), dtype=np.int64)  # `limited`, `row`
    trail: list[tuple[Ints, Ints]] = []
    for i, position in enumerate(chain.positions):
        added = position.cost[[limited, row]][:, state]  # (2, n, n_options)
        total, following = paid[:, :, None] + added, position.state[state]
        needed = np.minimum(to_go.least[i + 1][following], FAR - total[0])
        good = position.allowed[state] & (total[0] + needed <= most)
        before, option = np.nonzero(good)
        paid, state = total[:, before, option], following[before, option]
        kept = _undominated(state, *paid)
        trail.append((before[kept], option[kept]))
        paid, state = paid[:, kept], state[kept]
        if not len(state):
            return None
    paid = paid + chain.final[[limited, row]][:, state]
    at = int(np.lexsort(paid)[0])  # by the last key, `row`, first
    chosen = []
    for before, option in reversed(trail):
        chosen.append(int(option[at]))
        at = int(before[at])
    return tuple(reversed(chosen))


def _undominated(state: Ints, limited: Ints, row: Ints) -> Ints:
    """Which to keep: at every state those that no cheaper or equal one has a lesser `row` than."""
    order = np.lexsort((row, limited, state))
    # States apart by more than any difference, so that one running minimum serves them all: it
    # begins anew with every state.
    apart = state[order] * (int(row.max()) - int(row.min()) + 1) if len(row) else state[order]
    lowered = row[order] - apart
    running = np.minimum.accumulate(lowered)
    first = np.concatenate([[True], lowered[1:] < running[:-1]])[: len(order)]
    return np.asarray(order[first], dtype=np.int64)
