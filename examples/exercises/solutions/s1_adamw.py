"""Exercise s1, AdamW.

After t steps with a constant gradient g the running mean is

    a, b, g, t, m, v = 0.8, 0.9, 1.7, 3, 0.0, 0.0
    for _ in range(t): m, v = a * m + (1 - a) * g, b * v + (1 - b) * g**2
    m == (1 - a**t) * g
    v == (1 - b**t) * g**2

so dividing by 1 - beta^t makes it g again, whatever t is:

    m_hat = m / (1 - a**t)
    v_hat = v / (1 - b**t)
    m_hat == g
    v_hat == g**2

For a constant gradient the step is then rate * g / (|g| + eps), about rate, however large g is.
"""

import numpy as np

HINTS = (
    """\
m and v are arrays that are kept from step to step: change them in place, m[...] = ...
""",
    """\
The corrected means are new arrays: m / (1 - beta1**t) and v / (1 - beta2**t). m and v stay as they
are.
""",
    """\
Four lines: m, v, the two corrections in the last line or before it, and w. The root is taken of the
corrected v; eps is added after the root. Read w before it is changed.
""",
)
rate, beta1, beta2, eps, decay = 0.3, 0.8, 0.9, 1e-3, 0.2


def _run(start, gradients, w, step):
    w[...], m, v = start, np.zeros_like(start), np.zeros_like(start)
    for t, g in enumerate(gradients, 1):
        step(w, g, m, v, t)


def step(w, g, m, v, t):
    """Change w, m and v in place; t counts from 1."""
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g * g
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    w -= rate * (decay * w + m_hat / (np.sqrt(v_hat) + eps))


def run(start, gradients, w):
    """Take a step with each gradient; write the weights afterwards to `w`."""
    _run(start, gradients, w, step)


def wrong(mean=True, square=True, **changes):
    """A `run` whose step is changed in some way."""
    has = {"root": True, "eps": "after", "decay": "decoupled", "sign": 1, "swap": False}
    has |= {"share": True, "squared": True, "shift": 0, "momentum": True, "divide": True} | changes

    def one(w, g, m, v, t):
        t += has["shift"]
        if has["decay"] == "in g":
            g = g + decay * w
        b1, b2 = (beta2, beta1) if has["swap"] else (beta1, beta2)
        m[...] = b1 * m + (1 - b1 if has["share"] else 1) * g
        v[...] = b2 * v + (1 - b2 if has["share"] else 1) * (g * g if has["squared"] else g)
        m_hat = m / (1 - b1**t) if mean else m
        v_hat = v / (1 - b2**t) if square else v
        if not has["momentum"]:
            m_hat = g
        root = np.sqrt(v_hat) if has["root"] else v_hat
        root = np.sqrt(v_hat + eps) if has["eps"] == "inside" else root + eps
        if has["eps"] == "none":
            root = root - eps
        step = m_hat / root if has["divide"] else m_hat
        pull = decay * w if has["decay"] in ("decoupled", "no rate") else 0
        if has["decay"] == "no rate":
            pull = pull / rate
        w -= rate * (pull + has["sign"] * step)

    return lambda start, gradients, w: _run(start, gradients, w, one)


MISTAKES = {
    "neither mean is corrected for its start at 0": wrong(mean=False, square=False),
    "m is not corrected: divide by 1 - beta1^t": wrong(mean=False),
    "v is not corrected: divide by 1 - beta2^t": wrong(square=False),
    "the root of v is missing": wrong(root=False),
    "eps is added under the root, not after it": wrong(eps="inside"),
    "eps is missing": wrong(eps="none"),
    "the decay is missing": wrong(decay="none"),
    "the decay is part of the gradient, as in Adam with L2: it must not pass through m and v": (
        wrong(decay="in g")
    ),
    "the decay is not multiplied by the rate": wrong(decay="no rate"),
    "the step goes up the gradient: the sign is wrong": wrong(sign=-1),
    "beta1 and beta2 are exchanged": wrong(swap=True),
    "the factors 1 - beta are missing in the means": wrong(share=False),
    "v is the mean of g, not of g^2": wrong(squared=False),
    "t is one too large in the corrections: it counts from 1 already": wrong(shift=1),
    "the gradient itself is divided by the root, not its mean": wrong(momentum=False),
    "the division by the root of v is missing: that is momentum": wrong(divide=False),
}
