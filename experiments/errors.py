"""What is said when a run cannot go on although its input was right."""

from __future__ import annotations


class RunError(RuntimeError):
    """The run failed: one line for people. The study keeps what was finished."""
