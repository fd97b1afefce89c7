"""Each of Numba's threading layers, Python threads, and forks, each in a process of its own."""

import ctypes.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("omp", "workqueue", *(["tbb"] if ctypes.util.find_library("tbb") else []))

TRAIN = """
import hashlib, os, sys, threading
import numpy as np
import gpt_numpy as gn

def digest(steps=3):
    config = gn.GPTConfig(
        vocab_size=65, block_size=32, n_layer=2, n_head=2, n_embd=48, dropout=0.1
    )
    model = gn.GPT(config)
    optimizer = gn.Muon(model)
    tokens = np.random.default_rng(0).integers(0, 65, (4, 32))
    for step in range(steps):
        model.forward(tokens, tokens, dropout_key=step)
        model.backward()
        optimizer.step()
    written = gn.generate(model, tokens[:1, :5], 5)
    return hashlib.sha256(model.params.flat.tobytes() + written.tobytes()).hexdigest()
"""

SECOND_THREADS = """
import numba
results = []
workers = [threading.Thread(target=lambda: results.append(digest())) for _ in range(4)]
for worker in workers[:1]:  # the first kernels of the process run in a thread that is not the main
    worker.start()
    worker.join()
results.append(digest())
for worker in workers[1:]:
    worker.start()
results.append(digest())  # at the same time
for worker in workers[1:]:
    worker.join()
assert len(results) == 6, results
print(numba.threading_layer(), *sorted(set(results)))
"""

FORK = """
def in_a_child(what):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            what()
        except Exception as error:
            print(type(error).__name__, "-", error, flush=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the child died: {status}"

in_a_child(lambda: print("before:", digest(), flush=True))
print("parent:", digest(), flush=True)
in_a_child(digest)
print("parent:", digest(), flush=True)
"""


def run(code, **environment):
    """Its lines, from a process of its own; the test is skipped where a layer is not installed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TRAIN + code],
        capture_output=True, text=True, env=environment, timeout=300,
    )  # fmt: skip
    if "No threading layer could be loaded" in done.stderr:
        pytest.skip("this threading layer is not installed")
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def expected():
    """The digest that every way of running must give."""
    return run("print(digest())")[0]


@pytest.mark.parametrize("layer", LAYERS)
def test_every_threading_layer_and_python_thread_gives_the_same_bits(layer, expected):
    assert run(SECOND_THREADS, NUMBA_THREADING_LAYER=layer) == [f"{layer} {expected}"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("layer", LAYERS)
def test_a_child_works_if_forked_before_the_kernels_and_says_why_not_if_after(layer, expected):
    before, parent, child, again = run(FORK, NUMBA_THREADING_LAYER=layer)
    assert before == f"before: {expected}"
    assert parent == again == f"parent: {expected}"
    assert child.startswith("RuntimeError - this process was forked after gpt_numpy had started")
    assert "get_context('spawn')" in child


SPAWN = """
if __name__ == "__main__":
    import multiprocessing
    print(digest())
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for line in pool.map(digest, [3, 3]):
            print(line)
"""


def test_processes_that_are_spawned_work_side_by_side(expected, tmp_path):
    script = tmp_path / "spawned.py"
    script.write_text(TRAIN + SPAWN, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [expected] * 3
