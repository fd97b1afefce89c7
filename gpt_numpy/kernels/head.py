"""The head and the loss, for as many positions at a time as there is memory for their logits."""

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.cross_entropy import cross_entropy_backward, cross_entropy_forward
from gpt_numpy.kernels.engine.jit import flat
from gpt_numpy.kernels.linear import PRODUCTS
from gpt_numpy.kernels.norms import NORMS
from gpt_numpy.reference.head import HeadKept, HeadSettings, HeadWeights

LOGITS = 2**25  # the most elements of the logits that exist at once


def head_forward(
    x: Array, weights: HeadWeights, kept: HeadKept, *, settings: HeadSettings, out: Array
) -> None:
    """Write the logits, before the soft cap, to `out`; of `kept`, only mean, rstd and norm."""
    w, k = weights, kept
    NORMS[settings.norm_kind].forward(x, w, k, settings.norm_eps)
    PRODUCTS[settings.precision].multiply(k.norm, w.weight, out, transposed=True)


def head_backward(
    dout: Array,
    x: Array,
    weights: HeadWeights,
    kept: HeadKept,
    *,
    settings: HeadSettings,
    dx: Array,
    dweights: HeadWeights,
    dkept: HeadKept,
) -> None:
    """Write the gradients of `x`, of the weights and of the norm's output."""
    # forward: norm = norm(x); logits = norm @ weight.T
    products = PRODUCTS[settings.precision]
    products.multiply(dout, weights.weight, dkept.norm)
    products.multiply_columns(dout, kept.norm, dweights.weight)
    NORMS[settings.norm_kind].backward(x, weights, kept, dx, dweights, dkept)


def head_loss_forward(
    x: Array,
    weights: HeadWeights,
    kept: HeadKept,
    *,
    targets: Array,
    settings: HeadSettings,
    out: Array,
) -> None:
    """Write each position's loss to `out`; the logits of the last positions stay in `kept`."""
    w, k = weights, kept
    NORMS[settings.norm_kind].forward(x, w, k, settings.norm_eps)
    norms, y, losses, sums = _positions(k.norm), flat(targets), flat(out), flat(k.lse)
    multiply = PRODUCTS[settings.precision].multiply
    for part, z in _parts(k.logits, y.size):
        multiply(norms[part], w.weight, z, transposed=True)
        cross_entropy_forward(
            z, y[part], out=losses[part], lse=sums[part],
            softcap=settings.softcap, smoothing=settings.smoothing,
        )  # fmt: skip


def head_loss_backward(
    dout: Array,
    x: Array,
    weights: HeadWeights,
    kept: HeadKept,
    *,
    targets: Array,
    settings: HeadSettings,
    dx: Array,
    dweights: HeadWeights,
    dkept: HeadKept,
) -> None:
    """Write the gradients of `x` and of the weights; `dkept.logits` may be `kept.logits`.

    Logits that forward did not leave are recomputed, in `dkept.logits`.
    """
    norms, dnorms, douts = _positions(kept.norm), _positions(dkept.norm), flat(dout)
    y, sums, products = flat(targets), flat(kept.lse), PRODUCTS[settings.precision]
    for again, (part, dz) in enumerate(reversed(_parts(dkept.logits, y.size))):
        z = dz if again else _positions(kept.logits)[: len(dz)]
        if again:
            products.multiply(norms[part], weights.weight, z, transposed=True)
        # forward: loss = cross_entropy(logits)
        cross_entropy_backward(
            douts[part], z, y[part], sums[part], dlogits=dz,
            softcap=settings.softcap, smoothing=settings.smoothing,
        )  # fmt: skip
        # forward: logits = norm @ weight.T
        products.multiply(dz, weights.weight, dnorms[part])
        products.multiply_columns(dz, norms[part], dweights.weight, add=again > 0)
    # forward: norm = norm(x)
    NORMS[settings.norm_kind].backward(x, weights, kept, dx, dweights, dkept)


def _positions(array: Array) -> Array:
    """All vectors of an array, in a table."""
    return flat(array).reshape(-1, array.shape[-1])


def _parts(logits: Array, count: int) -> list[tuple[slice, Array]]:
    """Slices of positions, and the buffer for their logits, in order.

    The first slice may be short, all others fill the buffer.
    """
    buffer = _positions(logits)
    first = count % len(buffer)
    starts = [0] * (first > 0) + list(range(first, count, len(buffer)))
    stops = [*starts[1:], count]
    return [(slice(i, j), buffer[: j - i]) for i, j in zip(starts, stops, strict=True)]
