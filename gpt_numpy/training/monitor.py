"""What a run notes of itself as it goes, for whoever looks at it later: `gpt-numpy inspect --html`.

Of each layer the norm of its gradient and how far the last update moved it, every few updates; and
a short text that the model writes at some of the evaluations. Neither touches what training
computes: the numbers are read, and the text is drawn from a stream of its own.

A layer is what reads and writes the residual stream: "embedding", "h.0.attn", "h.0.mlp", ...,
"head", each with its layer norm.
"""

import math
from collections.abc import Callable

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.generation.generate import stream
from gpt_numpy.generation.sampling import Sampling
from gpt_numpy.model.gpt import GPT
from gpt_numpy.training.optimizer import AdamW

UPDATES_BETWEEN = 10  # so that reading every parameter once more costs well below 1 %
SAMPLE_TOKENS = 48
# Writing a token is a forward pass of one short sequence, mostly calls: about as long as training
# on 50 tokens takes in the preset tiny. That may be 1 % of the training between two texts.
TOKENS_BETWEEN = 100 * 50 * SAMPLE_TOKENS


def layer_of(name: str) -> str:
    """The layer that a parameter belongs to."""
    parts = name.split(".")
    if parts[0] == "h":
        return f"h.{parts[1]}.{'attn' if parts[2] in ('ln_1', 'attn') else 'mlp'}"
    return "embedding" if parts[0] in ("wte", "wpe") else "head"


def layers(optimizer: AdamW) -> dict[str, list[float]]:
    """Of each layer, just after `optimizer.step()`: the gradient's norm and the update's.

    The gradient's is that before clipping; the update's is divided by the norm of the parameters
    before it. The update is found again from the moments that made it, tensor by tensor, so that no
    copy of the parameters is needed:

        new = old - lr (u + decay old),   u = mhat / (sqrt(vhat) + eps)   (reference/adamw.py)
        so  old = (new + lr u) / (1 - lr decay)
    """
    squares: dict[str, list[float]] = {}
    for name, new in optimizer.model.params.items():
        update = _update(optimizer, name)
        old = new + update
        if new.ndim >= 2:
            old /= 1 - optimizer.learning_rate * optimizer.weight_decay
        found = squares.setdefault(layer_of(name), [0.0, 0.0, 0.0])
        found[0] += _square(optimizer.model.grads[name])
        found[1] += _square(new - old)
        found[2] += _square(old)
    return {
        layer: [_short(math.sqrt(grad)), _short(math.sqrt(moved / size) if size else 0.0)]
        for layer, (grad, moved, size) in squares.items()
    }


def _update(optimizer: AdamW, name: str) -> Array:
    """What the last step subtracted, without the decay: lr mhat / (sqrt(vhat) + eps)."""
    beta1, beta2 = optimizer.betas
    mean = optimizer.m[name] * (optimizer.learning_rate / (1 - beta1**optimizer.steps))
    spread = optimizer.v[name] * (1 / (1 - beta2**optimizer.steps))
    np.sqrt(spread, out=spread)
    spread += optimizer.eps
    mean /= spread
    return mean


def _square(x: Array) -> float:
    flat = x.reshape(-1)
    return float(np.dot(flat, flat))


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def sample_due(iteration: int, eval_interval: int, max_iters: int, tokens_an_update: int) -> bool:
    """Whether a text is written at the evaluation of this iteration.

    At the first and the last one, and between them as often as its time stays below 1 %.
    """
    if iteration in (0, max_iters):
        return True
    every = -(-TOKENS_BETWEEN // (eval_interval * tokens_an_update))
    return iteration % (every * eval_interval) == 0


def sample(
    model: GPT,
    start: Array,
    seed: int,
    vocab_size: int = 0,
    interrupted: Callable[[], bool] = lambda: False,
) -> Array | None:
    """How the model goes on after the tokens `start`, (T,); None where `interrupted` said so.

    `vocab_size` and the seed: see `sampling.Sampling`.
    """
    tokens = np.asarray(start, dtype=np.int64)
    for _ in range(SAMPLE_TOKENS):
        if interrupted():
            return None
        # Each token has a seed of its own: the draws are those of no other place in the project.
        how = Sampling(seed=seed + tokens.size, vocab_size=vocab_size)
        (drawn,) = stream(model, [tokens], 1, how)
        tokens = np.append(tokens, drawn.token)
    return tokens
