"""The page of `gpt-numpy inspect --html`: the numbers of the trace, strings as strings."""

import base64
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.base.errors import InputError
from gpt_numpy.cli import main as cli
from gpt_numpy.inspection.page import assemble, backwards, gradient_check, token_influence
from gpt_numpy.inspection.page import contents as contents_module
from gpt_numpy.inspection.page.encoding import pack, strongest
from gpt_numpy.inspection.page.logit_lens import most_likely
from gpt_numpy.inspection.page.training_history import MOST_POINTS, training_history
from gpt_numpy.inspection.trace import operations
from gpt_numpy.inspection.trace.lookup import Sources
from gpt_numpy.reference import activation
from gpt_numpy.training.checkpoint import load
from tests.support.pages import CHARACTERS, FOLDER, HOSTILE, SAMPLE, inflated, look, make_run

ROUNDED = 0.00501  # the relative error of three digits
FOLDER_OF_PARTS = Path(assemble.__file__).parent / "parts"
PARTS = sorted(path for path in FOLDER_OF_PARTS.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    return look(make_run(tmp_path_factory.mktemp("page")))


@pytest.fixture(scope="module")
def page(seen):
    return assemble.assemble(seen[2])


def unpack(packed):
    """The inverse of `pack`, as in parts/data.js."""
    if packed.get("wide"):
        return inflated(packed["data"], "<f4").reshape(packed["shape"])
    half = inflated(packed["data"], "<f2")
    numbers = np.ldexp(half.astype(np.float64), -packed["shift"])
    shape = tuple(packed["shape"])
    if not packed.get("lower"):
        return numbers.reshape(shape)
    whole = np.zeros(shape)
    rows = np.tril_indices(shape[-1])
    whole[..., *rows] = numbers.reshape(*shape[:-2], len(rows[0]))
    return whole


def is_packed(found, array, error=0.0):
    """The same three digits, those that the page shows, down to 1e-8 of the largest.

    error : relative one of the array, which next to a tie may change the third digit.
    """
    floor = np.abs(array[np.isfinite(array)]).max(initial=0) * 1e-8
    large = ~(np.abs(array) < floor)
    shown, low, high = (
        np.array([f"{float(x):.2e}" for x in some[large]])
        for some in (found, array * (1 - error), array * (1 + error))
    )
    assert ((shown == low) | (shown == high)).all()
    np.testing.assert_allclose(found[~large], array[~large], rtol=0, atol=floor)


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize("size", [1.0, 1e-30, 1e30, 1e-280, 0.0])
def test_packed_numbers_keep_three_digits(size):
    x = np.random.default_rng(0).standard_normal((3, 4, 5)) * size
    x[0, 0] *= 1e-4
    is_packed(unpack(json.loads(json.dumps(pack(x)))), x)


def test_packed_numbers_take_few_characters():
    x = np.random.default_rng(0).standard_normal((100, 100))
    assert len(pack(x)["data"]) < 2.2 * x.size  # 2.67 in base64
    wide = pack(x, wide=True)
    assert len(wide["data"]) < 4.7 * x.size  # 5.33 in base64
    np.testing.assert_array_equal(unpack(wide), x.astype(np.float32))


def test_infinities_and_nan_are_packed():
    x = np.array([np.nan, np.inf, -np.inf, 1.5])
    np.testing.assert_array_equal(unpack(pack(x)), x)


def test_a_lower_triangle_is_half_as_long():
    x = np.random.default_rng(0).standard_normal((2, 40, 40))
    packed = pack(x, lower=True)
    is_packed(unpack(packed), np.tril(x))
    assert len(packed["data"]) < 0.6 * len(pack(x)["data"])


def test_a_group_is_shown_by_its_largest_in_magnitude():
    x = np.array([[1.0, -5, 2], [3, 4, -7], [0, 1, -1]])
    np.testing.assert_array_equal(strongest(x, (2, 2)), [[-5, -7], [1, -1]])


def test_every_number_on_the_page_is_that_of_the_trace(seen):
    _, trace, contents = seen
    compared = 0
    for name, entry in trace.items():
        shown = contents["arrays"][name]
        assert tuple(shown["shape"]) == (entry.shape if entry.kind == "parameter" else
                                         entry.shape[1:])  # fmt: skip
        assert shown["numbers"]["norm"] == pytest.approx(np.linalg.norm(entry.value), rel=1e-5)
        for which, array in (("value", entry.value), ("grad", entry.grad)):
            packed = shown.get(which)
            if packed is None:
                continue
            if "of" in packed:
                packed = contents["arrays"][packed["of"]][which]
            array = array if entry.kind == "parameter" else array[0]
            if name.endswith((".probabilities", ".scores")) and packed.get("lower"):
                array = np.tril(array)  # the gradient of masked pairs has no effect
            is_packed(unpack(packed), strongest(array, tuple(packed["groups"])))
            compared += 1
    assert compared > 100
    left_out = {n.split(".")[-1] for n, e in contents["arrays"].items() if "value" not in e}
    assert left_out == {"query", "key", "value", "heads"}  # parts of stored arrays


def test_rows_of_the_tables_and_the_distribution_are_those_of_the_trace(seen):
    _, trace, contents = seen
    rows = contents["embedding"]
    both = unpack(rows["token"]) + unpack(rows["position"])
    np.testing.assert_allclose(both, trace["embedding.out"].value[0], atol=1e-2)
    p = trace["probabilities"].value[0]
    best = np.array(contents["next"]["tokens"])
    float32 = 1e-6  # the trace has probabilities in float32, the page computes in float64
    probabilities = np.take_along_axis(p, best, axis=-1)
    is_packed(unpack(contents["next"]["probabilities"]), probabilities, float32)
    assert (best[:, 0] == p.argmax(axis=-1)).all()
    right = p[np.arange(len(p)), trace.targets[0]]
    is_packed(unpack(contents["next"]["right"]), right, float32)
    # The last point of the lens is the model's own prediction.
    is_packed(unpack(contents["lens"][-1]["right"]), right, float32)
    assert [layer["place"] for layer in contents["lens"]][:2] == ["embedding.out", "h.0.resid_mid"]


def test_influence_is_the_gradient_of_a_pass_with_a_single_target(seen):
    run, trace, contents = seen
    model = gn.GPT(run.config, seed=None, ops="reference", keep=("embedding.out",))
    model.params.flat[...] = run.model.params.flat
    for q in (0, 9, trace.tokens.shape[1] - 1):
        targets = np.full_like(trace.targets, -1)
        targets[0, q] = trace.targets[0, q]
        model.forward(trace.tokens, targets, divisor=trace.tokens.shape[1])
        model.backward()
        norms = np.linalg.norm(model.activation_grads["embedding.out"][0], axis=-1)
        np.testing.assert_allclose(unpack(contents["influence"])[q], norms, rtol=ROUNDED, atol=1e-7)


def test_large_arrays_are_grouped_and_far_too_large_ones_refused(seen, monkeypatch):
    run, trace, _ = seen
    monkeypatch.setattr(contents_module, "BUDGET", 90_000)
    found = contents_module.contents(run, trace, "r", HOSTILE, live=False)
    group = found["about"]["group"]
    assert group > 1
    shown = unpack(found["arrays"]["h.0.attn.qkv"]["value"])
    is_packed(shown, strongest(trace["h.0.attn.qkv"].value[0], (1, group)))
    monkeypatch.setattr(contents_module, "BUDGET", 1000)
    with pytest.raises(InputError, match="too many for one page"):
        contents_module.contents(run, trace, "r", HOSTILE, live=False)


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    """A page whose channels are in groups of 4; heads have 5."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contents_module, "BUDGET", 65_000)
        folder = make_run(tmp_path_factory.mktemp("grouped"), n_embd=10, activation="relu")
        found = look(folder)
    assert found[2]["about"]["group"] == 4
    return found


def test_lengths_are_those_of_all_channels(grouped):
    run, trace, contents = grouped
    seen = set()
    for name, shown in contents["arrays"].items():
        if "lengths" in shown:
            is_packed(unpack(shown["lengths"]), np.linalg.norm(trace[name].value[0], axis=-1))
            seen.add(re.sub(r"^h\.\d\.", "", name))
    assert seen == {
        *("embedding.out", "resid_mid", "resid_post", "attn.proj", "mlp.proj"),
        *("attn.query", "attn.key", "attn.value", "attn.heads"),
    }
    lengths = contents["embedding"]["lengths"]
    rows = run.model.params["wte.weight"][trace.tokens[0]]
    is_packed(unpack(lengths["token"]), np.linalg.norm(rows, axis=-1))
    rows = run.model.positions[: len(rows)]
    is_packed(unpack(lengths["position"]), np.linalg.norm(rows, axis=-1))
    waves = contents["embedding"]["waves"]
    assert waves["channels"] == [0, 1, 2, 5]
    is_packed(unpack(waves["values"]), rows[:, waves["channels"]])


def test_no_group_has_channels_of_two_heads(grouped):
    _, trace, contents = grouped
    for name in ("h.0.attn.qkv", "h.1.attn.out"):
        packed = contents["arrays"][name]["value"]
        value = trace[name].value[0]
        assert (packed["of_head"], packed["channels"]) == (5, value.shape[-1])
        heads = value.reshape(len(value), -1, 5)
        first, last = heads[..., :4], heads[..., 4]
        place = np.abs(first).argmax(axis=-1)[..., None]
        expected = np.stack([np.take_along_axis(first, place, axis=-1)[..., 0], last], axis=-1)
        is_packed(unpack(packed), expected.reshape(len(value), -1))


def test_counts_of_neurons_are_of_single_neurons_and_dots_lie_on_the_curve(grouped):
    _, trace, contents = grouped
    for i, shown in enumerate(contents["neurons"]):
        before, after = (trace[f"h.{i}.mlp.{part}"].value[0] for part in ("fc", "act"))
        assert shown["active"] == [sum(x > 0.05 for x in row) for row in after]
        order = np.sort(after, axis=-1)[:, ::-1][:, :8]
        is_packed(unpack(shown["values"]), order)
        picked = np.take_along_axis(after, np.array(shown["best"]), axis=-1)
        np.testing.assert_array_equal(picked, order)
        is_packed(unpack(shown["after"]), np.maximum(strongest(before, (1, 4)), 0))


def test_ungrouped_dots_are_the_neurons_themselves(seen):
    assert [shown["after"] for shown in seen[2]["neurons"]] == [None, None]


def test_the_range_of_a_norms_weight_is_exact(seen):
    _, trace, contents = seen
    weight = trace["h.0.ln_1.weight"].value
    shown = contents["arrays"]["h.0.ln_1.weight"]["range"]
    assert shown == pytest.approx([weight.min(), weight.max()], rel=1e-8)
    assert "range" not in contents["arrays"]["wte.weight"]


def test_numbers_to_compute_with_are_not_rounded(seen):
    _, trace, contents = seen
    packed = contents["arrays"]["h.0.ln_1.rstd"]["value"]
    np.testing.assert_array_equal(unpack(packed), trace["h.0.ln_1.rstd"].value[0])


def test_the_norm_of_the_gradient_of_weights_leaves_masked_pairs_out(seen):
    _, trace, contents = seen
    for h in range(2):
        grad = np.tril(trace[f"h.{h}.attn.probabilities"].grad)
        shown = contents["arrays"][f"h.{h}.attn.probabilities"]["grad_numbers"]["norm"]
        assert shown == pytest.approx(np.linalg.norm(grad), rel=1e-6)


def test_a_text_that_is_too_long_is_told_how_many_tokens_fit(seen, monkeypatch):
    run, trace, _ = seen
    monkeypatch.setattr(contents_module, "BUDGET", 60_000)
    monkeypatch.setattr(contents_module, "LARGEST", 70_000)
    with pytest.raises(InputError, match="text has 34 tokens: too many for") as caught:
        contents_module.contents(run, trace, "r", HOSTILE, live=False)
    most = int(re.search(r"which holds (\d+);", str(caught.value))[1])
    assert 2 <= most < 34
    for count, fits in ((most, True), (most + 1, False)):
        tokens = trace.tokens[:, :count]
        short = gn.trace(run.model, tokens[:, :-1], tokens[:, 1:])
        if fits:
            contents_module.contents(run, short, "r", HOSTILE, live=False)
        else:
            with pytest.raises(InputError, match=f"which holds {most};"):
                contents_module.contents(run, short, "r", HOSTILE, live=False)
    monkeypatch.setattr(contents_module, "LARGEST", 700)
    with pytest.raises(InputError, match="the model is too large for a page"):
        contents_module.contents(run, trace, "r", HOSTILE, live=False)


def test_scores_are_shown_above_the_diagonal_too(seen):
    _, trace, contents = seen
    is_packed(
        unpack(contents["arrays"]["h.1.attn.scores"]["value"]),
        trace["h.1.attn.scores"].value[0],
    )


def test_scores_of_a_long_text_are_stored_behind_the_mask_only(tmp_path, monkeypatch):
    monkeypatch.setattr(contents_module, "MOST_WHOLE", 32)  # the text has 33
    _, trace, contents = look(make_run(tmp_path))
    packed = contents["arrays"]["h.1.attn.scores"]["value"]
    assert packed["lower"]
    is_packed(unpack(packed), np.tril(trace["h.1.attn.scores"].value[0]))


def test_what_a_sublayer_adds_has_the_gradient_of_the_sum(seen):
    _, trace, contents = seen
    for name in ("h.0.attn.proj", "h.1.mlp.proj"):
        place = contents["arrays"][name]["grad"]["of"]
        is_packed(unpack(contents["arrays"][place]["grad"]), trace[name].grad[0])


def test_a_model_with_infinities_has_a_page(tmp_path):
    folder = make_run(tmp_path)
    run = load(folder / "ckpt.npz", ops="reference")
    run.model.params["h.1.ln_2.weight"][0] = np.inf
    tokens = run.tokenizer.encode("ab<a")[None]
    with np.errstate(all="ignore"):
        trace = gn.trace(run.model, tokens[:, :-1], tokens[:, 1:])
        contents = contents_module.contents(run, trace, "r", "ab<a", live=False)
    assert contents["about"]["loss"] is None
    assemble.assemble(contents)
    # Nothing that cannot be compared is said to be right.
    assert not contents["verdicts"]["wte.weight"]["ok"]


def test_a_large_vocabulary_has_names_and_no_map_of_logits(seen, monkeypatch):
    run, trace, whole = seen
    monkeypatch.setattr(contents_module, "LARGEST_VOCABULARY", 29)
    found = contents_module.contents(run, trace, "r", HOSTILE, live=False)
    for name in ("logits", "probabilities"):
        assert "value" in whole["arrays"][name] and "value" not in found["arrays"][name]
    shown = set(found["tokens"]) | set(found["targets"])
    shown |= {token for row in found["next"]["tokens"] for token in row}
    assert {str(token) for token in shown} <= found["names"].keys()
    (last,) = set(found["targets"]) - set(found["tokens"]) or {found["targets"][-1]}
    monkeypatch.setattr(contents_module, "most_likely", lambda p, count=1: np.zeros((33, 1), int))
    monkeypatch.setattr(contents_module, "logit_lens", lambda trace: [])
    target = gn.trace(run.model, trace.tokens, np.full_like(trace.targets, 4))
    names = contents_module.contents(run, target, "r", HOSTILE, live=False)["names"]
    assert names["4"] == CHARACTERS[4] and len(names) < 29


@pytest.mark.parametrize("count", [1, 10, 700, 800])
def test_the_most_likely_tokens_come_in_order(count):
    p = np.random.default_rng(0).random((5, 700))
    expected = np.argsort(-p, axis=-1)[:, :count]
    np.testing.assert_array_equal(most_likely(p, count), expected)


def test_influence_is_left_out_where_it_would_take_long(seen, monkeypatch):
    run, trace, _ = seen
    monkeypatch.setattr(token_influence, "MOST_WORK", run.model.n_params * 33**2)
    assert token_influence.token_influence(run.model, trace) is not None
    monkeypatch.setattr(token_influence, "MOST_WORK", run.model.n_params * 33**2 - 1)
    assert token_influence.token_influence(run.model, trace) is None


# ---------------------------------------------------------------- backward


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_equations_are_those_of_this_model(bias, tied):
    settings = {"n_layer": 1, "n_head": 2, "n_embd": 4, "block_size": 4}
    config = gn.GPTConfig(vocab_size=5, bias=bias, tied=tied, **settings)
    model = gn.GPT(config, seed=1, ops="reference")
    tokens = np.random.default_rng(0).integers(0, 5, (2, 1, 4))
    found = backwards.steps(gn.trace(model, *tokens))
    forward = [line for step in found for line in step["forward"]]
    assert sum("weight + bias" in line for line in forward) == (7 if bias else 0)
    assert {"out = x @ weight", "out = xhat * weight"} <= set(forward) or bias
    (rows,) = [e for e in found[-1]["equations"] if e["array"] == "wte.weight"]
    assert ("dlogits" in rows["text"]) == tied
    # The steps that share a gradient name each other.
    assert rows["others"] == ([2] if tied else [])
    for number, step in enumerate(found, start=1):
        for equation in step["equations"]:
            for other in equation["others"]:
                arrays = {e["array"]: e["others"] for e in found[other - 1]["equations"]}
                assert other != number and number in arrays[equation["array"]]
    stream = [e["others"] for s in found for e in s["equations"] if e["array"] == "embedding.out"]
    assert len(stream) == 2 and all(len(others) == 1 for others in stream)


def test_what_is_checked_depends_on_the_model_and_the_text_alone(seen, monkeypatch):
    run, trace, contents = seen
    monkeypatch.setattr(gradient_check, "MOST_WORK", 10.5 * run.model.n_params * trace.tokens.size)
    ticks = []
    found, why = gradient_check.check_gradients(run.model, trace, lambda: ticks.append(1))
    assert len(found) == len(ticks) == 10 and why == "all 69 would take too long here"
    order = trace.backward_order
    assert order[0] in found and order[-1] in found  # evenly spaced
    assert (found, why) == gradient_check.check_gradients(run.model, trace)
    monkeypatch.setattr(gradient_check, "MOST_PARAMETERS", run.model.n_params)
    assert len(gradient_check.check_gradients(run.model, trace)[0]) == 10
    monkeypatch.setattr(gradient_check, "MOST_PARAMETERS", run.model.n_params - 1)
    found, why = gradient_check.check_gradients(run.model, trace)
    assert found == {} and "parameters are not checked" in why


def test_the_error_is_relative_to_the_gradient(seen, monkeypatch):
    run, trace, _ = seen
    right = Sources.grad
    # The same direction, a thousandth longer.
    monkeypatch.setattr(Sources, "grad", lambda self, name: right(self, name) * 1.001)
    monkeypatch.setattr(gradient_check, "_chosen", lambda *_: (["wpe.weight"], ""))
    found, _ = gradient_check.check_gradients(run.model, trace)
    slope = abs(found["wpe.weight"]["error"])
    direction = np.random.default_rng(0).standard_normal(trace["wpe.weight"].grad.shape)
    grad = trace["wpe.weight"].grad / 1.001
    along = abs((direction * grad).sum())
    expected = 0.001 * along / max(along, 1.001 * np.linalg.norm(grad))
    assert slope == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    "kind",
    ["losses", "logits", "xhat", "scores", "probabilities", "heads", "query", "qkv", "resid_mid"],
)
def test_a_wrong_gradient_of_any_kind_gets_a_verdict_of_its_own(seen, monkeypatch, kind):
    run, trace, _ = seen
    right = Sources.grad
    (name, *_) = [name for name in reversed(trace.backward_order) if name.split(".")[-1] == kind]
    wrong = np.random.default_rng(1).standard_normal(trace[name].grad.shape)
    wrong *= 0.01 * np.linalg.norm(trace[name].grad) / np.linalg.norm(wrong)

    def grad(self, wanted):
        return right(self, wanted) + wrong if wanted == name else right(self, wanted)

    monkeypatch.setattr(Sources, "grad", grad)
    monkeypatch.setattr(gradient_check, "_chosen", lambda *_: ([name, "wpe.weight"], ""))
    found, _ = gradient_check.check_gradients(run.model, trace)
    assert found["wpe.weight"]["ok"] and not found[name]["ok"]


@pytest.mark.parametrize("changes", [{}, {"bias": False, "activation": "relu"},
                                     {"tied": False, "positions": "sinusoidal"}])  # fmt: skip
def test_every_gradient_is_computed_before_a_step_reads_it(changes):
    settings = {"n_layer": 2, "n_head": 2, "n_embd": 8, "block_size": 8} | changes
    model = gn.GPT(gn.GPTConfig(vocab_size=9, **settings), seed=1, ops="reference")
    tokens = np.random.default_rng(0).integers(0, 9, (2, 1, 8))
    trace = gn.trace(model, *tokens)
    known, given = {"losses"}, set()
    for step in backwards.steps(trace):
        assert set(step["incoming"]) <= known, step["title"]
        assert step["title"] and step["forward"]
        for equation in step["equations"]:
            known.add(equation["array"])
            given.add(equation["array"])
            code = equation["code"]
            lines = dict(map(tuple, code["lines"]))
            assert code["marked"] and set(code["marked"]) <= lines.keys()
            assert equation["computed"].startswith("gpt_numpy.")
    assert given == set(trace.backward_order) - {"losses"}


def test_layers_without_equations_are_shown_as_one_step_each(tmp_path, seen, monkeypatch):
    monkeypatch.setattr(operations, "OPERATIONS", {})
    _, trace, contents = look(make_run(tmp_path))
    kinds = ["attention", "MLP"] * trace.config.n_layer
    titles = [step["title"] for step in contents["steps"]]
    assert titles == ["head and loss", *reversed(kinds), "embedding"]
    known = seen[2]
    assert contents["arrays"].keys() < known["arrays"].keys()
    assert contents["verdicts"].keys() < known["verdicts"].keys()
    for name in ("next", "lens", "influence", "embedding"):
        assert contents[name] == known[name]
    assemble.assemble(contents)


CALL = ["linear_backward(", "dout, k.norm, w.weight.T, None,", "dx=dk.norm, dweight=", ")"]


@pytest.mark.parametrize(
    "title, array, forward, marked",
    [
        ("head", "ln_f.out", "logits = norm @ weight.T", CALL),
        ("head", "wte.weight", "logits = norm @ weight.T", CALL),
        ("last layer norm", "ln_f.xhat", "out = xhat * weight + bias", ["dxhat = dout * weight"]),
        (
            "sum with the residual stream",
            "h.0.attn.proj",
            "out = x + dropout(linear(attn))",
            ["dbranch = dout.copy()"],
        ),
        ("MLP, first product", "h.0.ln_2.out", "out = x @ weight + bias", ["product(dout, "]),
        ("heads side by side", "h.0.attn.heads", "", ["(dO,) = split_heads(dout, "]),
        (
            "average of the values",
            "h.0.attn.probabilities",
            "w = dropout(p); out = w @ V",
            ["dw = dO @ V"],
        ),
        (
            "split into heads",
            "h.0.attn.qkv",
            "w = dropout(p); out = w @ V",
            ["dV[...] = sum_of_groups(w", "dQ[...] = ds", "dK[...] = sum_of_groups(ds"],
        ),
        (
            "token and position embedding",
            "wte.weight",
            "row = scale wte[tokens] + wpe[:T]",
            ["np.add.at(dwte, tokens, drow"],  # tied: what the head wrote stays
        ),
    ],
)
def test_the_lines_of_code_are_those_that_write_the_gradient(seen, title, array, forward, marked):
    equations = [e for step in seen[2]["steps"] if step["title"] == title
                 for e in step["equations"] if e["array"] == array]  # fmt: skip
    code = equations[0]["code"]
    lines = {number: text.strip() for number, text in code["lines"]}
    assert next(iter(lines.values())) == (f"# forward: {forward}" if forward else lines[min(lines)])
    for number, begin in zip(code["marked"], marked, strict=True):
        assert lines[number].startswith(begin)
    source = Path(assemble.__file__).parents[3] / code["file"]
    all_lines = source.read_text(encoding="utf-8").splitlines()
    assert all(all_lines[number - 1].strip() == text for number, text in lines.items())
    assert not any(text.startswith("tap(") for text in lines.values())


def test_a_pass_without_dropout_and_smoothing_shows_no_line_of_them(seen):
    for step in seen[2]["steps"]:
        for equation in step["equations"]:
            lines = dict(map(tuple, equation["code"]["lines"]))
            shown = [equation["text"], *(lines[number] for number in equation["code"]["marked"])]
            assert not any("dropout" in text or "smoothing" in text for text in shown)
            assert len(shown) > 1


def test_the_gradient_check_finds_all_right_and_a_mistake_wrong(seen, tmp_path, monkeypatch):
    _, trace, contents = seen
    checked = contents["verdicts"]
    assert checked.keys() == set(trace.backward_order) and contents["unchecked"] == ""
    assert all(verdict["ok"] for verdict in checked.values())
    right = activation.BACKWARD["gelu_tanh"]

    def wrong(dout, x, dx):
        right(dout, x, dx=dx)
        dx *= 1.01

    monkeypatch.setitem(activation.BACKWARD, "gelu_tanh", wrong)
    _, _, contents = look(make_run(tmp_path))
    checked = contents["verdicts"]
    assert checked["h.1.mlp.act"]["ok"] and not checked["h.1.mlp.fc"]["ok"]
    assert not checked["wpe.weight"]["ok"]


# ---------------------------------------------------------------- the run's log


def test_the_history_skips_damaged_lines_of_the_log(tmp_path):
    folder = make_run(tmp_path)
    with (folder / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write('\n[1]\nnull\n{"iter": true}\n{"iter": 70, "loss": NaN, "lr": "x"}\n')
        file.write('{"iter": 70, "layers": {"a": [1], "b": 2}, "sample": 3}\n')
    found = training_history(str(folder))
    assert found["curves"]["loss"] == [[i, pytest.approx(4 - i / 50)] for i in range(0, 60, 10)]
    assert found["curves"]["val_loss"] == [[0, 4.0], [50, pytest.approx(4 - 50 / 60)]]
    assert [text["text"] for text in found["samples"]] == [SAMPLE, SAMPLE]
    assert found["layers"]["update"][HOSTILE][0] == [0, 0.002]
    assert training_history(str(tmp_path / "nowhere"))["samples"] == []
    assert training_history(str(tmp_path / "nowhere"), 1.0)["clipped"] is None


def test_long_curves_are_thinned_and_keep_their_ends(tmp_path):
    lines = [json.dumps({"iter": i, "loss": 1.0, "layers": {"head": [1, 2]}}) for i in range(5000)]
    (tmp_path / "log.jsonl").write_text("\n".join(lines), encoding="utf-8")
    found = training_history(str(tmp_path))
    curves = (found["curves"]["loss"], MOST_POINTS), (found["layers"]["update"]["head"], 100)
    for curve, most in curves:
        assert len(curve) == most and (curve[0][0], curve[-1][0]) == (0, 4999)


def test_what_is_said_of_a_curve_is_of_all_its_points(tmp_path):
    lines = [{"iter": i, "loss": 2.0, "grad_norm": 1.0 + (i % 4 == 1)} for i in range(5000)]
    lines[1001]["loss"], lines[1003]["loss"] = 0.5, 7.5
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    found = training_history(str(tmp_path), 1.0)
    shown = found["facts"]["loss"]
    assert (shown["lowest"], shown["highest"]) == ((1001, 0.5), (1003, 7.5))
    assert (shown["first"], shown["last"]) == ((0, 2.0), (4999, 2.0))
    assert not {1001, 1003} & {i for i, _ in found["curves"]["loss"]}
    assert found["clipped"] == 0.25 and "val_loss" not in found["facts"]
    assert training_history(str(tmp_path))["clipped"] is None


# ---------------------------------------------------------------- the file


def test_strings_of_the_run_are_only_in_the_json_and_cannot_end_it(page, seen):
    before, _, rest = page.partition('<script type="application/json" id="contents">')
    text, _, after = rest.partition("</script>")
    assert json.loads(text) == json.loads(json.dumps(seen[2]))
    assert not set("<>&") & set(text)
    for hostile in ("alert", "onerror", "src="):
        assert hostile not in before + after and hostile in text
    assert json.loads(text)["about"]["folder"].endswith(FOLDER)
    names = json.loads(text)["names"]
    assert [names[str(k)] for k in range(len(CHARACTERS))] == list(CHARACTERS)


def test_what_a_step_needs_from_forward_is_what_its_equations_read(seen):
    needed = {}
    for step in seen[2]["steps"]:
        if step["place"] in ("block 0", "head", "embedding"):
            needed.setdefault(step["title"], []).append(step["needed"])
    block, norm = "h.0", ["weight", "xhat", "rstd"]
    assert needed == {
        "softmax and loss": [["probabilities"]],
        "head": [["ln_f.out", "wte.weight"]],
        "last layer norm": [[f"ln_f.{part}" for part in norm]],
        "sum with the residual stream": [[], []],
        "MLP, second product": [[f"{block}.mlp.act", f"{block}.mlp.c_proj.weight"]],
        "MLP, nonlinearity": [[f"{block}.mlp.fc"]],
        "MLP, first product": [[f"{block}.ln_2.out", f"{block}.mlp.c_fc.weight"]],
        "layer norm": [[f"{block}.{ln}.{part}" for part in norm] for ln in ("ln_2", "ln_1")],
        "attention's projection": [[f"{block}.attn.out", f"{block}.attn.c_proj.weight"]],
        "heads side by side": [[]],
        "average of the values": [[f"{block}.attn.probabilities", f"{block}.attn.value"]],
        "mask and softmax": [[f"{block}.attn.probabilities"]],
        "scores": [[f"{block}.attn.query", f"{block}.attn.key"]],
        "split into heads": [[]],
        "query, key and value": [[f"{block}.ln_1.out", f"{block}.attn.c_attn.weight"]],
        "token and position embedding": [[]],
    }


def test_the_policy_allows_only_this_style_and_this_script(page):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    for kind, tag in (("style-src", "style"), ("script-src", "script")):
        text = re.search(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[kind] == f"'sha256-{digest}'"


def test_nothing_points_elsewhere(page):
    names = {"http://www.w3.org/2000/svg", "http://www.w3.org/1998/Math/MathML"}
    assert set(re.findall(r"\w+://[\w./]+", page)) == names  # of two languages of markup
    assert not re.search(r"\b(src|href)=(?!\"#)", page.split('id="contents"')[0])
    assert page.count("<script") == 3 and "@@" not in page.split('id="contents"')[0]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_no_script_parses_strings_as_markup(part):
    text = part.read_text(encoding="utf-8")
    for way in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function(",
                "fetch(", "XMLHttp", "import(", "srcdoc", "javascript:"):  # fmt: skip
        assert way not in text
    twin = (f"twin/{name}" for name in assemble.TWIN)
    used = {*assemble.SCRIPTS, *assemble.OF_ALIGNMENT, *twin}
    assert part.suffix != ".js" or part.relative_to(FOLDER_OF_PARTS).as_posix() in used
    assert len(text.splitlines()) <= 260


# ---------------------------------------------------------------- the command


def test_the_command_writes_the_page(tmp_path, monkeypatch, capsys):
    folder = make_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    words = ["inspect", f"--out_dir={folder.name}", f"--text={HOSTILE}"]
    assert cli.main([*words, "--html=new/page.html"]) == 0
    out, err = capsys.readouterr()
    assert (err, out.count("\n")) == ("", 1) and "page in new/page.html" in out
    page = (tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and FOLDER.replace("&", "\\u0026")[-5:] in page
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    "words, message",
    [
        (["--html=log/page.html"], "cannot write it"),
        (["--html=folder.html"], "cannot write it"),
        (["--html=folder"], "must end in .html"),
        (["--html=log"], "must end in .html"),  # any file: a checkpoint, a device
        (["--html=page.html", "--keep=logits"], "leave keep out"),
    ],
)
def test_a_page_that_cannot_be_written_is_refused_in_one_line(
    tmp_path, monkeypatch, capsys, words, message
):
    folder = make_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log").touch()
    (tmp_path / "folder.html").mkdir()
    status = cli.main(["inspect", f"--out_dir={folder.name}", "--text=abc", *words])
    out, err = capsys.readouterr()
    assert (status, out) == (cli.BAD_INPUT, "") and err.count("\n") == 1 and message in err
