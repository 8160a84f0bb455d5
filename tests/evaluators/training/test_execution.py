"""A measured table of executions in the evaluator's settings."""

from __future__ import annotations

import pytest

from convnas import Architecture, Choice, InputError, evaluators
from convnas.search_space import HetConv2d
from convnas.search_space.layers.hetconv_execution import HetShape

ARCH = Architecture(
    "resnet-cifar", (1, 8, 8), 10, (Choice("hetconv", p=4), *[Choice("vanilla")] * 2)
)
SHAPE = str(HetShape(16, 16, 3, 1, 4))


def evaluated(monkeypatch: pytest.MonkeyPatch, **settings):
    """The accuracy of one short training, and the executions that ran."""
    ran = set()
    forward = HetConv2d.forward

    def noting(self, x):
        ran.add(self.chosen_execution(x))
        return forward(self, x)

    monkeypatch.setattr(HetConv2d, "forward", noting)
    evaluator = evaluators.create(
        {"name": "proxy", "epochs": 1, **settings},
        {"name": "digits"},
        input=ARCH.input,
        classes=10,
        device="cpu",
    )
    return evaluator.evaluate(ARCH, seed=0).score, ran


def test_a_table_rules_on_its_device_and_one_seed_gives_one_result(monkeypatch) -> None:
    table = {"device": "cpu", "dtype": "float32", "hetconv": {SHAPE: "grouped"}}
    score, ran = evaluated(monkeypatch, execution=table)
    assert ran == {"grouped"}
    assert evaluated(monkeypatch, execution=table)[0] == score
    assert evaluated(monkeypatch, execution={**table, "device": "cuda"})[1] == {"dense"}
    assert evaluated(monkeypatch)[1] == {"dense"}


def test_a_wrong_table_is_refused_under_its_key() -> None:
    settings = {"name": "proxy", "execution": {"hetconv": {SHAPE: "sparse"}}}
    with pytest.raises(InputError, match=r"evaluator\.execution: .*'sparse' is not allowed"):
        evaluators.check_settings(settings, {"name": "digits"})
