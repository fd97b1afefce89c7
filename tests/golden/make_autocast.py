"""Write autocast.json: how far PyTorch's gradients in bfloat16 are from those in float64.

    python -m tests.golden.make_autocast

needs torch; test_autocast.py needs only the file. The model is that of make_golden.py, with float32
parameters under `torch.autocast("cpu", torch.bfloat16)`, and in float64. For each case and
parameter the file has the error of autocast's gradient, as autocast_inputs.py defines it.
"""

import json
import math
import platform
import sys
from pathlib import Path

import numpy as np
import torch

from tests.golden.autocast_inputs import CASES, batch, errors, parameters
from tests.golden.make_golden import gpt, summed_loss


def shapes(config):
    """The shape of each parameter, under GPT-2's names."""
    V, C = config["vocab_size"], config["n_embd"]
    found = {"wte.weight": (V, C), "wpe.weight": (config["block_size"], C)}
    for i in range(config["n_layer"]):
        for name, shape in (
            ("ln_1", (C,)), ("attn.c_attn", (C, 3 * C)), ("attn.c_proj", (C, C)),
            ("ln_2", (C,)), ("mlp.c_fc", (C, 4 * C)), ("mlp.c_proj", (4 * C, C)),
        ):  # fmt: skip
            found[f"h.{i}.{name}.weight"] = shape
            if config["bias"]:
                found[f"h.{i}.{name}.bias"] = shape[-1:]
    found["ln_f.weight"] = (C,)
    if config["bias"]:
        found["ln_f.bias"] = (C,)
    if not config["tied"]:
        found["lm_head.weight"] = (V, C)
    return found


def gradients(case, dtype, autocast):
    """The loss, and its gradient with respect to each parameter."""
    config = case["config"] | {"positions": "learned"}
    params = {
        name: torch.tensor(value, dtype=dtype, requires_grad=True)
        for name, value in parameters(case, shapes(config)).items()
    }
    tokens, targets = map(torch.from_numpy, batch(case))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        logits = gpt(config, params, tokens, lambda name, value: value)
    loss = summed_loss(logits.to(dtype), targets) / targets.numel()
    loss.backward()
    return loss.item(), {name: p.grad.double().numpy() for name, p in params.items()}


def main():
    made = {
        "about": f"{__doc__}\nMade with torch {torch.__version__}, NumPy {np.__version__} on "
        f"{platform.machine()} with {torch.backends.cpu.get_cpu_capability()}.\n"
    }
    for name, case in CASES.items():
        loss, exact = gradients(case, torch.float64, autocast=False)
        rounded_loss, ours = gradients(case, torch.float32, autocast=True)
        found = errors(ours, exact)
        print(
            f"{name}: loss {loss:.6f}, in bfloat16 {rounded_loss:.6f}; errors "
            f"{min(found.values()):.1e} to {max(found.values()):.1e}"
        )
        assert all(map(math.isfinite, found.values()))
        made[name] = {
            "loss": loss,
            "errors": {key: float(f"{value:.3e}") for key, value in found.items()},
        }
    path = Path(__file__).with_name("autocast.json")
    path.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
