"""How many threads and how much memory: affinity, cgroups of both versions, variables."""

import math

import pytest

from gpt_numpy.base import cgroups, threads
from gpt_numpy.base.errors import InputError
from gpt_numpy.model import memory

CASES = [  # membership, files, memory, processors
    ("0::/\n", {}, math.inf, math.inf),
    ("0::/\n", {"memory.max": "1000", "cpu.max": "150000 100000"}, 1000, 1.5),
    ("0::/\n", {"memory.max": "max", "cpu.max": "max 100000"}, math.inf, math.inf),
    # The limit of an ancestor holds, too: Slurm and systemd-run make nested groups.
    (
        "0::/job/step\n",
        {"job/memory.max": "500", "job/step/memory.max": "max", "job/step/cpu.max": "50000 100000"},
        500,
        0.5,
    ),
    (
        "0::/job/step\n",
        {"job/memory.max": "900", "job/step/memory.max": "700", "job/cpu.max": "100000 100000"},
        700,
        1.0,
    ),
    # Version 1, alone and with a version 2 that has no controllers.
    (
        "9:memory:/job\n8:cpu,cpuacct:/job\n0::/\n",
        {
            "memory/job/memory.limit_in_bytes": "400000000",
            "cpu,cpuacct/job/cpu.cfs_quota_us": "200000",
            "cpu,cpuacct/job/cpu.cfs_period_us": "100000",
        },
        400000000,
        2.0,
    ),
    (
        "4:memory:/host/path/not/mounted/here\n1:cpu:/\n",
        {
            "memory/memory.limit_in_bytes": "123",
            "cpu/cpu.cfs_quota_us": "-1",
            "cpu/cpu.cfs_period_us": "100000",
        },
        123,
        math.inf,
    ),
    ("nonsense\n\n7:x\n", {"memory.max": "\xff", "cpu.max": "1"}, math.inf, math.inf),
]


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """A function that writes the files of control groups."""

    def write(membership, files):
        monkeypatch.setattr(cgroups, "ROOT", tmp_path / "cgroup")
        monkeypatch.setattr(cgroups, "MEMBERSHIP", tmp_path / "membership")
        (tmp_path / "membership").write_text(membership, encoding="utf-8")
        for name, text in files.items():
            path = tmp_path / "cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n", encoding="latin-1")

    return write


@pytest.mark.parametrize(("membership", "files", "size", "quota"), CASES)
def test_limits_of_control_groups(groups, membership, files, size, quota):
    groups(membership, files)
    assert cgroups.memory_limit() == size
    assert cgroups.processor_quota() == quota


def test_no_control_groups_no_limit(monkeypatch, tmp_path):
    monkeypatch.setattr(cgroups, "MEMBERSHIP", tmp_path / "none")
    assert cgroups.memory_limit() == cgroups.processor_quota() == math.inf


def test_a_model_that_does_not_fit_into_the_group_is_refused(groups):
    from gpt_numpy import GPTConfig

    groups("9:memory:/job\n", {"memory/job/memory.limit_in_bytes": "400000000"})
    baby = GPTConfig(vocab_size=65, block_size=256, n_layer=6, n_head=6, n_embd=384)
    with pytest.raises(InputError, match="this machine has 400 MB"):
        memory.check_memory(baby, 64, itemsize=4, copies=4)


@pytest.mark.parametrize(("quota", "cores"), [("150000", 1), ("50000", 1), ("9900000", 4)])
def test_threads_are_as_many_as_the_quota_lets_run(groups, monkeypatch, quota, cores):
    groups("0::/\n", {"cpu.max": f"{quota} 100000"})
    monkeypatch.setattr(
        threads.os, "sched_getaffinity", lambda _: {10001, 10002, 10003, 10004}, False
    )
    assert threads.physical_cores() == cores


@pytest.mark.parametrize(
    ("wish", "count"), [("2", 2), ("99", 4), ("", 4), ("0", 4), ("many", 4), ("3,1", 3)]
)
def test_omp_num_threads_is_a_wish_for_fewer(groups, monkeypatch, wish, count):
    groups("0::/\n", {})
    monkeypatch.setattr(
        threads.os, "sched_getaffinity", lambda _: {10001, 10002, 10003, 10004}, False
    )
    monkeypatch.setattr(threads, "_wanted", None)
    monkeypatch.setenv("OMP_NUM_THREADS", wish)
    assert threads.wanted_threads() == count


@pytest.mark.parametrize(
    ("name", "value"),
    [("NUMBA_DISABLE_JIT", "1"), ("NUMBA_NUM_THREADS", "0"), ("NUMBA_NUM_THREADS", "x")],
)
def test_a_variable_that_keeps_kernels_from_running_is_named(monkeypatch, name, value):
    from gpt_numpy import GPT, GPTConfig

    monkeypatch.setenv(name, value)
    config = GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=1, n_embd=4)
    with pytest.raises(InputError, match=f"{name}='?{value}"):
        GPT(config)
    assert GPT(config, ops="reference").n_params


@pytest.mark.parametrize("name", ["run.npz", "huggingface"])
def test_a_variable_that_keeps_kernels_from_running_is_not_the_files_fault(
    monkeypatch, tmp_path, name
):
    from gpt_numpy import GPT, GPTConfig, from_pretrained, save
    from gpt_numpy.interop.open_model import export, open_run

    save(tmp_path / "run.npz", GPT(GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_embd=12)))
    export(open_run(tmp_path / "run.npz"), tmp_path / "huggingface", "huggingface")
    monkeypatch.setenv("NUMBA_NUM_THREADS", "0")
    with pytest.raises(InputError, match=r"^NUMBA_NUM_THREADS='0'"):
        from_pretrained(tmp_path / name)
