"""Hostile files are refused, quickly, in little memory, and nothing in them runs.

`python -m tests.hostile` is the whole campaign, with the memory of each in a process of its own.
"""

import pickle
import time

import pytest

from gpt_numpy.errors import InputError
from tests.hostile.__main__ import damaged
from tests.hostile.files import KINDS, MARK, Evil
from tests.hostile.watch import Executed, watched

LARGE = ("safetensors: header of 100 MB", "torch: compressed bomb", "ours: compressed bomb")


@pytest.mark.parametrize("name", [name for name in KINDS if name not in LARGE])
def test_a_hostile_file_is_refused(name, tmp_path, monkeypatch):
    if name.startswith("tokenizer"):
        pytest.importorskip("tokenizers", reason="the extra `bpe` is not installed")
    if name.startswith("ours"):
        (tmp_path / "good").mkdir()
    monkeypatch.chdir(tmp_path)
    read = KINDS[name](tmp_path)
    start = time.process_time()
    with watched(tmp_path), pytest.raises(InputError):
        read()
    assert time.process_time() - start < 2  # the campaign, alone on a machine, allows 1
    assert not (tmp_path / MARK).exists()


def test_hostile_pickles_do_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert damaged(60) == 60
    assert not (tmp_path / MARK).exists()


def test_the_watch_sees_what_pickle_itself_would_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps(Evil())
    with pytest.raises(Executed), watched(tmp_path):
        pickle.loads(data)
    assert not (tmp_path / MARK).exists()
    pickle.loads(data).close()
    assert (tmp_path / MARK).exists()  # it would have happened
