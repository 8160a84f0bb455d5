"""A zero-cost measure in a search: filter, feature, kept, and judged by what was trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from optuna.trial import FrozenTrial
from scipy.stats import kendalltau

from convnas import evaluators
from convnas.experiments import launch, plan, read_config
from convnas.experiments.cli import main
from convnas.search_space import Architecture
from convnas.search_space.chain.score import SCORE
from convnas.search_space.errors import InputError

Config = dict[str, Any]
ASKED = {"measure": "synflow", "candidates": 32, "keep": 0.25}


def test_a_filter_keeps_the_best_part_of_the_set_and_a_run_that_goes_on_keeps_the_filter(
    scripted: Config, tmp_path: Path, trials_of: Callable[[Path], list[FrozenTrial]]
) -> None:
    config = {**scripted, "zero_cost": ASKED, "trials": 10}
    run = tmp_path / "run"
    launch(*plan(config, run))
    kept = read_config(run / "config.yaml")
    assert kept.zero_cost is not None
    measured = kept.zero_cost.measured
    assert measured is not None
    whole = read_config(config)
    everything = whole.feasible(whole.search_space())
    inside = kept.feasible(kept.search_space())
    sums = [
        sum(row[option] for row, option in zip(measured["effects"], point, strict=True))
        for point in everything.indices_in_order()
    ]
    assert measured["least"] == np.quantile(sums, 0.75, method="higher")
    assert inside.count == sum(value >= measured["least"] for value in sums)
    trials = trials_of(run)
    assert len(trials) == 10
    assert all(trial.user_attrs[SCORE] >= measured["least"] for trial in trials)

    launch(*plan(config, run, trials=12))
    assert read_config(run / "config.yaml").zero_cost == kept.zero_cost
    assert len(trials_of(run)) == 12
    with pytest.raises(InputError, match=r"zero_cost\.measure"):
        launch(*plan({**config, "zero_cost": {**ASKED, "measure": "naswot"}}, run))


def test_its_rank_correlation_is_that_of_the_trained(
    scripted: Config,
    tmp_path: Path,
    trials_of: Callable[[Path], list[FrozenTrial]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    feature = {**ASKED, "use": "feature", "best": "lowest"}
    del feature["keep"]
    config = {**scripted, "zero_cost": feature, "strategy": {"name": "predictor"}, "trials": 12}
    run = tmp_path / "run"
    launch(*plan(config, run))
    trials = trials_of(run)
    expected = kendalltau(
        [trial.user_attrs[SCORE] for trial in trials], [trial.value for trial in trials]
    ).statistic
    # `best: lowest`: the sum is high where the measure itself is low.
    evaluator = evaluators.create(
        {"name": "synflow"}, {"name": "digits"}, input=(1, 8, 8), classes=10, device="cpu"
    )
    archs = [Architecture.from_dict(trial.user_attrs["architecture"]) for trial in trials]
    own = [evaluator.evaluate(arch, seed=0).score for arch in archs]
    assert kendalltau([trial.user_attrs[SCORE] for trial in trials], own).statistic < -0.5
    assert main(["status", str(run), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["zero_cost"]
    assert said["tau"] == pytest.approx(expected, abs=1e-4)
    assert said["interval"][0] <= said["tau"] <= said["interval"][1]
    assert main(["status", str(run)]) == 0
    assert "low synflow ranks the 12 trained with Kendall's tau" in capsys.readouterr().out


def test_what_makes_no_sense_is_one_line(
    scripted: Config, write: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    wrong: list[tuple[Config, str]] = [
        ({"measure": "magic"}, "zero_cost.measure"),
        ({"measure": "snip", "keep": 1.5}, "zero_cost.keep"),
        ({"measure": "snip", "use": "feature"}, "zero_cost.use"),
        ({"measure": "snip", "least": 3}, "zero_cost.least"),
        ({"measure": "snip", "measured": {"effects": 3}}, "zero_cost.measured"),
    ]
    for setting, key in wrong:
        assert main(["space", write({**scripted, "zero_cost": setting})]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert key in line
    assert yaml.safe_load(Path(write(scripted)).read_text()).get("zero_cost") is None
