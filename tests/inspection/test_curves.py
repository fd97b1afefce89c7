"""`gpt-numpy plot`: the curves are those of the log; what cannot be drawn is refused."""

import dataclasses
import json
import runpy
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.base.errors import InputError
from gpt_numpy.cli import main as cli
from gpt_numpy.config.presets import PRESETS
from gpt_numpy.inspection.curves import drawing
from gpt_numpy.inspection.curves.history import History, read_history
from gpt_numpy.inspection.curves.measured import (
    compare_with_measured,
    measured_presets,
    read_measured,
)
from tests.support.commands import caller

POINTS = [(0, 4.2), (10, 3.1), (20, 2.5)]


@pytest.fixture(scope="module")
def script():
    """The names of the script that measures reference curves."""
    return runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "reference_curves.py"))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(capsys):
    return caller(capsys, "plot")


def make_run(folder, name, more=""):
    (folder / name).mkdir()
    lines = [{"iter": i, "loss": loss, "lr": 1e-3} for i, loss in POINTS]
    lines += [{"iter": i, "train_loss": y - 0.1, "val_loss": y + 0.1} for i, y in POINTS]
    text = "\n".join(map(json.dumps, lines)) + "\n" + more
    (folder / name / "log.jsonl").write_text(text, encoding="utf-8")


def test_a_history_has_the_losses_of_the_log(folder):
    damaged = '{"iter": 30, "lo\nnull\n[1]\n{"iter": 40, "loss": NaN}\n'
    damaged += '{"iter": true, "loss": 1.0}\n{"iter": 45, "loss": Infinity}\n'
    damaged += '{"iter": 60, "loss": 2.0}\n'
    make_run(folder, "r", more=damaged + json.dumps({"iter": 50, "loss": 10**400}))
    history = read_history("r")
    assert history.batches == [*POINTS, (60, 2.0)]
    assert history.train == [(i, y - 0.1) for i, y in POINTS]
    assert history.val == [(i, y + 0.1) for i, y in POINTS]


def test_a_png_of_one_run(call, folder):
    pytest.importorskip("matplotlib")
    make_run(folder, "r")
    assert call("r") == (0, "loss curves in loss.png\n", "")
    data = (folder / "loss.png").read_bytes()
    assert data.startswith(b"\x89PNG") and len(data) > 10_000
    assert sorted(path.name for path in folder.iterdir()) == ["loss.png", "r"]


def test_an_svg_of_several_runs_names_everything(call, folder):
    pytest.importorskip("matplotlib")
    names = ("one", "_two", "$x_1$ <script>", "四")
    for name in names:
        make_run(folder, name)
    status, _, err = call(*names, "--out=both.svg")
    assert (status, err) == (0, "")
    first = (folder / "both.svg").read_bytes()
    texts = [element.text or "" for element in ElementTree.fromstring(first).iter()]
    for expected in ("one", "./_two", names[2], "四", "validation split", "Loss of 4 runs"):
        assert expected in texts
    assert any("nats a token" in text for text in texts) and b"<script>" not in first
    call(*names, "--out=both.svg")
    assert (folder / "both.svg").read_bytes() == first


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "plot needs the folder of at least one run"),
        (["nowhere"], "nowhere: no such folder"),
        (["empty"], "empty is not the folder of a run: it has no log.jsonl"),
        (["silent"], "holds no loss yet"),
        (["r", "--out=loss.pdf"], "must end in .png or .svg"),
        (["r", "--out=r/log.jsonl/loss.png"], "cannot write it"),
        (["r", "--size=3"], "unknown setting --size"),
        ([f"r{i}" for i in range(8)], "for at most 7"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(call, folder, words, message):
    if "cannot write" in message:
        pytest.importorskip("matplotlib")
    for name in ("r", *(f"r{i}" for i in range(8))):
        make_run(folder, name)
    for name in ("empty", "silent"):
        (folder / name).mkdir()
    (folder / "silent" / "log.jsonl").touch()
    status, out, err = call(*words)
    assert (status, out) == (cli.BAD_INPUT, "")
    assert err.startswith("gpt-numpy: ") and err.count("\n") == 1 and message in err


def test_without_matplotlib_it_says_what_to_install(call, folder, monkeypatch):
    make_run(folder, "r")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, _, err = call("r")
    assert status == cli.BAD_INPUT and "pip install 'gpt_numpy[plot]'" in err
    assert not (folder / "loss.png").exists()


def test_a_reference_is_drawn_and_compared_with(call, folder):
    pytest.importorskip("matplotlib")
    tiny = read_measured("tiny")
    low, high = (tiny.val[kind][-1] for kind in ("low", "high"))
    for name, loss in (("above", high + 0.25), ("inside", (low + high) / 2), ("below", low - 0.5)):
        (folder / name).mkdir()
        line = json.dumps({"iter": tiny.iterations[-1], "train_loss": loss, "val_loss": loss})
        (folder / name / "log.jsonl").write_text(line, encoding="utf-8")
    status, out, err = call("above", "inside", "below", "--reference=tiny", "--out=r.svg")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert "0.2500 above" in lines[0] and " within " in lines[1] and "0.5000 below" in lines[2]
    assert all(f"{low:.4f} to {high:.4f} of tiny, 3 runs" in line for line in lines[:3])
    assert "gpt_numpy" in lines[3]  # with which version it was measured
    texts = [e.text or "" for e in ElementTree.fromstring((folder / "r.svg").read_bytes()).iter()]
    assert tiny.label in texts
    call("above", "--out=without.svg")
    assert tiny.label not in (folder / "without.svg").read_text(encoding="utf-8")


def test_a_reference_of_one_run_says_how_far_it_was_measured(call, folder):
    pytest.importorskip("matplotlib")
    small = read_measured("small")
    assert small.iterations[-1] < small.max_iters
    (folder / "r").mkdir()
    line = json.dumps({"iter": 500, "val_loss": small.val["mean"][2] + 0.1})
    (folder / "r" / "log.jsonl").write_text(line, encoding="utf-8")
    _, out, _ = call("r", "--reference=small")
    assert "+0.1000 from that of small, 1 run of shakespeare" in out
    assert "(measured up to 1000 of 5000 iterations)" in out


def test_a_run_without_an_iteration_in_common_is_reported(call, folder):
    pytest.importorskip("matplotlib")
    make_run(folder, "r")
    (folder / "s").mkdir()
    (folder / "s" / "log.jsonl").write_text('{"iter": 7, "val_loss": 3.0}', encoding="utf-8")
    _, out, _ = call("r", "s", "--reference=tiny")
    # Of r there is the loss before training alone, which is within those of every run.
    for name in ("r", "s"):
        assert f"{name}: no evaluation yet at an iteration of" in out
    assert "within" not in out


def test_an_unknown_reference_is_refused(call, folder):
    make_run(folder, "r")
    status, out, err = call("r", "--reference=tinny")
    assert (status, out) == (cli.BAD_INPUT, "")
    assert "did you mean tiny" in err and not (folder / "loss.png").exists()


@pytest.mark.parametrize("name", measured_presets())
def test_the_measured_curves_are_those_of_a_preset_and_plausible(name):
    measured = read_measured(name)
    preset = PRESETS[name]
    assert measured.max_iters == preset["max_iters"]
    assert len(set(measured.seeds)) == len(measured.seeds) >= (3 if name == "tiny" else 1)
    every = preset["eval_interval"]
    assert measured.iterations == list(range(0, measured.iterations[-1] + 1, every))
    for kinds in (measured.train, measured.val):
        assert {len(losses) for losses in kinds.values()} == {len(measured.iterations)}
        for low, mean, high in zip(kinds["low"], kinds["mean"], kinds["high"], strict=True):
            assert 1 < low <= mean <= high < 4.3
        assert list(kinds["mean"]) == sorted(kinds["mean"], reverse=True)


def test_curves_are_summarised_as_lowest_mean_and_highest(folder, script):
    runs = []
    for number, losses in enumerate([(4.0, 2.0), (4.2, 1.7), (4.1, 2.3)]):
        runs.append(
            History(str(number), train=list(enumerate(losses)), val=list(enumerate(losses)))
        )
    content = script["summarise"](runs)
    expected = {"low": [4.0, 1.7], "mean": [4.1, 2.0], "high": [4.2, 2.3]}
    assert content == {"iterations": [0, 1], "train": expected, "val": expected}
    runs[0].val.append((2, 1.0))
    with pytest.raises(InputError, match="same iterations"):
        script["summarise"](runs)


def saved_run(folder, name, **changes):
    """A run of `tiny` saved before its first update, with some settings changed."""
    values = PRESETS["tiny"] | {"seed": len(name), "out_dir": name} | changes
    shape = {f.name: values[f.name] for f in dataclasses.fields(gn.GPTConfig) if f.name in values}
    model = gn.GPT(gn.GPTConfig(vocab_size=64, **shape), seed=0, ops="reference")
    rest = {key: value for key, value in values.items() if key not in shape}
    (folder / name).mkdir()
    gn.save(folder / name / "ckpt.npz", model, settings=gn.TrainConfig(**rest))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, ""),
        ({"max_iters": 7}, ""),
        ({"n_layer": 2}, "n_layer=2, and tiny has 4"),
        ({"learning_rate": 0.5}, "learning_rate=0.5, and tiny has 0.001"),
        ({"dataset": "names"}, "not trained on the data set shakespeare"),
    ],
)
def test_reference_curves_are_made_of_runs_of_the_preset_alone(folder, script, changes, message):
    saved_run(folder, "r", **changes)
    if message:
        with pytest.raises(SystemExit, match=message):
            script["checked"]("r", "tiny")
    else:
        assert script["checked"]("r", "tiny").seed == 1
    content = {"preset": "tiny", "train": {"low": [1.0, 2.0]}}
    assert json.loads(script["written"](content)) == content


def test_the_lowest_of_the_measured_runs_is_within_them():
    tiny = read_measured("tiny")
    lowest = tiny.val["low"][-1] - 4e-5  # before it was rounded
    assert " within " in compare_with_measured(
        History("r", val=[(tiny.iterations[-1], lowest)]), tiny
    )


def test_no_line_joins_the_measured_losses(folder):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    tiny = read_measured("tiny")
    drawing._draw_measured(axes, tiny)
    (container,) = axes.containers
    points, _, (bars,) = container.lines
    assert points.get_linestyle() == "None" and container.get_label() == tiny.label
    np.testing.assert_allclose(points.get_ydata().astype(float), tiny.val["mean"])
    ends = [segment[:, 1].astype(float) for segment in bars.get_segments()]
    np.testing.assert_allclose(ends, list(zip(tiny.val["low"], tiny.val["high"], strict=True)))


def test_each_of_several_runs_is_named_at_its_end(call, folder):
    pytest.importorskip("matplotlib")
    for name in ("one", "_two"):
        make_run(folder, name)
    call("one", "_two", "--out=both.svg")
    texts = [
        e.text or "" for e in ElementTree.fromstring((folder / "both.svg").read_bytes()).iter()
    ]
    assert "one  2.6000" in texts and "./_two  2.6000" in texts


def test_names_at_the_ends_do_not_lie_over_each_other():
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    axes.set_ylim(1, 3)
    losses = (2.0, 2.001, 2.5, 1.999)
    drawing._name_the_ends(axes, [History(str(k), val=[(9, x)]) for k, x in enumerate(losses)])
    heights = {t.get_text()[0]: t.xyann[1] for t in axes.texts}
    assert sorted(heights, key=heights.get) == ["3", "0", "1", "2"]
    gaps = np.diff(sorted(heights.values()))
    assert gaps.min() > 0.04 and heights["2"] == pytest.approx(0.75)


def saved_beside(folder, name, vocab_size, **settings):
    """A checkpoint next to the log of a run."""
    model = gn.GPT(
        gn.GPTConfig(vocab_size=vocab_size, block_size=4, n_layer=1, n_head=1, n_embd=4),
        seed=0, ops="reference",
    )  # fmt: skip
    gn.save(folder / name / "ckpt.npz", model, settings=gn.TrainConfig(out_dir=name, **settings))


def test_runs_over_other_texts_or_vocabularies_are_not_compared_without_a_word(call, folder):
    pytest.importorskip("matplotlib")
    for name in ("a", "b", "c", "d"):
        make_run(folder, name)
    saved_beside(folder, "a", 65, dataset="shakespeare")
    saved_beside(folder, "b", 27, dataset="names")
    saved_beside(folder, "c", 65, dataset="shakespeare", data="my.txt")
    _, out, _ = call("a", "b", "--out=x.svg")
    assert "do not compare (a: shakespeare, 65 tokens; b: names, 27 tokens)" in out
    assert "not comparable" in (folder / "x.svg").read_text(encoding="utf-8")
    assert "c: my.txt, 65 tokens" in call("a", "c", "--out=x.svg")[1]
    for words in (["a"], ["a", "d"]):  # of d nothing is known
        assert "compar" not in call(*words, "--out=x.svg")[1]
    assert "comparable" not in (folder / "x.svg").read_text(encoding="utf-8")
    (folder / "d" / "ckpt.npz").write_bytes(b"PK\x05\x06 no checkpoint")
    assert read_history("d").vocab_size is None


def test_a_run_of_another_text_is_not_measured_by_the_reference():
    tiny = read_measured("tiny")
    val = [(tiny.iterations[-1], tiny.val["mean"][-1])]
    sentence = compare_with_measured(History("r", val=val, vocab_size=27, data="names"), tiny)
    assert "trained on names" in sentence and "do not compare" in sentence
    same = compare_with_measured(History("r", val=val, vocab_size=65, data="shakespeare"), tiny)
    assert " within " in same


def test_the_last_evaluation_is_compared():
    tiny = read_measured("tiny")
    val = [(i, tiny.val["high"][k] + k) for k, i in enumerate(tiny.iterations)]
    sentence = compare_with_measured(History("r", val=val), tiny)
    assert f"at {tiny.iterations[-1]}, {len(val) - 1}.0000 above" in sentence
