"""Calls of models, of what samples from them, and of what trains them."""

import math

import numpy as np

import gpt_numpy as gn
from gpt_numpy.base.errors import NotFiniteError
from gpt_numpy.config.choices import IMPLEMENTATIONS
from tests.bad_input.calls import HUGE, LONG, SHAPE, WORD, Call, choose, close, plain, verdict
from tests.bad_input.values import BAD, RAGGED, Maybe, integer, one_of, real, strange, token_array
from tests.support.sampling import next_distribution


def optional(meaning):
    """The meaning of an argument that may be None."""
    return lambda value: None if value is None else meaning(value)


def forward_options(rng):
    """What the forward pass of either kind of model takes in addition to a batch."""
    key = None if rng.random() < 0.5 else 7
    kinds = {
        "dropout_key": (key, optional(lambda v: integer(v, 0, WORD))),
        "divisor": (None, optional(lambda v: integer(v, 1, WORD))),
    }
    return choose(rng, kinds, chance=0.3)


def pass_arguments(rng, model):
    """Of forward, logits and gradcheck: tokens, targets and options, with what they mean."""
    shape = (int(rng.integers(1, 4)), int(rng.integers(1, 9)))
    passed, means = forward_options(rng)
    for name, low in (("tokens", 0), ("targets", -1)):
        other = shape if rng.random() < 0.93 else (shape[0], shape[1] % 8 + 1)
        if rng.random() < 0.5:
            passed[name], means[name] = token_array(rng, other, low, SHAPE.vocab_size)
        else:
            passed[name] = means[name] = rng.integers(low, SHAPE.vocab_size, other)
    shapes = {np.shape(means[name]) for name in ("tokens", "targets") if means[name] is not BAD}
    if len(shapes) > 1:
        means["targets"] = BAD
    return passed, means


def forward_and_backward(world, rng):
    model = world.any_model(rng)
    passed, means = pass_arguments(rng, model)

    def run():
        loss = model.forward(**passed)
        for name in ("tokens", "targets"):  # a buffer that its owner fills anew before backward
            if isinstance(passed[name], np.ndarray) and passed[name].flags.writeable:
                passed[name][...] = 10**9 if passed[name].dtype.itemsize > 4 else 100
        model.backward()
        return loss, model.grads.flat.copy()

    def right(result):
        loss = world.truth.forward(**plain(means))
        world.truth.backward()
        return close(model, result[0], loss) and close(model, result[1], world.truth.grads.flat)

    means = {n: v.copy() if isinstance(v, np.ndarray) else v for n, v in means.items()}
    return Call("forward", passed, run, **verdict(means), right=right)


def backward_alone(world, rng):
    model = world.any_model(rng)

    def run():
        model.logits(np.zeros((1, 2), int))
        model.backward()

    return Call("backward", {}, run, ("forward",), True, True)


def logits(world, rng):
    model = world.any_model(rng)
    tokens, meant = token_array(rng, (2, int(rng.integers(1, 9))), 0, SHAPE.vocab_size)
    meant = meant if meant is BAD else meant.copy()
    return Call(
        "logits", {"tokens": tokens}, lambda: model.logits(tokens), **verdict({"tokens": meant}),
        right=lambda result: close(model, result, world.truth.logits(meant)),
    )  # fmt: skip


def means_sequences(tokens):
    """For generate: (T,) or (B, T) integers of any length from 1 on, or rows of any lengths."""
    try:
        array = np.asarray(tokens)
    except ValueError:
        return [np.array(row) for row in tokens] if tokens == RAGGED else BAD
    if array.dtype.kind not in "iu" or array.ndim not in (1, 2) or array.size == 0:
        return BAD
    inside = 0 <= int(array.min()) and int(array.max()) < SHAPE.vocab_size
    return array.astype(np.int64) if inside else BAD


def generate(world, rng):
    model = world.any_model(rng)
    kinds = {
        "max_new_tokens": (int(rng.integers(0, 5)), lambda v: integer(v, 0, HUGE)),
        "temperature": (0.8, lambda v: real(v, lambda x: x >= 0)),
        "top_k": (5, optional(lambda v: integer(v, 0, WORD))),
        "top_p": (None, optional(lambda v: real(v, lambda x: 0 < x <= 1))),
        "seed": (1, lambda v: integer(v, 0, WORD)),
    }
    passed, means = choose(rng, kinds, chance=0.7)
    count = means["max_new_tokens"]
    count = count.value if isinstance(count, Maybe) else count
    if count is not BAD and count > LONG:
        passed["max_new_tokens"] = means["max_new_tokens"] = 2
    passed["tokens"] = rng.integers(0, 11, (2, 12))
    if rng.random() < 0.5:
        passed["tokens"], _ = token_array(rng, (2, 5), 0, SHAPE.vocab_size)
    means["tokens"] = means_sequences(passed["tokens"])

    def right(result):
        meant = plain(means)
        again, start = gn.generate(model, **meant), meant["tokens"]
        if not isinstance(start, list):
            same = np.array_equal(result[..., : start.shape[-1]], start)
            return same and np.array_equal(again, result)
        return all(
            np.array_equal(row[: len(first)], first) and np.array_equal(row, once_more)
            for row, first, once_more in zip(result, start, again, strict=True)
        )

    return Call(
        "generate", passed, lambda: gn.generate(model, **passed), **verdict(means), right=right
    )


def distribution(world, rng):
    """Logits of every size: the distribution sums to 1, whatever the options."""
    logits = (rng.standard_normal((2, 9)) * 10.0 ** rng.uniform(-3, 37)).astype(np.float32)
    k, p = int(rng.integers(0, 12)), float(rng.uniform(1e-6, 1))
    options = (logits, float(rng.choice([0, 1e-300, 0.8, 1e30])), k, p)

    def right(result):
        return np.allclose(result.sum(axis=-1), 1) and bool((result >= 0).all())

    run = lambda: next_distribution(*options)  # noqa: E731
    return Call("next_distribution", options, run, (), False, False, right)


def gpt(world, rng):
    names = ("float32", "float64", "complex128")
    shape = SHAPE if rng.random() < 0.8 else strange(rng)
    kinds = {
        "seed": (3, optional(lambda v: integer(v, 0, WORD))),
        "dtype": ("float32", lambda v: dtype_meaning(v, names)),
        "ops": ("reference", lambda v: one_of(v, IMPLEMENTATIONS)),
        "keep": ((), keep_meaning),
    }
    passed, means = choose(rng, kinds, chance=0.8)
    if rng.random() < 0.3:
        passed["ops"] = means["ops"] = "kernels"
    if means["dtype"] == "complex128" and means["ops"] == "kernels":
        means["dtype"] = BAD
    means["config"] = SHAPE if shape is SHAPE else BAD
    return Call(
        "GPT", passed | {"config": shape}, lambda: gn.GPT(shape, **passed), **verdict(means),
        right=lambda model: model.n_params == world.truth.n_params,
    )  # fmt: skip


def dtype_meaning(value, names):
    if isinstance(value, str) and value in names:
        return str(value)
    try:
        name = np.dtype(value).name
    except Exception:
        return BAD
    return Maybe(name) if name in names and value is not None else BAD


def keep_meaning(value):
    if isinstance(value, tuple | list | set) and not value:
        return () if value == () else Maybe(())
    return BAD  # the strange values name no activation


def adamw(world, rng):
    model = world.any_model(rng)
    at_least_0 = lambda v: real(v, lambda x: x >= 0)  # noqa: E731
    kinds = {
        "learning_rate": (1e-3, at_least_0),
        "weight_decay": (0.1, at_least_0),
        "grad_clip": (1.0, at_least_0),
        "eps": (1e-8, lambda v: real(v, lambda x: x > 0)),
        "betas": ((0.9, 0.99), lambda v: betas_meaning(v)),
    }
    passed, means = choose(rng, kinds)
    if rng.random() < 0.2:
        passed["betas"] = (0.9, strange(rng))
        means["betas"] = betas_meaning(passed["betas"])
    return Call(
        "AdamW", passed, lambda: gn.AdamW(model, **passed), **verdict(means),
        right=lambda made: made.steps == 0 and made.learning_rate == plain(means)["learning_rate"],
    )  # fmt: skip


def muon(world, rng):
    model = world.any_model(rng)
    at_least_0 = lambda v: real(v, lambda x: x >= 0)  # noqa: E731
    kinds = {
        "learning_rate": (1e-3, at_least_0),
        "muon_learning_rate": (0.02, at_least_0),
        "muon_momentum": (0.95, lambda v: real(v, lambda x: 0 <= x < 1)),
        "weight_decay": (0.1, at_least_0),
    }
    passed, means = choose(rng, kinds)
    return Call(
        "Muon", passed, lambda: gn.Muon(model, **passed), **verdict(means),
        right=lambda made: made.steps == 0 and made.muon_momentum == plain(means)["muon_momentum"],
    )  # fmt: skip


def betas_meaning(value):
    if not isinstance(value, tuple | list) or len(value) != 2:
        return BAD
    parts = [real(v, lambda x: 0 <= x < 1) for v in value]
    if any(part is BAD for part in parts):
        return BAD
    doubtful = isinstance(value, list) or any(isinstance(part, Maybe) for part in parts)
    return Maybe(tuple(value)) if doubtful else tuple(value)


def step(world, rng):
    """A step with a gradient or a setting that cannot be used changes nothing and says so."""
    model = world.any_model(rng)
    tokens = rng.integers(0, SHAPE.vocab_size, (2, 4))
    broken = rng.random() < 0.5
    if broken:
        name = list(model.grads)[rng.integers(len(model.grads))]
        value = [math.nan, math.inf, -math.inf, 1.0][rng.integers(4)]
        wrong = not math.isfinite(value)
    else:
        name = ["learning_rate", "weight_decay", "grad_clip", "eps", "betas"][rng.integers(5)]
        value = strange(rng)
        allowed = {"betas": betas_meaning(value), "eps": real(value, lambda x: x > 0)}
        wrong = allowed.get(name, real(value, lambda x: x >= 0)) is BAD
        if not wrong:
            value = {"betas": (0.5, 0.5)}.get(name, 0.1)

    def run():
        start = model.params.flat.copy()
        optimizer = gn.AdamW(model)
        model.forward(tokens, tokens)
        model.backward()
        if broken:
            model.grads[name].flat[0] = value
        else:
            setattr(optimizer, name, value)
        try:
            optimizer.step()
        finally:
            moved = not np.array_equal(model.params.flat, start)
            model.params.flat[...] = start
            assert moved != wrong, "parameters moved" if moved else "parameters did not move"

    return Call(
        "step", {name: value}, run, (name,), wrong, wrong, errors=(gn.InputError, NotFiniteError)
    )


def gradcheck(world, rng):
    model = world.any_model(rng)
    passed, means = pass_arguments(rng, model)
    del passed["divisor"], means["divisor"]
    if not any(value is BAD for value in means.values()):  # what is right takes a second
        passed["tokens"], means["tokens"] = np.full((1, 2), SHAPE.vocab_size), BAD
    return Call("gradcheck", passed, lambda: gn.gradcheck(model, **passed), **verdict(means))


def names(world, rng):
    """A name that nobody has: a KeyError that helps."""
    model = world.any_model(rng)
    mapping = [model.params, model.grads, model.activations, model.activation_grads][
        rng.integers(4)
    ]
    name = ["wte", "h.0.attn.out", "h.9.ln_1.weight", "", "x" * 50][rng.integers(5)]
    return Call("[...]", name, lambda: mapping[name], (name[:10],), True, True, errors=(KeyError,))


FAMILIES = {
    forward_and_backward: 10, backward_alone: 1, logits: 4, generate: 6, distribution: 1, gpt: 3,
    adamw: 3, muon: 2, step: 3, gradcheck: 2, names: 1,
}  # fmt: skip
