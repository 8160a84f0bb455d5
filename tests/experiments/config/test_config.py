from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from convnas.experiments import read_config
from convnas.experiments.cli import main
from convnas.experiments.config.schema import (
    as_yaml,
    check_continues,
    demo_config,
    resolved,
)
from convnas.search_space import InputError

Config = dict[str, Any]


def with_value(config: Config, dotted: str, value: object) -> Config:
    *path, last = dotted.split(".")
    changed: Config = yaml.safe_load(yaml.safe_dump(config))
    place = changed
    for key in path:
        place = place[key]
    place[last] = value
    return changed


@pytest.mark.parametrize(
    ("dotted", "value", "said"),
    [
        ("trails", 3, "trails: this key is not allowed; did you mean 'trials'?"),
        ("space.stage.alhpa", [0.5], "did you mean 'alpha'?"),
        ("evaluator.epoch", 1, "did you mean 'epochs'?"),
        ("budget.flop", "1M", "did you mean 'flops'?"),
        ("pruner", {"nam": "none"}, "did you mean 'name'?"),
        ("trials", "many", "'many'"),
        ("trials", 0, "a whole number from 1"),
        ("trials", True, "True"),
        ("seed", -1, "-1"),
        ("workers", "few", "auto or a whole number"),
        ("workers", 0, "auto or a whole number"),
        ("trial_timeout", 0, "above 0"),
        ("name", "../up", "'../up'"),
        ("space", [1], "[1]"),
        ("strategy.sped", 1, "strategy.sped: this key"),
        ("strategy", {"name": "tpf"}, "did you mean 'tpe'?"),
        ("strategy", "tpe", "'tpe'"),
        ("pruner", {"name": "mean"}, "median"),
        ("evaluator.name", "proxi", "did you mean 'proxy'?"),
        ("evaluator.name", "python:nowhere:Thing", "python:MODULE:NAME"),
        ("evaluator.epochs", 0, "0"),
        ("data", {"name": "digit"}, "did you mean 'digits'?"),
        ("budget.flops", "40Q", "'40Q'"),
        ("space.stage.alpha", [1.5], "1.5"),
        ("space.stage.p", [3], "3"),
        ("space.stage.conv", ["octav"], "did you mean 'octave'?"),
        ("space.classes", 0, "0"),
    ],
)
def test_a_wrong_config_is_one_line_with_key_value_and_allowed(
    config: Config, dotted: str, value: object, said: str
) -> None:
    with pytest.raises(InputError) as caught:
        read_config(with_value(config, dotted, value))
    line = str(caught.value)
    assert said in line
    assert line.startswith(dotted.split(".")[0])
    assert dotted.split(".")[-1].rstrip("s") in line
    assert "\n" not in line


def test_a_space_whose_scales_do_not_divide_the_channels_is_refused(config: Config) -> None:
    config["space"] = {**config["space"], "stage": {"conv": ["res2net"], "scales": [3]}}
    with pytest.raises(InputError, match=r"scales.*3"):
        read_config(config)


def test_a_missing_space_is_named() -> None:
    with pytest.raises(InputError, match=r"space: .*it is needed"):
        read_config({"name": "small"})


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"a: [1", b"- 1\n- 2\n", b"", b"1: 2", b"!!python/object:os.x {}"]
)
def test_a_file_that_holds_no_config_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"odd\.yaml"):
        read_config(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.yaml.*No such file"):
        read_config(tmp_path / "absent.yaml")


def test_a_budget_that_nothing_meets_names_the_cheapest(config: Config) -> None:
    with pytest.raises(InputError, match=r"budget\.flops.*cheapest"):
        read_config(with_value(config, "budget", {"flops": 10}))


def test_options_are_put_over_the_file(config: Config) -> None:
    read = read_config(config, trials=9, seed=3, strategy="tpe", budget="900K", workers=1)
    assert (read.trials, read.seed, read.workers) == (9, 3, 1)
    assert read.strategy.name == "tpe"
    assert read.budget == {"flops": "900K"}


def test_what_is_kept_reads_back_the_same(config: Config, write: Callable[..., str]) -> None:
    kept = resolved(read_config(config), device="cpu")
    assert {"convnas", "torch", "optuna", "python"} == set(kept.versions)
    assert read_config(write(as_yaml(kept))) == kept


def test_only_trials_workers_device_and_strategy_may_change(config: Config) -> None:
    old = read_config(config)
    check_continues(old, read_config(config, trials=8, workers=1, device="auto", strategy="tpe"))
    check_continues(old, read_config({**config, "budget": {"flops": 1_000_000}}))
    for dotted, value in (
        ("seed", 1),
        ("budget.flops", "900K"),
        ("space.stage.alpha", [0.5]),
        ("evaluator.epochs", 2),
        ("name", "other"),
    ):
        with pytest.raises(InputError) as caught:
            check_continues(old, read_config(with_value(config, dotted, value)))
        assert caught.value.key == dotted


def test_the_demo_is_the_one_that_is_promised() -> None:
    demo = read_config(demo_config())
    assert demo.trials == 40
    assert demo.budget == {"flops": "1M"}
    assert demo.evaluator == {"name": "proxy", "epochs": 5}


def test_digits_of_other_scripts_are_no_numbers(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    for change in (
        {"budget": {"flops": "\u0661M"}},
        {"trials": "\u0663"},
        {"device": "cuda:\u0661"},
    ):
        with pytest.raises(InputError):
            read_config({**config, **change})
    for argv in (["launch", "--trials", "\u0663"], ["launch", "--workers", "\u0663"]):
        assert main(argv) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("dotted", "value"),
    [("space.classes", 1), ("evaluator.width", 1e-300), ("evaluator.width", 1e300)],
)
def test_what_could_never_be_trained_is_refused_beforehand(
    config: Config, dotted: str, value: object
) -> None:
    with pytest.raises(InputError, match=f"{dotted}: {value!r} is not allowed".replace("+", r"\+")):
        read_config(with_value(config, dotted, value))
