"""A launch takes one thread while others hold the processors, and all of them again afterwards."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpt_numpy.kernels.engine import crew as crews
from gpt_numpy.kernels.engine import pool

ROOT = Path(__file__).parents[2]


class Machine:
    """A machine with a clock, on which each launch takes 1 ms, and 0.5 ms pass between them."""

    def __init__(self, threads, between=0.0005):
        self.now = self.used = 0.0
        self.threads, self.between, self.share = threads, between, 1.0  # of the processors
        self.crew = crews.Crew(lambda: self.now, lambda: self.used)
        self.workers = []

    def launch(self, workers):
        self.workers.append(workers)
        self.now += 0.001
        self.used += 0.001 * workers * self.share

    def run(self, seconds):
        """The numbers of threads of the launches in this time."""
        self.workers, end = [], self.now + seconds
        while self.now < end:
            self.crew.run(self.launch)
            self.now += self.between
            self.used += self.between
        return self.workers


@pytest.fixture
def machine(monkeypatch):
    monkeypatch.setattr(pool, "_threads", 4)
    return Machine(4)


def test_all_threads_while_nobody_else_computes(machine):
    assert set(machine.run(2)) == {4}


def test_one_thread_while_others_hold_the_processors_and_all_soon_after(machine):
    machine.share = 0.5
    alone = machine.run(20)
    assert alone.count(4) < 0.02 * len(alone)
    machine.share = 1.0
    machine.run(crews.LONGEST)
    assert set(machine.run(1)) == {4}


def test_somebody_who_reads_along_is_no_reason_for_fewer_threads(machine):
    machine.between = 0.01
    assert set(machine.run(5)) == {4}


def test_one_thread_stays_one(monkeypatch):
    monkeypatch.setattr(pool, "_threads", 1)
    assert set(Machine(1).run(0.1)) == {1}


STEPS = """
import time
import numpy as np
import gpt_numpy as gn
from gpt_numpy.generation.kv_cache import Cache
from gpt_numpy.kernels.engine import pool
pool.set_threads({threads})
config = gn.GPTConfig(vocab_size=65, block_size=64, n_layer=4, n_head=4, n_embd=128)
cache = Cache(gn.GPT(config), 1)
slot = np.zeros(1, np.int64)
def steps(count):
    for step in range(count):
        cache.lengths[0] = step % 50
        logits = cache.step(slot, slot)
    return logits.tobytes().hex()[:64]
steps(100)
start = time.process_time()
bits = steps(1000)
print(time.process_time() - start, bits)
"""


def test_many_more_threads_than_processors_do_not_fight():
    """Processor time and not time: that of a test on a busy machine says something, too."""
    many = 4 * (os.cpu_count() or 1)
    environment = os.environ | {"NUMBA_NUM_THREADS": str(many), "PYTHONPATH": str(ROOT)}
    (one, bits), (all_, bits_of_all) = (
        subprocess.run(
            [sys.executable, "-c", STEPS.format(threads=threads)],
            env=environment, capture_output=True, text=True, check=True,
        ).stdout.split()
        for threads in (1, many)
    )  # fmt: skip
    assert bits == bits_of_all
    assert float(all_) < 4 * float(one)
