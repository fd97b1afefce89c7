"""The distributions that the sampler draws from."""

import numpy as np

from gpt_numpy.generation.sampling import Sampler, Sampling


def next_distribution(logits, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
    """The probabilities of all tokens for each row of logits: (B, V), float64."""
    greedy = temperature == 0
    how = Sampling(1.0 if greedy else temperature, 1 if greedy else top_k, top_p, min_p)
    p = np.zeros(logits.shape)
    for row, out in zip(logits, p, strict=True):
        tokens, weights = Sampler(how, row.size, 0)._candidates(row)
        out[slice(None) if tokens is None else tokens] = weights / weights.sum()
    return p
