"""Optuna's samplers, kept inside the budget and off repeats."""
