"""Rung 9, the GPT: the same program, larger; and dropout for those who have the time.

New: *scale*. With layer norm and residual connections a larger model can be trained: 4 blocks, 96
channels, 48 characters to look back at, and weights that start small (0.02, as in GPT-2). This is a
decoder-only *transformer*: embeddings, blocks of causal self-attention and MLP on a residual
stream, layer norm, and logits for the next token. GPT-2 is this with 12 blocks, 768 channels, GELU,
a bias in qkv, and one table for both ends (exercise 12).

*Dropout* is there as well, with rate 0. It sets a random share of the numbers to 0 in training and
scales the others up, so that a large model cannot rely on any single one and memorise its text:

    out = x * keep / (1 - rate)

Here it acts on the embeddings, on what each branch adds to the stream and, as in GPT-2, on the
weights of attention. This model is too small to memorise. Backward needs the same `keep` again. It
is not stored, but computed from a seed (the package's name for it is `key`; it has nothing to do
with the keys of attention) and the number (`site`) of the layer. The rest is exercise 4.

The lecture's loss is for 10 million parameters, T = 256, and 5000 steps with B = 64: hours on two
cores. This model has half a million parameters and takes a minute or two. Do not compare losses.

Predict. Write your answers down first; the last lines of the output have them.
1. How many parameters will the tables, the attention and the MLPs have? Which have most?
2. Rung 8 reached 2.08 with 8 characters to look at. What will 48 characters and four blocks reach?

    python examples/ladder/9_gpt.py [--data=FILE] [--max_iters=2000] [--dropout=0.0]
"""

import argparse
import sys
from functools import partial

import numpy as np

from gpt_numpy.base.errors import InputError
from gpt_numpy.data.batches import TRAIN, draw_batch, whole_split
from gpt_numpy.data.dataset import open_dataset
from gpt_numpy.reference.activation import relu_backward, relu_forward
from gpt_numpy.reference.adamw import AdamWSettings, adamw_update
from gpt_numpy.reference.attention import attention_backward, attention_forward
from gpt_numpy.reference.cross_entropy import cross_entropy_backward, cross_entropy_forward
from gpt_numpy.reference.dropout import Dropout, dropout_backward, dropout_forward
from gpt_numpy.reference.embedding import EmbeddingWeights, embedding_backward, embedding_forward
from gpt_numpy.reference.layernorm import layernorm_backward, layernorm_forward
from gpt_numpy.reference.linear import linear_backward, linear_forward

PUBLISHED, B, T, C, H, L = 1.48, 16, 48, 96, 4, 4  # B sequences, T characters in each, L blocks
parser = argparse.ArgumentParser()
parser.add_argument("--data", default="", help="a text file, instead of a data set")
parser.add_argument("--dataset", default="tinyshakespeare", help="or shakespeare, python-docs")
parser.add_argument("--max_iters", type=int, default=2000, help="steps of training")
parser.add_argument("--dropout", type=float, default=0.0, help="the share that is dropped")
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
block_shapes = {"ln1": (C,), "ln1_b": (C,), "qkv": (C, 3 * C), "proj": (C, C), "proj_b": (C,)}
block_shapes |= {"ln2": (C,), "ln2_b": (C,), "fc": (C, 4 * C), "fc_b": (4 * C,)}
block_shapes |= {"down": (4 * C, C), "down_b": (C,)}
block_widths = {"x": C, "n1": C, "qkv": 3 * C, "att": C, "mid": C}
block_widths |= {"n2": C, "fc": 4 * C, "act": 4 * C, "out": C}
shapes = {"wte": (V, C), "wpe": (T, C)}
shapes |= {f"{i}.{n}": shape for i in range(L) for n, shape in block_shapes.items()}
shapes |= {"ln": (C,), "ln_b": (C,), "unembed": (C, V), "unembed_b": (V,)}


def start(name, shape):
    """A parameter before training, as in GPT-2."""
    if len(shape) == 1:  # a bias starts at 0, the weight of a norm at 1
        return np.full(shape, 0 if name.endswith("_b") else 1, "float32")
    return (0.02 * rng.standard_normal(shape)).astype("float32")


params = {name: start(name, shape) for name, shape in shapes.items()}
no_dropout = partial(Dropout.of, 0.0, 0)


def block_of(group, i):
    """The arrays of block i, under their names without its number."""
    return {n.removeprefix(f"{i}."): a for n, a in group.items() if n.startswith(f"{i}.")}


def forward(p, tokens, targets, drop=no_dropout):
    """The mean loss, and everything computed on the way to it; `drop(site)` is a dropout."""
    dtype = p["wte"].dtype
    widths = {f"{i}.{n}": width for i in range(L) for n, width in block_widths.items()}
    widths |= {"n": C, "logits": V}
    a = {name: np.empty((*tokens.shape, width), dtype) for name, width in widths.items()}
    a |= {f"{i}.lse": np.empty((len(tokens), H, tokens.shape[1]), dtype) for i in range(L)}
    rows = [f"{i}.{n}" for i in range(L) for n in ("mean1", "rstd1", "mean2", "rstd2")]
    a |= {n: np.empty(tokens.shape, dtype) for n in ["losses", "lse", "mean", "rstd", *rows]}
    embedding_forward(tokens, EmbeddingWeights(p["wte"], p["wpe"]), dropout=drop(0), out=a["0.x"])
    for i in range(L):
        if i:
            a[f"{i}.x"] = a[f"{i - 1}.out"]  # one array, written by a block and read by the next
        block_forward(block_of(p, i), block_of(a, i), drop, 3 * i)
    layernorm_forward(a[f"{L - 1}.out"], p["ln"], p["ln_b"], a["n"], a["mean"], a["rstd"])
    linear_forward(a["n"], p["unembed"], p["unembed_b"], out=a["logits"])
    cross_entropy_forward(a["logits"], targets, out=a["losses"], lse=a["lse"])
    return a["losses"].mean(), a


def block_forward(p, a, drop, site):
    """From the stream x to the stream out; each dropout has a number, its site."""
    layernorm_forward(a["x"], p["ln1"], p["ln1_b"], a["n1"], a["mean1"], a["rstd1"])
    linear_forward(a["n1"], p["qkv"], None, out=a["qkv"])
    attention_forward(a["qkv"], H, drop(site + 1), out=a["att"], lse=a["lse"])
    linear_forward(a["att"], p["proj"], p["proj_b"], out=a["mid"])
    dropout_forward(a["mid"], drop(site + 2), out=a["mid"])
    a["mid"] += a["x"]
    layernorm_forward(a["mid"], p["ln2"], p["ln2_b"], a["n2"], a["mean2"], a["rstd2"])
    linear_forward(a["n2"], p["fc"], p["fc_b"], out=a["fc"])
    relu_forward(a["fc"], out=a["act"])
    linear_forward(a["act"], p["down"], p["down_b"], out=a["out"])
    dropout_forward(a["out"], drop(site + 3), out=a["out"])
    a["out"] += a["mid"]


def backward(p, tokens, targets, a, drop):
    """The gradient of each parameter: forward's lines in reverse, written arguments last."""
    d, g = ({n: np.empty_like(v) for n, v in group.items()} for group in (a, p))
    d["losses"][...] = 1 / targets.size
    cross_entropy_backward(d["losses"], a["logits"], targets, a["lse"], d["logits"])
    final = p["unembed"], p["unembed_b"]
    linear_backward(d["logits"], a["n"], *final, d["n"], g["unembed"], g["unembed_b"])
    norm_backward("ln", d["n"], a[f"{L - 1}.out"], p, a["mean"], a["rstd"], d[f"{L - 1}.out"], g)
    for i in reversed(range(L)):
        block_backward(*(block_of(group, i) for group in (p, a, d, g)), drop, 3 * i)
        if i:
            d[f"{i - 1}.out"] = d[f"{i}.x"]
    tables, dtables = (EmbeddingWeights(group["wte"], group["wpe"]) for group in (p, g))
    embedding_backward(d["0.x"], tokens, tables, tied=False, dropout=drop(0), dweights=dtables)
    return g


def norm_backward(name, dout, x, p, mean, rstd, dx, g):
    """The backward of the layer norm of this name."""
    b = name + "_b"
    layernorm_backward(dout, x, p[name], p[b], mean, rstd, dx=dx, dweight=g[name], dbias=g[b])


def block_backward(p, a, d, g, drop, site):
    """From d["out"] to d["x"], and the gradients of the block's parameters."""
    # forward: out = mid + dropout(down(relu(fc(norm(mid)))))
    branch = np.empty_like(d["out"])
    dropout_backward(d["out"], drop(site + 3), dx=branch)
    linear_backward(branch, a["act"], p["down"], p["down_b"], d["act"], g["down"], g["down_b"])
    relu_backward(d["act"], a["fc"], d["fc"])
    linear_backward(d["fc"], a["n2"], p["fc"], p["fc_b"], d["n2"], g["fc"], g["fc_b"])
    norm_backward("ln2", d["n2"], a["mid"], p, a["mean2"], a["rstd2"], d["mid"], g)
    d["mid"] += d["out"]
    # forward: mid = x + dropout(proj(attention(qkv(norm(x)))))
    dropout_backward(d["mid"], drop(site + 2), dx=branch)
    linear_backward(branch, a["att"], p["proj"], p["proj_b"], d["att"], g["proj"], g["proj_b"])
    attention_backward(d["att"], a["qkv"], H, drop(site + 1), a["att"], a["lse"], d["qkv"])
    linear_backward(d["qkv"], a["n1"], p["qkv"], None, d["n1"], g["qkv"], None)
    norm_backward("ln1", d["n1"], a["x"], p, a["mean1"], a["rstd1"], d["x"], g)
    d["x"] += d["mid"]


p = {n: v + 0.1 * rng.standard_normal(v.shape) for n, v in params.items()}  # float64 from here
tokens, targets = rng.integers(0, V, (2, 2, 8))
drop = partial(Dropout.of, 0.2, 7)  # with dropout: the same key, 7, gives the same mask
grads, wrong = backward(p, tokens, targets, forward(p, tokens, targets, drop)[1], drop), []
for n in p:  # the exact slope along a random direction r: Im loss(p + i h r) / h
    r = rng.standard_normal(p[n].shape)
    moved = {k: value + (1e-30j * r if k == n else 0j) for k, value in p.items()}
    exact = forward(moved, tokens, targets, drop)[0].imag / 1e-30
    error = abs((grads[n] * r).sum() - exact) / np.linalg.norm(grads[n])
    print(f"gradient of {n:<10} slope {exact:+.6f}, error {error:.1e}")
    wrong += [] if error < 1e-12 else [n]
if wrong and not options.even_if_wrong:
    raise SystemExit(f"wrong gradients: {', '.join(wrong)}; --even_if_wrong trains with them")

ADAMW = AdamWSettings(learning_rate=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01)
moment1, moment2 = ({n: np.zeros_like(v) for n, v in params.items()} for _ in range(2))
for step in range(options.max_iters):
    tokens, targets = draw_batch(data.train, B, T, seed=1337, stream=TRAIN, step=step)
    drop = partial(Dropout.of, options.dropout, step)
    batch_loss, a = forward(params, tokens, targets, drop)
    for n, g in backward(params, tokens, targets, a, drop).items():
        moments = moment1[n], moment2[n]
        adamw_update(params[n], g, *moments, step=step + 1, grad_scale=1.0, settings=ADAMW)
    if step % 250 == 0:
        print(f"step {step:5}: loss of this batch {batch_loss:.3f}")
total = sum(forward(params, x, y)[0] * y.size for x, y in whole_split(data.val, 100, T))
loss, text = total / (len(data.val) - 1), [0]
for _ in range(300):
    context = np.array([text[-T:]])
    logits = forward(params, context, context)[1]["logits"][0, -1].astype("float64")
    chances = np.exp(logits - logits.max())
    text.append(int(rng.choice(V, p=chances / chances.sum())))
print(f"{data.tokenizer.decode(text)}\n")
count = {"tables": 0, "attention": 0, "MLP": 0, "other": 0}
for n, value in params.items():
    kind = n.split(".")[-1].removesuffix("_b")
    groups = {"wte": "tables", "wpe": "tables", "unembed": "tables", "qkv": "attention"}
    groups |= {"proj": "attention", "fc": "MLP", "down": "MLP"}
    count[groups.get(kind, "other")] += value.size
print("1. " + ", ".join(f"{name} {size:,}" for name, size in count.items()))
print(f"2. validation loss {loss:.3f}; the lecture, a model 23 times as large: {PUBLISHED}")
# Try: --max_iters=10000, and go for a walk. Then let the compiled kernels train larger models:
# `gpt-numpy train tiny`, or `gpt-numpy train baby --dropout=0.2` for the lecture's own size.
