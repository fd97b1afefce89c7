"""Rung 0, by hand: tokens, targets, a loss, its gradient, and gradient descent, in plain loops.

A *language model* is given the beginning of a text and says how likely each character is to come
next. To compute with characters we number them: such a number is a *token*. What a model shall say
at a position is the token that comes next, its *target*:

    target[t] == token[t + 1]

This model looks at one character only. It has a table with a row for each character, and in each
row one number, a *logit*, for each character that may follow. *Softmax* turns a row into
probabilities: take exp, which makes every number positive, and divide by the sum of the row.

The *loss* says how wrong the model is: -log of the probability that it gave to the target, averaged
over all positions. It is 0 if the model was certain and right, and large if it was certain and
wrong. (log is the natural logarithm. The unit is the *nat*.)

*Gradient descent* makes the loss smaller. The *gradient* is an array like the table: each of its
numbers is the slope of the loss with respect to the number of the table in the same place. Where
the slope is positive, the number has to become smaller. With a *learning rate*, a step is

    table = table - rate * gradient

Predict. Write your answers down first; the last lines of the output have them.
1. The table starts at 0, so all 5 characters are equally likely. What is the loss?
2. In "abracadabra" an "a" is followed twice by "b", once by "c" and once by "d". Which
   probabilities will gradient descent find for a, b, c, d and r after an "a"?
3. Can the loss become 0?

    python examples/ladder/0_by_hand.py [--max_iters=200] [--rate=2]
"""

import argparse
import sys

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--max_iters", type=int, default=200, help="steps of gradient descent")
parser.add_argument("--rate", type=float, default=2.0, help="how far a step goes")
parser.add_argument("--go", action="store_true", help="do not wait for your predictions")
options = parser.parse_args()
print((__doc__ or "").partition("Predict. ")[2].partition("\n\n    ")[0], "\n")
if sys.stdin.isatty() and not options.go:
    input("Enter continues. ")

TEXT = "abracadabra"
characters = sorted(set(TEXT))  # a, b, c, d, r are the tokens 0, 1, 2, 3, 4
text = [characters.index(character) for character in TEXT]
tokens, targets = text[:-1], text[1:]  # target[t] == token[t + 1]
PAIRS = list(zip(tokens, targets, strict=True))
V, N = len(characters), len(tokens)  # V: the size of the vocabulary
print("tokens ", tokens)
print("targets", targets)


def softmax(row):
    """Positive numbers that sum to 1; the larger the logit, the larger its share."""
    return np.exp(row) / np.exp(row).sum()


def loss_of(table):
    """The mean of -log(probability of the target)."""
    return sum(-np.log(softmax(table[token])[target]) for token, target in PAIRS) / N


def gradient_of(table):
    """The slope of the loss for each number of the table: prediction minus target.

    Take one position, with logits z and target y. -log softmax(z)[y] = log(sum(exp(z))) - z[y].
    The slope of the first part with respect to z[k] is exp(z[k]) / sum(exp(z)), the probability of
    k: the prediction. That of the second part is -1 at k = y, else 0. A row of the table is used at
    every position where its character stands, and each of them adds its part.
    """
    gradient = np.zeros((V, V))
    for token, target in PAIRS:
        gradient[token] += softmax(table[token]) / N  # the prediction
        gradient[token][target] -= 1 / N  # minus the target
    return gradient


# Is it right? Move one number of the table by h and see what the loss does. With an imaginary step
# this is exact: f(x + i h) = f(x) + i h f'(x) - h^2 f''(x) / 2 - ..., so that the imaginary part,
# divided by h, is f'(x), up to terms with h^2. With h = 1e-30 they are too small to be seen.
table = np.random.default_rng(0).standard_normal((V, V))
moved = table.astype(complex)
moved[0, 1] += 1e-30j
exact, ours = loss_of(moved).imag / 1e-30, gradient_of(table)[0, 1]
print(f"slope of the loss with respect to the logit of b after a: {exact:.15f}, ours {ours:.15f}")
assert abs(exact - ours) < 1e-15, "the gradient is wrong"

table = np.zeros((V, V))
first = loss_of(table)
print("gradient of the row of a, at the start:", gradient_of(table)[0].round(3))
for step in range(options.max_iters):
    if step % 50 == 0:
        print(f"step {step:4}: loss {loss_of(table):.4f}")
    table = table - options.rate * gradient_of(table)
loss = loss_of(table)
params, PUBLISHED = {"table": table}, np.nan  # what `python -m examples.ladder` shows of a rung

rng, written = np.random.default_rng(0), "a"
for _ in range(30):  # draw a character, append it, and go on from it: this is how a model writes
    chances = softmax(table[characters.index(written[-1])])
    written += characters[rng.choice(V, p=chances)]
print(f"it writes: {written}\n")
found = ", ".join(
    f"{c} {share:.3f}" for c, share in zip(characters, softmax(table[0]), strict=True)
)
print(f"1. The loss was {first:.4f} = log 5: -log of a fifth, at every position.")
print(f"2. After a: {found}. The frequencies of b, c and d are 2/4, 1/4, 1/4.")
print(f"3. It is {loss:.4f} now. Of 10 positions, 4 have an a, where nobody can do better than")
least = 0.4 * (0.5 * np.log(2) + 0.5 * np.log(4))
print(f"   -1/2 log 1/2 - 1/4 log 1/4 - 1/4 log 1/4 on average: {least:.4f} over all positions.")
# Try (examples/ANSWERS.md has what comes out):
# 1. --rate=0.1, --rate=10, --rate=20, --rate=200. Which is too slow, and which too fast?
# 2. A text of your own for TEXT.
# 3. The best table needs no descent. Behind `first = ...` put: for pair in PAIRS: table[pair] += 1
#    and: table = np.log(table). (log 0 is -inf; NumPy warns.) With --max_iters=0: the least loss?
