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


def step(w, g, m, v, t):
    """Change w, m and v in place; t counts from 1."""
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g * g
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    w -= rate * (decay * w + m_hat / (np.sqrt(v_hat) + eps))


def run(start, gradients, w):
    """Take a step with each gradient; write the weights afterwards to `w`."""
    w[...], m, v = start, np.zeros_like(start), np.zeros_like(start)
    for t, g in enumerate(gradients, 1):
        step(w, g, m, v, t)


RIGHT = {
    "gradient": lambda g, w: g,
    "m": lambda m, g: beta1 * m + (1 - beta1) * g,
    "v": lambda v, g, m: beta2 * v + (1 - beta2) * g * g,
    "m_hat": lambda m, t, before, g: m / (1 - beta1**t),
    "v_hat": lambda v, t, before: v / (1 - beta2**t),
    "root": lambda v_hat, v, t: np.sqrt(v_hat) + eps,
    "quotient": lambda m_hat, root: m_hat / root,
    "pull": lambda w, g: decay * w,
    "new": lambda w, pull, quotient: w - rate * (pull + quotient),
    "kept_w": lambda before, w: w,
    "kept_m": lambda before, m, m_hat: m,
    "kept_v": lambda before, v, v_hat: v,
}


def changed(**parts):
    """A `run` with some parts of the step exchanged, for the grader."""
    part = RIGHT | parts

    def function(start, gradients, w):
        w[...], m, v = start, np.zeros_like(start), np.zeros_like(start)
        for t, gradient in enumerate(gradients, 1):
            g = part["gradient"](gradient, w)
            new_m = part["m"](m, g)
            new_v = part["v"](v, g, new_m)
            m_hat, v_hat = part["m_hat"](new_m, t, m, g), part["v_hat"](new_v, t, v)
            root = part["root"](v_hat, new_v, t)
            pull, quotient = part["pull"](w, g), part["quotient"](m_hat, root)
            w[...] = part["kept_w"](w, part["new"](w, pull, quotient))
            m, v = part["kept_m"](m, new_m, m_hat), part["kept_v"](v, new_v, v_hat)

    return function


_REBOUND = "= only rebinds the name, the array stays as it was: write {0}[...] = ..."
_ROOT = "the root is taken before the correction: sqrt(v) / (1 - beta2^t)"
_IN_PLACE = "corrected in place, so that the next step starts from a wrong mean: use a new array"
CHANGES = (
    (f"w {_REBOUND.format('w')} or w -= ...", {"kept_w": lambda before, w: before}),
    (
        f"m {_REBOUND.format('m')} (the same for v): both are rebound",
        {"kept_m": lambda before, m, m_hat: before, "kept_v": lambda before, v, v_hat: before},
    ),
    (f"m {_REBOUND.format('m')}: m is rebound", {"kept_m": lambda before, m, m_hat: before}),
    (f"v {_REBOUND.format('v')}: v is rebound", {"kept_v": lambda before, v, v_hat: before}),
    (
        f"m and v are {_IN_PLACE}",
        {"kept_m": lambda before, m, m_hat: m_hat, "kept_v": lambda before, v, v_hat: v_hat},
    ),
    (f"m is {_IN_PLACE}", {"kept_m": lambda before, m, m_hat: m_hat}),
    (f"v is {_IN_PLACE}", {"kept_v": lambda before, v, v_hat: v_hat}),
    (
        "neither mean is corrected for its start at 0",
        {"m_hat": lambda m, t, before, g: m, "v_hat": lambda v, t, before: v},
    ),
    ("m is not corrected: divide by 1 - beta1^t", {"m_hat": lambda m, t, before, g: m}),
    ("v is not corrected: divide by 1 - beta2^t", {"v_hat": lambda v, t, before: v}),
    (
        "1 - beta for 1 - beta^t in the corrections: the power t is missing",
        {
            "m_hat": lambda m, t, before, g: m / (1 - beta1),
            "v_hat": lambda v, t, before: v / (1 - beta2),
        },
    ),
    ("1 - beta1 for 1 - beta1^t", {"m_hat": lambda m, t, before, g: m / (1 - beta1)}),
    ("1 - beta2 for 1 - beta2^t", {"v_hat": lambda v, t, before: v / (1 - beta2)}),
    (
        "1 - beta * t for 1 - beta^t in the corrections",
        {
            "m_hat": lambda m, t, before, g: m / (1 - beta1 * t),
            "v_hat": lambda v, t, before: v / (1 - beta2 * t),
        },
    ),
    (
        "it is multiplied by 1 - beta^t, not divided",
        {
            "m_hat": lambda m, t, before, g: m * (1 - beta1**t),
            "v_hat": lambda v, t, before: v * (1 - beta2**t),
        },
    ),
    (
        "t is one too large in the corrections: it counts from 1 already",
        {
            "m_hat": lambda m, t, before, g: m / (1 - beta1 ** (t + 1)),
            "v_hat": lambda v, t, before: v / (1 - beta2 ** (t + 1)),
        },
    ),
    (
        "t is one too small in the corrections: it counts from 1",
        {
            "m_hat": lambda m, t, before, g: m / (1 - beta1 ** (t - 1)),
            "v_hat": lambda v, t, before: v / (1 - beta2 ** (t - 1)),
        },
    ),
    (
        "w is changed before m and v are: the step uses the old means",
        {
            "m_hat": lambda m, t, before, g: before / (1 - beta1**t),
            "v_hat": lambda v, t, before: before / (1 - beta2**t),
        },
    ),
    (
        "beta1 and beta2 are exchanged",
        {
            "m": lambda m, g: beta2 * m + (1 - beta2) * g,
            "v": lambda v, g, m: beta1 * v + (1 - beta1) * g * g,
            "m_hat": lambda m, t, before, g: m / (1 - beta2**t),
            "v_hat": lambda v, t, before: v / (1 - beta1**t),
        },
    ),
    (
        "beta1 stands where beta2 belongs, in v and its correction",
        {
            "v": lambda v, g, m: beta1 * v + (1 - beta1) * g * g,
            "v_hat": lambda v, t, before: v / (1 - beta1**t),
        },
    ),
    (
        "beta and 1 - beta are exchanged in the means",
        {
            "m": lambda m, g: (1 - beta1) * m + beta1 * g,
            "v": lambda v, g, m: (1 - beta2) * v + beta2 * g * g,
        },
    ),
    (
        "the factors 1 - beta are missing in the means",
        {"m": lambda m, g: beta1 * m + g, "v": lambda v, g, m: beta2 * v + g * g},
    ),
    ("the factor 1 - beta1 is missing in m", {"m": lambda m, g: beta1 * m + g}),
    ("the factor 1 - beta2 is missing in v", {"v": lambda v, g, m: beta2 * v + g * g}),
    ("v is the mean of g, not of g^2", {"v": lambda v, g, m: beta2 * v + (1 - beta2) * g}),
    ("v is the mean of m^2, not of g^2", {"v": lambda v, g, m: beta2 * v + (1 - beta2) * m * m}),
    (
        "1 - beta2 is squared, together with g, in v",
        {"v": lambda v, g, m: beta2 * v + ((1 - beta2) * g) ** 2},
    ),
    ("the gradient itself is divided by the root, not its mean", {
        "m_hat": lambda m, t, before, g: g
    }),
    ("the root of v is missing", {"root": lambda v_hat, v, t: v_hat + eps}),
    (_ROOT, {"root": lambda v_hat, v, t: np.sqrt(v) / (1 - beta2**t) + eps}),
    (
        "eps is added under the root, not after it",
        {"root": lambda v_hat, v, t: np.sqrt(v_hat + eps)},
    ),
    (
        "eps is added under the root, and before the correction",
        {"root": lambda v_hat, v, t: np.sqrt((v + eps) / (1 - beta2**t))},
    ),
    ("eps is missing", {"root": lambda v_hat, v, t: np.sqrt(v_hat)}),
    ("the division by the root of v is missing: that is momentum", {
        "quotient": lambda m_hat, root: m_hat
    }),
    ("it is multiplied by the root of v, not divided", {
        "quotient": lambda m_hat, root: m_hat * root
    }),
    ("the step goes up the gradient: the sign is wrong", {
        "quotient": lambda m_hat, root: -m_hat / root
    }),
    ("the sign of the step is wrong, with that of the decay: w -= ...", {
        "new": lambda w, pull, quotient: w + rate * (pull + quotient)
    }),
    ("the decay is missing", {"pull": lambda w, g: 0}),
    (
        "the decay is part of the gradient: it must not pass through m and v",
        {"gradient": lambda g, w: g + decay * w, "pull": lambda w, g: 0},
    ),
    ("the decay is part of the gradient, and is added to the step once more", {
        "gradient": lambda g, w: g + decay * w
    }),
    ("the decay has the wrong sign: it pushes away from 0", {"pull": lambda w, g: -decay * w}),
    ("the decay pulls by the gradient: decay * w, not decay * g", {"pull": lambda w, g: decay * g}),
    ("the decay does not depend on w: decay * w", {"pull": lambda w, g: decay}),
    ("the decay is not multiplied by the rate", {
        "new": lambda w, pull, quotient: w - pull - rate * quotient
    }),
    (
        "the step m / root is not multiplied by the rate, only the decay is",
        {"new": lambda w, pull, quotient: w - rate * pull - quotient},
    ),
    ("the factor rate is missing", {"new": lambda w, pull, quotient: w - pull - quotient}),
    (
        "the decay comes after the step, from a w that is already changed",
        {"new": lambda w, pull, quotient: (w - rate * quotient) * (1 - rate * decay)},
    ),
    (
        "w is replaced by the step: it lacks w itself",
        {"new": lambda w, pull, quotient: -rate * (pull + quotient)},
    ),
)  # fmt: skip
