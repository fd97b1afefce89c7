"""Folders that cannot be written and full disks: one line that says what helps, or none needed."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from gpt_numpy.cli import main as cli
from tests.environments.test_machine_code import AS_STRANGER, environment, needs_root
from tests.support.commands import QUICK, TEXT

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits and modes are POSIX")
TRAIN = shlex.join(["train", *QUICK])
# What writes files, and what its one line says when the disk is full.
WRITING = {
    f"{TRAIN} --out_dir=r": "free disk space, or choose another folder with --out_dir",
    "prepare t.txt --dataset=d": "free disk space, or work in a folder that can be written",
    "convert run c": "free disk space, or name another folder",
    "convert run c --format=gpt_numpy": "free disk space, or choose another folder",
    "convert run c --format=nanogpt": "free disk space, or name another folder",
    "inspect --out_dir=run --text=be --html=p.html": "free disk space, or name another file",
    "plot run --out=l.svg": "free disk space, or name another file",
}
READING = (
    "sample --out_dir=run --num_samples=1 --max_new_tokens=2",
    "inspect --out_dir=run --text=be",
    "gradcheck --out_dir=run --method=directions --batch_size=1",
    f"{TRAIN} --eval_only",
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.txt").write_text(TEXT)
    assert cli.main(shlex.split(f"{TRAIN} --out_dir=run")) == 0
    return tmp_path


def run(words, *before, limit="unlimited", **changes):
    """The status and the lines on stderr of a command whose files may have `limit` KiB each."""
    command = shlex.join([*before, sys.executable, "-m", "gpt_numpy", *shlex.split(words)])
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f {limit}; exec {command}"],
        env=environment(**changes), capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize("words", WRITING)
def test_a_full_disk_is_one_line_with_a_remedy(folder, words):
    pytest.importorskip("matplotlib" if words.startswith("plot") else "safetensors")
    status, lines = run(words, limit=2, MPLCONFIGDIR=str(folder))
    lines = [line for line in lines if not line.startswith("Could not save font_manager")]
    assert status == cli.BAD_INPUT and len(lines) == 1 and WRITING[words] in lines[0], lines
    assert not [path for path in folder.rglob("*") if path.name.startswith(".partial")]
    assert run(words, MPLCONFIGDIR=str(folder))[0] == 0  # there is room now


def test_an_output_on_a_full_disk_is_one_line_with_a_remedy(folder):
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    line = shlex.join([sys.executable, "-m", "gpt_numpy", *shlex.split(READING[0])])
    done = subprocess.run(
        ["bash", "-c", f"{line} > /dev/full"], env=environment(), capture_output=True, text=True
    )
    assert done.returncode == cli.BAD_INPUT and done.stderr.count("\n") == 1
    assert "free disk space, or write to another place" in done.stderr


@pytest.mark.parametrize("words", READING)
def test_what_only_reads_needs_no_home(folder, words):
    assert run(words, HOME="/proc/nonexistent") == (0, [])
    assert run(words, HOME=None) == (0, [])


@needs_root
def test_a_stranger_in_a_folder_that_others_own(folder, monkeypatch):
    """In a container with an unknown user id: what reads works, what writes says what helps."""
    with tempfile.TemporaryDirectory() as top:  # pytest's folders are closed to others
        shutil.copytree(folder, top, dirs_exist_ok=True)
        os.chmod(top, 0o755)
        monkeypatch.chdir(top)
        for words in READING:
            assert run(words, *AS_STRANGER, HOME=None) == (0, [])
        for words in WRITING:
            status, lines = run(words, *AS_STRANGER, HOME=None, MPLCONFIGDIR="/tmp")
            assert status == cli.BAD_INPUT and len(lines) == 1, lines
            assert "Permission denied; " in lines[0]
        monkeypatch.undo()
