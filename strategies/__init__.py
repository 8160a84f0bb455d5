"""What to try next: every strategy is an Optuna sampler over a feasible set."""

from .base import Exhausted, Strategy, StrategyFailed
from .registry import available, create, names, settings_of

__all__ = ["Exhausted", "Strategy", "StrategyFailed", "available", "create", "names", "settings_of"]
