"""Batches of sources and targets of unequal lengths, and small models that read them."""

import numpy as np

import gpt_numpy as gn
from gpt_numpy.config.transformer import BEGIN, END, PAD
from gpt_numpy.gradients.model_check import randomise

SMALL = gn.TransformerConfig(
    vocab_size=7, source_size=6, target_size=6, n_layer=2, n_head=2, n_embd=4, n_hidden=5,
    dropout=0.2, label_smoothing=0.1,
)  # fmt: skip


def pairs(B, S, T, V, seed=0):
    """Sources (B, S) and targets (B, T + 1): all but the first padded, the last of one token."""
    rng = np.random.default_rng(seed)
    source, target = rng.integers(END + 1, V, (B, S)), rng.integers(END + 1, V, (B, T + 1))
    target[:, 0], target[0, T] = BEGIN, END
    for b in range(1, B):
        length, last = (1, 1) if b == B - 1 else (max(S - 2 * b, 1), max(T - b, 1))
        source[b, length:], target[b, last], target[b, last + 1 :] = PAD, END, PAD
    return source, target


def model_of(config, seed=0, **settings):
    """A model at whose parameters no mistake in a gradient stays hidden; by default exact."""
    model = gn.Transformer(
        config, seed=None, **({"dtype": "float64", "ops": "reference"} | settings)
    )
    randomise(model, seed)
    model.params.flat[...] = np.float32(model.params.flat.real)  # the same in every type
    return model


def total_loss(model, batches):
    """The loss of all micro-batches together, each with masks of its own."""
    divisor = sum(model.counted(*batch) for batch in batches)
    return sum(
        model.forward(*batch, dropout_key=k + 5, divisor=divisor) for k, batch in enumerate(batches)
    )


def gradients(model, batches):
    """The loss, and the gradients of all micro-batches added up."""
    divisor, loss = sum(model.counted(*batch) for batch in batches), 0
    for k, batch in enumerate(batches):
        loss += model.forward(*batch, dropout_key=k + 5, divisor=divisor)
        model.backward(accumulate=k > 0)
    return loss
