"""Finished trials, copied from the study to where people already look: TensorBoard, MLflow."""

from __future__ import annotations

from .record import Record, record_of
from .registry import TRACKERS, Tracker, check_trackers, open_trackers
from .sync import Tracking, track_run

__all__ = [
    "TRACKERS",
    "Record",
    "Tracker",
    "Tracking",
    "check_trackers",
    "open_trackers",
    "record_of",
    "track_run",
]
