"""Queries and keys of heads of any size: whole vectors of channels, and what is left of them."""

import numpy as np
import pytest

import gpt_numpy.kernels.queries_keys as kernels
import gpt_numpy.reference.queries_keys as reference
from gpt_numpy.reference.rotary import rotation_table
from tests.support.errors import TOLERANCE, assert_close
from tests.support.twins import run_guarded

B, T, H, G = 2, 3, 4, 2
# Vectors have 4, 8 or 16 elements: usual heads of some of them, too few, too many, and remainders.
SIZES = [2, 14, 24, 32, 48, 64, 70, 96, 128, 320]


def inputs_of(size, seed=0):
    rng = np.random.default_rng(seed)
    weights = {name: 1 + 0.5 * rng.standard_normal(size) for name in ("q_norm", "k_norm")}
    return {
        "qkv": rng.standard_normal((B, T, (H + 2 * G) * size)),
        "n_head": H,
        "n_kv_head": G,
        **weights,
        "rotations": rotation_table(T + 1, size, 100.0),
    }


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("size", SIZES)
def test_heads_of_any_size_agree_with_the_reference(size, dtype):
    inputs = inputs_of(size)
    inputs = {k: v.astype(dtype) if isinstance(v, np.ndarray) else v for k, v in inputs.items()}
    exact = {k: v.astype(float) if isinstance(v, np.ndarray) else v for k, v in inputs.items()}
    shape = inputs["qkv"].shape
    dout = np.random.default_rng(1).standard_normal(shape).astype(dtype)
    written = {"dqkv": shape, "dq_norm": (size,), "dk_norm": (size,)}
    found = run_guarded(kernels.queries_keys_forward, inputs, {"out": shape}, dtype)
    found |= run_guarded(kernels.queries_keys_backward, {"dout": dout} | inputs, written, dtype)
    wanted = {name: np.empty(shape) for name, shape in ({"out": shape} | written).items()}
    reference.queries_keys_forward(**exact, out=wanted["out"])
    gradients = {name: wanted[name] for name in written}
    reference.queries_keys_backward(dout.astype(float), **exact, **gradients)
    assert_close(found, wanted, dtype)
