"""A training's curves for TensorBoard, where it is installed (the extra `tensorboard`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...search_space.errors import InputError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

MISSING = "pip install 'convnas[tensorboard]' brings TensorBoard"


def writer(folder: Path, *, from_step: int | None = None) -> SummaryWriter:
    """What is there from `from_step` on is no longer shown. ImportError without TensorBoard."""
    from torch.utils.tensorboard import SummaryWriter

    made: SummaryWriter = SummaryWriter(str(folder), purge_step=from_step)
    return made


class TrainingLog:
    """Writes as the training goes on; nothing is on disk before its first epoch is over."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._from_step: int | None = None
        self._open: SummaryWriter | None = None

    def resume(self, epoch: int) -> None:
        """Epochs after this one are logged again: what an interrupted training wrote goes."""
        self._from_step = epoch + 1

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """The metrics after an epoch, by whose number the curves are drawn."""
        for name, value in metrics.items():
            self._writer().add_scalar(name, value, epoch)
        # Each epoch is seen at once by whoever watches, and outlives a kill.
        self._writer().flush()

    def close(self, metrics: Mapping[str, float], training: Mapping[str, Any]) -> None:
        """The measurement on the test split, and the recipe."""
        out, epochs = self._writer(), int(training["epochs"])
        for name, value in metrics.items():
            if name.startswith("test_"):
                out.add_scalar(name, value, epochs)
        recipe = "".join(f"    {name}: {value}\n" for name, value in training.items())
        out.add_text("training", recipe, epochs)
        out.close()

    def _writer(self) -> SummaryWriter:
        if self._open is None:
            self._open = writer(self.folder, from_step=self._from_step)
        return self._open


def open_log(
    folder: Path, *, wanted: bool | None, tell: Callable[[str], None]
) -> TrainingLog | None:
    """`wanted` None: logs where TensorBoard is installed, else a line that says what is missing.

    Raises InputError where it is wanted and missing.
    """
    if wanted is False:
        return None
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as e:
        if wanted:
            raise InputError("tensorboard", True, f"it is not installed: {MISSING}") from e
        tell(f"no TensorBoard logs; {MISSING}")
        return None
    return TrainingLog(folder)
