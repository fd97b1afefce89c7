"""Rung 3, one head of self-attention: each position chooses what it looks at.

New: *self-attention*, the heart of a transformer. Rung 2 averaged the past with fixed weights.
Now the weights depend on what is there. Three linear layers turn the row x of each position into

    a *query* q, what it looks for,
    a *key* k, what it can be found by,
    a *value* v, what it passes on.

The score of a query and a key is their *dot product*, the sum of the products of their numbers: it
is large if both point the same way. Each position compares its query with the keys of all positions
up to its own (the causal mask), softmax turns the scores into weights, and the output is the
average of the values with these weights. The scores are divided by sqrt(D), D the numbers of a key.
D products of random sign mostly cancel: their sum is about sqrt(D) times as large as one of them,
not D times. And softmax of large scores is all or nothing.

The score cannot depend on where a key is, only on what is there. So the row of a token gets the row
of its position added, from a second table, `wpe` ("word position embedding"):

    x = p["wte"][tokens] + p["wpe"][: tokens.shape[1]]

Everything is in the open below: attention_forward, and attention_backward, its lines in reverse.
First do exercises f3 and f4 (mask, one head), 7 and 10 (softmax, attention): this file has the
answers.

Predict. Write your answers down first; the last lines of the output have them.
1. How much does a position look at itself, and at the one before, on average?
2. Averaging reached 2.83, the bigram 2.49. What will a head reach?

    python examples/ladder/3_head.py [--data=FILE] [--max_iters=5000]
"""

import argparse
import sys

import numpy as np

from gpt_numpy.base.errors import InputError
from gpt_numpy.data.batches import TRAIN, draw_batch
from gpt_numpy.data.dataset import open_dataset
from gpt_numpy.reference.adamw import AdamWSettings, adamw_update

PUBLISHED, B, T, C, D = 2.4, 32, 8, 32, 32  # C channels of x, D of a query, key or value
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

try:
    data = open_dataset(options.dataset, options.data)
except InputError as error:  # such as: no network
    raise SystemExit(str(error)) from None
V, rng = data.vocab_size, np.random.default_rng(1337)
shapes = {"wte": (V, C), "wpe": (T, C), "query": (C, D), "key": (C, D), "value": (C, D)}
shapes |= {"unembed": (D, V), "unembed_b": (V,)}
spread = {n: 1 if n in ("wte", "wpe") else (3 * C) ** -0.5 for n in shapes}  # as in rung 2
params = {n: (spread[n] * rng.standard_normal(s)).astype("float32") for n, s in shapes.items()}


def attention_forward(q, k, v):
    """Each position's average of the values, and the weights, T x T: a row for each query."""
    T = q.shape[-2]
    scores = q @ k.mT / D**0.5  # scores[t, s] = q[t] @ k[s] / sqrt(D); .mT swaps the last two axes
    scores = np.where(np.tri(T, dtype=bool), scores, -np.inf)  # position t sees s = 0 ... t
    e = np.exp(scores - scores.real.max(axis=-1, keepdims=True))
    weights = e / e.sum(axis=-1, keepdims=True)
    return weights @ v, weights


def attention_backward(dout, q, k, v, weights):
    """The gradients of queries, keys and values."""
    # forward: out = weights @ v
    dweights = dout @ v.mT
    dv = weights.mT @ dout
    # forward: weights = softmax(scores); what one weight gains, the others of its row lose
    dscores = weights * (dweights - (weights * dweights).sum(axis=-1, keepdims=True))
    # forward: scores = q @ k.mT / sqrt(D); a masked weight is 0, and so is its dscore
    dq = dscores @ k / D**0.5
    dk = dscores.mT @ q / D**0.5
    return dq, dk, dv


def forward(p, tokens, targets):
    """The mean loss, and everything computed on the way to it."""
    x = p["wte"][tokens] + p["wpe"][: tokens.shape[1]]
    q, k, v = (x @ p[name] for name in ("query", "key", "value"))
    out, weights = attention_forward(q, k, v)
    logits = out @ p["unembed"] + p["unembed_b"]
    e = np.exp(logits - logits.real.max(axis=-1, keepdims=True))
    probabilities = e / e.sum(axis=-1, keepdims=True)
    at_target = np.take_along_axis(probabilities, targets[..., None], axis=-1)
    kept = {"x": x, "q": q, "k": k, "v": v, "weights": weights, "out": out}
    return -np.log(at_target).mean(), kept | {"probabilities": probabilities}


def backward(p, tokens, targets, a):
    """The gradient of each parameter: forward's lines in reverse."""
    g = {}
    dlogits = a["probabilities"].copy()
    b, t = np.indices(targets.shape)
    dlogits[b, t, targets] -= 1
    dlogits /= targets.size
    g["unembed"] = np.einsum("btd,btv->dv", a["out"], dlogits)
    g["unembed_b"] = dlogits.sum(axis=(0, 1))
    dout = dlogits @ p["unembed"].T
    gradients = attention_backward(dout, a["q"], a["k"], a["v"], a["weights"])
    dx = 0
    for name, d in zip(("query", "key", "value"), gradients, strict=True):
        g[name] = np.einsum("btc,btd->cd", a["x"], d)
        dx = dx + d @ p[name].T  # x is used three times: its gradients add up
    g["wte"], g["wpe"] = np.zeros_like(p["wte"]), np.zeros_like(p["wpe"])
    np.add.at(g["wte"], tokens, dx)
    g["wpe"][: tokens.shape[1]] = dx.sum(axis=0)
    return g


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
tokens, targets = draw_batch(data.val, 500, T, seed=0, stream=TRAIN, step=0)
weights = forward(params, tokens, targets)[1]["weights"][:, -1].mean(axis=0)  # of the last query
back = weights[::-1].round(2)
print(f"1. The last of {T} positions looks 0, 1, 2, ... back with weights {back}.")
print(f"2. validation loss {loss:.3f}; the lecture: {PUBLISHED}")
# Try (see examples/ANSWERS.md): leave wpe out of shapes, x and backward: how much is lost? T = 16.
# Leave "/ D**0.5" out in all three places. What does --max_iters=20000 do?
