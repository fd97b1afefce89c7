"""Translator 3, label smoothing: a model that is not quite certain.

A translation is one of several good ones, and a model that puts all its belief on one will be
surprised by the others. The paper wants a little less than everything from the right token, and
spreads e = 0.1 over all V tokens of the vocabulary. With P the probabilities of a row of logits z,
y its target, and q what is wanted of each token:

    q_v  = (1 - e) [v = y] + e / V
    loss = -sum_v q_v log P_v = lse - (1 - e) z_y - e mean_v(z_v)         lse = log sum_v exp(z_v)
    dz_v = P_v - q_v                                      what is there, less what is wanted

The last line follows from the derivative of lse, which is P, and of the other terms, which are
linear. Targets shorter than others are filled up with *padding*, which wants nothing: its rows have
gradient 0. `gpt_numpy/reference/cross_entropy.py` has the derivation with all its terms. Do
exercise 18 first: this file has the answer.

The smoothed loss cannot reach 0. It is least where P = q, and is then -sum_v q_v log q_v, the
*entropy* of q. So an evaluation computes the loss without smoothing (`smoothing=False`), whose exp
is the *perplexity*.

The task is to write dates as ISO 8601 has them: "Sunday, May 2, 2021" is 2021-05-02.

Predict. Write your answers down first; the last lines of the output have them.
1. What is the least smoothed loss that a model can have here? (e = 0.1, and dates have V = 50
   tokens.)
2. Which model has the lower perplexity on unseen dates, with smoothing or without?
3. How probable is, for each of the two, the most likely token on average?

    python examples/translator/3_smoothing.py [--max_iters=800] [--ops=kernels]
"""

import argparse
import sys

import numpy as np

import gpt_numpy as gn
from gpt_numpy.config.transformer import PAD
from gpt_numpy.config.translation import TranslationConfig
from gpt_numpy.data.batches import TRAIN
from gpt_numpy.data.pair_dataset import open_pairs
from gpt_numpy.data.sentences import source_tokens, text_of
from gpt_numpy.reference.cross_entropy import cross_entropy_backward, cross_entropy_forward

C, E, WARMUP, BATCH_TOKENS = 64, 0.1, 200, 1500
parser = argparse.ArgumentParser()
parser.add_argument("--max_iters", type=int, default=800, help="steps of training, of each model")
parser.add_argument("--ops", default="kernels", help="kernels, or reference (slower to train)")
parser.add_argument("--go", action="store_true", help="do not wait for your predictions")
options = parser.parse_args()
print((__doc__ or "").partition("Predict. ")[2].partition("\n\n    ")[0], "\n")
if sys.stdin.isatty() and not options.go:
    input("Enter continues. ")

# The gradient, by hand, against the exact slope of each logit: Im loss(z + i h) / h.
rng = np.random.default_rng(0)
z, targets = rng.standard_normal((3, 7)), np.array([2, 6, -1])  # the last row is padding
losses, lse, dz = np.empty(3), np.empty(3), np.empty((3, 7))
cross_entropy_forward(z, targets, losses, lse, smoothing=E)
cross_entropy_backward(np.ones(3), z, targets, lse, dz, smoothing=E)
P = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
Q = E / 7 + (1 - E) * np.eye(7)[targets]
by_hand = (P - Q) * (targets >= 0)[:, None]
exact = np.empty((3, 7))
for r, v in np.ndindex(3, 7):
    moved, out, sums = z.astype(complex), np.empty(3, complex), np.empty(3, complex)
    moved[r, v] += 1e-30j
    cross_entropy_forward(moved, targets, out, sums, smoothing=E)
    exact[r, v] = out.sum().imag / 1e-30
for name, found in (("P - q", by_hand), ("the package's", dz)):
    print(f"gradient of the logits, {name:<14} error {np.abs(found - exact).max():.1e}")
if np.abs(by_hand - exact).max() > 1e-14:
    raise SystemExit("P - q is not the gradient")

# Sources of at most 32 tokens and targets of at most 16.
data = open_pairs(TranslationConfig(dataset="date"), (32, 16))
pairs = data.val.texts(100, seed=1, stream=2)  # days that training never draws, in any form
sources = [source_tokens(data.tokenizer, text) for text, _ in pairs]
test = data.val.batch(3000, seed=1, stream=3, index=0)  # about 3000 tokens of other such days
rows = []
for smoothing in (0.0, E):
    config = gn.TransformerConfig(
        data.vocab_size, source_size=32, target_size=16, n_layer=2, n_head=4, n_embd=C,
        label_smoothing=smoothing,
    )  # fmt: skip
    model = gn.Transformer(config, ops=options.ops)
    optimizer = gn.AdamW(model, betas=(0.9, 0.98), eps=1e-9, weight_decay=0.0)
    for step in range(1, options.max_iters + 1):
        optimizer.learning_rate = C**-0.5 * min(step**-0.5, step * WARMUP**-1.5)
        batch = data.train.batch(BATCH_TOKENS, seed=1337, stream=TRAIN, index=step)
        loss = model.forward(*batch)
        model.backward()
        optimizer.step()
        if step % 200 == 0:
            print(f"smoothing {smoothing}, step {step:4}: loss {loss:.4f}")
    perplexity = np.exp(model.forward(*test, smoothing=False))
    logits = model.logits(*test).astype("float64")  # of every position of each target
    # The probability of the most likely token of each row is exp(0) / sum(exp(z - largest)).
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    likely = 1 / e.sum(axis=-1)[test.target[:, 1:] != PAD]
    # beam=1: always the most likely token, as in program 2.
    written = [text_of(data.tokenizer, each) for each in gn.translate(model, sources, beam=1)]
    right = sum(text == target for text, (_, target) in zip(written, pairs, strict=True))
    print(f"{pairs[0][0]} -> {written[0]}; {right} of {len(pairs)} unseen days are right")
    rows.append((smoothing, perplexity, likely.mean()))

wanted = np.full(data.vocab_size, E / data.vocab_size)
wanted[0] += 1 - E
print(f"\n1. The entropy of q, {-(wanted * np.log(wanted)).sum():.4f} nats.")
print("2. " + ", ".join(f"smoothing {s}: perplexity {x:.4f}" for s, x, _ in rows) + ".")
print("3. " + ", ".join(f"smoothing {s}: {p:.3f}" for s, _, p in rows) + ".")
# Try (see examples/ANSWERS.md): E = 0.5. Does the number of right days change? And
# `gpt-numpy train date`.
