"""Check hand-derived gradients against exact derivatives, of a model and of a single layer.

`model_check.py` checks a model, `layer_check.py` a pair of functions. Both compute derivatives with
`derivatives.py`, return the table of `report.py`, and describe wrong gradients with `diagnosis/`.
`selfcheck.py` repeats the measurements of the proof on the installed package.
"""
