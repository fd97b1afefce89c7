"""Write modern.npz: what PyTorch computes for small GPTs of the kinds that came after GPT-2.

    python tests/golden/make_modern.py

needs torch; the tests need only the file. As in make_golden.py, whose parts that are not the model
are used here, everything is float64, the same bytes each time, and the model below imports nothing
from gpt_numpy. It has PyTorch's own RMSNorm, SiLU, attention (which shares the heads of keys and
values itself), cross-entropy and autograd; rotations are products of complex numbers.

L is Llama's kind: RMSNorm, rotary positions, SwiGLU, grouped heads, no biases, a head of its own.
N is nanochat's: also QK norm, here with weights, before the turn, as in Qwen3; a squared ReLU and a
soft cap of the logits. M mixes: layer norm and biases, QK norm without positions, exact GELU, tied.

The arrays of the file are those of make_golden.py without activations and training steps.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from make_golden import (
    Draws,
    activation,
    as_torch,
    joined,
    layer_norm,
    linear,
    one_batch,
    shapes_of,
    summed_loss,
    write_npz,
)

SPREAD, UNIT = 0.3, 1024  # of all initial parameters, as in make_golden.py
EPS = 1e-5
SIZES = {"vocab_size": 13, "block_size": 9, "n_layer": 2}
CASES = {
    "L": {
        "seed": 5,
        "config": SIZES
        | {
            "n_head": 4,
            "n_kv_head": 2,
            "n_embd": 16,
            "bias": False,
            "norm": "rmsnorm",
            "positions": "rotary",
            "activation": "swiglu",
            "n_inner": 11,
            "tied": False,
        },
    },
    "N": {
        "seed": 6,
        "config": SIZES
        | {
            "n_head": 3,
            "n_kv_head": 1,
            "n_embd": 12,
            "bias": False,
            "norm": "rmsnorm",
            "positions": "rotary",
            "rope_base": 100.0,
            "qk_norm": True,
            "activation": "relu2",
            "tied": False,
            "logit_softcap": 1.5,
        },
    },
    "M": {
        "seed": 7,
        "config": SIZES
        | {
            "n_head": 2,
            "n_kv_head": 2,
            "n_embd": 10,
            "bias": True,
            "norm": "layernorm",
            "positions": "none",
            "qk_norm": True,
            "activation": "gelu",
            "tied": True,
        },
    },
}


def gpt(config, params, tokens):
    """Logits (B, T, V) after the soft cap."""
    x = F.embedding(tokens, params["wte.weight"])
    for i in range(config["n_layer"]):
        block = f"h.{i}"
        x = x + attention(config, params, norm(config, x, params, f"{block}.ln_1"), f"{block}.attn")
        hidden = linear(norm(config, x, params, f"{block}.ln_2"), params, f"{block}.mlp.c_fc")
        x = x + linear(inside(hidden, config["activation"]), params, f"{block}.mlp.c_proj")
    head = params["wte.weight"] if config["tied"] else params["lm_head.weight"]
    logits = norm(config, x, params, "ln_f") @ head.T
    cap = config.get("logit_softcap")
    return torch.tanh(logits / cap) * cap if cap else logits


def norm(config, x, params, name):
    if config["norm"] == "layernorm":
        return layer_norm(x, params, name)
    return F.rms_norm(x, x.shape[-1:], params[f"{name}.weight"], eps=EPS)


def inside(hidden, name):
    """What is between the two matrices of the MLP."""
    if name == "swiglu":
        gate, value = hidden.chunk(2, dim=-1)
        return F.silu(gate) * value
    return F.relu(hidden).square() if name == "relu2" else activation(hidden, name)


def attention(config, params, x, name):
    heads, shared = config["n_head"], config["n_kv_head"]
    size = config["n_embd"] // heads
    qkv = linear(x, params, f"{name}.c_attn")
    query, key, value = (
        part.unflatten(-1, (-1, size)).transpose(1, 2)
        for part in qkv.split([heads * size, shared * size, shared * size], dim=-1)
    )
    if config.get("qk_norm"):
        query = F.rms_norm(query, (size,), params[f"{name}.q_norm.weight"], eps=EPS)
        key = F.rms_norm(key, (size,), params[f"{name}.k_norm.weight"], eps=EPS)
    if config["positions"] == "rotary":
        base = config.get("rope_base", 10000.0)
        query, key = turned(query, base), turned(key, base)
    out = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
    return linear(out.transpose(1, 2).flatten(2), params, f"{name}.c_proj")


def turned(x, base):
    """Channel i of the first half and of the second are one complex number, which turns."""
    half = x.shape[-1] // 2
    angles = torch.arange(x.shape[-2])[:, None] / base ** (torch.arange(half) / half)
    planes = torch.complex(x[..., :half], x[..., half:]) * torch.polar(
        torch.ones_like(angles), angles
    )
    return torch.cat([planes.real, planes.imag], dim=-1)


def initial_parameters(config, draws):
    """Arrays by name. Weights of norms are spread about 1, all others about 0."""
    V, C = config["vocab_size"], config["n_embd"]
    size = C // config["n_head"]
    wide = C + 2 * config["n_kv_head"] * size
    F_ = config.get("n_inner", 4 * C)
    first = 2 * F_ if config["activation"] == "swiglu" else F_
    shapes = {"wte.weight": (V, C)}
    for i in range(config["n_layer"]):
        for name, shape in (
            ("ln_1", (C,)),
            ("attn.c_attn", (C, wide)),
            ("attn.q_norm", (size,)),
            ("attn.k_norm", (size,)),
            ("attn.c_proj", (C, C)),
            ("ln_2", (C,)),
            ("mlp.c_fc", (C, first)),
            ("mlp.c_proj", (F_, C)),
        ):
            if name in ("attn.q_norm", "attn.k_norm") and not config.get("qk_norm"):
                continue
            shapes[f"h.{i}.{name}.weight"] = shape
            shapes[f"h.{i}.{name}.bias"] = shape[-1:]
    shapes["ln_f.weight"] = shapes["ln_f.bias"] = (C,)
    if not config["tied"]:
        shapes["lm_head.weight"] = (V, C)
    params = {}
    for name, shape in shapes.items():
        bare = "_norm." in name or ("ln_" in name and config["norm"] == "rmsnorm")
        if name.endswith(".bias") and (bare or not config["bias"]):
            continue
        centre = 1.0 if name.endswith(".weight") and ("ln_" in name or "_norm." in name) else 0.0
        params[name] = np.round((centre + SPREAD * draws.normal(*shape)) * UNIT) / UNIT
    return params


def compute_case(case):
    config, draws = case["config"], Draws(case["seed"])
    start = initial_parameters(config, draws)
    tokens, targets = one_batch(config, (3, config["block_size"] - 1), draws)
    params = as_torch(start)
    logits = gpt(config, params, torch.from_numpy(tokens))
    loss = summed_loss(logits, torch.from_numpy(targets)) / (targets >= 0).sum().item()
    loss.backward()
    return {
        "config": json.dumps(config),
        "param_shapes": shapes_of(start),
        "params": joined(start.values()),
        "tokens": tokens.astype(np.int8),
        "targets": targets.astype(np.int8),
        "logits": logits.detach(),
        "loss": loss.detach(),
        "grads": joined(p.grad for p in params.values()),
    }


def main():
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)  # one order of summation
    torch.use_deterministic_algorithms(True)
    versions = f"Made with torch {torch.__version__}, NumPy {np.__version__}."
    arrays = {"about": f"{__doc__}\n{versions}\n"}
    for name, case in CASES.items():
        arrays |= {f"{name}/{key}": value for key, value in compute_case(case).items()}
    path = Path(__file__).with_name("modern.npz")
    write_npz(path, arrays)
    print(f"{path}: {len(arrays)} arrays, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(main())
