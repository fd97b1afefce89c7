"""`gpt-numpy inspect`: its numbers, what it marks, and what it refuses."""

import dataclasses

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.cli import main as cli
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.gradients.model_check import randomise
from gpt_numpy.inspection.summary.statistics import array_statistics, summary
from gpt_numpy.inspection.summary.table import table
from tests.support.commands import caller

CONFIG = gn.GPTConfig(vocab_size=9, block_size=6, n_layer=2, n_head=2, n_embd=8)


def build(**changes):
    config = dataclasses.replace(CONFIG, **changes)
    model = gn.GPT(config, seed=None, dtype="float64", ops="reference")
    randomise(model, seed=1)
    return model


def batch(seed=0):
    return np.random.default_rng(seed).integers(0, 9, (2, 2, 6))


def remarks(model):
    with np.errstate(all="ignore"):
        listed = array_statistics(gn.trace(model, *batch()))
    return {row.name: "; ".join(row.remarks) for row in listed if row.remarks}


def test_a_summary_has_the_right_statistics():
    numbers = summary(np.array([[3.0, 0.0], [0.0, -1.0]], np.float32))
    assert (numbers.mean, numbers.zeros) == (0.5, 0.5)
    assert numbers.norm == pytest.approx(np.sqrt(10))
    assert numbers.spread == pytest.approx(1.5)
    assert numbers.rms == pytest.approx(np.sqrt(2.5))


def test_nothing_is_marked_where_nothing_is_unusual():
    model = build()
    assert remarks(model) == {}
    trace = gn.trace(model, *batch())
    assert "nothing unusual" in table(trace, array_statistics(trace))


def test_a_vanishing_gradient_is_marked():
    model = build()
    model.params["h.0.attn.c_proj.weight"][...] *= 1e-5
    found = remarks(model)
    assert found["h.0.attn.out"].startswith("vanishing: ")
    assert "vanishing" in found["h.0.attn.c_attn.weight"] and "h.0.mlp.act" not in found


def test_an_exploding_gradient_is_marked():
    model = build()
    model.params["h.1.attn.c_proj.weight"][...] *= 1e-5
    found = remarks(model)
    assert found["h.0.attn.out"].startswith("exploding: ") and "h.0.mlp.act" not in found


def test_exploding_values_are_marked():
    model = build()
    model.params["h.1.mlp.c_proj.weight"][...] *= 1e5
    assert remarks(model)["h.1.resid_post"].startswith("value exploding: ")


@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_tanh"])
def test_dead_neurons_are_counted(activation):
    model = build(activation=activation)
    model.params["h.1.mlp.c_fc.bias"][...] = np.repeat([-100, 5], 16)
    found = remarks(model)
    assert found["h.1.mlp.act"] == "dead: 16 of 32 neurons"
    model.params["h.1.mlp.c_fc.bias"][...] = -100
    assert remarks(model)["h.1.mlp.c_fc.weight"] == "no gradient"


def test_saturated_heads_are_named():
    model = build()
    model.params["h.0.attn.c_attn.weight"][:, 4:8] *= 1e4  # the queries of head 1
    assert remarks(model)["h.0.attn.probabilities"] == "saturated: head 1"


def test_arrays_that_are_not_finite_are_marked():
    model = build()
    model.params["h.1.ln_2.weight"][0] = np.nan
    found = remarks(model)
    assert found["h.1.ln_2.out"].startswith("not finite")
    assert "nan" not in "".join(found.values())
    assert "h.1.resid_mid" not in found or "not finite" in found["h.1.resid_mid"]


@pytest.mark.parametrize("kind", ["AdamW", "Muon"])
@pytest.mark.parametrize("grad_clip", [0.0, 0.01])
def test_the_update_is_that_of_the_next_step(grad_clip, kind):
    model = build()
    optimizer = getattr(gn, kind)(model, learning_rate=0.01, grad_clip=grad_clip)
    for seed in range(3):
        model.forward(*batch(seed))
        model.backward()
        optimizer.step()
    predicted = {
        row.name: row.update for row in array_statistics(gn.trace(model, *batch(7)), optimizer)
    }
    before = {name: param.copy() for name, param in model.params.items()}
    model.forward(*batch(7))
    model.backward()
    optimizer.step()
    for name, param in model.params.items():
        ratio = np.linalg.norm(param - before[name]) / np.linalg.norm(before[name])
        assert predicted[name] == pytest.approx(ratio, rel=1e-9), name
    assert predicted["logits"] is None


# ---------------------------------------------------------------- the command


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(capsys):
    return caller(capsys, "inspect")


@pytest.fixture
def run_folder(folder):
    model = build()
    optimizer = gn.AdamW(model)
    gn.save(folder / "ckpt.npz", model, tokenizer=CharTokenizer("abcdefghi"), optimizer=optimizer)
    (folder / "bare").mkdir()
    gn.save(folder / "bare" / "ckpt.npz", model)
    (folder / "empty").mkdir()
    return folder


def test_the_table_shows_the_numbers_of_the_trace(call, run_folder):
    status, out, err = call("--out_dir=.", "--text=abcabc", "--ops=reference")
    assert (status, err) == (0, "")
    tokens = np.array([[0, 1, 2, 0, 1, 2]])
    trace = gn.trace(build(), tokens[:, :-1], tokens[:, 1:])
    lines = {line.split()[0].rstrip("~"): line.split() for line in out.splitlines() if line}
    for name in ("logits", "wte.weight", "probabilities", "losses"):
        value = summary(trace[name].value)
        shown = lines[name][1:5]
        assert shown[:3] == [f"{value.mean:.1e}", f"{value.spread:.1e}", f"{value.norm:.2e}"]
        assert shown[3] == f"{value.zeros:.1%}"
    grad = summary(trace["wte.weight"].grad)
    assert lines["wte.weight"][5:8] == [
        f"{grad.mean:.1e}", f"{grad.spread:.1e}", f"{grad.norm:.2e}"
    ]  # fmt: skip
    assert len(lines["wte.weight"]) == 10  # with the update
    assert f"loss {trace.loss:.4f} nats a token" in out
    for layer in ("embedding", "block 0", "block 1", "head"):
        assert f"\n{layer}\n" in out


def test_patterns_choose_the_rows(call, run_folder):
    status, out, _ = call("--out_dir=.", "--text=abc", "--keep=h.1.attn.out, *.c_fc.weight")
    assert status == 0
    shown = [line.split()[0] for line in out.splitlines() if line.startswith(("attn", "mlp"))]
    assert shown == ["mlp.c_fc.weight", "attn.out", "mlp.c_fc.weight"]


def test_a_run_without_a_tokenizer_takes_numbers(call, run_folder):
    status, out, err = call("--out_dir=bare", "--text=0 5 3", "--keep=logits")
    assert (status, err) == (0, "") and "tokens 1 x 2" in out


@pytest.mark.parametrize(
    "words, message",
    [
        (["--out_dir=.", "--text=abcabcab"], "has 8 tokens: give 2 to 7"),
        (["--out_dir=.", "--text=a"], "has 1 token: give 2 to 7"),
        (["--out_dir=."], "text is empty"),
        (["--out_dir=.", "--text=abz"], "does not know: 'z'"),
        (["--out_dir=.", "--text=abc", "--keep=h.0.atn.out"], "did you mean h.0.attn.out"),
        (["--out_dir=.", "--text=abc", "--keep="], "keep='' matches nothing"),
        (["--out_dir=.", "--text=abc", "--checkpoint=first"], "must be best or last"),
        (["--out_dir=bare", "--text=abc"], "this run has no tokenizer"),
        (["--out_dir=bare", "--text=1 2 99"], "contains 99"),
        (["--out_dir=bare", f"--text=1 {10**30}"], "this run has no tokenizer"),
        (["--out_dir=empty", "--text=abc"], "holds no checkpoint"),
        (["--out_dir=nowhere", "--text=abc"], "no such folder"),
        (["tiny"], "inspect takes settings only"),
    ],
)
def test_bad_settings_are_refused_in_one_line(call, run_folder, words, message):
    status, out, err = call(*words)
    assert (status, out) == (cli.BAD_INPUT, "")
    assert err.startswith("gpt-numpy: ") and err.count("\n") == 1 and message in err


def test_the_help_explains_the_thresholds(call):
    status, out, _ = call("--help")
    assert status == 0
    for word in ("vanishing", "exploding", "dead", "saturated", "0.001", "1000", "99%", "10%"):
        assert word in out


def test_control_characters_do_not_reach_the_terminal(call, run_folder):
    _, _, err = call("--out_dir=.", "--text=ab\x1b[31m")
    assert "\x1b" not in err


def test_few_dead_neurons_are_not_marked():
    model = build(activation="relu")
    model.params["h.1.mlp.c_fc.bias"][...] = np.repeat([-100, 5], [3, 29])  # 9 %
    assert "h.1.mlp.act" not in remarks(model)
    model.params["h.1.mlp.c_fc.bias"][...] = np.repeat([-100, 5], [4, 28])
    assert remarks(model)["h.1.mlp.act"] == "dead: 4 of 32 neurons"


def test_a_neuron_that_is_silent_at_some_positions_is_not_dead():
    model = build(activation="relu")
    silent = gn.trace(model, *batch())["h.0.mlp.act"].value == 0
    assert silent.any(axis=(0, 1)).mean() > 0.5 and silent.all(axis=(0, 1)).mean() < 0.1
    assert "h.0.mlp.act" not in remarks(model)
