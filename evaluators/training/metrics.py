"""Metrics of a classification beside its accuracy, from counts of one pass over a split.

Each is what scikit-learn's function of that meaning gives: `macro_f1` f1_score(average="macro"),
`balanced_accuracy` balanced_accuracy_score, `recall_CLASS` recall_score of one class,
`top5_accuracy` (or another number) top_k_accuracy_score.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from ...search_space import InputError

KNOWN = "macro_f1, balanced_accuracy, recall_CLASS (its name or number), top5_accuracy (any number)"
"""For people: the names of the metrics."""

_TOP = re.compile(r"top([1-9][0-9]{0,5})_accuracy")
_RECALL = "recall_"


def is_class_metric(name: object) -> bool:
    """Whether it has the form of one of the names; which classes there are is the data's."""
    return isinstance(name, str) and (
        name in ("macro_f1", "balanced_accuracy")
        or _TOP.fullmatch(name) is not None
        or (name.startswith(_RECALL) and name != _RECALL)
    )


class ClassMetrics:
    """Counts of right and wrong answers by class, kept on the labels' device, not waited for.

    `labels`: (N,) int64, of the split that a pass goes over. `class_names`: of all classes, empty
    where the data has none. Raises InputError for a class or a k that the data does not have.
    """

    def __init__(
        self, names: Sequence[str], labels: Tensor, classes: int, class_names: Sequence[str] = ()
    ) -> None:
        self._classes = classes
        known = list(class_names) or [str(number) for number in range(classes)]
        self._recalls: dict[str, int] = {}
        self._tops: dict[str, int] = {}
        self._names = list(dict.fromkeys(names))
        for name in self._names:
            if top := _TOP.fullmatch(name):
                self._tops[name] = int(top[1])
                if self._tops[name] >= classes:
                    allowed = f"of {classes} classes the first {classes - 1} at most"
                    raise InputError("metrics", name, allowed)
            elif name.startswith(_RECALL):
                self._recalls[name] = _class_of(name, known)
        self._top_hits = torch.zeros(len(self._tops), dtype=torch.int64, device=labels.device)
        # By class: examples of it, answers that say it, and those of them that are right.
        self._counts = torch.zeros(3, classes, dtype=torch.int64, device=labels.device)
        present = torch.bincount(labels, minlength=classes) > 0
        for name, number in self._recalls.items():
            if not present[number]:
                raise InputError("metrics", name, "the split it is measured on has none of these")

    def reset(self) -> None:
        """Before a pass."""
        self._counts.zero_()
        self._top_hits.zero_()

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """logits: (N, classes). labels: (N,), below 0 where an example does not count."""
        counted = (labels >= 0).long()
        # Any class will do for what does not count: 0 is added to it.
        truth, answers = labels.clamp(min=0), logits.argmax(1)
        self._counts[0].index_add_(0, truth, counted)
        self._counts[1].index_add_(0, answers, counted)
        self._counts[2].index_add_(0, truth, counted * (answers == truth))
        for place, k in enumerate(self._tops.values()):
            # A label below 0 is among no first k.
            among = (logits.topk(k, dim=1).indices == labels[:, None]).any(1)
            self._top_hits[place] += among.sum()

    def values(self) -> dict[str, float]:
        """By name, after a pass; waits for the device."""
        truth, answers, hits = self._counts.double().cpu()
        there = truth > 0
        found = {
            "balanced_accuracy": (hits[there] / truth[there]).mean(),
            # 2 TP / (2 TP + FP + FN), over the classes that are there or were answered.
            "macro_f1": (2 * hits / (truth + answers))[(truth + answers) > 0].mean(),
            **{name: hits[number] / truth[number] for name, number in self._recalls.items()},
            **dict(zip(self._tops, self._top_hits.double().cpu() / truth.sum(), strict=True)),
        }
        return {name: float(found[name]) for name in self._names}


def _class_of(name: str, known: Sequence[str]) -> int:
    wanted = name.removeprefix(_RECALL)
    if wanted in known:
        return known.index(wanted)
    if wanted.isdecimal() and int(wanted) < len(known):
        return int(wanted)
    shown = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    raise InputError("metrics", name, f"classes: {shown}")
