"""MLP sublayer, fused: bias, activation, dropout and the residual sum are epilogues of products.

SwiGLU, which reads two channels for each that it writes, is a pass of its own.
"""

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.activation import (
    NUMBERS,
    swiglu_backward_and_forward,
    swiglu_forward,
)
from gpt_numpy.kernels.engine.jit import same_memory
from gpt_numpy.kernels.halves import activate_halves, activate_halves_backward, is_half
from gpt_numpy.kernels.linear import PRODUCTS, linear_and_sum, parameter_gradients
from gpt_numpy.kernels.norms import NORMS
from gpt_numpy.kernels.products.epilogue import ACTIVATE, GRADIENT, GRADIENT_IN_PLACE, Epilogue
from gpt_numpy.kernels.residual import copy_unless_same, through_dropout
from gpt_numpy.reference.dropout import Dropout
from gpt_numpy.reference.mlp_sublayer import MLPKept, MLPSettings, MLPWeights


def mlp_sublayer_forward(
    x: Array,
    weights: MLPWeights,
    kept: MLPKept,
    *,
    settings: MLPSettings,
    dropout: Dropout,
    out: Array,
) -> None:
    """Write the residual stream after the MLP to `out`; `dropout` is the branch's."""
    w, k, activation, precision = weights, kept, settings.activation, settings.precision
    multiply = PRODUCTS[precision].multiply
    NORMS[settings.norm_kind].forward(x, w, k, settings.norm_eps)
    if activation == "swiglu":
        multiply(k.norm, w.fc_weight, k.fc, bias=w.fc_bias)
        swiglu_forward(k.fc, out=k.act)
    elif is_half(k.fc):
        multiply(k.norm, w.fc_weight, k.fc, bias=w.fc_bias)
        activate_halves(NUMBERS[activation], k.fc, out=k.act)
    else:
        activate = Epilogue(ACTIVATE, NUMBERS[activation], second=k.act)
        multiply(k.norm, w.fc_weight, k.fc, bias=w.fc_bias, epilogue=activate)
    linear_and_sum(k.act, w.proj_weight, w.proj_bias, x, dropout, out=out, precision=precision)


def mlp_sublayer_backward(
    dout: Array,
    x: Array,
    weights: MLPWeights,
    kept: MLPKept,
    *,
    settings: MLPSettings,
    dropout: Dropout,
    dx: Array,
    dweights: MLPWeights,
    dkept: MLPKept,
) -> None:
    """Write the gradients of `x`, of the weights and of what was kept; `dx` may be `dout`."""
    w, k, dw, dk = weights, kept, dweights, dkept
    activation, precision = settings.activation, settings.precision
    multiply = PRODUCTS[precision].multiply
    # forward: act = activation(fc); out = x + dropout(linear(act))
    dbranch = through_dropout(dout, dropout, workspace=dk.norm)
    if activation == "swiglu":
        multiply(dbranch, w.proj_weight, out=dk.act, transposed=True)
        swiglu_backward_and_forward(dk.act, k.fc, dx=dk.fc, out=k.act)
    elif is_half(k.fc):
        multiply(dbranch, w.proj_weight, out=dk.act, transposed=True)
        copy_unless_same(dk.act, dk.fc)
        activate_halves_backward(NUMBERS[activation], k.fc, dx=dk.fc, out=k.act)
    else:
        finish = GRADIENT_IN_PLACE if same_memory(dk.fc, dk.act) else GRADIENT
        gradient = Epilogue(finish, NUMBERS[activation], other=k.fc, second=dk.fc, third=k.act)
        multiply(dbranch, w.proj_weight, out=dk.act, transposed=True, epilogue=gradient)
    parameter_gradients(dbranch, k.act, dw.proj_weight, dw.proj_bias, precision=precision)
    # forward: norm = norm(x); fc = linear(norm)
    multiply(dk.fc, w.fc_weight, out=dk.norm, transposed=True)
    copy_unless_same(dout, dx)
    NORMS[settings.norm_kind].backward_and_renormalise(x, w, k, dx, dw, dk)
    parameter_gradients(dk.fc, k.norm, dweight=dw.fc_weight, dbias=dw.fc_bias, precision=precision)
