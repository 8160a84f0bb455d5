"""Finished trials in TensorBoard and MLflow, read back by these tools themselves."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from convnas.experiments import launch, plan, read_config
from convnas.experiments.cli import main
from convnas.experiments.errors import RunError
from convnas.experiments.run.directory import RunDirectory
from convnas.experiments.tracking import TRACKERS, Record, track_run
from convnas.search_space import Architecture, InputError, cost

Capture = pytest.CaptureFixture[str]
Config = dict[str, Any]
Trials = Callable[[Path], list[optuna.trial.FrozenTrial]]


# MLflow's own calls of what SQLAlchemy is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as MLflow makes it, which takes seconds."""
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    path: Path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def mlflow(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow itself, on a database of its own."""
    import mlflow

    shutil.copy(empty, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return mlflow


@pytest.fixture
def events() -> Callable[[Path], Any]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def read(folder: Path) -> Any:
        return accumulator.EventAccumulator(str(folder)).Reload()

    return read


def architecture_of(trial: optuna.trial.FrozenTrial) -> Architecture:
    return Architecture.from_dict(trial.user_attrs["architecture"])


def test_tensorboard_shows_every_trial_with_its_choices_score_and_cost(
    run: Path, trials_of: Trials, events: Callable[[Path], Any], capsys: Capture
) -> None:
    assert main(["track", str(run), "--to", "tensorboard", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tensorboard"]["added"] == 6
    folder = run / "tensorboard"
    trials = trials_of(run)
    expected = {f"trial-{trial.number:04d}" for trial in trials} | {"search"}
    assert {path.name for path in folder.iterdir()} == expected
    for trial in trials:
        read = events(folder / f"trial-{trial.number:04d}")
        architecture = architecture_of(trial)
        assert read.Scalars("score")[0].value == pytest.approx(trial.value)
        assert read.Scalars("flops")[0].value == cost(architecture).flops
        curve = [event.value for event in read.Scalars("score by epoch")]
        assert curve == pytest.approx(trial.user_attrs["curve"])
        assert [event.step for event in read.Scalars("score by epoch")] == [
            *range(1, len(curve) + 1)
        ]
        assert hyperparameters(read)["stage1.conv"] == architecture.stages[0].conv
    assert main(["track", str(run), "--to", "tensorboard", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tensorboard"]["added"] == 0
    search = events(folder / "search")
    best = [event.value for event in search.Scalars("search/best score")]
    assert best == pytest.approx(list(accumulate((t.values[0] for t in trials), max)))


def hyperparameters(read: Any) -> dict[str, Any]:
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    (content,) = (
        each for tag, each in read.summary_metadata.items() if tag == "_hparams_/session_start_info"
    )
    told = HParamsPluginData.FromString(content.plugin_data.content).session_start_info.hparams
    return {name: value.string_value or value.number_value for name, value in told.items()}


def test_mlflow_holds_every_trial_once_however_often_it_is_told(
    run: Path, trials_of: Trials, mlflow: Any
) -> None:
    assert track_run(RunDirectory(run), ["mlflow"])["mlflow"][1] == 6
    assert track_run(RunDirectory(run), ["mlflow"])["mlflow"][1] == 0
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("small")
    found = {
        int(r.data.tags["convnas.trial"]): r for r in client.search_runs([experiment.experiment_id])
    }
    trials = trials_of(run)
    assert sorted(found) == [trial.number for trial in trials]
    for trial in trials:
        told = found[trial.number]
        architecture = architecture_of(trial)
        assert told.info.status == "FINISHED"
        assert told.data.metrics["score"] == trial.value
        assert told.data.metrics["flops"] == cost(architecture).flops
        assert told.data.metrics["params"] == cost(architecture).params
        assert told.data.params["stage1.conv"] == architecture.stages[0].conv
        assert told.data.tags["convnas.architecture"] == str(architecture)
        assert trial.datetime_start is not None
        assert told.info.start_time == int(trial.datetime_start.timestamp() * 1000)
        curve = client.get_metric_history(told.info.run_id, "score by epoch")
        assert [(m.step, m.value) for m in curve] == [*enumerate(trial.user_attrs["curve"], 1)]


def test_a_moved_run_is_the_same_run_and_a_copy_of_its_config_is_another(
    run: Path, scripted: Config, tmp_path: Path, mlflow: Any
) -> None:
    assert track_run(RunDirectory(run), ["mlflow"])["mlflow"][1] == 6
    moved = RunDirectory(run.rename(tmp_path / "moved"))
    assert track_run(moved, ["mlflow"])["mlflow"][1] == 0
    launch(*plan(scripted | {"trials": 2}, tmp_path / "other"))
    assert track_run(RunDirectory(tmp_path / "other"), ["mlflow"])["mlflow"][1] == 2


def test_a_launch_tracks_as_it_goes_and_catches_up_with_what_was_before(
    scripted: Config, tmp_path: Path, mlflow: Any, events: Callable[[Path], Any]
) -> None:
    scripted["evaluator"] |= {"faults": {"refuse": 1}}
    run = tmp_path / "run"
    launch(*plan(scripted | {"trials": 2}, run))
    assert not (run / "tensorboard").exists()
    launched = plan(scripted | {"trials": 4, "track": ["tensorboard", "mlflow"]}, run)
    launch(*launched)
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("small")
    found = client.search_runs([experiment.experiment_id])
    assert len(found) == 4
    states = {r.data.tags["convnas.state"]: r for r in found}
    assert states["failed"].info.status == "FAILED"
    assert states["failed"].data.tags["convnas.reason"]
    assert sum(path.name.startswith("trial-") for path in (run / "tensorboard").iterdir()) == 4
    assert not [path for path in (run / "tensorboard").iterdir() if path.name.startswith(".")]


def test_what_a_killed_launch_left_half_done_is_done_again(
    run: Path, mlflow: Any, events: Callable[[Path], Any]
) -> None:
    track_run(RunDirectory(run), ["mlflow", "tensorboard"])
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("small").experiment_id
    (one,) = client.search_runs([experiment], filter_string="tags.`convnas.trial` = '3'")
    client.update_run(one.info.run_id, status="RUNNING")
    half = run / "tensorboard" / "trial-0003"
    half.rename(half.with_name(".trial-0003.tmp"))
    done = track_run(RunDirectory(run), ["mlflow", "tensorboard"])
    assert done["mlflow"][1] == 1
    again = client.search_runs([experiment])
    assert len(again) == 6
    assert {r.info.status for r in again} == {"FINISHED"}
    assert half.is_dir()
    assert not half.with_name(".trial-0003.tmp").exists()


def test_a_tracker_that_fails_is_given_up_and_the_search_goes_on(
    scripted: Config, tmp_path: Path, trials_of: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Down:
        place = "nowhere"

        def known(self) -> set[int]:
            return set()

        def add(self, record: Record) -> None:
            raise ConnectionError("the server is down")

        def close(self) -> None:
            raise AssertionError

    monkeypatch.setitem(TRACKERS, "mlflow", lambda run, experiment, identity: Down())
    run = tmp_path / "run"
    launch(*plan(scripted | {"track": ["mlflow"]}, run))
    assert [trial.state for trial in trials_of(run)] == [TrialState.COMPLETE] * 6
    log = (run / "log.txt").read_text()
    assert "track: mlflow is given up (the server is down); convnas track catches up" in log
    with pytest.raises(RunError, match="mlflow failed: the server is down"):
        track_run(RunDirectory(run), ["mlflow"])


@pytest.mark.parametrize(
    ("name", "module"), [("tensorboard", "torch.utils.tensorboard"), ("mlflow", "mlflow")]
)
def test_a_missing_tool_is_one_line_before_anything_is_trained(
    scripted: Config,
    write: Callable[..., str],
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    module: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    run = tmp_path / "run"
    assert main(["launch", write(scripted | {"track": [name]}), "-o", str(run)]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert f"track: '{name}' is not allowed" in said
    assert f"pip install 'convnas[{name}]'" in said
    assert not (tmp_path / "record.txt").exists()


def test_names_are_checked(scripted: Config, run: Path, capsys: Capture) -> None:
    with pytest.raises(InputError, match=r"track: 'mlfow' .* did you mean 'mlflow'"):
        read_config(scripted | {"track": ["mlfow"]})
    with pytest.raises(InputError, match="each name once"):
        read_config(scripted | {"track": ["mlflow", "mlflow"]})
    assert main(["track", str(run), "--to", "wandb"]) == 2
    assert "choose from: mlflow, tensorboard" in capsys.readouterr().err


def test_nothing_is_imported_for_a_run_that_tracks_nothing(
    scripted: Config, tmp_path: Path
) -> None:
    assert read_config(scripted).track == []
    launch(*plan(scripted, tmp_path / "run"))
    assert not (tmp_path / "run" / "tensorboard").exists()
    shutil.rmtree(tmp_path / "run")
