"""Softmax cross-entropy: how surprised the model is by the token that did come next.

Source: maximum likelihood; log-sum-exp with the largest logit taken out, so that nothing overflows.

Forward, for one row z of V logits with target y (one position of one sequence), in nats:

    lse  = log sum_v exp(z_v) = m + log sum_v exp(z_v - m),   m = max_v z_v
    loss = -log softmax(z)_y = lse - z_y

    A row with target -1 is left out: its loss is 0, whatever its logits.

Backward, for one row. With P_v = softmax(z)_v = exp(z_v - lse):

    ∂lse/∂z_v = exp(z_v) / sum_u exp(z_u) = P_v

    dz_v = dout (P_v - [v = y]),              and 0 in a row that is left out

What is there minus what is wanted. A row's gradient sums to zero, because adding a constant to all
its logits does not change the loss.

Soft cap (Gemma 2; optional). The logits may be bounded first, smoothly, by a number cap: the loss
is that of y instead of z, and by the chain rule, since tanh' = 1 - tanh^2,

    y_v  = cap tanh(z_v / cap)
    dz_v = dy_v (1 - (y_v / cap)^2)         with dy as dz above

Label smoothing (Szegedy et al., 2015, section 7; Vaswani et al., 2017, section 5.4; optional). The
wanted distribution is not [v = y] but q_v = (1 - e) [v = y] + e / V, with e the smoothing:

    loss = -sum_v q_v log P_v = lse - sum_v q_v z_v       because sum_v q_v = 1
         = lse - (1 - e) z_y - e mean_v(z_v)

    dz_v = dout (P_v - q_v)

    Its least value is the entropy of q, not 0, and is reached at P = q: a model that is certain is
    wrong. Rows that are left out, padding, stay left out.

The mean over the targets that count is the model's (model/gpt.py): L = sum_r loss_r / N, so
dout = 1/N for every row, where N is the number of kept targets of a step. (A step may add up the
gradients of several micro-batches, where one large batch would not fit into memory; N then counts
all of them.)

Shapes: logits, dlogits (..., V); targets, out, lse, dout (...). dlogits may be logits itself.
"""

import numpy as np

from gpt_numpy.base.arrays import Array

IGNORED = -1


def cross_entropy_forward(
    logits: Array,
    targets: Array,
    out: Array,
    lse: Array,
    *,
    softcap: float = 0.0,
    smoothing: float = 0.0,
) -> None:
    """Write each position's loss to `out` and its log-sum-exp to `lse`; softcap 0: no cap."""
    logits = capped(logits, softcap)
    largest = logits.real.max(axis=-1)
    lse[...] = largest + np.log(np.exp(logits - largest[..., None]).sum(axis=-1))
    kept = targets != IGNORED
    at_target = np.take_along_axis(logits, np.where(kept, targets, 0)[..., None], axis=-1)
    wanted = at_target[..., 0]
    if smoothing:
        wanted = (1 - smoothing) * wanted + smoothing * logits.mean(axis=-1)
    out[...] = np.where(kept, lse - wanted, 0)


def cross_entropy_backward(
    dout: Array,
    logits: Array,
    targets: Array,
    lse: Array,
    dlogits: Array,
    *,
    softcap: float = 0.0,
    smoothing: float = 0.0,
) -> None:
    """Write the gradient of `logits`."""
    logits = capped(logits, softcap)
    kept = targets != IGNORED
    # forward: out = lse - logits[target]
    probabilities = np.exp(logits - lse[..., None])
    probabilities /= probabilities.sum(axis=-1, keepdims=True)  # lse of large logits was rounded
    dlogits[...] = np.where(kept[..., None], dout[..., None] * probabilities, 0)
    rows = np.nonzero(kept)
    dlogits[(*rows, targets[rows])] -= dout[rows]
    # forward: out = lse - (1 - e) logits[target] - e mean(logits)
    if smoothing:
        dlogits[rows] -= dout[rows][:, None] * (smoothing / logits.shape[-1])
        dlogits[(*rows, targets[rows])] += dout[rows] * smoothing
    # forward: y = cap tanh(z / cap)
    if softcap:
        share = logits / softcap
        dlogits *= 1 - share * share


def capped(logits: Array, softcap: float) -> Array:
    """The logits after the soft cap; themselves if there is none."""
    return softcap * np.tanh(logits / softcap) if softcap else logits
