"""Training one architecture properly, for `train` and `export`: weights once, kept for all formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .. import evaluators
from ..search_space import Architecture, load_network, save_network
from ..search_space.errors import InputError
from .errors import RunError
from .run_dir import RunDirectory

Tell = Callable[[str], None]


def train_to_file(
    architecture: Architecture,
    path: Path,
    data: Mapping[str, Any],
    training: Mapping[str, Any],
    *,
    device: str,
    seed: int,
    split_seed: int,
    tell: Tell,
) -> dict[str, float]:
    """Train from scratch, write weights and architecture to `path`, return the metrics.

    `tell` takes one line an epoch. `split_seed` divides the data, so that the test split is the one
    a search with that seed never saw.
    """

    def report(epoch: int, metrics: Mapping[str, float]) -> bool:
        shown = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        tell(f"epoch {epoch}: {shown}")
        return False

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        trained = evaluators.retrain(
            architecture,
            data,
            training,
            device=device,
            seed=seed,
            split_seed=split_seed,
            report=report,
        )
        save_network(
            path,
            architecture,
            trained.network.state_dict(),
            metrics=trained.metrics,
            data=trained.data,
            seed=seed,
        )
    except evaluators.EvaluationError as e:
        raise RunError(f"the training of {architecture} failed: {e}") from e
    except OSError as e:
        raise InputError(str(path), "this file", f"it cannot be written: {e.strerror}") from e
    return trained.metrics


def ensure_weights(run: RunDirectory, architecture: Architecture, tell: Tell) -> Path:
    """The file under the run's weights/, trained now if it is not there or not readable."""
    path = run.weights_path(architecture)
    if path.is_file():
        load_network(path)
        return path
    config = run.read_config()
    tell(f"training {architecture}")
    train_to_file(
        architecture,
        path,
        config.data,
        config.training,
        device=config.device,
        seed=config.seed,
        split_seed=config.seed,
        tell=tell,
    )
    return path


def train_command(
    architecture_file: str,
    *,
    run_dir: str | None,
    data: str | None,
    epochs: int | None,
    out: str | None,
    device: str | None,
    seed: int | None,
    tell: Tell,
) -> tuple[Path, dict[str, float]]:
    """What `convnas train` does: the file with the weights, and the metrics."""
    architecture = Architecture.load(architecture_file)
    beside = RunDirectory(Path(architecture_file).parent)
    run = RunDirectory.existing(run_dir) if run_dir else beside if beside.exists else None
    changed = {} if epochs is None else {"epochs": epochs}
    if run is None:
        training: dict[str, Any] = changed
        path = Path(out) if out else Path(architecture_file).with_suffix(".pt")
        source, split_seed, where = {"name": data or "digits"}, seed or 0, device or "auto"
    else:
        config = run.read_config()
        training = config.training | changed
        path = Path(out) if out else run.weights_path(architecture)
        source = {"name": data} if data else config.data
        split_seed, where = config.seed, device or config.device
    metrics = train_to_file(
        architecture,
        path,
        source,
        training,
        device=where,
        seed=split_seed if seed is None else seed,
        split_seed=split_seed,
        tell=tell,
    )
    return path, metrics
