"""Weights that others have trained: glassllm's models (MIT, from PyPI), shaped as Llama's.

Compared are the logits with those of its own forward pass, which shares no code with this one. It
turns neighbouring channels.
"""

from pathlib import Path

import numpy as np
import pytest

import gpt_numpy as gn

glassllm = pytest.importorskip("glassllm", reason="needs glassllm: pip install glassllm")

CONFIG = gn.GPTConfig(
    1024, 128, 4, 4, 128, n_kv_head=2, norm="rmsnorm", positions="rotary", activation="swiglu",
    n_inner=341, bias=False, rope_base=10000.0, norm_eps=1e-6,
)  # fmt: skip


def halves(weight, size=32):
    """The columns of each head with the first of all pairs first."""
    rows, columns = weight.shape
    pairs = weight.reshape(rows, columns // size, size // 2, 2)
    return pairs.transpose(0, 1, 3, 2).reshape(rows, columns)


def renamed(theirs):
    """Their parameters under GPT-2's names."""
    ours = {"wte.weight": theirs["E"], "ln_f.weight": theirs["norm_f.gamma"]}
    for i in range(CONFIG.n_layer):
        query, key, value, out = (theirs[f"blocks.{i}.attn.W_{letter}"] for letter in "QKVO")
        gate, up, down = (theirs[f"blocks.{i}.ffn.W{number}"] for number in (1, 3, 2))
        block = {
            "ln_1": theirs[f"blocks.{i}.norm1.gamma"],
            "attn.c_attn": np.concatenate([halves(query), halves(key), value], axis=1),
            "attn.c_proj": out,
            "ln_2": theirs[f"blocks.{i}.norm2.gamma"],
            "mlp.c_fc": np.concatenate([gate, up], axis=1),
            "mlp.c_proj": down,
        }
        ours |= {f"h.{i}.{name}.weight": weight for name, weight in block.items()}
    return ours


@pytest.mark.parametrize("language", ["en", "pt"])
@pytest.mark.parametrize(
    ("dtype", "ops", "close"), [("float64", "reference", 1e-13), ("float32", "kernels", 2e-6)]
)
def test_logits_are_those_of_its_own_forward_pass(language, dtype, ops, close):
    weights = Path(glassllm.__file__).parent / "weights" / f"{language}.npz"
    theirs = glassllm.GlassLM.load(weights, dtype=np.float64)
    model = gn.GPT(CONFIG, dtype=dtype, ops=ops)
    parameters = renamed({name: p.data for name, p in theirs.named_parameters().items()})
    assert set(parameters) == set(model.params)
    for name, values in parameters.items():
        model.params[name][...] = values
    tokens = np.random.default_rng(0).integers(0, 1024, (2, 128))
    wanted = theirs.forward(tokens).data
    assert np.abs(model.logits(tokens) - wanted).max() <= close * np.abs(wanted).max()
