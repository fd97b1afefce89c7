"""A process that compiles the kernels computes the same bits as one that finds them compiled."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
STEPS = """
import hashlib
import numpy as np
import gpt_numpy as gn
config = gn.GPTConfig(
    vocab_size=65, block_size=32, n_layer=2, n_head=2, n_embd=48, dropout=0.1, bias=True
)
model = gn.GPT(config)
optimizer = gn.AdamW(model, grad_clip=1.0)
tokens = np.random.default_rng(0).integers(0, 65, (4, 32))
for step in range(3):
    for part in range(2):
        model.forward(tokens, tokens, dropout_key=step)
        model.backward(accumulate=part > 0)
    for name, array in model.grads.items():
        print(name, hashlib.sha256(array.tobytes()).hexdigest())
    optimizer.step()
print(model.logits(tokens).tobytes().hex()[:4000], gn.generate(model, tokens[:1, :5], 5))
"""


def test_the_first_process_on_a_machine_gets_the_bits_of_all_later_ones(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    first, second = (
        subprocess.run(
            [sys.executable, "-c", STEPS], env=environment, capture_output=True, text=True
        )
        for _ in range(2)
    )
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert "compiling kernels" in first.stderr and second.stderr == ""
    assert first.stdout.splitlines() == second.stdout.splitlines()
