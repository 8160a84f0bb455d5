"""Runs beside one another: which there are under a folder, and how two of them differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from ...search_space.errors import InputError
from ..errors import RunError
from .directory import RunDirectory
from .results import Found, best_of, status
from .study import read_trials


def runs_under(folder: Path) -> list[RunDirectory]:
    """Every run in the folder, in its subfolders and in theirs, by path. Raises InputError."""
    if not folder.is_dir():
        raise InputError("FOLDER", str(folder), "a folder with runs in it")
    places = [folder, *folder.glob("*/"), *folder.glob("*/*/")]
    return [run for run in map(RunDirectory, sorted(places)) if run.exists]


def state_of(run: RunDirectory) -> dict[str, Any]:
    """JSON-able; of a run that cannot be read its path and the `problem`."""
    try:
        state = status(run)
    except (InputError, RunError) as e:
        return {"run": str(run.path), "problem": str(e)}
    ended = sum(state["trials"][word] for word in ("complete", "pruned", "failed"))
    best = state["best"]
    return {
        "run": str(run.path),
        "state": "going on"
        if state["active"]
        else "ended"
        if ended >= state["wanted"]
        else "stopped",
        "ended": ended,
        "wanted": state["wanted"],
        "best": best["score"] if best else None,
        "objective": state["objectives"][0],
        "flops": best["flops"] if best else None,
    }


def differences(one: RunDirectory, other: RunDirectory) -> dict[str, Any]:
    """JSON-able: `settings` that differ, dotted key -> both values; `best` of each; `curves`, the
    best score after so many complete trials."""
    configs = [run.read_config().model_dump(mode="json") for run in (one, other)]
    found: dict[str, list[Any]] = {}
    _compare("", configs[0], configs[1], found)
    best: list[Found | None] = [next(iter(best_of(run, 1)), None) for run in (one, other)]
    return {
        "runs": [str(one.path), str(other.path)],
        "settings": found,
        "best": [each.to_dict() if each else None for each in best],
        "curves": [_curve(run) for run in (one, other)],
    }


def _compare(key: str, one: Any, other: Any, found: dict[str, list[Any]]) -> None:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in dict.fromkeys([*one, *other]):
            # A launch writes these itself; nobody has set them.
            if name not in ("versions", "measured"):
                where = f"{key}.{name}" if key else name
                _compare(where, one.get(name), other.get(name), found)
    elif one != other:
        found[key] = [one, other]


def _curve(run: RunDirectory) -> list[float]:
    best, curve = -float("inf"), []
    for trial in read_trials(run.study):
        # Optuna gives a pruned trial its last report as its value.
        if trial.state == TrialState.COMPLETE and trial.values is not None:
            best = max(best, trial.values[0])
            curve.append(best)
    return curve
