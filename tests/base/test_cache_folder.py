"""Downloads and compiled kernels are kept in one folder, and the environment says which."""

import sys
from pathlib import Path

import pytest

from gpt_numpy.base.cache_folder import cache_folder
from gpt_numpy.base.errors import InputError
from gpt_numpy.kernels.engine import machine_code

VARIABLES = ("GPT_NUMPY_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA", "NUMBA_CACHE_DIR")


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setattr(machine_code, "_cache", None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("platform", "expected"),
    [("linux", ".cache"), ("darwin", "Library/Caches"), ("win32", "AppData/Local")],
)
def test_every_system_has_its_own_folder_for_caches(home, monkeypatch, platform, expected):
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_folder() == home / expected / "gpt_numpy"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == home / expected / "gpt_numpy"
    monkeypatch.setenv("LOCALAPPDATA", str(home / "local"))
    local = home / "local" if platform == "win32" else home / expected
    assert cache_folder() == local / "gpt_numpy"
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "xdg"))
    assert cache_folder() == home / "xdg" / "gpt_numpy"
    monkeypatch.setenv("GPT_NUMPY_CACHE", str(home / "own"))
    assert cache_folder() == home / "own"


def test_a_tilde_is_the_home_folder(home, monkeypatch):
    monkeypatch.setenv("GPT_NUMPY_CACHE", "~/own")
    assert cache_folder() == home / "own"


def test_without_a_home_folder_the_message_names_the_variable_to_set(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(InputError, match="set GPT_NUMPY_CACHE"):
        cache_folder()


def test_machine_code_moves_with_the_cache(home, monkeypatch):
    monkeypatch.setenv("GPT_NUMPY_CACHE", str(home / "own"))
    assert machine_code.cache_directory().parent == home / "own"


def test_machine_code_ignores_a_relative_folder_of_caches(home, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert machine_code.cache_directory().parent == home / ".cache" / "gpt_numpy"
    assert not (home / "relative").exists()


def test_machine_code_goes_where_numba_is_told(home, monkeypatch):
    monkeypatch.setenv("GPT_NUMPY_CACHE", str(home / "own"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(home / "numba"))
    assert machine_code.cache_directory().parent == home / "numba"
