"""What mixed precision costs: gradients with bfloat16 products against the exact ones.

The hand-derived backward pass is exact in float64 (model_check.py proves that). So its float64
gradient shows what rounding does to one that is computed with bfloat16 products. How much of it
rounding alone explains is measured with the other implementation: the reference rounds the same
operands, in plain NumPy, and shares no code with the kernels. Rounding that falls the other way in
a few places makes the two differ, but not by a factor: a model passes if the error of each tensor
is at most twice the larger of the other implementation's and one rounding.
"""

import time

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import InputError
from gpt_numpy.gradients.model_check import twin_with
from gpt_numpy.gradients.report import Rounding, RoundingReport, scale_of
from gpt_numpy.model.base_model import Model
from gpt_numpy.reference.linear import BFLOAT16

FACTOR = 2.0  # what an error may be of the explained one; the rule of flash-attention's tests
UNIT = 2.0**-8  # the largest relative error of rounding to bfloat16


def rounding_errors(
    model: Model, tokens: Array, targets: Array, *, dropout_key: int | None = None
) -> RoundingReport:
    """Compare the gradients of a model's bfloat16 products with the exact ones, by tensor.

    `model` gives the parameters and the implementation; tokens and targets are as for `gradcheck`.

    Raises
    ------
    InputError : the tokens or targets cannot be used, or a gradient is not finite.
    """
    start = time.perf_counter()
    other = "reference" if model.ops_name == "kernels" else "kernels"
    exact, ours, theirs = (
        _gradients(model, dtype, ops, tokens, targets, dropout_key)
        for dtype, ops in (
            ("float64", model.ops_name), (BFLOAT16, model.ops_name), (BFLOAT16, other)
        )
    )  # fmt: skip
    largest = np.max([np.abs(gradient).max() for gradient in exact.values()])  # NaN if one is
    if not np.isfinite(largest):
        raise InputError("a gradient of this model is not finite: rounding cannot be measured")
    rows = []
    for name, gradient in exact.items():
        scale = scale_of(np.abs(gradient).max(), largest)
        error, explained = (
            float(np.abs(side[name] - gradient).max() / scale) for side in (ours, theirs)
        )
        ok = error <= FACTOR * max(explained, UNIT)
        rows.append(Rounding(name, gradient.shape, error, explained, ok))
    return RoundingReport(tuple(rows), model.ops_name, other, time.perf_counter() - start)


def _gradients(
    model: Model, dtype: str, ops: str, tokens: Array, targets: Array, dropout_key: int | None
) -> dict[str, Array]:
    twin = twin_with(model, dtype, ops)
    twin.forward(tokens, targets, dropout_key=dropout_key)
    twin.backward()
    return dict(twin.grads)
