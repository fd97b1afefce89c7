"""Hand-derived gradients against derivatives that nobody derived: of a model, and of a layer.

`check.py` checks a model, `layer_check.py` a pair of functions that somebody wrote; both measure
with `derivatives.py`, answer with the table of `report.py`, and say what a wrong gradient looks
like with `diagnosis/`.
"""
