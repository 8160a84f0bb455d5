"""What to try next: every strategy is an Optuna sampler over a feasible set."""

from .base import Exhausted, Strategy
from .registry import create, names, settings_of

__all__ = ["Exhausted", "Strategy", "create", "names", "settings_of"]
