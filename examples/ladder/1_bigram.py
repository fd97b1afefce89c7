"""Rung 1 of 7, the bigram: a table of which character follows which.

Forward. Each character has a row in the table: one number, a *logit*, for each character that may
come next; a larger one means more likely. Softmax turns a row of logits into probabilities that sum
to 1. The *loss* is -log of the probability of the character that did come next, averaged over the
batch; guessing among 65 gives log 65 = 4.17. (log is the natural logarithm, its unit the *nat*.)

    logits = p["table"][tokens]

Backward goes the same way in reverse, from the loss to the table. `d` + name is the *gradient* of
the loss with respect to it: an array of the same shape that says how fast the loss grows with each
number. dlogits is (probability - target) / N for N predictions, with target 1 for the character
that did come next and 0 for the others. A character's row sums dlogits over its occurrences:

    np.add.at(dtable, tokens, dlogits)

    python examples/ladder/1_bigram.py [--data=FILE] [--max_iters=3000]
"""

import argparse

import numpy as np

from gpt_numpy.data.batches import TRAIN, draw_batch, whole_split
from gpt_numpy.data.dataset import open_dataset
from gpt_numpy.reference.adamw import AdamWSettings, adamw_update
from gpt_numpy.reference.cross_entropy import cross_entropy_backward, cross_entropy_forward

PUBLISHED, B, T = 2.49, 32, 8  # the lecture's loss; B sequences of T characters are a batch
parser = argparse.ArgumentParser()
parser.add_argument("--data", default="", help="a text file, instead of a data set")
parser.add_argument("--dataset", default="tinyshakespeare", help="or shakespeare, python-docs")
parser.add_argument("--max_iters", type=int, default=3000, help="steps of training")
options = parser.parse_args()
data = open_dataset(options.dataset, options.data)  # 90 % for training, the rest for validation
V, rng = data.vocab_size, np.random.default_rng(1337)
params = {"table": rng.standard_normal((V, V)).astype("float32")}


def forward(p, tokens, targets):
    """The mean loss, and everything computed on the way to it."""
    logits = p["table"][tokens]
    losses, lse = np.empty((2, *tokens.shape), logits.dtype)  # lse: log of the sum of exp(logits)
    cross_entropy_forward(logits, targets, out=losses, lse=lse)
    return losses.mean(), {"logits": logits, "lse": lse}


def backward(p, tokens, targets, a):
    """The gradient of each parameter: forward's lines in reverse."""
    dlosses = np.full(targets.shape, 1 / targets.size, p["table"].dtype)
    dlogits, dtable = np.empty_like(a["logits"]), np.zeros_like(p["table"])
    cross_entropy_backward(dlosses, a["logits"], targets, a["lse"], dlogits=dlogits)
    np.add.at(dtable, tokens, dlogits)
    return {"table": dtable}


# The check: if f is analytic, Im f(x + i h) / h is its derivative, exact for tiny h.
p = {n: v + 0.1 * rng.standard_normal(v.shape) for n, v in params.items()}  # float64 from here
tokens, targets = rng.integers(0, V, (2, 3, T))
grads = backward(p, tokens, targets, forward(p, tokens, targets)[1])
for n in p:  # its slope along a random direction r
    r = rng.standard_normal(p[n].shape)
    moved = {k: value + (1e-30j * r if k == n else 0j) for k, value in p.items()}
    exact = forward(moved, tokens, targets)[0].imag / 1e-30
    error = abs((grads[n] * r).sum() - exact) / np.linalg.norm(grads[n])
    print(f"gradient of {n:<10} slope {exact:+.6f}, error {error:.1e}")
    assert error < 1e-12, "the backward is wrong"

# AdamW steps along -m / sqrt(v): running means of the gradient and of its square.
ADAMW = AdamWSettings(learning_rate=1e-2, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01)
m, v = ({n: np.zeros_like(value) for n, value in params.items()} for _ in range(2))
for step in range(options.max_iters):
    tokens, targets = draw_batch(data.train, B, T, seed=1337, stream=TRAIN, step=step)
    batch_loss, a = forward(params, tokens, targets)
    for n, g in backward(params, tokens, targets, a).items():
        adamw_update(params[n], g, m[n], v[n], step=step + 1, grad_scale=1.0, settings=ADAMW)
    if step % 1000 == 0:
        print(f"step {step:5}: loss of this batch {batch_loss:.3f}")
total = sum(forward(params, x, y)[0] * y.size for x, y in whole_split(data.val, 500, T))
loss, text = total / (len(data.val) - 1), [0]
for _ in range(300):  # one character at a time; Gumbel noise samples from softmax(logits)
    context = np.array([text[-T:]])
    logits = forward(params, context, context)[1]["logits"][0, -1]
    text.append(int((logits + rng.gumbel(size=V)).argmax()))
print(f"{data.tokenizer.decode(text)}\n\nvalidation loss {loss:.3f}; the lecture: {PUBLISHED}")
# Try: print the probabilities after "q". Write dtable[tokens] += dlogits instead of np.add.at: the
# check fails, yet the loss goes down; why? Count the pairs in the text and put log(count + 1) into
# the table: does training find anything better?
