"""Chains of integer costs, and exact answers about the points inside limits.

Nothing here knows a convolution: `feasible.py`, one floor up, is what the rest of the house uses.
"""
