"""Exercise f6, drawing the next token.

Temperature first, then the softmax of exercise f1:

    z = logits / tau
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)

np.cumsum adds up along the row, so that the tokens divide the numbers from 0 to 1 into pieces as
long as their probabilities, and u falls into one of them. As many tokens lie entirely below u as
have a cumulative probability of at most u:

    out = (np.cumsum(p, axis=-1) <= u[:, None]).sum(axis=-1)

argmax finds the first True, which is the same token:

    out == (np.cumsum(p, axis=-1) > u[:, None]).argmax(axis=-1)
"""

import numpy as np

HINTS = (
    """\
Divide by the temperature before softmax, not after it.
""",
    """\
np.cumsum(p, axis=-1) adds up along the row. The token is the first at which that is larger than u.
""",
    """\
argmax of an array of True and False is the place of the first True. u needs one more axis, u[:,
None], to be compared with each row. Treat tau == 0 apart: logits.argmax(axis=-1).
""",
)


def _p(logits, tau):
    z = logits / tau
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _draw(p, u):
    return (np.cumsum(p, axis=-1) > u[:, None]).argmax(axis=-1)


def forward(logits, u, tau, out):
    """Write the token that is drawn for each row to `out`."""
    out[...] = logits.argmax(axis=-1) if tau == 0 else _draw(_p(logits, tau), u)


def no_temperature(logits, u, tau, out):
    """A mistake: the temperature is not used."""
    out[...] = logits.argmax(axis=-1) if tau == 0 else _draw(_p(logits, 1), u)


def multiplied(logits, u, tau, out):
    """A mistake: multiplied by the temperature."""
    out[...] = logits.argmax(axis=-1) if tau == 0 else _draw(_p(logits, 1 / tau), u)


def largest(logits, u, tau, out):
    """A mistake: always the largest."""
    out[...] = logits.argmax(axis=-1)


def one_late(logits, u, tau, out):
    """A mistake: the token after the right one."""
    out[...] = logits.argmax(axis=-1) if tau == 0 else _draw(_p(logits, tau), u) + 1


def one_early(logits, u, tau, out):
    """A mistake: the token before the right one."""
    out[...] = logits.argmax(axis=-1) if tau == 0 else _draw(_p(logits, tau), u) - 1


def no_zero(logits, u, tau, out):
    """A mistake: no case for tau = 0."""
    out[...] = _draw(_p(logits, tau), u)


def after(logits, u, tau, out):
    """A mistake: the probabilities are divided by the temperature."""
    out[...] = logits.argmax(axis=-1) if tau == 0 else _draw(_p(logits, 1) / tau, u)


def overflows(logits, u, tau, out):
    """A mistake: exp overflows."""
    e = np.exp(logits / (tau or 1))
    p = e / e.sum(axis=-1, keepdims=True)
    out[...] = logits.argmax(axis=-1) if tau == 0 else _draw(p, u)


def not_cumulative(logits, u, tau, out):
    """A mistake: the first token whose own probability is larger than u."""
    p = _p(logits, tau or 1)
    out[...] = logits.argmax(axis=-1) if tau == 0 else (p > u[:, None]).argmax(axis=-1)


MISTAKES = {
    "the temperature is not used": no_temperature,
    "the logits are multiplied by the temperature, not divided by it": multiplied,
    "the token with the largest logit is taken always: draw with u, unless tau is 0": largest,
    "it is one token too late": one_late,
    "it is one token too early": one_early,
    "tau = 0 divides by 0: take the largest logit then": no_zero,
    "the probabilities are divided by the temperature: it belongs before softmax": after,
    "exp overflows for large logits: use the softmax of f1": overflows,
    "the probability of the token itself is compared with u, not the cumulative one": (
        not_cumulative
    ),
}
