"""Strategies and rivals on tables of trained networks: python -m convnas.benchmarks.search."""
