"""Translator 1, cross-attention: a target asks a source.

A source is there as a whole before the first token of the target is written. So the target's
positions attend to all of it, without a mask: *queries* come from the target, *keys* and *values*
from the source. This is all that connects the two halves of the transformer of the paper
"Attention Is All You Need" (2017): an *encoder*, which reads the source, and a *decoder*, which
writes the target.

The task is to write six letters in reverse. `position` is not trained, unlike rung 3's wpe: it is
the paper's fixed table of sines and cosines, from fast to slow ones
(`examples/notebooks/embeddings.ipynb`). The model is as small as it can be:

    source rows  m = wte[source] + position
    target rows  x = wte[the token before] + position
    q, k, v      x @ query, m @ key, m @ value
    weights      softmax(q @ k.mT / sqrt(D)), a row for each position of the target
    logits       (weights @ v) @ unembed

Before position 0 of the target stands no token: x has BEGIN there, a token of its own.

Backward is that of rung 3 of the ladder, and in one thing differs: what comes back through q goes
to the target's rows, what comes back through k and v to the source's (`backward` below;
`gpt_numpy/reference/cross_attention.py` derives it). Do exercise 17 first: its answer is here.

Predict. Write your answers down first; the last lines of the output have them.
1. Where will position 0 of the target look? And position 5?
2. Does the model need to know the token before, x, to solve this task?

    python examples/translator/1_cross_attention.py [--max_iters=1500]
"""

import argparse
import sys

import numpy as np

from gpt_numpy.reference.adamw import AdamWSettings, adamw_update
from gpt_numpy.reference.embedding import sinusoidal_positions

LETTERS, T, C, D, B = "abcdefghijklmnop", 6, 32, 32, 64  # T letters; B pairs in a batch
BEGIN, V = len(LETTERS), len(LETTERS) + 1
parser = argparse.ArgumentParser()
parser.add_argument("--max_iters", type=int, default=1500, help="steps of training")
parser.add_argument("--go", action="store_true", help="do not wait for your predictions")
options = parser.parse_args()
print((__doc__ or "").partition("Predict. ")[2].partition("\n\n    ")[0], "\n")
if sys.stdin.isatty() and not options.go:
    input("Enter continues. ")

rng = np.random.default_rng(1337)
POSITIONS = sinusoidal_positions(T, C)  # (T, C), one row for each position; not a parameter
shapes = {"wte": (V, C), "query": (C, D), "key": (C, D), "value": (C, D), "unembed": (D, V)}
params = {n: (C**-0.5 * rng.standard_normal(s)).astype("float32") for n, s in shapes.items()}


def pairs(count):
    """Sources, and their targets: the same letters from the last to the first."""
    source = rng.integers(0, len(LETTERS), (count, T))
    return source, source[:, ::-1]


def forward(p, source, target):
    """The mean loss, and everything computed on the way to it."""
    before = np.concatenate([np.full((len(target), 1), BEGIN), target[:, :-1]], axis=1)
    m, x = p["wte"][source] + POSITIONS, p["wte"][before] + POSITIONS
    q, k, v = x @ p["query"], m @ p["key"], m @ p["value"]
    scores = q @ k.mT / D**0.5
    e = np.exp(scores - scores.real.max(axis=-1, keepdims=True))
    weights = e / e.sum(axis=-1, keepdims=True)
    out = weights @ v
    logits = out @ p["unembed"]
    e = np.exp(logits - logits.real.max(axis=-1, keepdims=True))
    probabilities = e / e.sum(axis=-1, keepdims=True)
    loss = -np.log(np.take_along_axis(probabilities, target[..., None], axis=-1)).mean()
    kept = {"before": before, "m": m, "x": x, "q": q, "k": k, "v": v, "weights": weights}
    return loss, kept | {"out": out, "probabilities": probabilities}


def backward(p, source, target, a):
    """The gradient of each parameter: forward's lines in reverse."""
    g = {}
    dlogits = (a["probabilities"] - np.eye(V)[target]) / target.size
    g["unembed"] = np.einsum("btd,btv->dv", a["out"], dlogits)
    dout = dlogits @ p["unembed"].T
    # forward: out = weights @ v
    dweights, dv = dout @ a["v"].mT, a["weights"].mT @ dout
    # forward: weights = softmax(scores); scores = q @ k.mT / sqrt(D)
    ds = a["weights"] * (dweights - (a["weights"] * dweights).sum(axis=-1, keepdims=True))
    dq, dk = ds @ a["k"] / D**0.5, ds.mT @ a["q"] / D**0.5
    # forward: q = x @ query. This goes to the target's rows ...
    g["query"] = np.einsum("btc,btd->cd", a["x"], dq)
    dx = dq @ p["query"].T
    # forward: k = m @ key, v = m @ value. ... and this to the source's, which are used twice
    g["key"] = np.einsum("bsc,bsd->cd", a["m"], dk)
    g["value"] = np.einsum("bsc,bsd->cd", a["m"], dv)
    dm = dk @ p["key"].T + dv @ p["value"].T
    # One table for the tokens of both.
    g["wte"] = np.zeros_like(p["wte"])
    np.add.at(g["wte"], a["before"], dx)
    np.add.at(g["wte"], source, dm)
    return g


p = {n: v + 0.1 * rng.standard_normal(v.shape) for n, v in params.items()}  # float64 from here
source, target = pairs(2)
grads, wrong = backward(p, source, target, forward(p, source, target)[1]), []
for n in p:  # the exact slope along a random direction r: Im loss(p + i h r) / h
    r = rng.standard_normal(p[n].shape)
    moved = {k: value + (1e-30j * r if k == n else 0j) for k, value in p.items()}
    exact = forward(moved, source, target)[0].imag / 1e-30
    error = abs((grads[n] * r).sum() - exact) / np.linalg.norm(grads[n])
    print(f"gradient of {n:<10} slope {exact:+.6f}, error {error:.1e}")
    wrong += [] if error < 1e-12 else [n]
if wrong:
    raise SystemExit(f"wrong gradients: {', '.join(wrong)}")

ADAMW = AdamWSettings(learning_rate=5e-3, beta1=0.9, beta2=0.98, eps=1e-9, weight_decay=0.0)
moment1, moment2 = ({n: np.zeros_like(v) for n, v in params.items()} for _ in range(2))
for step in range(options.max_iters):
    source, target = pairs(B)
    loss, a = forward(params, source, target)
    for n, g in backward(params, source, target, a).items():
        moments = moment1[n], moment2[n]
        adamw_update(params[n], g, *moments, step=step + 1, grad_scale=1.0, settings=ADAMW)
    if step % 250 == 0:
        print(f"step {step:5}: loss of this batch {loss:.4f}")

source, target = pairs(1000)
loss, a = forward(params, source, target)
weights = a["weights"].mean(axis=0)
print("\nWhere each position of the target looks (rows) in the source (columns):")
for row in weights:
    print("    " + "".join(" .:-=+*#%@"[int(9.99 * min(w, 1))] for w in row))
others = forward(params, source, np.roll(target, 1, axis=0))[1]  # the tokens before of others
right, still = ((each["probabilities"].argmax(axis=-1) == target).mean() for each in (a, others))
print(f"1. Position 0 looks most at {weights[0].argmax()}, position 5 at {weights[5].argmax()}.")
print(
    f"2. To reverse, the position is enough: it says where to look. This model: {right:.1%} of the "
    f"letters are right, and {still:.1%} if x has the tokens before of another pair."
)
# Try (see examples/ANSWERS.md): leave POSITIONS out of m. Write the letters in the order of the
# alphabet, np.sort(source, axis=1), instead of in reverse: what must a query know then?
