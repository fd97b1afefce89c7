"""On which positions of the embedding the loss of each single token pulls.

The gradient is a sum over the losses of all tokens. To see them apart, the text is read once for
each target, with all others left out: as sequences of a batch, so that it is few passes.
"""

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.inspection.trace.trace import Trace
from gpt_numpy.model.gpt import GPT, twin_of
from gpt_numpy.reference.cross_entropy import IGNORED

SEQUENCES = 8  # of a batch
MOST_WORK = 2e11  # parameters times tokens: about half a minute


def pulls(model: GPT, trace: Trace) -> Array | None:
    """(T, T): the norm of the gradient at row k of `embedding.out` of the loss at position q.

    Divided by the number of tokens, as the loss of the text is. None where it would take long.
    """
    assert trace.targets is not None
    T = trace.tokens.shape[1]
    if model.n_params * T * T > MOST_WORK:
        return None
    twin = twin_of(model, ("embedding.out",))
    found = np.empty((T, T))
    for first in range(0, T, SEQUENCES):
        chosen = np.arange(first, min(first + SEQUENCES, T))
        targets = np.full((len(chosen), T), IGNORED)
        targets[np.arange(len(chosen)), chosen] = trace.targets[0, chosen]
        twin.forward(np.repeat(trace.tokens, len(chosen), axis=0), targets, divisor=T)
        twin.backward()
        grad = twin.activation_grads["embedding.out"].astype(np.float64)
        found[chosen] = np.linalg.norm(grad, axis=-1)
    return found
