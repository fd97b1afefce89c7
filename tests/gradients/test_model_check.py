"""The user's gradient check: it is quiet on right code, and says what is wrong with mistakes."""

import dataclasses
import re

import numpy as np
import pytest

import gpt_numpy as gn
import gpt_numpy.reference
from gpt_numpy.gradients.derivatives import best_slope, richardson
from gpt_numpy.gradients.diagnosis.diagnose import diagnose
from gpt_numpy.gradients.diagnosis.factors import name_factor
from gpt_numpy.gradients.diagnosis.regions import where
from gpt_numpy.gradients.diagnosis.wrong_gradient import Clues, WrongGradient
from gpt_numpy.gradients.model_check import randomise
from gpt_numpy.model import implementations

CONFIG = gn.GPTConfig(vocab_size=11, block_size=5, n_layer=1, n_head=2, n_embd=6, dropout=0.2)
METHODS = ("elements", "directions", "differences")


def example(ops="reference"):
    model = gn.GPT(CONFIG, seed=None, dtype="float64", ops=ops)
    randomise(model, 0)
    rng = np.random.default_rng(0)
    tokens = np.array([[1, 4, 2, 1, 6], [4, 0, 1, 3, 1]])
    targets = rng.integers(0, 11, (2, 5))
    targets[:, 2] = -1
    return model, tokens, targets


def check(method, ops="reference"):
    return gn.gradcheck(*example(ops), dropout_key=1, method=method)


def break_(monkeypatch, function, distort):
    """Let a layer's backward be distorted after it has written what is right."""
    ops = implementations.load_ops("reference")
    right = getattr(ops, function)

    def wrong(*arguments, **keywords):
        right(*arguments, **keywords)
        fields = keywords["dweights"]._asdict()
        distort(keywords | {f"d{field}": grad for field, grad in fields.items()})

    monkeypatch.setattr(ops, function, wrong)


@pytest.mark.parametrize("ops", ["reference", "kernels"])
@pytest.mark.parametrize("method", METHODS)
def test_a_right_model_is_exact(method, ops):
    report = check(method, ops).assert_exact()
    assert report.worst.error < (1e-8 if method == "differences" else 1e-13)
    assert [row.name for row in report.rows] == list(gn.GPT(CONFIG).params)
    assert ("DISAGREE" in str(report), "agree" in str(report)) == (
        False,
        method == "directions" and ops == "kernels",
    )


def test_it_says_where_to_look(monkeypatch):
    def distort(keywords):
        keywords["dx"][...] *= 2

    break_(monkeypatch, "mlp_sublayer_backward", distort)
    report = check("directions")
    assert all(row.diagnosis for row in [row for row in report.rows if not row.ok][-3:])
    assert sum("no known mistake" in str(row) for row in check("elements").rows) <= 3
    assert "the last wrong tensor is h.0.attn.c_proj.bias (h.0.ln_2.weight is right)" in str(report)


def scale_by(name, factor):
    def distort(keywords):
        keywords[name][...] *= factor

    return distort


def turn(keywords):
    keywords["dproj_weight"][...] = keywords["dproj_weight"].T.copy()


def forget_query_of_head_1(keywords):
    keywords["dqkv_weight"][:, 3:6] = 0


QKV, PROJ = "h.0.attn.c_attn.weight", "h.0.attn.c_proj.weight"
BROKEN = [
    ("attention_sublayer_backward", turn, PROJ, "transpose", "transpose", True),
    (
        "attention_sublayer_backward",
        scale_by("dqkv_weight", 0.5),
        QKV,
        "factor 2",
        "factor 2",
        True,
    ),
    ("attention_sublayer_backward", scale_by("dqkv_weight", -1), QKV, "sign", "sign", True),
    (
        "attention_sublayer_backward",
        scale_by("dproj_bias", 0),
        PROJ[:-6] + "bias",
        "zero",
        "zero",
        1,
    ),
    (
        "attention_sublayer_backward",
        forget_query_of_head_1,
        QKV,
        "the query of head 1 only; the key and the value right",
        "wrong in the query .*right in the key, the value",
        True,
    ),
    (
        "mlp_sublayer_backward",
        scale_by("dfc_bias", 1 + 1e-8),
        "h.0.mlp.c_fc.bias",
        "times",
        "",
        False,
    ),
]


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case[2] + case[3])
def test_a_wrong_tensor_is_named_and_explained(case, monkeypatch):
    function, distort, name, by_elements, by_directions, large = case
    break_(monkeypatch, function, distort)
    for method, words in zip(METHODS, (by_elements, by_directions, ""), strict=True):
        report = check(method)
        wrong = [row for row in report.rows if not row.ok]
        if method == "differences" and not large:
            assert report.ok  # smaller than differences can see, as the tolerance says
            continue
        assert [row.name for row in wrong] == [name]
        assert f"only {name} is wrong" in str(report)
        assert re.search(words, " ".join(wrong[0].diagnosis)), wrong[0].diagnosis
        with pytest.raises(AssertionError, match=name):
            report.assert_exact()


@pytest.mark.parametrize(
    ("distort", "said"),
    [
        (
            lambda dwte, tokens, drow, half: dwte.__setitem__(..., half),
            "from the embedding is missing",
        ),
        (lambda dwte, tokens, drow, half: dwte.__isub__(half), "from the head is missing"),
        (lambda dwte, tokens, drow, half: overwrite(dwte, tokens, drow, half), "several times"),
    ],
)
def test_mistakes_of_the_tied_table_are_named(distort, said, monkeypatch):
    ops = implementations.load_ops("reference")
    right = ops.embedding_backward

    def wrong(dout, tokens, weights, *, dropout, dweights, **others):
        half = dweights.wte.copy()
        right(dout, tokens, weights, dropout=dropout, dweights=dweights, **others)
        drow = np.empty_like(dout)
        from gpt_numpy.reference.dropout import dropout_backward

        dropout_backward(dout, dropout, dx=drow)
        distort(dweights.wte, tokens, drow, half)

    monkeypatch.setattr(ops, "embedding_backward", wrong)
    (row,) = [row for row in check("elements").rows if not row.ok]
    assert row.name == "wte.weight" and said in " ".join(row.diagnosis), row.diagnosis
    (row,) = [row for row in check("directions").rows if not row.ok]
    assert row.name == "wte.weight" and "moved part by part" in row.diagnosis[0]


def overwrite(dwte, tokens, drow, half):
    dwte[...] = half
    dwte[tokens] += drow


def test_positions_of_the_first_sequence_alone_are_noticed(monkeypatch):
    ops = implementations.load_ops("reference")
    right = ops.embedding_backward

    def wrong(dout, *arguments, dweights, tied, dropout):
        right(dout, *arguments, dweights=dweights, tied=tied, dropout=dropout)
        lone = np.zeros_like(dout)
        lone[0] = dout[0]
        others = dweights._replace(wte=np.empty_like(dweights.wte))
        right(lone, *arguments, dweights=others, tied=False, dropout=dropout)

    monkeypatch.setattr(ops, "embedding_backward", wrong)
    (row,) = [row for row in check("elements").rows if not row.ok]
    assert row.name == "wpe.weight"
    assert "only the contribution of index 0 of axis 0 of the losses" in str(row)


def test_a_gradient_where_there_is_none_is_placed_along_directions(monkeypatch):
    ops = implementations.load_ops("reference")
    right = ops.embedding_backward

    def wrong(dout, tokens, *arguments, dweights, **keywords):
        right(dout, tokens, *arguments, dweights=dweights, **keywords)
        dweights.wte[np.setdiff1d(np.arange(11), tokens)] = 1

    monkeypatch.setattr(ops, "embedding_backward", wrong)
    tied, tokens, targets = example()
    config = dataclasses.replace(CONFIG, tied=False)
    model = gn.GPT(config, seed=None, dtype="float64", ops="reference")
    randomise(model, 0)
    report = gn.gradcheck(model, tokens, targets, method="directions")
    (row,) = [row for row in report.rows if not row.ok]
    assert row.name == "wte.weight"
    assert "wrong in rows of tokens that do not occur; right in rows" in row.diagnosis[0]


def test_a_forward_that_differs_from_the_reference_is_seen_by_differences(monkeypatch):
    ops = implementations.load_ops("kernels")
    right = ops.head_loss_forward

    def wrong(*arguments, **keywords):
        right(*arguments, **keywords)
        keywords["out"][...] *= 1.001

    monkeypatch.setattr(ops, "head_loss_forward", wrong)
    monkeypatch.setattr(ops, "prepare", gpt_numpy.reference.prepare)  # NumPy, every time
    report = check("directions", "kernels")
    assert not report.ok and "DISAGREE" in str(report)
    assert any(row.name == "h.*.attn.c_attn.weight" for row in report.rows if not row.ok)


def test_the_sweep_finds_a_step_that_is_as_good_as_differences_get():
    slope = best_slope(lambda h: np.exp(1 + h) * np.array([1.0, -3.0]))
    exact = np.e * np.array([1.0, -3.0])
    assert np.abs(slope.value / exact - 1).max() < 1e-11
    assert np.abs(slope.value - exact).max() <= 100 * slope.error.max() + 1e-12
    coarse = richardson(np.exp, 0.5) - 1, richardson(np.exp, 0.25) - 1
    assert coarse[0] / coarse[1] == pytest.approx(16, rel=0.05)  # fourth order


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("tokens", "targets", "said"),
    [
        (np.zeros(3, int), np.zeros(3, int), "tokens has shape"),
        (np.zeros((2, 3), int), np.zeros((1, 3), int), "targets has shape"),
        (np.full((2, 3), 99), np.zeros((2, 3), int), "tokens contains 99"),
        (np.zeros((2, 3), int), np.full((2, 3), -1), "every gradient is 0"),
    ],
)
def test_tokens_that_cannot_be_used_are_refused(tokens, targets, said, method):
    with pytest.raises(gn.InputError, match=said):
        gn.gradcheck(example()[0], tokens, targets, method=method)


def test_an_unknown_method_is_refused():
    with pytest.raises(gn.InputError, match="did you mean elements"):
        gn.gradcheck(*example(), method="element")


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (-1, "sign is wrong"),
        (2, "added twice"),
        (0.5, "factor 2"),
        (7, r"division by the rows \(7\) is missing"),
        (1 / 7, "once too often"),
        (7**0.5, r"1/sqrt\(rows\) is missing"),
        (7**-0.5, r"1/sqrt\(rows\) is applied once too often"),
        (1.2345, "times 1.2345, too large$"),
    ],
)
def test_factors_have_names(factor, said):
    assert re.search(said, name_factor(factor, {"rows": 7}))


def test_no_hypothesis_holds_by_chance():
    # Wrong gradients without a pattern, next to everything that patterns are looked for in.
    for seed in range(200):
        rng = np.random.default_rng(seed)
        hand, exact, x = rng.standard_normal((3, 4, 6))
        clues = Clues({"x": x, "rows": rng.standard_normal(4)}, {"rows": 4})
        sentences = diagnose(hand, exact, 1.0, 1e-10, clues)
        assert sentences[0] == "wrong in all 24 elements"
        assert len(sentences) == 2 and "no known mistake" in sentences[1]


@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 1), (2, 1), (4, 4), (2, 3, 4), (2, 2, 2, 6)])
def test_every_shape_has_some_diagnosis(shape):
    rng = np.random.default_rng(0)
    hand, exact, x = rng.standard_normal((3, *shape))
    around = {"x": x, "tokens": np.zeros(shape[:-1], int), "n": 3, "rows": np.ones(3)}
    parts = rng.standard_normal((2, 3, exact.size))
    for heads in (0, 2):
        clues = Clues(around, {"n_head": 2}, contributions=parts, n_head=heads)
        assert len(diagnose(np.asarray(hand), np.asarray(exact), 1.0, 1e-10, clues)) >= 2
        assert diagnose(np.full(shape, np.nan), np.asarray(exact), 1.0, 1e-10, clues)


def test_a_right_gradient_has_no_diagnosis():
    exact = np.random.default_rng(0).standard_normal((4, 6))
    assert diagnose(exact * (1 + 1e-12), exact, 1.0, 1e-10) == []


def test_regions_are_named():
    exact = np.random.default_rng(0).standard_normal((6, 12))
    hand = exact.copy()
    hand[1:3, 4] += 1
    assert where(WrongGradient(hand, exact, 1.0, 1e-10)).endswith(
        "all of rows 1-2, column 4 (counted from 0)"
    )
    hand = exact.copy()
    hand[:, 6:8] += 1  # the first head of the key has columns 4 and 5, the second 6 and 7
    case = WrongGradient(hand, exact, 1.0, 1e-10, Clues(n_head=2))
    assert "in the key of head 1 only; the query and the value right" in where(case)
