"""NNI's RandomOneShot, its paths drawn uniformly from what is inside a budget.

NNI draws candidates independently and gives up after a hundred paths that its filter refuses; what
it exports is not filtered at all. nni.nas is imported here at the top.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nni.nas.oneshot.pytorch.sampling import RandomSamplingLightningModule
from nni.nas.strategy import RandomOneShot


class RandomInside(RandomOneShot):  # type: ignore[misc]
    """`draw` gives the sample of the next path."""

    def __init__(self, draw: Callable[[], dict[str, Any]]) -> None:
        super().__init__()
        self._draw = draw

    def configure_oneshot_module(self, training_module: Any) -> _Drawing:
        return _Drawing(training_module, self._draw)


class _Drawing(RandomSamplingLightningModule):  # type: ignore[misc]
    def __init__(self, training_module: Any, draw: Callable[[], dict[str, Any]]) -> None:
        super().__init__(training_module)
        self._draw = draw

    def resample(self) -> dict[str, Any]:
        sample = self._draw()
        for module in self.supernet_modules():
            module.resample(memo=sample)
        return sample

    def export(self) -> dict[str, Any]:
        # Random sampling prefers no path, so any one inside the budget is as good an answer.
        return self._draw()
