"""Measurements of strategies and evaluators, and their reports."""
