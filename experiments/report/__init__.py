"""A run as one HTML page that needs nothing else, and its figures as PNG files."""

from __future__ import annotations

from .write import write_report

__all__ = ["write_report"]
