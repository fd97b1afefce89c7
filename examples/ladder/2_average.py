"""Rung 2, averaging: every position looks at all the past, with equal weights.

New: *context*, and the *causal* mask: position t may use the tokens at 0 ... t, and none after,
since the next one is what it has to predict. The simplest use of the past is its average. There are
three ways to compute it, and the third leads to attention:

    average[b, t] == x[b, : t + 1].mean(axis=0)

1. a loop over sequences and positions, as in this line;
2. a product with a triangle, whose row t has 1 / (t + 1) in columns 0 ... t and 0 after it:

    triangle = np.tri(T) / np.tri(T).sum(axis=1, keepdims=True)
    average = triangle @ x

3. softmax of a table of *scores*: 0 where looking is allowed, -inf where not. exp(-inf) is 0, so
   that masked positions get the weight 0, and equal scores give equal weights:

    scores = np.where(np.tri(T) == 1, 0.0, -np.inf)
    triangle == np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)

A token is no longer a row of logits, but a row of C = 32 numbers, its *embedding*, from the table
`wte` ("word token embedding", GPT-2's name). The averages go through a *linear layer* to logits:

    logits = average @ p["unembed"]

Backward. In average = triangle @ x, x[s] enters average[t] with the factor triangle[t, s], so dx[s]
sums triangle[t, s] daverage[t] over t: the transposed triangle.

Predict. Write your answers down first; the last lines of the output have them.
1. Which weights does position 2 (the third) give to positions 0 to 7?
2. Will the loss be better or worse than the bigram's, 2.49, which sees only one character?

    python examples/ladder/2_average.py [--data=FILE] [--max_iters=5000]
"""

import argparse
import sys

import numpy as np

from gpt_numpy.base.errors import InputError
from gpt_numpy.data.batches import TRAIN, draw_batch
from gpt_numpy.data.dataset import open_dataset
from gpt_numpy.reference.adamw import AdamWSettings, adamw_update

PUBLISHED, B, T, C = np.nan, 32, 8, 32  # not in the lecture; T characters a sequence, C channels
parser = argparse.ArgumentParser()
parser.add_argument("--data", default="", help="a text file, instead of a data set")
parser.add_argument("--dataset", default="tinyshakespeare", help="or shakespeare, python-docs")
parser.add_argument("--max_iters", type=int, default=5000, help="steps of training")
parser.add_argument("--even_if_wrong", action="store_true", help="train on wrong gradients, too")
parser.add_argument("--go", action="store_true", help="do not wait for your predictions")
options = parser.parse_args()
print((__doc__ or "").partition("Predict. ")[2].partition("\n\n    ")[0], "\n")
if sys.stdin.isatty() and not options.go:
    input("Enter continues. ")

x = np.random.default_rng(0).standard_normal((2, T, C))
by_loop = np.empty_like(x)
for b in range(2):
    for t in range(T):
        by_loop[b, t] = x[b, : t + 1].mean(axis=0)
triangle = np.tri(T) / np.tri(T).sum(axis=1, keepdims=True)
scores = np.where(np.tri(T) == 1, 0.0, -np.inf)
by_softmax = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
assert np.allclose(by_loop, triangle @ x) and np.allclose(triangle, by_softmax)

try:
    data = open_dataset(options.dataset, options.data)
except InputError as error:  # such as: no network
    raise SystemExit(str(error)) from None
V, rng = data.vocab_size, np.random.default_rng(1337)
shapes = {"wte": (V, C), "unembed": (C, V), "unembed_b": (V,)}
# As PyTorch starts: a linear layer uniformly between -1/sqrt(C) and 1/sqrt(C), whose variance is
# 1 / (3 C). (Variance: the mean square of the deviation from the mean; for uniform numbers between
# -a and a it is a^2 / 3.) Here the numbers are normal, with the same variance.
spread = {"wte": 1, "unembed": (3 * C) ** -0.5, "unembed_b": 0}
params = {n: (spread[n] * rng.standard_normal(s)).astype("float32") for n, s in shapes.items()}


def forward(p, tokens, targets):
    """The mean loss, and everything computed on the way to it."""
    x = p["wte"][tokens]  # B x T x C
    weights = triangle[: tokens.shape[1], : tokens.shape[1]].astype(x.real.dtype)
    average = weights @ x  # T x T times B x T x C: for each sequence
    logits = average @ p["unembed"] + p["unembed_b"]
    e = np.exp(logits - logits.real.max(axis=-1, keepdims=True))
    probabilities = e / e.sum(axis=-1, keepdims=True)
    at_target = np.take_along_axis(probabilities, targets[..., None], axis=-1)
    kept = {"weights": weights, "average": average, "probabilities": probabilities}
    return -np.log(at_target).mean(), kept


def backward(p, tokens, targets, a):
    """The gradient of each parameter: forward's lines in reverse."""
    dlogits = a["probabilities"].copy()
    b, t = np.indices(targets.shape)
    dlogits[b, t, targets] -= 1
    dlogits /= targets.size
    daverage = dlogits @ p["unembed"].T
    # einsum names the axes: letters that are missing after -> are summed over. Here b and t are, as
    # in average.T @ dlogits, but over the rows of all sequences at once.
    dunembed = np.einsum("btc,btv->cv", a["average"], dlogits)
    dx = a["weights"].T @ daverage
    dwte = np.zeros_like(p["wte"])
    np.add.at(dwte, tokens, dx)
    return {"wte": dwte, "unembed": dunembed, "unembed_b": dlogits.sum(axis=(0, 1))}


p = {n: v + 0.1 * rng.standard_normal(v.shape) for n, v in params.items()}  # float64 from here
tokens, targets = rng.integers(0, V, (2, 3, T))
grads, wrong = backward(p, tokens, targets, forward(p, tokens, targets)[1]), []
for n in p:  # the exact slope along a random direction r: Im loss(p + i h r) / h
    r = rng.standard_normal(p[n].shape)
    moved = {k: value + (1e-30j * r if k == n else 0j) for k, value in p.items()}
    exact = forward(moved, tokens, targets)[0].imag / 1e-30
    error = abs((grads[n] * r).sum() - exact) / np.linalg.norm(grads[n])
    print(f"gradient of {n:<10} slope {exact:+.6f}, error {error:.1e}")
    wrong += [] if error < 1e-12 else [n]
if wrong and not options.even_if_wrong:
    raise SystemExit(f"wrong gradients: {', '.join(wrong)}; --even_if_wrong trains with them")

ADAMW = AdamWSettings(learning_rate=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01)
moment1, moment2 = ({n: np.zeros_like(v) for n, v in params.items()} for _ in range(2))
for step in range(options.max_iters):
    tokens, targets = draw_batch(data.train, B, T, seed=1337, stream=TRAIN, step=step)
    batch_loss, a = forward(params, tokens, targets)
    for n, g in backward(params, tokens, targets, a).items():
        moments = moment1[n], moment2[n]
        adamw_update(params[n], g, *moments, step=step + 1, grad_scale=1.0, settings=ADAMW)
    if step % 1000 == 0:
        print(f"step {step:5}: loss of this batch {batch_loss:.3f}")
val = np.asarray(data.val[: (len(data.val) - 1) // T * T + 1], int)
loss, text = forward(params, val[:-1].reshape(-1, T), val[1:].reshape(-1, T))[0], [0]
for _ in range(300):
    context = np.array([text[-T:]])
    chances = forward(params, context, context)[1]["probabilities"][0, -1].astype("float64")
    text.append(int(rng.choice(V, p=chances / chances.sum())))
print(f"{data.tokenizer.decode(text)}\n")
print(f"1. {triangle[2].round(3)}: the mask leaves three.")
print(
    f"2. validation loss {loss:.3f}. An average with equal weights does not say which character is"
)
print("   the last, and that one matters most. Weights should depend on what is there: rung 3.")
# Try (see examples/ANSWERS.md): weights that favour the near past, with scores of -(t - s) instead
# of 0. Put this below the assert; `triangle` is what forward reads:
#     scores = np.where(np.tri(T) == 1, np.arange(T) - np.arange(T)[:, None], -np.inf)
#     triangle = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
# How close to the bigram do you get, and do you get below it?
