"""Wrong gradients of queries, keys and values in the backward of attention."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.reference.attention import causal_mask, scores, split_heads
from gpt_numpy.reference.dropout import Dropout, dropout_forward

# The mistakes that `_backward` can make.
SWITCHES = {
    "scale": "1/sqrt(D) is missing in dQ and dK",
    "key scale": "1/sqrt(D) is missing in dK",
    "query scale": "1/sqrt(D) is missing in dQ",
    "row sum": "softmax's row sum is missing: ds = p * (dp - sum(p * dp))",
    "axis": "softmax's row sum runs over the queries, not over the keys",
    "mask": "the probabilities are computed again without the causal mask",
    "diagonal": "the causal mask is off by one: the diagonal is missing",
    "dropout": "dropout's mask is left out",
    "dK": "dK = ds @ Q: ds is not transposed",
    "dV": "dV = w @ dout: w is not transposed",
    "swap": "dQ and dK are exchanged",
    "softmax": "the derivative of softmax is left out: ds = dp",
}


def attention_mistakes(name: str, arrays: Mapping[str, Any]) -> Iterator[tuple[str, Array]]:
    """The gradient of `qkv` under each mistake of `SWITCHES`."""
    qkv, dout, n_head = (arrays.get(key) for key in ("qkv", "dout", "n_head"))
    if name != "qkv" or dout is None or np.ndim(qkv) != 3 or n_head is None:
        return
    if dout.shape[-1] * 3 != qkv.shape[-1]:
        return
    for switch, text in SWITCHES.items():
        yield text, _backward(arrays, int(n_head), switch)


def _backward(arrays: Mapping[str, Any], n_head: int, wrong: str) -> Array:
    Q, K, V = split_heads(arrays["qkv"], n_head)
    (dO,) = split_heads(arrays["dout"], n_head, parts=1)
    dqkv = np.empty_like(arrays["qkv"])
    dQ, dK, dV = split_heads(dqkv, n_head)
    scale = 1 / math.sqrt(Q.shape[-1])
    s = scores(Q, K)
    seen = causal_mask(s)
    p = np.where(seen, np.exp(s - np.where(seen, s, -np.inf).max(axis=-1, keepdims=True)), 0)
    total = p.sum(axis=-1, keepdims=True)
    if wrong == "mask":
        p = np.exp(s - np.where(seen, s, -np.inf).max(axis=-1, keepdims=True))
    p = p / total
    if wrong == "diagonal":
        p = p * np.tri(s.shape[-2], s.shape[-1], k=-1)
    m = np.ones_like(p)
    if wrong != "dropout" and "dropout.rate" in arrays:
        dropout = Dropout(*(arrays[f"dropout.{field}"] for field in Dropout._fields))
        dropout_forward(np.ones_like(p), dropout, out=m)
    w, dw = p * m, dO @ V.swapaxes(-1, -2)
    dp = dw * m
    row_sum = (p * dp).sum(axis=-2 if wrong == "axis" else -1, keepdims=True)
    ds = p * (dp - row_sum * (wrong != "row sum"))
    ds = dp if wrong == "softmax" else ds
    dV[...] = (w if wrong == "dV" else w.swapaxes(-1, -2)) @ dO
    dQ[...] = ds @ K * (1 if wrong in ("scale", "query scale") else scale)
    back = ds if wrong == "dK" else ds.swapaxes(-1, -2)
    dK[...] = back @ Q * (1 if wrong in ("scale", "key scale") else scale)
    if wrong == "swap":
        dQ[...], dK[...] = dK.copy(), dQ.copy()
    return dqkv
