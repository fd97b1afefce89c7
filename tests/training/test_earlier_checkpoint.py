"""A run that an earlier version saved can be loaded, resumed and sampled from (earlier/README.txt).

Every expected value was computed by that version.
"""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.cli import main as cli

EARLIER = Path(__file__).parent / "earlier"

# SHA-256 of the parameters, and of AdamW's m and v: names and little-endian bytes, sorted by name.
CHECKSUMS = {
    "ckpt.npz": (
        "080b1025ae23b87ebe877a4641b64a606a8d7ad38ba244598284024526803a45",
        "5a33ce325614205b087c2877915c2276dbd59907b218f22320c798d89971521a",
    ),
    "ckpt-best.npz": (
        "72b329a163c4a9012593715736a9446af6a75f583e6768f361f3d1cc800d30bf",
        "b684da62864e6d0b4137d7a90aa1a37d298ab27a94fd7935e5bee80385be0208",
    ),
}
BATCH_LOSSES = {  # by iteration, after resuming
    7: 3.264997839200521,
    8: 3.280083411753698,
    9: 3.12654202337192,
    10: 3.256942393054305,
    11: 3.2442015326967506,
    12: 3.2186443184827533,
}
EVALUATIONS = {  # by iteration: training and validation loss
    9: (3.301480560140207, 3.1693133404247096),
    12: (3.168086438995302, 3.275912870691469),
}
PARAMETER_NORM = 6.563427083981464  # after iteration 12
LAST_SAMPLE = "am tfsau\nu.ocrlww,rtnrngkrm,Tgl. f snbtrHmeTdcrov"  # logged at iteration 12
SAMPLED = "Thev drpb\ndbmebv\nwovs:bseknch yg;g gt,eneeh\n---------------\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the run, in a working directory that holds the text it was trained on."""
    shutil.copy(EARLIER / "shore.txt", tmp_path)
    (tmp_path / "run").mkdir()
    for name in (*CHECKSUMS, "log.jsonl"):
        shutil.copy(EARLIER / name, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def checksum(*tables):
    digest = hashlib.sha256()
    for table in tables:
        for name, array in sorted(table.items()):
            digest.update(name.encode())
            digest.update(array.astype("<f8").tobytes())
    return digest.hexdigest()


@pytest.mark.parametrize("name", CHECKSUMS)
def test_arrays_and_progress_are_loaded_bit_for_bit(name):
    run = gn.load(EARLIER / name)
    parameters = checksum(run.model.params)
    moments = checksum(run.optimizer.m, run.optimizer.v)
    assert (parameters, moments) == CHECKSUMS[name]
    iteration = 7 if name == "ckpt.npz" else 6
    assert run.progress["iteration"] == run.optimizer.steps == iteration
    assert (run.progress["best_iteration"], run.progress["evaluated"]) == (6, 6)
    assert (run.settings.data, run.settings.ops, run.model.dtype) == (
        "shore.txt",
        "reference",
        np.float64,
    )
    assert run.config.dropout == 0.1 and run.tokenizer.vocab_size == 32
    assert run.environment["gpt_numpy"] == "0.1.0"


def test_resuming_gives_the_losses_and_parameters_of_that_version(folder, capsys):
    before = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    words = ["--init_from=resume", "--max_iters=12", "--out_dir=run"]
    assert cli.main(["train", *words]) == 0, capsys.readouterr().err
    written = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert written[: len(before)] == before
    lines = [json.loads(line) for line in written[len(before) :]]

    batches = {line["iter"]: line["loss"] for line in lines if "loss" in line}
    assert batches == pytest.approx(BATCH_LOSSES, rel=1e-10, abs=0)
    evaluations = {line["iter"]: line for line in lines if "val_loss" in line}
    assert evaluations.keys() == EVALUATIONS.keys()
    for iteration, expected in EVALUATIONS.items():
        losses = [evaluations[iteration][key] for key in ("train_loss", "val_loss")]
        assert losses == pytest.approx(expected, rel=1e-10, abs=0)
    assert [line["sample"] for line in lines if "sample" in line] == [LAST_SAMPLE]

    run = gn.load(folder / "ckpt.npz")
    norm = np.linalg.norm(run.model.params.flat)
    assert norm == pytest.approx(PARAMETER_NORM, rel=1e-10, abs=0)
    assert gn.load(folder / "ckpt-best.npz").progress["best_iteration"] == 9


def test_the_best_checkpoint_writes_the_same_text(folder, capsys):
    words = ["--out_dir=run", "--checkpoint=best", "--seed=3", "--num_samples=1"]
    assert cli.main(["sample", *words, "--max_new_tokens=40", "--start=The"]) == 0
    assert capsys.readouterr().out == SAMPLED
