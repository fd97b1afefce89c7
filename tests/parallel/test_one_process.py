"""What the variables of mpiexec mean, where MPI is missing or not needed."""

import subprocess
import sys

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.cli.processes import describe_processes
from gpt_numpy.training.evaluation import in_order
from tests.support.commands import ENVIRONMENT

NO_MPI = """
import sys
sys.modules["mpi4py"] = None
from gpt_numpy.cli.main import main
sys.exit(main(["train", "tiny", "--out_dir=r"]))
"""


@pytest.mark.parametrize(
    "variables", [("PMI_RANK", "PMI_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")]
)
@pytest.mark.parametrize("rank", [0, 1])
def test_without_mpi4py_nobody_trains(tmp_path, variables, rank):
    started = dict(zip(variables, (str(rank), "2"), strict=True))
    done = subprocess.run(
        [sys.executable, "-c", NO_MPI],
        cwd=tmp_path, env=ENVIRONMENT | started, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert ("pip install mpi4py" in done.stderr) == (rank == 0)
    assert len(done.stderr.splitlines()) == (rank == 0)
    assert not list(tmp_path.iterdir())


def test_one_process_imports_no_mpi(tmp_path):
    code = "import gpt_numpy as gn, sys\nwith gn.parallel.start() as world: pass\n"
    code += "assert world.size == 1 and world.first\nprint('mpi4py' in sys.modules)"
    for started in ({}, {"PMI_RANK": "0", "PMI_SIZE": "1"}):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=ENVIRONMENT | started,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "False\n"


def test_one_process_has_everything():
    assert list(gn.parallel.ONE.share(5)) == [0, 1, 2, 3, 4]
    assert gn.parallel.ONE.texts("x") == ["x"]
    assert gn.parallel.ONE.segment(7) == (0, 7)
    with pytest.raises(gn.InputError, match="micro_batches=0: must be"):
        gn.parallel.ONE.share(0)


class Second(gn.parallel.World):
    """The second of two processes, without the first."""

    def __init__(self):
        super().__init__()
        self.rank, self.size, self.first = 1, 2, False


@pytest.mark.parametrize("kind", [gn.AdamW, gn.Muon])
def test_a_divided_optimizer_holds_its_segment(kind):
    config = gn.GPTConfig(vocab_size=11, block_size=4, n_layer=2, n_head=2, n_embd=48)
    whole = kind(gn.GPT(config, ops="reference"), learning_rate=0.5)
    whole.steps = 7
    for k, arrays in enumerate(whole.state().values()):
        arrays.flat[...] = np.arange(arrays.flat.size) + 0.5 * k
    mine = whole.divided(Second())
    assert (mine.learning_rate, mine.steps) == (0.5, 7)
    start, stop = Second().segment(whole.model.n_params)
    assert 0 < start < stop == whole.model.n_params
    for moments, own in ((whole.m, mine.m), (whole.v, mine.v)):
        # Of the vector of all parameters, as long as it, what the second process updates.
        places = np.full(whole.model.n_params, np.nan, moments.flat.dtype)
        for name, array in moments.items():
            begin = whole.model.params.starts[name]
            places[begin : begin + array.size] = array.reshape(-1)
        expected = places[start:stop]
        assert np.array_equal(own.flat, expected[~np.isnan(expected)])
    if kind is gn.Muon:
        assert 0 < len(mine.momentum) < len(whole.momentum)
        for name, momentum in mine.momentum.items():
            assert np.array_equal(momentum, whole.momentum[name])


@pytest.mark.parametrize("count", [1, 4, 5])
def test_losses_of_all_processes_come_in_the_order_of_the_batches(count, monkeypatch):
    world, batches = Second(), np.arange(count, dtype=float)
    monkeypatch.setattr(world, "numbers", lambda mine: np.append(batches[::2], mine))
    assert in_order(batches[1::2].tolist(), world).tolist() == batches.tolist()


@pytest.mark.parametrize("size", [2, 3, 6, 8])
def test_it_is_said_when_the_bits_are_not_those_of_one_process(size, capsys, monkeypatch):
    world = Second()
    world.size = size
    monkeypatch.setattr("gpt_numpy.cli.processes.sharing", lambda: size)
    monkeypatch.setattr("gpt_numpy.cli.processes.wanted_threads", lambda: 2)
    monkeypatch.setattr("gpt_numpy.cli.processes.physical_cores", lambda: 8)
    describe_processes(world, gn.TrainConfig(gradient_accumulation_steps=48))
    out = capsys.readouterr().out
    assert f"{size} processes with 2 threads each; of an update's 48 micro-batches" in out
    assert (f"the last bits are those of {size} processes" in out) == (size in (3, 6))
    assert ("would be faster" in out) == (2 * size > 8)
