"""Rung 4, several heads: four small heads next to each other instead of one large one.

New: *multi-head attention*. A single head has one set of weights for each position, so that it can
look for one thing at a time. Four heads of D = C / H = 8 channels look for four, say the last vowel
and the start of the word. Each has queries, keys and values of its own; their outputs lie next to
each other again, C channels in all, and a linear layer, the *projection* `proj`, mixes them.

The lines of attention are those of rung 3. They treat all heads at once, because the arrays have
one more axis: `split` cuts the C channels into H heads and puts the heads before the positions,
B x H x T x D, and `merge` undoes it. The three linear layers are one matrix now, C x 3 C, whose
columns are those of the queries, the keys and the values: GPT-2's `c_attn`.

Backward. Moving numbers has slope 1: the gradient of a split is a merge. The heads do not depend on
each other.

Predict. Write your answers down first; the last lines of the output have them.
1. How many parameters did one head of 32 channels need for queries, keys and values, and how many
   do four heads of 8 need?
2. One head reached 2.41. Will four do better?
3. Do the four look at the same places?

    python examples/ladder/4_heads.py [--data=FILE] [--max_iters=5000]
"""

import argparse
import sys

import numpy as np

from gpt_numpy.base.errors import InputError
from gpt_numpy.data.batches import TRAIN, draw_batch
from gpt_numpy.data.dataset import open_dataset
from gpt_numpy.reference.adamw import AdamWSettings, adamw_update

PUBLISHED, B, T, C, H = 2.28, 32, 8, 32, 4  # C channels in H heads of D = C / H
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
V, D, rng = data.vocab_size, C // H, np.random.default_rng(1337)
shapes = {"wte": (V, C), "wpe": (T, C), "qkv": (C, 3 * C), "proj": (C, C), "proj_b": (C,)}
shapes |= {"unembed": (C, V), "unembed_b": (V,)}
spread = {n: 1 if n in ("wte", "wpe") else (3 * C) ** -0.5 for n in shapes}  # as in rung 2
params = {n: (spread[n] * rng.standard_normal(s)).astype("float32") for n, s in shapes.items()}


def split(x):
    """From B x T x C to B x H x T x D: head h owns channels h D to (h + 1) D."""
    return x.reshape(*x.shape[:2], H, D).transpose(0, 2, 1, 3)


def merge(x):
    """From B x H x T x D back to B x T x C."""
    return x.transpose(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], C)


def attention_forward(q, k, v):
    """Each position's average of the values, and the weights, T x T: a row for each query."""
    T = q.shape[-2]
    scores = np.where(np.tri(T, dtype=bool), q @ k.mT / D**0.5, -np.inf)
    e = np.exp(scores - scores.real.max(axis=-1, keepdims=True))
    weights = e / e.sum(axis=-1, keepdims=True)
    return weights @ v, weights


def attention_backward(dout, q, k, v, weights):
    """The gradients of queries, keys and values."""
    dweights = dout @ v.mT
    dscores = weights * (dweights - (weights * dweights).sum(axis=-1, keepdims=True))
    return dscores @ k / D**0.5, dscores.mT @ q / D**0.5, weights.mT @ dout


def forward(p, tokens, targets):
    """The mean loss, and everything computed on the way to it."""
    x = p["wte"][tokens] + p["wpe"][: tokens.shape[1]]
    q, k, v = (split(part) for part in np.split(x @ p["qkv"], 3, axis=-1))
    heads, weights = attention_forward(q, k, v)
    out = merge(heads)
    mixed = out @ p["proj"] + p["proj_b"]
    logits = mixed @ p["unembed"] + p["unembed_b"]
    e = np.exp(logits - logits.real.max(axis=-1, keepdims=True))
    probabilities = e / e.sum(axis=-1, keepdims=True)
    at_target = np.take_along_axis(probabilities, targets[..., None], axis=-1)
    kept = {"x": x, "q": q, "k": k, "v": v, "weights": weights, "out": out, "mixed": mixed}
    return -np.log(at_target).mean(), kept | {"probabilities": probabilities}


def backward(p, tokens, targets, a):
    """The gradient of each parameter: forward's lines in reverse."""
    g = {}
    dlogits = a["probabilities"].copy()
    b, t = np.indices(targets.shape)
    dlogits[b, t, targets] -= 1
    dlogits /= targets.size
    g["unembed"] = np.einsum("btc,btv->cv", a["mixed"], dlogits)
    g["unembed_b"] = dlogits.sum(axis=(0, 1))
    dmixed = dlogits @ p["unembed"].T
    g["proj"] = np.einsum("bti,bto->io", a["out"], dmixed)
    g["proj_b"] = dmixed.sum(axis=(0, 1))
    dheads = split(dmixed @ p["proj"].T)
    gradients = attention_backward(dheads, a["q"], a["k"], a["v"], a["weights"])
    dqkv = np.concatenate([merge(d) for d in gradients], axis=-1)
    g["qkv"] = np.einsum("bti,bto->io", a["x"], dqkv)
    dx = dqkv @ p["qkv"].T
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
print(f"1. {3 * C * C:,} both times: C x 3 C, whether the columns belong to one head or to {H}.")
print(f"2. validation loss {loss:.3f}; the lecture, whose model has no projection: {PUBLISHED}")
tokens, targets = draw_batch(data.val, 500, T, seed=0, stream=TRAIN, step=0)
weights = forward(params, tokens, targets)[1]["weights"][:, :, -1].mean(axis=0)
for h in range(H):
    print(f"3. Head {h} looks 0, 1, 2, ... back with weights {weights[h, ::-1].round(2)}.")
# Try (see examples/ANSWERS.md): H = 1, 2, 8, 16, 32. How small may a head be before it is useless?
# Leave proj and proj_b out, as the lecture does: mixed is out, and dmixed goes into split.
