"""MLP sublayer: layer norm, a wider linear layer, the activation, back to C channels, residual sum.

Source: Radford et al. (2019), section 2.3; Vaswani et al. (2017), section 3.3:

    out = x + dropout(linear(activation(linear(norm(x)))))

Every position for itself: only attention mixes positions. Backward is, as in attention_sublayer.py,
the same functions in reverse: out = x + branch(x), so

    dx = dout + (what comes back through the branch)

The outputs of layer norm and activation are recomputed in backward, into the buffers that forward
used: `kept.norm` and `kept.act` are written in both directions. Post-norm as there.

Shapes: x, out, norm (B, T, C); fc, act (B, T, F); mean, rstd (B, T).
"""

from typing import NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.reference import activation as activations
from gpt_numpy.reference.dropout import Dropout, dropout_backward, dropout_forward
from gpt_numpy.reference.layernorm import EPS
from gpt_numpy.reference.linear import FULL, linear_backward, linear_forward, round_stored
from gpt_numpy.reference.norms import LAYERNORM, NORMS
from gpt_numpy.reference.tap import Tap, no_tap


class MLPWeights(NamedTuple):
    """The weights of the sublayer, or their gradients; biases may be None."""

    ln_weight: Array | None  # (C,); None without a norm
    ln_bias: Array | None  # RMSNorm has none
    fc_weight: Array  # (C, F)
    fc_bias: Array | None
    proj_weight: Array  # (F, C)
    proj_bias: Array | None


class MLPKept(NamedTuple):
    """What forward writes for backward, or the gradients: None for the statistics."""

    mean: Array | None  # RMSNorm has none
    rstd: Array | None
    norm: Array
    fc: Array
    act: Array


class MLPSettings(NamedTuple):
    """How the sublayer computes: nonlinearity, norm, and the precision of products' operands."""

    activation: str
    norm_kind: str = LAYERNORM
    precision: str = FULL
    norm_eps: float = EPS


def mlp_sublayer_forward(
    x: Array,
    weights: MLPWeights,
    kept: MLPKept,
    *,
    settings: MLPSettings,
    dropout: Dropout,
    out: Array,
    tap: Tap = no_tap,
) -> None:
    """Write the residual stream after the MLP to `out`; `dropout` is the branch's."""
    w, k, branch = weights, kept, np.empty_like(x)
    activation, precision = settings.activation, settings.precision
    NORMS[settings.norm_kind].forward(x, w, k, settings.norm_eps)
    tap("norm", k.norm)
    linear_forward(k.norm, w.fc_weight, w.fc_bias, out=k.fc, precision=precision)
    halves = precision if activation != "swiglu" else FULL
    round_stored(k.fc, halves)
    tap("fc", k.fc)
    activations.FORWARD[activation](k.fc, out=k.act)
    round_stored(k.act, halves)
    tap("act", k.act)
    linear_forward(k.act, w.proj_weight, w.proj_bias, out=branch, precision=precision)
    dropout_forward(branch, dropout, out=branch)
    tap("branch", branch)
    out[...] = x + branch
    tap("out", out)


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
    tap: Tap = no_tap,
) -> None:
    """Write the gradients of `x`, of the weights and of what was kept; `dx` may be `dout`."""
    w, k, dw, dk = weights, kept, dweights, dkept
    activation, precision = settings.activation, settings.precision
    tap("dout", dout)
    activations.FORWARD[activation](k.fc, out=k.act)  # recomputed
    round_stored(k.act, precision if activation != "swiglu" else FULL)
    tap("act", k.act)
    # forward: out = x + dropout(linear(act))
    dbranch = dout.copy()
    tap("dbranch", dbranch)
    dropout_backward(dbranch, dropout, dx=dbranch)
    linear_backward(
        dbranch, k.act, w.proj_weight, w.proj_bias,
        dx=dk.act, dweight=dw.proj_weight, dbias=dw.proj_bias, precision=precision,
    )  # fmt: skip
    tap("dact", dk.act)
    # forward: act = activation(fc)
    activations.BACKWARD[activation](dk.act, k.fc, dx=dk.fc)
    tap("dfc", dk.fc)
    NORMS[settings.norm_kind].again(x, w, k)  # recomputed
    tap("norm", k.norm)
    # forward: fc = linear(norm)
    linear_backward(
        dk.fc, k.norm, w.fc_weight, w.fc_bias,
        dx=dk.norm, dweight=dw.fc_weight, dbias=dw.fc_bias, precision=precision,
    )  # fmt: skip
    tap("dnorm", dk.norm)
    # forward: norm = norm(x)
    dx_branch = np.empty_like(x)
    NORMS[settings.norm_kind].backward(x, w, k, dx_branch, dw, dk)
    # forward: out = x + branch(x)
    dx[...] = dout + dx_branch
