"""Training one architecture properly, for `train` and `export`: once, kept for all formats."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import evaluators
from ...search_space import Architecture, load_network, save_network
from ...search_space.errors import InputError
from ..config.schema import ExperimentConfig
from ..errors import RunError
from ..run.directory import RunDirectory
from ..run.outputs import check_target
from .training_log import TrainingLog

Tell = Callable[[str], None]


@dataclass(frozen=True)
class FinalTraining:
    """What is trained, on what, how, and where the weights and the logs go.

    `split_seed` divides the data, so that the test split is the one a search with that seed never
    saw.
    """

    architecture: Architecture
    path: Path
    logs: Path
    data: Mapping[str, Any]
    training: Mapping[str, Any]
    device: str
    seed: int
    split_seed: int

    @classmethod
    def of_config(
        cls, config: ExperimentConfig, architecture: Architecture, path: Path, logs: Path
    ) -> FinalTraining:
        """As the experiment would train it."""
        return cls(
            architecture,
            path,
            logs,
            data=config.data,
            training=_training(config),
            device=config.device,
            seed=config.seed,
            split_seed=config.seed,
        )

    @classmethod
    def of_run(cls, run: RunDirectory, architecture: Architecture) -> FinalTraining:
        """As the run trains it for export."""
        logs = run.path / "tensorboard" / f"train-{architecture.key}"
        path = run.weights_path(architecture)
        return cls.of_config(run.read_config(), architecture, path, logs)

    @property
    def in_run(self) -> bool:
        """Whether the weights are kept in a run directory, as the architecture's own."""
        return self.path.parent.name == "weights" and RunDirectory(self.path.parent.parent).exists

    @property
    def card(self) -> Path:
        """Where an export would have put the card of these weights."""
        return self.path.with_name(f"{self.path.name}.md")

    @property
    def checkpoint(self) -> Path:
        return self.path.with_name(f"{self.path.name}.checkpoint")


def _training(config: ExperimentConfig) -> dict[str, Any]:
    """The recipe, which also measures what the search was after, where it can."""
    if config.evaluator.get("name") not in evaluators.EVALUATORS:
        return dict(config.training)  # what somebody else's metrics mean is not known here
    return evaluators.with_objectives(
        config.training, evaluators.RetrainSettings, config.objective_names
    )


def train_to_file(
    job: FinalTraining, tell: Tell, log: TrainingLog | None = None, *, restart: bool = False
) -> dict[str, float]:
    """Train from scratch, write weights and architecture to `job.path`, return the metrics.

    Where an earlier call was interrupted, this one goes on from its checkpoint, unless it is to
    `restart`. `tell` takes one line an epoch. Raises InputError, RunError.
    """

    def report(epoch: int, metrics: Mapping[str, float]) -> bool:
        shown = "  ".join(
            f"{_SHOWN.get(name, name)} {value:.4f}" for name, value in metrics.items()
        )
        tell(f"epoch {epoch}: {shown}")
        if log is not None:
            log.epoch(epoch, metrics)
        return False

    def resumed(epoch: int) -> None:
        tell(f"going on after epoch {epoch}, from {job.checkpoint}")
        if log is not None:
            log.resume(epoch)

    check_target(job.path)
    if os.path.exists(job.path) and not (restart or job.in_run or job.checkpoint.exists()):
        allowed = "a network lies there already: --restart trains over it, -o names another file"
        raise InputError("out", str(job.path), allowed)
    try:
        job.path.parent.mkdir(parents=True, exist_ok=True)
        if restart:
            job.checkpoint.unlink(missing_ok=True)
        trained = evaluators.retrain(
            job.architecture,
            job.data,
            job.training,
            device=job.device,
            seed=job.seed,
            split_seed=job.split_seed,
            report=report,
            checkpoint=job.checkpoint,
            resumed=resumed,
        )
        save_network(
            job.path,
            job.architecture,
            trained.network.state_dict(),
            metrics=trained.metrics,
            data=trained.data,
            seed=job.seed,
            training=trained.training,
        )
        # Only now that the weights are written: a kill before this loses no training.
        job.checkpoint.unlink(missing_ok=True)
        if note := said_of_chance(trained.metrics, trained.data):
            tell(note)
        if job.card.is_file():
            job.card.unlink()
            tell(f"{job.card} is taken away: it told of the network that was here before")
        if log is not None:
            log.close(trained.metrics, trained.training)
    except evaluators.EvaluationError as e:
        raise RunError(f"the training of {job.architecture} failed: {e}") from e
    except OSError as e:
        raise InputError(str(job.path), "this file", f"it cannot be written: {e.strerror}") from e
    return trained.metrics


_SHOWN = {
    "accuracy": "validation accuracy",
    "loss": "validation loss",
    "train_loss": "training loss",
    "train_loss_sum": "summed",
}


def said_of_chance(metrics: Mapping[str, float], data: Mapping[str, Any]) -> str | None:
    """One line where the network knows no more than the most frequent class, within two standard
    errors of so many test examples; None where it has learned, or where chance was not kept."""
    chance, tested = metrics.get("chance"), metrics["test_accuracy"]
    if chance is None:
        return None
    error = math.sqrt(chance * (1 - chance) / data["sizes"]["test"])
    if tested > chance + 2 * error:
        return None
    return (
        f"the training ended at chance: test accuracy {tested:.4f}, and saying the most frequent"
        f" class always gives {chance:.4f}. More epochs or another learning_rate may help"
        " (training: in the config, -t in convnas train)"
    )


def ensure_weights(run: RunDirectory, architecture: Architecture, tell: Tell) -> Path:
    """The file under the run's weights/, trained now if it is not there.

    InputError where it is there and cannot be read.
    """
    job = FinalTraining.of_run(run, architecture)
    if job.path.is_file():
        # For its errors: weights that cannot be read are neither exported nor trained over.
        load_network(job.path)
    else:
        tell(f"training {architecture}")
        train_to_file(job, tell)
    return job.path
