"""The logit lens: the model's prediction after each layer, as if no further layer came.

Source: nostalgebraist, "interpreting GPT: the logit lens" (2020). The residual stream at each point
goes through the last layer norm and the head.
"""

from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.inspection.page.encoding import pack
from gpt_numpy.inspection.trace.trace import Trace
from gpt_numpy.reference.layernorm import layernorm_forward

BEST = 10


def logit_lens(trace: Trace) -> list[dict[str, Any]]:
    """For each point of the stream the most likely tokens, and the probability of the target."""
    assert trace.targets is not None
    rows = np.arange(trace.tokens.shape[1])
    blocks = [
        f"h.{i}.{point}"
        for i in range(trace.config.n_layer)
        for point in ("resid_mid", "resid_post")
    ]
    found = []
    for place in ["embedding.out", *blocks]:
        p = _predictions(trace, place)
        best = most_likely(p)
        found.append(
            {
                "place": place,
                "tokens": best.tolist(),
                "probabilities": pack(np.take_along_axis(p, best, axis=-1)),
                "right": pack(p[rows, trace.targets[0]]),
            }
        )
    return found


def most_likely(p: Array, count: int = BEST) -> Array:
    """The most likely tokens of each position, (T, count), the best first."""
    count = min(count, p.shape[-1])
    some = np.argpartition(-p, count - 1, axis=-1)[:, :count]
    order = np.argsort(-np.take_along_axis(p, some, axis=-1), axis=-1, kind="stable")
    return np.take_along_axis(some, order, axis=-1)


def _predictions(trace: Trace, place: str) -> Array:
    """The distribution of the next token, (T, V), float64, from the stream at `place`."""
    x = trace[place].value[0].astype(np.float64)
    weight = trace["ln_f.weight"].value.astype(np.float64)
    bias = trace["ln_f.bias"].value.astype(np.float64) if "ln_f.bias" in trace else None
    norm, mean, rstd = np.empty_like(x), np.empty(len(x)), np.empty(len(x))
    layernorm_forward(x, weight, bias, out=norm, mean=mean, rstd=rstd)
    head = trace["wte.weight" if trace.config.tied else "lm_head.weight"].value
    z = norm @ head.T.astype(np.float64)
    p = np.exp(z - z.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)
