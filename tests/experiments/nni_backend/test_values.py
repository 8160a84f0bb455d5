"""What a trial may report: whatever it is, it becomes a score or a reason, and ends nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from convnas.experiments.nni_backend.values import point, scored

NONSENSE: list[Any] = [
    *(None, "x", [], [1], {}, {"accuracy": 1}, {"default": None}, {"default": []}),
    *({"default": {"__symbol__": "path:os.system"}}, 10**400, {"default": -(10**400)}),
]


@pytest.mark.parametrize("value", NONSENSE)
def test_what_is_no_score_is_a_reason(value: Any) -> None:
    with pytest.raises(ValueError, match="its final result has no score") as caught:
        scored(3, value, ())
    assert len(str(caught.value)) < 300
    assert point(json.dumps(value)) is None


def test_a_score_is_kept_with_the_numbers_beside_it() -> None:
    value = {"default": "0.5", "loss": 2, "flops": 7, "pruned": 1, "x": 10**400, "y": "z"}
    result = scored(3, value, (0.25, 0.5))
    assert (result.trial, result.score, result.pruned) == (3, 0.5, True)
    assert result.metrics == {"loss": 2.0}
    assert scored(0, 1, ()).score == 1.0
    assert point("0.25") == point('{"default": 0.25}') == 0.25
    assert point("{") is None
