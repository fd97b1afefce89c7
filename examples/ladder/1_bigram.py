"""Rung 1, the bigram: the same table, a real text, all positions of a batch at once.

New: the *batch*. Rung 0 went through its text with a loop. Here a step sees B = 32 pieces of T = 8
characters from random places of Shakespeare. tokens is an array of 32 x 8, and so is targets:

    targets[b, t] == tokens[b, t + 1]

Forward looks up a row of V logits for every token, so that logits has the shape B x T x V; then
softmax and the loss of rung 0, in lines that treat all positions at once.

Backward goes from the loss back to the table. `d` + name is the gradient of the loss with respect
to it, always of the same shape. dlogits is prediction minus target, over the number of positions; a
row of the table collects it from every position where its character stands:

    np.add.at(dtable, tokens, dlogits)

The steps are AdamW's, a refinement of gradient descent (examples/notebooks/optimisers.ipynb derives
it). Text that the model is not trained on, the last 10 %, gives the *validation loss*.

Predict. Write your answers down first; the last lines of the output have them.
1. There are 65 different characters. What would the loss be if all were equally likely?
2. Which character will have the highest probability after "q"?
3. Will the loss on the validation text be lower or higher than that of the training text?

    python examples/ladder/1_bigram.py [--data=FILE] [--max_iters=3000]
"""

import argparse
import sys

import numpy as np

from gpt_numpy.base.errors import InputError
from gpt_numpy.data.batches import TRAIN, draw_batch
from gpt_numpy.data.dataset import open_dataset
from gpt_numpy.reference.adamw import AdamWSettings, adamw_update

PUBLISHED, B, T = 2.49, 32, 8  # the lecture's loss; B sequences of T characters are a batch
parser = argparse.ArgumentParser()
parser.add_argument("--data", default="", help="a text file, instead of a data set")
parser.add_argument("--dataset", default="tinyshakespeare", help="or shakespeare, python-docs")
parser.add_argument("--max_iters", type=int, default=3000, help="steps of training")
parser.add_argument("--even_if_wrong", action="store_true", help="train on wrong gradients, too")
parser.add_argument("--go", action="store_true", help="do not wait for your predictions")
options = parser.parse_args()
print((__doc__ or "").partition("Predict. ")[2].partition("\n\n    ")[0], "\n")
if sys.stdin.isatty() and not options.go:
    input("Enter continues. ")

try:
    data = open_dataset(options.dataset, options.data)  # 90 % for training, the rest for validation
except InputError as error:  # such as: no network
    raise SystemExit(str(error)) from None
V, rng = data.vocab_size, np.random.default_rng(1337)
params = {"table": rng.standard_normal((V, V)).astype("float32")}


def forward(p, tokens, targets):
    """The mean loss, and everything computed on the way to it."""
    logits = p["table"][tokens]  # B x T x V
    # The largest logit of a row is subtracted, so that exp cannot overflow: numerator and
    # denominator of softmax shrink by the same factor. (.real: the check below calls forward with
    # complex numbers, and the choice of the largest must not depend on the imaginary part.)
    e = np.exp(logits - logits.real.max(axis=-1, keepdims=True))
    probabilities = e / e.sum(axis=-1, keepdims=True)
    # What each target got, probabilities[b, t, targets[b, t]]:
    at_target = np.take_along_axis(probabilities, targets[..., None], axis=-1)
    return -np.log(at_target).mean(), {"logits": logits, "probabilities": probabilities}


def backward(p, tokens, targets, a):
    """The gradient of each parameter: forward's lines in reverse."""
    dlogits = a["probabilities"].copy()
    b, t = np.indices(targets.shape)  # the numbers of sequence and position, as arrays of B x T
    dlogits[b, t, targets] -= 1  # prediction minus target
    dlogits /= targets.size
    dtable = np.zeros_like(p["table"])
    np.add.at(dtable, tokens, dlogits)
    return {"table": dtable}


# The check of rung 0: Im f(x + i h) / h, here the slope along a random direction. The noise moves
# the parameters away from special values, such as the biases of 0 in later rungs, at which a wrong
# gradient can look right.
p = {n: v + 0.1 * rng.standard_normal(v.shape) for n, v in params.items()}  # float64 from here
tokens, targets = rng.integers(0, V, (2, 3, T))
grads, wrong = backward(p, tokens, targets, forward(p, tokens, targets)[1]), []
for n in p:
    r = rng.standard_normal(p[n].shape)
    moved = {k: value + (1e-30j * r if k == n else 0j) for k, value in p.items()}
    exact = forward(moved, tokens, targets)[0].imag / 1e-30
    error = abs((grads[n] * r).sum() - exact) / np.linalg.norm(grads[n])
    print(f"gradient of {n:<10} slope {exact:+.6f}, error {error:.1e}")
    wrong += [] if error < 1e-12 else [n]
if wrong and not options.even_if_wrong:
    raise SystemExit(f"wrong gradients: {', '.join(wrong)}; --even_if_wrong trains with them")

ADAMW = AdamWSettings(learning_rate=1e-2, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01)
moment1, moment2 = ({n: np.zeros_like(v) for n, v in params.items()} for _ in range(2))
for step in range(options.max_iters):
    # seed, stream and step fix the random places of the text.
    tokens, targets = draw_batch(data.train, B, T, seed=1337, stream=TRAIN, step=step)
    batch_loss, a = forward(params, tokens, targets)
    for n, g in backward(params, tokens, targets, a).items():
        moments = moment1[n], moment2[n]  # running means of the gradient and of its square
        # grad_scale: a factor for g, 1 here.
        adamw_update(params[n], g, *moments, step=step + 1, grad_scale=1.0, settings=ADAMW)
    if step % 1000 == 0:
        print(f"step {step:5}: loss of this batch {batch_loss:.3f}")


def loss_on(split):
    """The loss over a text, cut into sequences of T."""
    split = np.asarray(split[: (len(split) - 1) // T * T + 1], int)
    return forward(params, split[:-1].reshape(-1, T), split[1:].reshape(-1, T))[0]


loss, text = loss_on(data.val), [0]  # token 0: in Shakespeare the line break
for _ in range(300):  # *autoregressive*: draw a character, append it, predict the next from it
    context = np.array([text[-T:]])
    chances = forward(params, context, context)[1]["probabilities"][0, -1].astype("float64")
    text.append(int(rng.choice(V, p=chances / chances.sum())))
print(f"{data.tokenizer.decode(text)}\n")
print(f"1. log {V} = {np.log(V):.3f}.")
table, characters = params["table"], data.tokenizer.characters
for character in "qt"[: 2 if {"q", "t"} <= set(characters) else 0]:
    row = np.exp(table[characters.index(character)])
    best = np.argsort(-row)[:4]
    shares = ", ".join(f"{characters[k]!r} {row[k] / row.sum():.0%}" for k in best)
    print(f"2. After {character!r}: {shares}.")
train_loss = loss_on(data.train[: len(data.val)])
print(
    f"3. On a piece of the training text {train_loss:.3f}: the table is too small to memorise it,"
)
print("   and one piece may be harder than another.")
print(f"validation loss {loss:.3f}; the lecture: {PUBLISHED}")
# Try (examples/ANSWERS.md has what comes out):
# 1. dtable[tokens] += dlogits instead of np.add.at(...). The check finds it. What does training
#    with --even_if_wrong reach, and would you have noticed?
# 2. Above ADAMW put count = np.full((V, V), 0.1), then
#    np.add.at(count, (data.train[:-1], data.train[1:]), 1) and params["table"] = np.log(count).
#    With --max_iters=0: has training found anything better?
