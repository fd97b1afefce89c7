"""`gpt-numpy plot`: the curves are those of the log, and what cannot be drawn is said."""

import json
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from gpt_numpy import cli
from gpt_numpy.inspection.curves import read_history

POINTS = [(0, 4.2), (10, 3.1), (20, 2.5)]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def call(capsys):
    def run(*words):
        status = cli.main(["plot", *words])
        out, err = capsys.readouterr()
        return status, out, err

    return run


def make_run(folder, name, more=""):
    (folder / name).mkdir()
    lines = [{"iter": i, "loss": loss, "lr": 1e-3} for i, loss in POINTS]
    lines += [{"iter": i, "train_loss": y - 0.1, "val_loss": y + 0.1} for i, y in POINTS]
    text = "\n".join(map(json.dumps, lines)) + "\n" + more
    (folder / name / "log.jsonl").write_text(text, encoding="utf-8")


def test_a_history_is_what_the_log_says(folder):
    make_run(folder, "r", more='{"iter": 30, "lo\nnull\n[1]\n{"iter": 40, "loss": NaN}\n')
    history = read_history("r")
    assert history.batches == POINTS
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
    for said in ("one", "./_two", names[2], "四", "validation split", "Loss of 4 runs"):
        assert said in texts
    assert any("nats a token" in text for text in texts) and b"<script>" not in first
    call(*names, "--out=both.svg")
    assert (folder / "both.svg").read_bytes() == first


@pytest.mark.parametrize(
    "words, said",
    [
        ([], "plot needs the folder of at least one run"),
        (["nowhere"], "nowhere: no such folder"),
        (["empty"], "empty is not the folder of a run: it has no log.jsonl"),
        (["silent"], "holds no loss yet"),
        (["r", "--out=loss.pdf"], "must end in .png or .svg"),
        (["r", "--out=r/log.jsonl/loss.png"], "cannot write it"),
        (["r", "--size=3"], "unknown setting --size"),
        ([f"r{i}" for i in range(8)], "at most 7"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(call, folder, words, said):
    if "cannot write" in said:
        pytest.importorskip("matplotlib")
    for name in ("r", *(f"r{i}" for i in range(8))):
        make_run(folder, name)
    for name in ("empty", "silent"):
        (folder / name).mkdir()
    (folder / "silent" / "log.jsonl").touch()
    status, out, err = call(*words)
    assert (status, out) == (cli.BAD_INPUT, "")
    assert err.startswith("gpt-numpy: ") and err.count("\n") == 1 and said in err


def test_without_matplotlib_it_says_what_to_install(call, folder, monkeypatch):
    make_run(folder, "r")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, _, err = call("r")
    assert status == cli.BAD_INPUT and "pip install 'gpt_numpy[plot]'" in err
    assert not (folder / "loss.png").exists()
