"""How strongly each position of the embedding influences the loss of each single token.

The gradient is a sum over the losses of all tokens. To separate them, a batch repeats the sequence
once for each target, with all other targets left out.
"""

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.inspection.trace.trace import Trace
from gpt_numpy.model.base_model import twin_of
from gpt_numpy.model.gpt import GPT
from gpt_numpy.reference.cross_entropy import IGNORED

SEQUENCES = 8  # in a batch
MOST_WORK = 2e11  # parameters times tokens: about half a minute


def token_influence(model: GPT, trace: Trace) -> Array | None:
    """(T, T): the norm of the gradient of the loss at position q with respect to embedding row k.

    The losses are divided by T, as in the mean. None if it would take longer than half a minute.
    """
    assert trace.targets is not None
    T = trace.tokens.shape[1]
    if model.n_params * T * T > MOST_WORK:
        return None
    twin = twin_of(model, ("embedding.out",))
    norms = np.empty((T, T))
    for first in range(0, T, SEQUENCES):
        chosen = np.arange(first, min(first + SEQUENCES, T))
        targets = np.full((len(chosen), T), IGNORED)
        targets[np.arange(len(chosen)), chosen] = trace.targets[0, chosen]
        twin.forward(np.repeat(trace.tokens, len(chosen), axis=0), targets, divisor=T)
        twin.backward()
        grad = twin.activation_grads["embedding.out"].astype(np.float64)
        norms[chosen] = np.linalg.norm(grad, axis=-1)
    return norms
