"""What nni.nas calls a sample, to and from the points of a search space."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...search_space import Architecture, SearchSpace
from ...search_space.chain.chain import Indices
from ...search_space.chain.slots import ABSENT, Option

Sample = dict[str, str]
"""Label of a layer choice ("stage1", "stage1.block2") -> the name of the candidate."""


def candidate_name(option: Option) -> str:
    """The name of an option among the candidates of its layer choice."""
    return ABSENT if option is None else str(option).replace(".", "_")


class Samples:
    """The samples of a space, whatever the budget."""

    def __init__(self, space: SearchSpace) -> None:
        self._all = space.within(None)
        self.names = {
            slot.name: [candidate_name(option) for option in options]
            for slot, options in space.choices
        }

    def point(self, sample: Mapping[str, str]) -> Indices:
        """ValueError where a label is missing or a name unknown. Where several samples are one
        network, the point that stands for them."""
        point = []
        for label, names in self.names.items():
            if sample.get(label) not in names:
                raise ValueError(f"{label}: {sample.get(label)!r} is none of {', '.join(names)}")
            point.append(names.index(sample[label]))
        return self._all.canonical(point)

    def architecture(self, sample: Mapping[str, str]) -> Architecture:
        """ValueError where a label is missing, a name unknown, or blocks do not fit together."""
        point = self.point(sample)
        if not self._all.chain.allows(np.array([point]))[0]:
            raise ValueError(f"{dict(sample)} does not fit together")
        return self._all.point(point)

    def sample(self, point: Indices) -> Sample:
        """ValueError where the point has not one option a layer choice."""
        return {
            label: names[option]
            for (label, names), option in zip(self.names.items(), point, strict=True)
        }
