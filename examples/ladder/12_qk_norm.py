"""Rung 12, QK norm and squared ReLU: bounded scores, and a sharper activation.

New: *QK norm*. Queries and keys go through an RMSNorm of their own, each head's D channels, before
they turn. Whatever the residual stream does, a query has the length that the weight of the norm
gives it, so that scores cannot grow without bound; that keeps training stable at larger rates. With
weights of 1 the length is sqrt(D), and no score is above sqrt(D) sqrt(D) / sqrt(D) = sqrt(D).

And *squared ReLU* in the MLP, a small thing that goes with it in models trained for speed:

    out = np.maximum(x, 0) ** 2

Backward of both: exercises 13 and 2 once more, with 2 max(x, 0) for the slope of the square.

Predict. Write your answers down first; the last lines of the output have them.
1. Do the two change the loss much, at the same learning rate?
2. What is the largest score, in absolute value, of all heads, on a batch of the validation text?

    python examples/ladder/12_qk_norm.py [--data=FILE] [--max_iters=5000]
"""

import argparse
import sys

import numpy as np

from gpt_numpy.base.errors import InputError
from gpt_numpy.data.batches import TRAIN, draw_batch, whole_split
from gpt_numpy.data.dataset import open_dataset
from gpt_numpy.reference.activation import relu2_backward, relu2_forward
from gpt_numpy.reference.adamw import AdamWSettings, adamw_update
from gpt_numpy.reference.attention import attention_backward, attention_forward
from gpt_numpy.reference.cross_entropy import cross_entropy_backward, cross_entropy_forward
from gpt_numpy.reference.dropout import NO_DROPOUT
from gpt_numpy.reference.linear import linear_backward, linear_forward
from gpt_numpy.reference.queries_keys import queries_keys_backward, queries_keys_forward
from gpt_numpy.reference.rmsnorm import rmsnorm_backward, rmsnorm_forward
from gpt_numpy.reference.rotary import rotation_table

PUBLISHED = np.nan  # not in the lecture
B, T, C, H, L = 32, 8, 32, 4, 3  # sequences, characters in each, channels, heads, blocks
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

block_shapes = {
    "norm1": (C,),
    "qkv": (C, 3 * C),
    "q_norm": (C // H,),
    "k_norm": (C // H,),
    "proj": (C, C),
    "proj_b": (C,),
}
block_shapes |= {"norm2": (C,), "fc": (C, 4 * C), "fc_b": (4 * C,)}
block_shapes |= {"down": (4 * C, C), "down_b": (C,)}
block_widths = {"x": C, "n1": C, "qkv": 3 * C, "ready": 3 * C, "att": C, "mid": C}
block_widths |= {"n2": C, "fc": 4 * C, "act": 4 * C, "out": C}
shapes = {"wte": (V, C)}
ROTATIONS = rotation_table(T, C // H, base=10000.0)  # cosines and sines of all angles
shapes |= {f"{i}.{n}": shape for i in range(L) for n, shape in block_shapes.items()}
shapes |= {"norm": (C,), "unembed": (C, V), "unembed_b": (V,)}


def start(name, shape):
    """A parameter before training, with the same standard deviation as in PyTorch."""
    if len(shape) == 1:  # a bias starts at 0, the weight of a norm at 1
        return np.full(shape, 0 if name.endswith("_b") else 1, "float32")
    spread = 1 if name == "wte" else (3 * shape[0]) ** -0.5
    return (spread * rng.standard_normal(shape)).astype("float32")


params = {name: start(name, shape) for name, shape in shapes.items()}


def block_of(group, i):
    """The arrays of block i, under their names without its number."""
    mark = f"{i}."
    return {name.removeprefix(mark): a for name, a in group.items() if name.startswith(mark)}


def forward(p, tokens, targets):
    """The mean loss, and everything computed on the way to it."""
    dtype = p["wte"].dtype
    widths = {f"{i}.{n}": width for i in range(L) for n, width in block_widths.items()}
    widths |= {"n": C, "logits": V}
    a = {name: np.empty((*tokens.shape, width), dtype) for name, width in widths.items()}
    a |= {f"{i}.lse": np.empty((len(tokens), H, tokens.shape[1]), dtype) for i in range(L)}
    statistics = ["losses", "lse", "rstd"]
    statistics += [f"{i}.{n}" for i in range(L) for n in ("rstd1", "rstd2")]
    a |= {name: np.empty(tokens.shape, dtype) for name in statistics}
    a["0.x"][...] = p["wte"][tokens]
    for i in range(L):
        if i:
            a[f"{i}.x"] = a[f"{i - 1}.out"]  # one array, written by a block and read by the next
        block_forward(block_of(p, i), block_of(a, i))
    rmsnorm_forward(a[f"{L - 1}.out"], p["norm"], a["n"], a["rstd"])
    linear_forward(a["n"], p["unembed"], p["unembed_b"], out=a["logits"])
    cross_entropy_forward(a["logits"], targets, out=a["losses"], lse=a["lse"])
    return a["losses"].mean(), a


def block_forward(p, a):
    """From the stream x to the stream out."""
    rmsnorm_forward(a["x"], p["norm1"], a["n1"], a["rstd1"])
    linear_forward(a["n1"], p["qkv"], None, out=a["qkv"])
    # H heads of queries and H of keys, normalised, then turned.
    norms = {"q_norm": p["q_norm"], "k_norm": p["k_norm"]}
    queries_keys_forward(a["qkv"], H, H, rotations=ROTATIONS, **norms, out=a["ready"])
    attention_forward(a["ready"], H, NO_DROPOUT, out=a["att"], lse=a["lse"])
    linear_forward(a["att"], p["proj"], p["proj_b"], out=a["mid"])
    a["mid"] += a["x"]
    rmsnorm_forward(a["mid"], p["norm2"], a["n2"], a["rstd2"])
    linear_forward(a["n2"], p["fc"], p["fc_b"], out=a["fc"])
    relu2_forward(a["fc"], out=a["act"])
    linear_forward(a["act"], p["down"], p["down_b"], out=a["out"])
    a["out"] += a["mid"]


def backward(p, tokens, targets, a):
    """The gradient of each parameter: forward's lines in reverse, written arguments last."""
    d, g = ({n: np.empty_like(v) for n, v in group.items()} for group in (a, p))
    d["losses"][...] = 1 / targets.size
    cross_entropy_backward(d["losses"], a["logits"], targets, a["lse"], d["logits"])
    last = f"{L - 1}.out"
    final = p["unembed"], p["unembed_b"]
    linear_backward(d["logits"], a["n"], *final, d["n"], g["unembed"], g["unembed_b"])
    rmsnorm_backward(d["n"], a[last], p["norm"], a["rstd"], dx=d[last], dweight=g["norm"])
    for i in reversed(range(L)):
        block_backward(block_of(p, i), block_of(a, i), block_of(d, i), block_of(g, i))
        if i:
            d[f"{i - 1}.out"] = d[f"{i}.x"]
    g["wte"][...] = 0
    np.add.at(g["wte"], tokens, d["0.x"])
    return g


def block_backward(p, a, d, g):
    """From d["out"] to d["x"], and the gradients of the block's parameters."""
    # forward: out = mid + down(relu(fc(norm(mid))))
    linear_backward(d["out"], a["act"], p["down"], p["down_b"], d["act"], g["down"], g["down_b"])
    relu2_backward(d["act"], a["fc"], d["fc"])
    linear_backward(d["fc"], a["n2"], p["fc"], p["fc_b"], d["n2"], g["fc"], g["fc_b"])
    rmsnorm_backward(d["n2"], a["mid"], p["norm2"], a["rstd2"], d["mid"], g["norm2"])
    d["mid"] += d["out"]
    # forward: mid = x + proj(attention(qkv(norm(x))))
    linear_backward(d["mid"], a["att"], p["proj"], p["proj_b"], d["att"], g["proj"], g["proj_b"])
    attention_backward(d["att"], a["ready"], H, NO_DROPOUT, a["att"], a["lse"], d["ready"])
    norms = {"q_norm": p["q_norm"], "k_norm": p["k_norm"], "rotations": ROTATIONS}
    dnorms = {"dq_norm": g["q_norm"], "dk_norm": g["k_norm"]}
    queries_keys_backward(d["ready"], a["qkv"], H, H, **norms, dqkv=d["qkv"], **dnorms)
    linear_backward(d["qkv"], a["n1"], p["qkv"], None, d["n1"], g["qkv"], None)
    rmsnorm_backward(d["n1"], a["x"], p["norm1"], a["rstd1"], d["x"], g["norm1"])
    d["x"] += d["mid"]


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
total = sum(forward(params, x, y)[0] * y.size for x, y in whole_split(data.val, 500, T))
loss, text = total / (len(data.val) - 1), [0]
for _ in range(300):
    context = np.array([text[-T:]])
    logits = forward(params, context, context)[1]["logits"][0, -1].astype("float64")
    chances = np.exp(logits - logits.max())
    text.append(int(rng.choice(V, p=chances / chances.sum())))
print(f"{data.tokenizer.decode(text)}\n")
print(f"1. validation loss {loss:.3f}")
tokens, targets = draw_batch(data.val, 500, T, seed=0, stream=TRAIN, step=0)
a = forward(params, tokens, targets)[1]
largest = 0
for i in range(L):
    q, k, _ = (x.reshape(500, T, H, C // H) for x in np.split(a[f"{i}.ready"], 3, axis=-1))
    scores = np.einsum("bthd,bshd->bhts", q, k) / (C // H) ** 0.5
    largest = max(largest, np.abs(scores).max())
print(f"2. {largest:.1f}.")
if "q_norm" in block_shapes:
    weights = [[np.abs(params[f"{i}.{n}"]).max() for n in ("q_norm", "k_norm")] for i in range(L)]
    root, factor = (C // H) ** 0.5, max(q * k for q, k in weights)
    print(f"   With weights of 1 in the norms no score is above sqrt(D) = {root:.2f};")
    print(f"   the learned weights move this bound to {root * factor:.1f}.")
# Try (see examples/ANSWERS.md): a learning rate of 1e-2, with the two norms and without (q_norm and
# k_norm out of block_shapes, and out of `norms` and `dnorms`, in forward and in backward).
