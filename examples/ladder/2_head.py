"""Rung 2 of 7, one attention head: a position can look back.

Forward. A character becomes a row of C = 32 numbers, its *embedding* (wte), plus the embedding of
its position (wpe). Three linear layers, side by side in one matrix `qkv`, turn each row into a
*query*, what it looks for, a *key*, what it is found by, and a *value*, what it contributes. Query
q and key k have a *score*, Q[q] @ K[k] / sqrt(C), that says how well they match. Softmax turns the
scores of a query into weights, and *attention* is the average of the values with these weights.
Scores of later positions are left out: what is to be predicted must not be seen.

    attention_forward(a["qkv"], H, NO_DROPOUT, out=a["att"], lse=a["att_lse"])

Backward. The values get their gradient with the same weights p. The scores s of a row get
ds = p * (dp - sum(p * dp)), with the sum because what one weight gains, the others lose. Queries
and keys get theirs from ds (gpt_numpy/reference/attention.py); embeddings add up as in rung 1.

    python examples/ladder/2_head.py [--data=FILE] [--max_iters=5000]
"""

import argparse

import numpy as np

from gpt_numpy.data.batches import TRAIN, draw_batch, whole_split
from gpt_numpy.data.dataset import open_dataset
from gpt_numpy.reference.adamw import AdamWSettings, adamw_update
from gpt_numpy.reference.attention import attention_backward, attention_forward
from gpt_numpy.reference.cross_entropy import cross_entropy_backward, cross_entropy_forward
from gpt_numpy.reference.dropout import NO_DROPOUT
from gpt_numpy.reference.embedding import EmbeddingWeights, embedding_backward, embedding_forward
from gpt_numpy.reference.linear import linear_backward, linear_forward

PUBLISHED, B, T, C, H = 2.4, 32, 8, 32, 1  # T characters a sequence, C channels, H heads
parser = argparse.ArgumentParser()
parser.add_argument("--data", default="", help="a text file, instead of a data set")
parser.add_argument("--dataset", default="tinyshakespeare", help="or shakespeare, python-docs")
parser.add_argument("--max_iters", type=int, default=5000, help="steps of training")
options = parser.parse_args()
data = open_dataset(options.dataset, options.data)
V, rng = data.vocab_size, np.random.default_rng(1337)

shapes = {"wte": (V, C), "wpe": (T, C), "qkv": (C, 3 * C), "head": (C, V), "head_b": (V,)}
spread = {n: 1 if n in ("wte", "wpe") else (3 * C) ** -0.5 for n in shapes}  # as PyTorch starts
params = {n: (spread[n] * rng.standard_normal(s)).astype("float32") for n, s in shapes.items()}
widths = {"x": C, "qkv": 3 * C, "att": C, "logits": V}


def forward(p, tokens, targets):
    """The mean loss, and everything computed on the way to it."""
    a = {n: np.empty((*tokens.shape, width), p["wte"].dtype) for n, width in widths.items()}
    a["losses"], a["lse"] = np.empty((2, *tokens.shape), p["wte"].dtype)
    a["att_lse"] = np.empty((len(tokens), H, tokens.shape[1]), p["wte"].dtype)
    embedding_forward(tokens, EmbeddingWeights(p["wte"], p["wpe"]), dropout=NO_DROPOUT, out=a["x"])
    linear_forward(a["x"], p["qkv"], None, out=a["qkv"])
    attention_forward(a["qkv"], H, NO_DROPOUT, out=a["att"], lse=a["att_lse"])
    linear_forward(a["att"], p["head"], p["head_b"], out=a["logits"])
    cross_entropy_forward(a["logits"], targets, out=a["losses"], lse=a["lse"])
    return a["losses"].mean(), a


def backward(p, tokens, targets, a):
    """The gradient of each parameter: forward's lines in reverse, written arguments last."""
    d, g = ({n: np.empty_like(v) for n, v in group.items()} for group in (a, p))
    d["losses"][...] = 1 / targets.size
    cross_entropy_backward(d["losses"], a["logits"], targets, a["lse"], d["logits"])
    linear_backward(d["logits"], a["att"], p["head"], p["head_b"], d["att"], g["head"], g["head_b"])
    attention_backward(d["att"], a["qkv"], H, NO_DROPOUT, a["att"], a["att_lse"], d["qkv"])
    linear_backward(d["qkv"], a["x"], p["qkv"], None, d["x"], g["qkv"], None)
    tables, dtables = (EmbeddingWeights(group["wte"], group["wpe"]) for group in (p, g))
    embedding_backward(d["x"], tokens, tables, tied=False, dropout=NO_DROPOUT, dweights=dtables)
    return g


p = {n: v + 0.1 * rng.standard_normal(v.shape) for n, v in params.items()}  # float64 from here
tokens, targets = rng.integers(0, V, (2, 3, T))
grads = backward(p, tokens, targets, forward(p, tokens, targets)[1])
for n in p:  # the exact slope along a random direction r: Im loss(p + i h r) / h
    r = rng.standard_normal(p[n].shape)
    moved = {k: value + (1e-30j * r if k == n else 0j) for k, value in p.items()}
    exact = forward(moved, tokens, targets)[0].imag / 1e-30
    error = abs((grads[n] * r).sum() - exact) / np.linalg.norm(grads[n])
    print(f"gradient of {n:<10} slope {exact:+.6f}, error {error:.1e}")
    assert error < 1e-12, "the backward is wrong"
ADAMW = AdamWSettings(learning_rate=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01)
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
# Try: leave wpe out. Set T = 16: does one head use the longer past? What does --max_iters=20000 do?
