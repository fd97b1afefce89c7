"""Calls of an encoder-decoder: its passes, what looks at them, and what translates."""

import numpy as np

import gpt_numpy as gn
from gpt_numpy.config.transformer import BEGIN, END, PAD
from tests.bad_input.calls import LONG, PAIR_SHAPE, WORD, Call, choose, close, plain, verdict
from tests.bad_input.models import forward_options
from tests.bad_input.values import BAD, RAGGED, Maybe, integer, real, strange, token_array

V = PAIR_SHAPE.vocab_size


def integers_of(value):
    """What it means where integers (B, N) are asked for, or BAD."""
    try:
        array = np.asarray(value)
    except ValueError:
        return BAD
    if array.dtype.kind not in "iu" or array.ndim != 2 or array.size == 0:
        return BAD
    return array.astype(np.int64) if 0 <= int(array.min()) and int(array.max()) < V else BAD


def is_padded(array):
    """Whether each row has a token, and PAD only behind its last one."""
    return all(row[0] != PAD and not np.any(row[:-1][row[1:] != PAD] == PAD) for row in array)


def source_meaning(value):
    array = integers_of(value)
    if array is BAD or array.shape[1] > PAIR_SHAPE.source_size or not is_padded(array):
        return BAD
    return array


def target_meaning(value, rows):
    array = integers_of(value)
    if array is BAD or len(array) != rows or not 2 <= array.shape[1] <= PAIR_SHAPE.target_size + 1:
        return BAD
    right = is_padded(array) and (array[:, 0] == BEGIN).all() and (array[:, 1] != PAD).all()
    return array if right else BAD


def sequences(rng, shape, begin):
    """A source or a target, in a good half of the cases right."""
    if rng.random() < 0.25:
        return token_array(rng, shape, END, V)[0]
    array = rng.integers(END, V, shape)
    if begin:
        array[:, 0] = BEGIN
    for row in array:
        row[rng.integers(1 + begin, len(row) + 1) :] = PAD
    if rng.random() < 0.3:
        place = tuple(rng.integers(size) for size in shape)
        array[place] = [PAD, BEGIN, END, V - 1, V, -1, 2**40][rng.integers(7)]
    return array if rng.random() < 0.7 else array.tolist()


def pair(rng):
    """Source and target, with what they mean."""
    B, S, T = (int(rng.integers(1, high)) for high in (4, PAIR_SHAPE.source_size + 2, 7))
    source = sequences(rng, (B, S), False)
    target = sequences(rng, (B if rng.random() < 0.95 else B + 1, T + 1), True)
    means = {"source": source_meaning(source)}
    rows = B if means["source"] is BAD else len(means["source"])
    means["target"] = target_meaning(target, rows)
    if means["source"] is BAD:  # it is looked at first, and the number of rows is unknown
        means["target"] = Maybe(None)
    return {"source": source, "target": target}, means


def forward_and_backward(world, rng):
    model = world.any_transformer(rng)
    passed, means = pair(rng)
    options, of_options = forward_options(rng)
    passed, means = passed | options, means | of_options

    def run():
        loss = model.forward(**passed)
        model.backward()
        return loss, model.grads.flat.copy()

    def right(result):
        loss = world.pair_truth.forward(**plain(means))
        world.pair_truth.backward()
        exact = world.pair_truth.grads.flat
        return close(model, result[0], loss) and close(model, result[1], exact)

    return Call("Transformer.forward", passed, run, **verdict(means), right=right)


def looks(world, rng):
    """What looks at a pass of a pair: logits, alignments, a trace, an ablation, gradcheck."""
    model = world.any_transformer(rng)
    passed, means = pair(rng)
    given = tuple(passed.values())
    truth = world.pair_truth
    kind = ["logits", "alignments", "trace", "ablate", "gradcheck"][rng.integers(5)]
    run = {
        "logits": lambda: model.logits(*given),
        "alignments": lambda: model.alignments(*given),
        "trace": lambda: gn.trace(model, *given)["decoder.h.0.cross.probabilities"].value,
        "ablate": lambda: gn.ablate(model, *given, "decoder.h.0.cross.heads", head=1).before,
        "gradcheck": lambda: gn.gradcheck(model, *given),
    }[kind]
    if kind == "gradcheck" and all(
        m is not BAD for m in means.values()
    ):  # what is right takes seconds
        run, kind = (lambda: model.logits(*given)), "logits"

    def right(result):
        meant = plain(means).values()
        exact = {
            "logits": truth.logits,
            "alignments": truth.alignments,
            "trace": lambda *batch: truth.alignments(*batch)[0],
            "ablate": truth.forward,
        }[kind](*meant)
        return close(model, result, exact)

    return Call(f"{kind} of a pair", passed, run, **verdict(means), right=right)


def traced_names(world, rng):
    model = world.any_transformer(rng)
    source, target = np.array([[3, END]]), np.array([[BEGIN, 4, END]])
    keep = ["h.0.attn.out", "cross", "", 3, None, ["x"], b"x"][rng.integers(7)]
    at_fault = ("keep", "model", "targets")
    calls = [
        lambda: gn.trace(model, source, target, keep=("x" if not isinstance(keep, str) else keep,)),
        lambda: gn.trace(model, source),
        lambda: gn.trace(keep, source, target),
    ]
    return Call("trace", keep, calls[rng.integers(3)], at_fault, True, True)


def sources_meaning(value):
    """Of translate: integers (B, S), padded at the end, or rows of any lengths."""
    try:
        array = np.asarray(value)
        rows = list(array) if array.ndim == 2 and array.size else []
    except ValueError:
        rows = [np.array(row) for row in value] if value == RAGGED else []
    if not rows or any(row.dtype.kind not in "iu" for row in rows):
        return BAD
    meant = []
    for row in rows:
        tokens = np.trim_zeros(row, "b")
        if not 1 <= tokens.size <= PAIR_SHAPE.source_size:
            return BAD
        if int(tokens.min()) < 1 or int(tokens.max()) >= V:
            return BAD
        meant.append(tokens.astype(np.int64))
    return meant


def translate(world, rng):
    model = world.any_transformer(rng)
    kinds = {
        "beam": (int(rng.integers(1, 4)), lambda v: integer(v, 1, 1024)),
        "length_penalty": (0.6, lambda v: real(v, lambda x: 0 <= x <= 10)),
        "max_new_tokens": (4, lambda v: integer(v, 0, WORD)),
        "temperature": (0.0, lambda v: real(v, lambda x: x >= 0)),
        "top_k": (0, lambda v: integer(v, 0, WORD)),
        "top_p": (1.0, lambda v: real(v, lambda x: 0 < x <= 1)),
        "seed": (0, lambda v: integer(v, 0, WORD)),
    }
    passed, means = choose(rng, kinds, chance=0.7)
    passed["sources"] = sequences(rng, (2, int(rng.integers(1, 8))), False)
    means["sources"] = sources_meaning(passed["sources"])
    if not isinstance(means["beam"], int) or means["beam"] > LONG:
        means["beam"] = means["beam"] if means["beam"] is BAD else Maybe(1)
        passed["beam"] = passed["beam"] if means["beam"] is BAD else 1

    def run():
        return gn.translate(model, **passed)

    def right(result):
        meant = plain(means)
        again = gn.translate(model, **meant)
        return all(
            np.array_equal(a, b) and a.dtype == np.int64 and (a > END).all()
            for a, b in zip(result, again, strict=True)
        )

    return Call("translate", passed, run, **verdict(means), right=right)


def other_models(world, rng):
    """A GPT does not translate, and what is no model does nothing at all."""
    wrong = world.any_model(rng) if rng.random() < 0.5 else strange(rng)
    source = np.array([[3, END]])
    run = lambda: gn.translate(wrong, source)  # noqa: E731
    return Call("translate", wrong, run, ("model",), True, True)


def muon(world, rng):
    model = world.any_transformer(rng)
    kinds = {
        "muon_learning_rate": (0.02, lambda v: real(v, lambda x: x >= 0)),
        "muon_momentum": (0.95, lambda v: real(v, lambda x: 0 <= x < 1)),
    }
    passed, means = choose(rng, kinds)
    return Call(
        "Muon of a pair", passed, lambda: gn.Muon(model, **passed), **verdict(means),
        right=lambda made: "decoder.h.0.cross.c_kv.weight" in made.momentum,
    )  # fmt: skip


FAMILIES = {
    forward_and_backward: 6, looks: 4, traced_names: 1, translate: 4, other_models: 1, muon: 1
}  # fmt: skip
