"""Rung 5, feed-forward: each position processes what its heads have gathered.

New: the *MLP* (multi-layer perceptron, or feed-forward layer). Attention moves information between
positions; the MLP computes with what has arrived, at each position separately. It is a linear layer
to 4 C channels, an activation function, and a linear layer back to C:

    hidden = np.maximum(x @ fc + fc_b, 0)
    out = hidden @ down + down_b

The hidden channels are called *neurons*. The activation is ReLU, which sets negative numbers to 0.
Without it two linear layers could do no more than one: (x @ fc) @ down is x @ (fc @ down).

From here on the layers of the earlier rungs are those of the package, so that what is new can be
seen: linear_forward, attention_forward, cross_entropy_forward and their backward functions. They do
what rungs 1 to 4 do in the open, but write their results to arrays that are handed to them. `a` has
the arrays of forward, `d` their gradients, `g` the gradients of the parameters. The package's
attention keeps the log of the sum of exp of each row of scores (`lse`) instead of the weights:
backward gets them back as exp(scores - lse). It reads a["att"], too, for softmax's sum over a row:
since dweights[s] = datt . v[s], sum_s weights[s] (datt . v[s]) = datt . att, in each head.
NO_DROPOUT switches off what rung 9 is about; tied=False says that the last layer has a table of its
own, not the embedding's (exercise 12 has the other case).

Backward adds exercises 1 and 2 (linear layer, ReLU): do them first.

Predict. Write your answers down first; the last lines of the output have them.
1. How many parameters do attention (qkv, proj) and the MLP (fc, down) have here, with C = 32?
2. Four heads reached 2.27. How much does the MLP add?
3. What share of the hidden numbers is 0 after training?

    python examples/ladder/5_feed_forward.py [--data=FILE] [--max_iters=5000]
"""

import argparse
import sys

import numpy as np

from gpt_numpy.base.errors import InputError
from gpt_numpy.data.batches import TRAIN, draw_batch, whole_split
from gpt_numpy.data.dataset import open_dataset
from gpt_numpy.reference.activation import relu_backward, relu_forward
from gpt_numpy.reference.adamw import AdamWSettings, adamw_update
from gpt_numpy.reference.attention import attention_backward, attention_forward
from gpt_numpy.reference.cross_entropy import cross_entropy_backward, cross_entropy_forward
from gpt_numpy.reference.dropout import NO_DROPOUT
from gpt_numpy.reference.embedding import EmbeddingWeights, embedding_backward, embedding_forward
from gpt_numpy.reference.linear import linear_backward, linear_forward

PUBLISHED, B, T, C, H = 2.27, 32, 8, 32, 4
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
shapes = {"wte": (V, C), "wpe": (T, C), "qkv": (C, 3 * C), "proj": (C, C), "proj_b": (C,)}
shapes |= {"fc": (C, 4 * C), "fc_b": (4 * C,), "down": (4 * C, C), "down_b": (C,)}
shapes |= {"unembed": (C, V), "unembed_b": (V,)}
PARTS = {"attention": ("qkv", "proj", "proj_b"), "MLP": ("fc", "fc_b", "down", "down_b")}
# As in rung 2. PyTorch would start `down`, which adds up 4 C products, with half as much.
spread = {n: 1 if n in ("wte", "wpe") else (3 * C) ** -0.5 for n in shapes}
params = {n: (spread[n] * rng.standard_normal(s)).astype("float32") for n, s in shapes.items()}
widths = {
    "x": C,
    "qkv": 3 * C,
    "att": C,
    "mid": C,
    "fc": 4 * C,
    "act": 4 * C,
    "out": C,
    "logits": V,
}


def forward(p, tokens, targets):
    """The mean loss, and everything computed on the way to it."""
    a = {n: np.empty((*tokens.shape, width), p["wte"].dtype) for n, width in widths.items()}
    a["losses"], a["lse"] = np.empty((2, *tokens.shape), p["wte"].dtype)  # two arrays of B x T
    a["att_lse"] = np.empty((len(tokens), H, tokens.shape[1]), p["wte"].dtype)
    embedding_forward(tokens, EmbeddingWeights(p["wte"], p["wpe"]), dropout=NO_DROPOUT, out=a["x"])
    linear_forward(a["x"], p["qkv"], None, out=a["qkv"])
    attention_forward(a["qkv"], H, NO_DROPOUT, out=a["att"], lse=a["att_lse"])
    linear_forward(a["att"], p["proj"], p["proj_b"], out=a["mid"])
    linear_forward(a["mid"], p["fc"], p["fc_b"], out=a["fc"])
    relu_forward(a["fc"], out=a["act"])
    linear_forward(a["act"], p["down"], p["down_b"], out=a["out"])
    linear_forward(a["out"], p["unembed"], p["unembed_b"], out=a["logits"])
    cross_entropy_forward(a["logits"], targets, out=a["losses"], lse=a["lse"])
    return a["losses"].mean(), a


def backward(p, tokens, targets, a):
    """The gradient of each parameter: forward's lines in reverse, written arguments last."""
    d, g = ({n: np.empty_like(v) for n, v in group.items()} for group in (a, p))
    d["losses"][...] = 1 / targets.size
    cross_entropy_backward(d["losses"], a["logits"], targets, a["lse"], d["logits"])
    last = p["unembed"], p["unembed_b"]
    linear_backward(d["logits"], a["out"], *last, d["out"], g["unembed"], g["unembed_b"])
    linear_backward(d["out"], a["act"], p["down"], p["down_b"], d["act"], g["down"], g["down_b"])
    relu_backward(d["act"], a["fc"], d["fc"])
    linear_backward(d["fc"], a["mid"], p["fc"], p["fc_b"], d["mid"], g["fc"], g["fc_b"])
    linear_backward(d["mid"], a["att"], p["proj"], p["proj_b"], d["att"], g["proj"], g["proj_b"])
    attention_backward(d["att"], a["qkv"], H, NO_DROPOUT, a["att"], a["att_lse"], d["qkv"])
    linear_backward(d["qkv"], a["x"], p["qkv"], None, d["x"], g["qkv"], None)
    tables, dtables = (EmbeddingWeights(group["wte"], group["wpe"]) for group in (p, g))
    embedding_backward(d["x"], tokens, tables, tied=False, dropout=NO_DROPOUT, dweights=dtables)
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
total = sum(forward(params, x, y)[0] * y.size for x, y in whole_split(data.val, 500, T))
loss, text = total / (len(data.val) - 1), [0]
for _ in range(300):
    context = np.array([text[-T:]])
    logits = forward(params, context, context)[1]["logits"][0, -1].astype("float64")
    chances = np.exp(logits - logits.max())
    text.append(int(rng.choice(V, p=chances / chances.sum())))
print(f"{data.tokenizer.decode(text)}\n")
count = {name: sum(params[n].size for n in names) for name, names in PARTS.items()}
print(f"1. attention {count['attention']:,}, MLP {count['MLP']:,}.")
print(f"2. validation loss {loss:.3f}; the lecture, whose MLP is one layer of C: {PUBLISHED}")
tokens, targets = draw_batch(data.val, 500, T, seed=0, stream=TRAIN, step=0)
print(f"3. {(forward(params, tokens, targets)[1]['act'] == 0).mean():.0%}")
# Try (see examples/ANSWERS.md): leave the ReLU out. Put a["act"][...] = a["fc"] into the place of
# relu_forward, and d["fc"][...] = d["act"] into that of relu_backward: an array that nobody writes
# holds garbage. Make the MLP as wide as C, or 16 C, wherever 4 * C stands.
