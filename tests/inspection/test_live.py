"""What a page gets that computes the passes itself (the numbers of the page: test_live_page.py)."""

import dataclasses
import json
import re

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.config.presets import PRESETS
from gpt_numpy.inspection.page import assemble, backwards, earlier, live
from gpt_numpy.inspection.page.contents import contents
from gpt_numpy.training.checkpoint import Run
from tests.support.pages import CHARACTERS, HOSTILE, inflated, look, make_run


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    return look(make_run(tmp_path_factory.mktemp("live")), live=True)


def model_of(**changes):
    settings = {"vocab_size": 9, "block_size": 6, "n_layer": 1, "n_head": 2, "n_embd": 8}
    return gn.GPT(gn.GPTConfig(**settings | changes), seed=0, ops="reference")


def test_the_parameters_arrive_as_they_are(seen):
    run, _, found = seen
    text = found["live"]["numbers"]
    assert not set(text) & set("<>&\"'\\") and len(text) < run.model.n_params * 4.8
    numbers = inflated(text, "<f4")
    start = 0
    for name, shape in found["live"]["table"]:
        size = int(np.prod(shape))
        wanted = run.model.params[name].astype(np.float32)
        np.testing.assert_array_equal(numbers[start : start + size].reshape(shape), wanted)
        start += size
    assert start == numbers.size


def test_a_live_page_has_no_arrays_and_a_recorded_one_no_parameters(seen, tmp_path):
    _, _, found = seen
    assert found["recorded"] == "" and found["live"]["characters"] == list(CHARACTERS)
    assert not any("value" in entry or "grad" in entry for entry in found["arrays"].values())
    assert {"next", "lens", "neurons", "embedding"} & set(found) == set()
    json.dumps(found, allow_nan=False)
    recorded = look(make_run(tmp_path))[2]
    assert recorded["live"] is None and "value" in recorded["arrays"]["h.0.attn.qkv"]


def test_the_page_of_the_preset_tiny_is_small():
    settings = {k: v for k, v in PRESETS["tiny"].items() if k in vars(model_of().config)}
    model = model_of(**settings | {"vocab_size": 65})
    tokens = np.random.default_rng(0).integers(0, 65, (1, 65))
    run = Run(model, model.config)
    found = contents(run, gn.trace(model, tokens[:, :-1], tokens[:, 1:]), "no folder", "")
    assert found["recorded"] == "" and len(assemble.assemble(found)) < 4_100_000


def test_the_worker_is_allowed_where_there_is_one(seen, tmp_path):
    page = assemble.assemble(seen[2])
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert "worker-src blob:" in policy and "connect-src" not in policy
    assert "unsafe" not in policy and "default-src 'none'" in policy
    recorded = assemble.assemble(look(make_run(tmp_path))[2])
    assert "worker-src" not in recorded and '"twin">{}<' in recorded
    # Every file of the twin is in the page, as a string that cannot end its element.
    twin = json.loads(re.search(r'id="twin">(.*?)</script>', page)[1])["source"]
    for name in assemble.TWIN:
        assert assemble._part(f"twin/{name}") in twin


@pytest.mark.parametrize("kind", ["parameter", "activation"])
def test_a_probe_feels_every_number_and_every_exchange(kind):
    rng = np.random.default_rng(0)
    grad = rng.standard_normal((3, 4) if kind == "parameter" else (1, 2, 4, 4))
    before = live.probe(grad, kind)
    for place in np.ndindex(grad.shape):
        other = grad.copy()
        other[place] += 0.01
        masked = kind == "activation" and place[-1] > place[-2]  # a later key has no effect
        assert (abs(live.probe(other, kind) - before) > 1e-6) != masked
    assert abs(live.probe(grad.swapaxes(-1, -2), kind) - before) > 1e-3
    assert live.probe(grad, kind) == before


def test_what_the_twin_does_not_know_is_recorded_and_said(monkeypatch):
    assert live.why_not_live(model_of()) == ""
    assert live.why_not_live(model_of(tied=False, bias=False, positions="sinusoidal")) == ""
    assert live.why_not_live(model_of(norm="rmsnorm", positions="rotary", n_kv_head=1)) == ""
    modern = {k: v for k, v in PRESETS["tiny-modern"].items() if k in vars(model_of().config)}
    assert live.why_not_live(model_of(**modern)) == ""
    stages = list(live.gpt(model_of().config))
    cases = {
        "new_layer": dataclasses.replace(stages[1], layer="new_layer"),
        "rotations": dataclasses.replace(
            stages[1], kept={**stages[1].kept, "rotations": stages[1].kept["qkv"]}
        ),
        "gate_weight": dataclasses.replace(
            stages[2], weights={**stages[2].weights, "gate_weight": "x"}
        ),
    }
    for part, stage in cases.items():
        monkeypatch.setattr(live, "gpt", lambda config, stage=stage: iter([stage]))
        assert live.why_not_live(model_of()).endswith(f"this part of the model: {part}")
    monkeypatch.undo()
    model = model_of()
    monkeypatch.setattr(live, "MOST_PARAMETERS", model.n_params - 1)
    assert f"{model.n_params:,} parameters" in live.why_not_live(model)
    monkeypatch.setattr(live, "MOST_PARAMETERS", model.n_params)
    assert live.why_not_live(model) == ""
    monkeypatch.setitem(live.SETTINGS, "norm_kind", {"rmsnorm"})
    assert "norm_kind layernorm" in live.why_not_live(model)
    monkeypatch.setitem(live.SETTINGS, "norm_kind", None)
    monkeypatch.setattr(live, "POSITIONS", {"sinusoidal"})
    assert "positions learned" in live.why_not_live(model)


@pytest.mark.parametrize(
    ("changes", "forward", "needed"),
    [
        ({"positions": "rotary"}, "out_i = x_i cos_ti", []),
        ({"qk_norm": True}, "normed = rmsnorm(x)", ["qkv", "q_norm.weight", "k_norm.weight"]),
        ({"qk_norm": True, "positions": "rotary"}, "normed = rmsnorm(x) out = turn(normed)",
         ["qkv", "q_norm.weight", "k_norm.weight"]),
    ],
    ids=["turned", "normed", "both"],
)  # fmt: skip
def test_queries_and_keys_have_the_equations_of_this_model(changes, forward, needed):
    model = model_of(**changes)
    trace = gn.trace(model, *np.random.default_rng(0).integers(0, 9, (2, 1, 4)))
    (step,) = [s for s in backwards.steps(trace) if "queries and keys" in s["title"]]
    assert step["forward"][0].startswith(forward) and ("turn(" in forward or len(changes) == 1)
    assert ("turn" in step["title"]) == ("positions" in changes)
    assert step["needed"] == [f"h.0.attn.{name}" for name in needed]
    for equation in step["equations"]:
        lines = dict(map(tuple, equation["code"]["lines"]))
        marked = "".join(lines[number] for number in equation["code"]["marked"])
        of_weight = "norm" in equation["array"]
        assert ("dweight=dweight" if of_weight else "dx") in marked
        turned = "turn_back(" in marked or "* sin" in marked
        assert turned == ("positions" in changes and not of_weight)
    (code,) = {str(backwards.forward_code(trace)["h.0.attn.ready"]["marked"])}
    assert code != "[]"


def test_tokens_that_are_no_characters_have_no_characters(seen):
    run, trace, _ = seen
    other = dataclasses.replace(run, tokenizer=None)
    assert contents(other, trace, "folder", HOSTILE)["live"]["characters"] is None


def test_every_array_that_forward_computes_has_its_lines(seen):
    _, trace, found = seen
    for name, entry in trace.items():
        if entry.kind == "parameter":
            continue
        code = found["code"][name]
        assert code["marked"], name
        lines = dict(map(tuple, code["lines"]))
        assert all(line in lines for line in code["marked"]), name
    assert "split_qkv" in "".join(text for _, text in found["code"]["h.0.attn.key"]["lines"])


def test_earlier_checkpoints_travel_too_as_many_as_fit(tmp_path, monkeypatch):
    folder = make_run(tmp_path)
    run, _, found = look(folder, live=True)
    assert found["live"]["earlier"] == []
    for iteration in (10, 20, 30, 40, 50, 60):
        run.model.params.flat[...] = iteration
        gn.save(folder / f"ckpt-{iteration:08d}.npz", run.model, tokenizer=run.tokenizer)
    (folder / "ckpt-00000030.npz").write_bytes(b"damaged")
    other = model_of()
    gn.save(folder / "ckpt-00000060.npz", other, tokenizer=None)
    chosen = earlier.earlier_models(str(folder), run)
    assert [model["iteration"] for model in chosen] == [10, 40]  # of 10, 30, 40, 60
    assert (inflated(chosen[1]["numbers"], "<f4") == 40).all()
    monkeypatch.setattr(earlier, "MOST_PARAMETERS", run.model.n_params)
    assert [m["iteration"] for m in earlier.earlier_models(str(folder), run)] == [10]
    run.progress["iteration"] = 10
    assert [m["iteration"] for m in earlier.earlier_models(str(folder), run)] == [20]
