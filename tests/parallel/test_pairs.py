"""An encoder-decoder in several processes: the bits of one, and it goes on in another number."""

import pytest

from tests.parallel.processes import PAIRS, lines, mpiexec, run
from tests.parallel.test_processes import same

pytest.importorskip("mpi4py", reason="mpi4py is not installed: pip install -e '.[mpi]'")
pytestmark = pytest.mark.skipif(mpiexec() is None, reason="there is no mpiexec")

# The reference has the bits of NumPy's BLAS, which depend on its number of threads.
KINDS = {
    "adamw": ["--ops=reference", "--threads=1"],
    "muon": ["--ops=reference", "--threads=1", "--optimizer=muon", "--lr_schedule=noam"],
    "kernels": ["--ops=kernels", "--threads=1", "--dtype=bfloat16"],
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Of a kind of run, the folder in which one process trained, without mpiexec."""
    folder, made = tmp_path_factory.mktemp("alone"), {}

    def trained(kind):
        if kind not in made:
            status, _, err = run(folder, 1, "train", *PAIRS, *KINDS[kind], f"--out_dir={kind}")
            assert status == 0, err
            made[kind] = folder / kind
        return made[kind]

    return trained


@pytest.mark.parametrize("kind, processes", [("adamw", 2), ("muon", 4), ("kernels", 2)])
def test_the_bits_are_those_of_one_process(tmp_path, alone, kind, processes):
    words = ["train", *PAIRS, *KINDS[kind], "--out_dir=r"]
    status, out, err = run(tmp_path, processes, *words)
    assert status == 0, err
    same(tmp_path / "r", alone(kind))
    assert lines(tmp_path / "r") == lines(alone(kind))
    assert f"{processes} processes" in out and out.count("step 6:") == 1 and "exact" in out


def test_a_run_goes_on_in_another_number_of_processes(tmp_path, alone):
    for count, last in ((4, 2), (2, 4), (1, 6)):
        words = [*PAIRS, *KINDS["muon"]] if last == 2 else ["--init_from=resume", "--threads=1"]
        status, _, err = run(tmp_path, count, "train", *words, "--out_dir=r", f"--max_iters={last}")
        assert status == 0, err
    same(tmp_path / "r", alone("muon"))


@pytest.mark.parametrize(
    "words, message",
    [
        (["--gradient_accumulation_steps=3"], "use a multiple of 2"),
        (["--source_size=4"], "source_size=4: a source of copy has up to 7 tokens"),
    ],
)
def test_bad_input_is_reported_once(tmp_path, words, message):
    status, _, err = run(tmp_path, 2, "train", *PAIRS, *words)
    assert (status, err.count("gpt-numpy:")) == (2, 1) and message in err
