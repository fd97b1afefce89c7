"""The logit lens: the model's prediction after each stage, as if no further one came.

Source: nostalgebraist, "interpreting GPT: the logit lens" (2020). The head reads the residual
stream after each stage.
"""

from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.inspection.page.encoding import pack
from gpt_numpy.inspection.trace.trace import Trace
from gpt_numpy.model.stage import Stage, sized
from gpt_numpy.model.stages import gpt
from gpt_numpy.reference.cross_entropy import capped
from gpt_numpy.reference.head import head_forward

BEST = 10


def logit_lens(trace: Trace) -> list[dict[str, Any]]:
    """After each stage the most likely tokens, and the probability of the target."""
    assert trace.targets is not None
    *stages, head = gpt(trace.config)
    positions = np.arange(trace.tokens.shape[1])
    found = []
    for stage in stages:
        p = _predictions(trace, head, stage.writes.name)
        best = most_likely(p)
        found.append(
            {
                "place": stage.writes.name,
                "tokens": best.tolist(),
                "probabilities": pack(np.take_along_axis(p, best, axis=-1)),
                "right": pack(p[positions, trace.targets[0]]),
            }
        )
    return found


def most_likely(p: Array, count: int = BEST) -> Array:
    """The most likely tokens of each position, (T, count), the best first."""
    count = min(count, p.shape[-1])
    some = np.argpartition(-p, count - 1, axis=-1)[:, :count]
    order = np.argsort(-np.take_along_axis(p, some, axis=-1), axis=-1, kind="stable")
    return np.take_along_axis(some, order, axis=-1)


def _predictions(trace: Trace, head: Stage, place: str) -> Array:
    """The distribution of the next token, (T, V), float64, from the stream at `place`."""
    x = trace[place].value.astype(np.float64)
    names = [head.weight_name(field) for field in head.weights_type._fields]
    weights = head.weights_type(*[trace[name].value if name else None for name in names])
    shapes = {field: sized(array.shape, *x.shape[:2]) for field, array in head.kept.items()}
    arrays = {field: np.empty(shape) for field, shape in shapes.items()}
    kept = head.kept_type(*map(arrays.get, head.kept_type._fields))
    head_forward(x, weights, kept, out=kept.logits, settings=head.settings)
    logits = capped(kept.logits[0], head.settings.softcap)
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)
