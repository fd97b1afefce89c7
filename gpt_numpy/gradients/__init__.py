"""Compares hand-derived gradients with numerical derivatives: of a model, and of a single layer.

`model_check.py` checks a model, `layer_check.py` a pair of functions that you wrote. Both
differentiate with `derivatives.py`, return the table of `report.py`, and explain wrong gradients
with `diagnosis/`. `selfcheck.py` checks, on the user's machine, that the checks work.
"""
