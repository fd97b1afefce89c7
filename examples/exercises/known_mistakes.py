"""Wrong gradients that beginners write, for six kinds of layer: what `gn.check_layer` can name.

    gn.check_layer(forward, backward, inputs, outputs, mistakes=known_mistakes)

A layer is recognised by the names and shapes of its arguments: layer norm has `x` and a `weight`
with one axis, a linear layer a `weight` with two, attention `qkv` and `n_head`, and so on. Every
gradient here is wrong on purpose; one is reported only if it equals the gradient under test. The
right ones are derived in gpt_numpy/reference/.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from examples.exercises.known_attention_mistakes import attention_mistakes
from gpt_numpy.base.arrays import Array
from gpt_numpy.reference.erf import erf

_NO_SUCH_LAYER = (ValueError, TypeError, IndexError, KeyError, AttributeError)
Mistakes = Iterator[tuple[str, Array]]


def known_mistakes(arrays: Mapping[str, Any]) -> Iterator[tuple[str, str, Array]]:
    """Yield a gradient such as "dx", what is wrong with it, and its wrong values.

    `arrays` : the arguments of forward, what it wrote, and `dout`, by name.
    """
    for name, value in arrays.items():
        for kind in KINDS:
            # A layer of another kind may have arguments of the same names: then nothing fits.
            with np.errstate(all="ignore"), contextlib.suppress(*_NO_SUCH_LAYER):
                for sentence, wrong in kind(name, arrays):
                    if wrong.shape == np.shape(value) and np.isfinite(wrong).all():
                        yield "d" + name, sentence, wrong


def _take(arrays: Mapping[str, Any], *names: str) -> list[Any]:
    return [arrays.get(name) for name in names]


def _layernorm(name: str, arrays: Mapping[str, Any]) -> Mistakes:
    x, weight, dout = _take(arrays, "x", "weight", "dout")
    if x is None or weight is None or np.ndim(weight) != 1 or dout.shape != x.shape:
        return
    if x.shape[-1:] != weight.shape:
        return
    mean = x.mean(axis=-1, keepdims=True)
    var = x.var(axis=-1, keepdims=True)
    kept = arrays.get("rstd")
    rstd = kept[..., None] if np.shape(kept) == x.shape[:-1] else 1 / np.sqrt(var + 1e-5)
    xhat, dxhat = (x - mean) * rstd, dout * weight

    def along(values: Array) -> Array:
        return np.asarray(values.mean(axis=-1, keepdims=True))

    def dx(dxhat: Array, rstd: Any, xhat: Array) -> Array:
        return np.asarray(rstd * (dxhat - along(dxhat) - xhat * along(dxhat * xhat)))

    if name == "x":
        yield "the term mean(dxhat) is missing", rstd * (dxhat - xhat * along(dxhat * xhat))
        yield "the term xhat * mean(dxhat * xhat) is missing", rstd * (dxhat - along(dxhat))
        yield "both means are missing: mean and rstd are taken for constants", rstd * dxhat
        yield "the weight is left out: dxhat = dout * weight", dx(dout, rstd, xhat)
        yield "the factor rstd is left out", dx(dxhat, 1.0, xhat)
        bare = 1 / np.sqrt(var)
        yield "rstd is taken without eps", dx(dxhat, bare, (x - mean) * bare)
        yield "the last factor, rstd, is taken without eps", dx(dxhat, bare, xhat)
        yield "xhat is taken for x", dx(dxhat, rstd, x)
        total = (dxhat * xhat).sum(axis=-1, keepdims=True)
        sums = rstd * (dxhat - dxhat.sum(axis=-1, keepdims=True) - xhat * total)
        yield "the two means over the channels are sums", sums
    if name == "weight":
        rows = tuple(range(x.ndim - 1))
        yield "the mean is not taken out of x: it is x * rstd for xhat", (dout * x * rstd).sum(rows)
        yield "it is x for xhat", (dout * x).sum(rows)
        yield "xhat is left out: it is the gradient of the bias", dout.sum(rows)


def _linear(name: str, arrays: Mapping[str, Any]) -> Mistakes:
    x, weight, dout = _take(arrays, "x", "weight", "dout")
    if x is None or weight is None or np.ndim(weight) != 2 or x.ndim != dout.ndim:
        return
    if name == "x" and dout.shape[-1] == weight.shape[0]:
        yield "the weight is not transposed: dout @ weight", dout @ weight
    if name == "x" and dout.shape[-1] == weight.shape[1] == x.shape[-1] == weight.shape[0]:
        yield "the weight is transposed once too often: dout @ weight.T", dout @ weight.T
    if name == "weight" and x.shape[:-1] == dout.shape[:-1]:
        rows, drows = (a.reshape(-1, a.shape[-1]) for a in (x, dout))
        for k, what in ((0, "first"), (-1, "last")):
            text = f"only the {what} row counts: the sum over rows is missing"
            yield text, np.outer(rows[k], drows[k])


def _activation(name: str, arrays: Mapping[str, Any]) -> Mistakes:
    x, dout = _take(arrays, "x", "dout")
    floats = [key for key, value in arrays.items() if np.ndim(value) and value.dtype.kind == "f"]
    if name != "x" or dout is None or set(floats) - {"x", "out", "dout"} or dout.shape != x.shape:
        return
    yield "it is dout itself: the derivative of the function is left out", dout.copy()
    yield "it is masked by the sign of dout, not of x", dout * (dout > 0)
    yield "it is x where x > 0, not dout", x * (x > 0)
    yield "dout is left out (ReLU)", (x > 0) * 1.0
    yield "it is that of ReLU", dout * (x > 0)
    cdf, pdf = (1 + erf(x / np.sqrt(2))) / 2, np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
    yield "the term x * pdf is missing (exact GELU)", dout * cdf
    yield "the term x * pdf has the wrong sign (exact GELU)", dout * (cdf - x * pdf)
    yield "the factor x of pdf is missing (exact GELU)", dout * (cdf + pdf)
    yield "the derivative is that of the exact GELU, the forward is another", dout * (cdf + x * pdf)
    yield "dout is left out (exact GELU)", cdf + x * pdf
    for text, slope in _gelu_tanh(x):
        yield f"{text} (tanh GELU)", dout * slope
    yield "dout is left out (tanh GELU)", dict(_gelu_tanh(x))[_ALL_OF_TANH]


_ALL_OF_TANH = "the derivative is that of the tanh GELU, the forward is another"


def _gelu_tanh(x: Array) -> Mistakes:
    a, b = np.sqrt(2 / np.pi), 0.044715

    def slope(a: Any = a, b: float = b, three: float = 3.0, square: bool = True) -> Array:
        t = np.tanh(a * (x + b * x**3))
        inner = a * (1 + three * b * x * x)
        return np.asarray((1 + t) / 2 + x / 2 * (1 - t * t if square else 1 - t) * inner)

    t = np.tanh(a * (x + b * x**3))
    yield "the term x * dt is missing", (1 + t) / 2
    yield "the factor 3 of 3 * 0.044715 x^2 is missing", slope(three=1.0)
    yield "tanh' is 1 - t^2, not 1 - t", slope(square=False)
    yield "the inner derivative is missing", (1 + t) / 2 + x / 2 * (1 - t * t)
    yield (
        "the inner derivative lacks sqrt(2 / pi)",
        slope() + x / 2 * (1 - t * t) * (1 - a) * (1 + 3 * b * x * x),
    )
    yield "0.044715 is 0.04715 in the derivative", slope(b=0.04715)
    yield "0.044715 is 0.04715 in the inner derivative", slope(three=3 * 0.04715 / b)
    yield "sqrt(2 / pi) is 0.8 in the derivative", slope(a=0.8)
    yield _ALL_OF_TANH, slope()


def _softmax(name: str, arrays: Mapping[str, Any]) -> Mistakes:
    p, dout = _take(arrays, "out", "dout")
    if p is None or p.ndim < 1 or np.shape(arrays[name]) != p.shape:
        return
    if not np.allclose(p.sum(axis=-1), 1) or (p < 0).any():
        return
    yield "softmax's row sum is missing: out * (dout - sum(out * dout))", p * dout
    yield "only the diagonal is there: out * (1 - out)", p * (1 - p) * dout
    mean = (p * dout).mean(axis=-1, keepdims=True)
    yield "the row sum of softmax is a mean", p * (dout - mean)
    yield "the row sum lacks out: sum(dout)", p * (dout - dout.sum(axis=-1, keepdims=True))
    total = (p * dout).sum(axis=-1, keepdims=True)
    yield "the factor out before the bracket is missing", dout - total
    for axis in range(p.ndim - 1):
        total = (p * dout).sum(axis=axis, keepdims=True)
        yield f"softmax's sum runs over axis {axis}, not over the last", p * (dout - total)


def _cross_entropy(name: str, arrays: Mapping[str, Any]) -> Mistakes:
    logits, targets, dout = _take(arrays, "logits", "targets", "dout")
    if name != "logits" or targets is None or targets.shape != logits.shape[:-1]:
        return
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    kept = targets >= 0
    V = logits.shape[-1]

    def onehot(targets: Array) -> Array:
        return np.asarray(np.arange(V) == targets[..., None]) * 1.0

    each = np.broadcast_to(dout, targets.shape) if np.ndim(dout) == 0 else dout
    if each.shape != targets.shape:
        return
    each, mask = each[..., None], kept[..., None]
    wanted = onehot(np.where(kept, targets, -1))
    scales = (1.0, 1 / max(int(kept.sum()), 1)) if dout.ndim == 0 else (1.0,)
    for scale in scales:
        yield "the -1 at the target is missing", each * scale * p * mask
        yield "rows that are left out (target -1) are not zero", each * scale * (p - wanted)
        right = onehot(np.where(kept, (targets + 1) % V, -1))
        yield "the target is the one after the right one", each * scale * (p - right) * mask
        left = onehot(np.where(kept, (targets - 1) % V, -1))
        yield "the target is the one before the right one", each * scale * (p - left) * mask
        yield (
            "the softmax is missing: logits for probabilities",
            each * scale * (logits - wanted) * mask,
        )
        yield (
            "the sign is wrong: what is wanted minus what is there",
            each * scale * (wanted - p) * mask,
        )
    for scale in scales:
        yield "dout is left out", scale * (p - wanted) * mask
    yield "dout is left out at the target: dout * p - 1", (each * p - wanted) * mask
    if dout.ndim == 0:
        share = each * (p - wanted) * mask
        yield "it is divided by all targets, not by those that count", share / targets.size
        yield "it is not divided by the number of targets", share


KINDS = (_layernorm, _linear, _activation, _softmax, _cross_entropy, attention_mistakes)
