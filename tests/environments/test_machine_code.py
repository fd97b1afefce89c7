"""Compiled kernels in folders that cannot be used: the run goes on, and one line says why."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KERNEL = """
import numpy as np
from gpt_numpy.kernels import sum_of_squares
print(float(sum_of_squares(np.full(10, 2.0, np.float32))))
"""
COMMAND = [sys.executable, "-c", KERNEL]
STRANGER = 54321  # no such user
posix = pytest.mark.skipif(os.name != "posix", reason="modes of folders are POSIX")
AS_STRANGER = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"]


def is_root_among_others():
    """Whether this process is root and can run the interpreter as somebody else."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("setpriv"):
        return False
    code = "import subprocess, sys, gpt_numpy; subprocess.run([sys.executable, '-V'], check=True)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*AS_STRANGER, sys.executable, "-c", code], env=environment, capture_output=True, cwd="/"
    )
    return done.returncode == 0


needs_root = pytest.mark.skipif(
    not is_root_among_others(), reason="only root can be another user, who must find Python"
)


def environment(**changes):
    """Without what would say where to keep anything; None takes a variable away."""
    names = ("NUMBA_CACHE_DIR", "GPT_NUMPY_CACHE", "XDG_CACHE_HOME")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    kept |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"} | changes
    return {name: value for name, value in kept.items() if value is not None}


def run(*before_it, **changes):
    """The lines that the kernel's process reports, which must end well and leave nothing behind."""
    with tempfile.TemporaryDirectory() as folder:  # of its own: other tests may run at once
        Path(folder).chmod(0o1777)
        where = environment(**({"TMPDIR": folder} | changes))
        command = [*before_it, *COMMAND]
        done = subprocess.run(command, env=where, capture_output=True, text=True, cwd="/")
        assert (done.returncode, done.stdout) == (0, "40.0\n"), done.stderr
        assert not list(Path(where["TMPDIR"]).glob("gpt_numpy-*"))
    return done.stderr.splitlines()


def compiled(lines):
    return [line for line in lines if "compiling kernels" in line]


def kept_elsewhere(lines):
    """The one line about the folder; it says what to set."""
    (line,) = (line for line in lines if "cannot be kept" in line)
    assert "Set GPT_NUMPY_CACHE to a folder" in line and line.count("GPT_NUMPY_CACHE") == 1
    return line


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory):
    """A cache with the kernel in it."""
    folder = tmp_path_factory.mktemp("compiled") / "cache"
    assert compiled(run(GPT_NUMPY_CACHE=str(folder)))
    assert run(GPT_NUMPY_CACHE=str(folder)) == []
    return folder


@pytest.fixture
def cache(compiled_once):
    """A copy of it where other users can reach it (not in pytest's folders)."""
    with tempfile.TemporaryDirectory() as top:
        yield Path(shutil.copytree(compiled_once, Path(top) / "cache"))


@posix
def test_without_a_home_machine_code_is_kept_for_the_process():
    if sys.platform == "linux":  # where a user without an entry has no home
        lines = run(HOME="/proc/nonexistent")
        assert "/proc/nonexistent" in kept_elsewhere(lines) and compiled(lines)


@needs_root
def test_a_user_without_an_entry_and_without_a_home(tmp_path):
    lines = run(*AS_STRANGER, HOME=None)
    assert "no home folder" in kept_elsewhere(lines) and compiled(lines)


@posix
def test_the_remedy_in_the_line_works(tmp_path):
    assert compiled(run(HOME="/proc/nonexistent", GPT_NUMPY_CACHE=str(tmp_path)))
    assert run(HOME="/proc/nonexistent", GPT_NUMPY_CACHE=str(tmp_path)) == []


@needs_root
def test_a_read_only_cache_that_root_filled_is_used_by_others(cache):
    cache.parent.chmod(0o755)
    lines = run(*AS_STRANGER, GPT_NUMPY_CACHE=str(cache), HOME=None)
    assert "Permission denied" in kept_elsewhere(lines) and not compiled(lines)


@needs_root
def test_two_users_share_a_cache(cache):
    cache.parent.chmod(0o755)
    cache.chmod(0o777)
    (own,) = cache.iterdir()
    before = sorted(path.stat().st_mtime_ns for path in own.rglob("*"))
    assert compiled(run(*AS_STRANGER, GPT_NUMPY_CACHE=str(cache)))
    assert run(*AS_STRANGER, GPT_NUMPY_CACHE=str(cache)) == []
    other = cache / f"{own.name}-{STRANGER}"
    assert other.stat().st_uid == STRANGER and other.stat().st_mode & 0o022 == 0
    assert sorted(path.stat().st_mtime_ns for path in own.rglob("*")) == before


@posix
def test_a_cache_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert "file" in kept_elsewhere(run(GPT_NUMPY_CACHE=str(tmp_path / "file")))


@needs_root
def test_a_full_disk(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    options = "size=32k,mode=1777"
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(small)])
    if made.returncode:
        pytest.skip("a file system cannot be mounted here")
    try:
        lines = run(GPT_NUMPY_CACHE=str(small / "cache"))
        assert "No space left" in kept_elsewhere(lines) and compiled(lines)
        temporary = run(GPT_NUMPY_CACHE=str(small / "cache"), TMPDIR=str(small))
        assert "No space left" in kept_elsewhere(temporary) and compiled(temporary)
    finally:
        subprocess.run(["umount", str(small)], check=True)


@posix
def test_a_home_with_blanks_and_other_letters(tmp_path):
    home = tmp_path / "Zoë's home"
    home.mkdir()
    for changes in ({}, {"LC_ALL": "C"}):
        run(HOME=str(home), **changes)
        assert run(HOME=str(home), **changes) == []


def test_damaged_machine_code_is_compiled_again(cache):
    for path in cache.rglob("*.nbi"):
        path.write_bytes(b"damaged")
    assert compiled(run(GPT_NUMPY_CACHE=str(cache)))
    assert run(GPT_NUMPY_CACHE=str(cache)) == []


TWO_AT_ONCE = (
    """
import os
from pathlib import Path
from gpt_numpy.kernels.engine import jit
compile_elsewhere, seen = jit.compile_elsewhere, []
def watched(module, name, dtype, place):
    wrong = compile_elsewhere(module, name, dtype, place)
    assert any(place.rglob("*.nbc")), "nothing was compiled"
    final = place.with_name(place.name.removesuffix(f".{{os.getpid()}}"))
    assert not final.exists(), "half of it can be found"
    if {other}:
        compile_elsewhere(module, name, dtype, final)
        seen.extend((path, path.read_bytes()) for path in final.rglob("*.nbc"))
    return wrong
jit.compile_elsewhere = watched
"""
    + KERNEL
    + """
for path, content in seen:
    assert path.read_bytes() == content, "the first one's machine code was replaced"
assert not [path for path in Path({folder!r}).rglob("*") if path.suffix[1:].isdigit()]
"""
)


@pytest.mark.parametrize("other", [False, True])
def test_a_kernel_is_found_whole_or_not_at_all(tmp_path, other):
    """Another process may look for it, or compile it too, while it is compiled."""
    done = subprocess.run(
        [sys.executable, "-c", TWO_AT_ONCE.format(other=other, folder=str(tmp_path))],
        env=environment(GPT_NUMPY_CACHE=str(tmp_path)), capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "40.0\n"), done.stderr
    assert run(GPT_NUMPY_CACHE=str(tmp_path)) == []


def test_optimised_python_finds_its_own_machine_code(cache, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "COMMAND", [sys.executable, "-OO", "-c", KERNEL])
    run(GPT_NUMPY_CACHE=str(cache))
    assert run(GPT_NUMPY_CACHE=str(cache)) == []


def test_a_process_that_cannot_start_another_compiles_itself(tmp_path):
    broken = f"import sys; sys.executable = {str(tmp_path / 'none')!r}\n" + KERNEL
    done = subprocess.run(
        [sys.executable, "-c", broken],
        env=environment(GPT_NUMPY_CACHE=str(tmp_path)), capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "40.0\n"), done.stderr
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("layer", ["nonsense", "tbb", "safe"])
def test_a_threading_layer_that_cannot_be_had_is_one_line(layer, tmp_path):
    code = (
        "import gpt_numpy as gn\nmodel = gn.GPT(gn.GPTConfig(vocab_size=5, block_size=4))\n"
        "try:\n    model.logits([[1]])\nexcept gn.InputError as error:\n    print(error)\n"
        "else:\n    print('loaded')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(NUMBA_THREADING_LAYER=layer, GPT_NUMPY_CACHE=os.environ["NUMBA_CACHE_DIR"]),
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"NUMBA_THREADING_LAYER={layer!r}: ") or line == "loaded"
