"""Trials for TensorBoard: a run for each, its choices as hyper-parameters; one for the search."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ...search_space.errors import InputError
from ..export.training_log import MISSING, writer
from .record import Record

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoard:
    """Writes into the run directory's `tensorboard/`: `trial-0013/`, whole or not at all, and
    `search/`, scores and costs by the number of the trial."""

    def __init__(self, run: Path, experiment: str) -> None:
        try:
            import torch.utils.tensorboard  # noqa: F401
        except ImportError as e:
            raise InputError("track", "tensorboard", f"it is not installed: {MISSING}") from e
        self.place = str(run / "tensorboard")
        self._folder = run / "tensorboard"
        self._search: SummaryWriter | None = None
        self._best: float | None = None

    def known(self) -> set[int]:
        """`search/` is written anew each time, of all trials."""
        shutil.rmtree(self._folder / "search", ignore_errors=True)
        there = (path.name.partition("-")[2] for path in self._folder.glob("trial-*"))
        return {int(number) for number in there if number.isdigit()}

    def pass_over(self, record: Record) -> None:
        self._add_to_search(record)

    def add(self, record: Record) -> None:
        self._add_to_search(record)
        target = self._folder / f"trial-{record.number:04d}"
        # The leading dot keeps it out of `known`'s pattern; renaming at the end makes it whole or
        # absent.
        unfinished = self._folder / f".{target.name}.tmp"
        shutil.rmtree(unfinished, ignore_errors=True)
        out = writer(unfinished)
        for epoch, score in enumerate(record.curve, 1):
            out.add_scalar("score by epoch", score, epoch)
        # In the trial's own folder: by default each would get another one inside it.
        out.add_hparams({**record.choices, "state": record.state}, record.metrics, run_name=".")
        said = f"{record.architecture}\n\n{record.state} {record.reason}".strip()
        out.add_text("architecture", said)
        out.close()
        os.replace(unfinished, target)

    def close(self) -> None:
        if self._search is not None:
            self._search.close()

    def _add_to_search(self, record: Record) -> None:
        if self._search is None:
            self._search = writer(self._folder / "search")
        for name in ("score", "flops", "params"):
            if name in record.metrics and record.state == "complete":
                self._search.add_scalar(f"search/{name}", record.metrics[name], record.number)
        if record.score is not None:
            self._best = record.score if self._best is None else max(self._best, record.score)
            self._search.add_scalar("search/best score", self._best, record.number)
        # People watch a search while it runs.
        self._search.flush()
