"""Hostile files are refused, quickly, in little memory, and nothing in them runs.

`python -m tests.hostile` is the whole campaign, with the memory of each in a process of its own.
"""

import os
import pickle
import time

import pytest

from gpt_numpy.base.errors import InputError
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


@pytest.mark.skipif(os.name != "posix", reason="modes of folders are POSIX")
def test_only_the_user_may_write_to_the_folder_of_machine_code(tmp_path, monkeypatch):
    from gpt_numpy.kernels.engine import machine_code as cache

    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cache, "_cache", None)
    folder = cache.cache_directory()
    assert folder.parent == tmp_path and folder.stat().st_mode & 0o022 == 0


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("safetensors: overlapping", "begins at 0 and not at 4"),
        ("safetensors: a hole", "begins at 8 and not at 4"),
        ("safetensors: a key twice", "a key twice"),
        ("safetensors: polyglot with a pickle", "the file has"),
        ("torch: overlapping members", "overlaps another one"),
        ("torch: 200,000 members", "its list of members has"),
        ("torch: a call", "nothing is executed"),
        ("torch: tensor beyond its storage", "beyond its storage"),
        ("torch: storage of another size", "does not have 1073741824 numbers"),
        ("config: a billion blocks", "only 1 arrays"),
        ("ours: a million blocks", "n_layer=1000000"),
    ],
)
def test_a_hostile_file_is_refused_for_what_is_wrong_with_it(name, reason, tmp_path):
    if name.startswith("ours"):
        (tmp_path / "good").mkdir()
    with pytest.raises(InputError, match=reason):
        KINDS[name](tmp_path)()
