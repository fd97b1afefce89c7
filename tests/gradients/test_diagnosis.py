"""Each hypothesis on a wrong gradient names its mistake, and only where it is one."""

import re

import numpy as np
import pytest

from gpt_numpy.config.model import GPTConfig
from gpt_numpy.gradients.diagnosis.clues import layer_clues, model_clues
from gpt_numpy.gradients.diagnosis.diagnose import diagnose
from gpt_numpy.gradients.diagnosis.regions import axis_names, ranges
from gpt_numpy.gradients.diagnosis.wrong_gradient import Clues, WrongGradient

RNG = np.random.default_rng(0)
SQUARE, WIDE, CUBE = (RNG.standard_normal(shape) for shape in ((5, 5), (4, 6), (3, 5, 8)))
OTHER, ROWS = RNG.standard_normal((4, 6)), RNG.standard_normal(4)
XHAT = OTHER - OTHER.mean(axis=-1, keepdims=True)
TARGETS = np.array([2, 0, -1, 5])
PARTS = RNG.standard_normal((2, 3, 24))  # of each position of an output of two axes
MANY, PLACES = RNG.standard_normal((30, 6)), RNG.standard_normal((2, 3, 2, 24))
HIT = np.zeros((4, 6))
HIT[[0, 1, 3], TARGETS[TARGETS >= 0]] = 1
KEPT = WIDE * (TARGETS >= 0)[:, None]
TABLE = RNG.standard_normal((6, 4))
TOKENS = np.array([[1, 4, 2], [1, 0, 1]])
USED = np.bincount(TOKENS.ravel(), minlength=6)[:, None]


def heads(a):
    return a.reshape(3, 2, 5, 4).transpose(0, 2, 1, 3).reshape(3, 5, 8)


CASES = [
    ("transposed", SQUARE.T, SQUARE, {}, "its transpose is right$"),
    ("transposed, negative", -SQUARE.T, SQUARE, {}, "transposed, and the sign is wrong$"),
    ("late", np.roll(WIDE, 1, 0), WIDE, {}, "along the rows: every value is one place too late"),
    ("early", np.roll(WIDE, -1, 1), WIDE, {}, "the columns: every value is one place too early"),
    ("reversed", WIDE[:, ::-1], WIDE, {}, "reversed along the columns"),
    ("sum", WIDE * 0 + WIDE.sum(0), WIDE, {}, "every row holds the sum over all rows"),
    ("mean", WIDE * 0 + WIDE.mean(0), WIDE, {}, "every row holds the mean over all rows"),
    ("heads", heads(CUBE), CUBE, {"numbers": {"n_head": 2}}, "the heads are in the wrong place"),
    (
        "swapped",
        np.concatenate([WIDE[:, 2:4], WIDE[:, 2:]], axis=1),
        WIDE,
        {"n_head": 1},
        "the query's third holds the gradient of the key",
    ),
    (
        "a third",
        np.concatenate([WIDE[:, :2], -WIDE[:, 2:4], WIDE[:, 4:]], axis=1),
        WIDE,
        {"n_head": 1},
        "in the key: .*sign is wrong",
    ),
    (
        "a known third",
        np.concatenate([WIDE[:, :2], WIDE[:, 2:4] ** 2, WIDE[:, 4:]], axis=1),
        WIDE,
        {"n_head": 1, "named": {"it is squared": WIDE**2}},
        "in the key: it is squared",
    ),
    ("zero", WIDE * 0, WIDE, {}, "it is zero"),
    ("not zero", WIDE, WIDE * 0, {}, "should be zero everywhere"),
    ("sign", -WIDE, WIDE, {}, "sign is wrong"),
    ("a number", 7 * WIDE, WIDE, {"numbers": {"rows": 7}}, "division by the rows"),
    ("missing", WIDE - OTHER, WIDE, {"arrays": {"dout": OTHER}}, "exactly dout: the path around"),
    ("too much", WIDE + OTHER, WIDE, {"arrays": {"x": OTHER}}, "x is added once too often"),
    ("mean of rows", WIDE + 2.5, WIDE - WIDE.mean(1, keepdims=True) + 0, {}, "own mean"),
    ("constant of rows", WIDE + ROWS[:, None], WIDE, {}, "same number in every column of a row"),
    (
        "multiple of rows",
        WIDE + ROWS[:, None] * XHAT,
        WIDE,
        {"arrays": {"x": OTHER}},
        r"a multiple of \(x - its mean\), a different one",
    ),
    ("factor", WIDE, WIDE * OTHER, {"arrays": {"g": OTHER}}, "a factor g is missing"),
    ("factor too many", WIDE * ROWS[:, None], WIDE, {"arrays": {"r": ROWS}}, "r is one factor too"),
    ("targets", KEPT + HIT, KEPT, {"arrays": {"t": TARGETS}}, "given by t: the -1 is missing"),
    (
        "targets that do not count",
        WIDE,
        KEPT,
        {"arrays": {"t": TARGETS}},
        r"rows where t < 0 do not .* \(the others are right\)",
    ),
    (
        "no targets that do not count",
        WIDE,
        KEPT * 1.5,
        {"arrays": {"t": TARGETS}},
        r"rows where t < 0 do not .* \(the others are wrong as well\)",
    ),
    (
        "lost",
        PARTS.sum((0, 1)).reshape(4, 6) - PARTS[:, 1].sum(0).reshape(4, 6),
        PARTS.sum((0, 1)).reshape(4, 6),
        {"contributions": PARTS},
        "the contribution of index 1 of axis 1 of out is missing",
    ),
    (
        "doubled",
        PARTS.sum((0, 1)).reshape(4, 6) + PARTS[1].sum(0).reshape(4, 6),
        PARTS.sum((0, 1)).reshape(4, 6),
        {"contributions": PARTS},
        "the contribution of index 1 of axis 0 of out is counted twice",
    ),
    (
        "one of many",
        MANY.sum(0) - MANY[7],
        MANY.sum(0),
        {"contributions": MANY},
        "the contribution of index 7 of axis 0 of out is missing",
    ),
    (
        "a position of two axes",
        PLACES.sum((0, 1, 2)).reshape(4, 6) - PLACES[1, 2].sum(0).reshape(4, 6),
        PLACES.sum((0, 1, 2)).reshape(4, 6),
        {"contributions": PLACES},
        r"the contribution of position \(1, 2\) of out is missing",
    ),
    ("several", TABLE + (USED > 1), TABLE, {"arrays": {"tokens": TOKENS}}, "several times in tok"),
    ("used", TABLE + (USED > 0), TABLE, {"arrays": {"tokens": TOKENS}}, "rows that occur in tok"),
    (
        "unused",
        TABLE * (USED > 0) + (USED > 0),
        TABLE,
        {"arrays": {"tokens": TOKENS}},
        "rows that do not occur in tokens are zero and should not be",
    ),
    ("named", WIDE**2, WIDE, {"named": {"it is squared": WIDE**2}}, "looks like: it is squared"),
    (
        "rows alone",
        np.where(np.arange(4)[:, None] == 2, -WIDE, WIDE),
        WIDE,
        {},
        "in index 2 of the first axis: the sign is wrong",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_a_mistake_has_its_name(case):
    _, hand, exact, clues, words = case
    found = diagnose(hand, exact, float(np.abs(exact).max()) or 1.0, 1e-10, Clues(**clues))
    assert re.search(words, " ".join(found)), found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_nearly_the_mistake_has_no_name(case):
    name, hand, exact, clues, words = case
    nearly = hand.copy()
    nearly.flat[-1] += 0.01
    nearly.flat[1] -= 0.01
    found = diagnose(nearly, exact, float(np.abs(exact).max()) or 1.0, 1e-10, Clues(**clues))
    if (
        name not in ("a third", "a known third", "not zero", "unused")
        and "do not count" not in name
    ):
        assert not re.search(words, " ".join(found)), found
        assert "looks like" not in " ".join(found), found


def test_one_element_that_is_not_finite_is_counted():
    hand = WIDE.copy()
    hand[1, 2] = np.nan
    assert diagnose(hand, WIDE, 1.0, 1e-10) == ["1 of 24 elements are not finite numbers"]


def test_indices_are_shown_as_ranges():
    assert ranges(np.array([0, 1, 2, 3, 7, 9, 10])) == "0-3, 7, 9-10"
    assert ranges(np.arange(0, 20, 2)).endswith("14 and 2 more ranges")


def test_axes_have_the_names_that_are_known():
    grad = WrongGradient(WIDE, WIDE, 1.0, 1e-10, Clues(axes=("token", "channel")))
    assert axis_names(grad) == ("token", "channel")
    assert axis_names(WrongGradient(CUBE, CUBE, 1.0, 1e-10)) == ("sequence", "position", "channel")


def test_an_element_that_is_not_a_number_is_wrong():
    hand = WIDE.copy()
    hand[1, 2] = np.nan
    assert np.argwhere(WrongGradient(hand, WIDE, 1.0, 1e-10).wrong).tolist() == [[1, 2]]


def test_one_element_proves_nothing():
    found = diagnose(np.array([3.0]), np.array([1.0]), 1.0, 1e-10)
    assert len(found) == 2 and "no known mistake" in found[1]


def test_arrays_are_chosen_by_kind():
    given = {"x": WIDE, "tokens": TOKENS, "n": 3, "mask": TOKENS > 1}
    grad = WrongGradient(WIDE, WIDE, 1.0, 1e-10, Clues(given))
    assert [name for name, _ in grad.arrays("f")] == ["x"]
    assert [name for name, _ in grad.arrays("iu")] == ["tokens"]


def test_clues_are_what_may_be_a_factor():
    clues = layer_clues({"dout": CUBE, "targets": TARGETS, "qkv": CUBE, "n_head": 2, "rate": 0.25})
    assert clues.numbers == {
        "number of rows": 15, "number of channels": 8, "length of axis 0 of out": 3,
        "length of axis 1 of out": 5, "size of targets": 4, "number of targets that count": 3,
        "n_head": 2, "head size": 1, "n_embd": 2, "1 - rate of dropout": 0.75,
    }  # fmt: skip
    config = GPTConfig(vocab_size=9, block_size=4, n_layer=1, n_head=2, n_embd=6, dropout=0.5)
    clues = model_clues(config, TOKENS[:, :2], TARGETS.reshape(2, 2), "h.0.attn.c_attn.weight")
    assert clues.n_head == 2 and clues.arrays == {} and clues.axes == ()
    assert clues.numbers["number of targets that count"] == 3
    assert clues.numbers["number of tokens"] == 4 and clues.numbers["1 - rate of dropout"] == 0.5
    clues = model_clues(config, TOKENS, TOKENS, "wte.weight")
    assert clues.axes == ("token", "channel") and list(clues.arrays) == ["tokens"]


def test_what_has_no_name_is_compared_as_a_whole():
    hand = 3 * WIDE + 0.1 * OTHER
    _, said = diagnose(hand, WIDE, 1.0, 1e-10)
    ratio = np.linalg.norm(hand) / np.linalg.norm(WIDE)
    assert f"it is {ratio:.6g} times as long as it should be, at a cosine of 0.99" in said
