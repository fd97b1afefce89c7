"""Write activations.npz: every activation that a trace names, and its gradient, by PyTorch.

    python tests/golden/make_activations.py

needs torch; the tests need only the file. It takes the cases, parameters and first two sequences of
make_golden.py, but opens the layers: attention's scores and probabilities and the layer norm's rows
before weight and bias are tensors of their own here, and autograd gives their gradients. It imports
nothing from gpt_numpy. For each case `A`: `A/shapes` (JSON, name -> shape), `A/values` and
`A/grads`, one after the other in that order, float64; what the loss does not depend on through
autograd's graph (statistics and the next token's probabilities) has gradient 0.
"""

import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from make_golden import (
    CASES,
    Draws,
    activation,
    as_torch,
    initial_parameters,
    joined,
    linear,
    one_batch,
    shapes_of,
    sinusoids,
    write_npz,
)

SEQUENCES = 2  # of each batch, to keep the file small


def opened_gpt(config, params, tokens, keep):
    """Logits of a GPT-2 whose layers tell `keep(name, x)` everything on the way."""
    length = tokens.shape[1]
    learned = config["positions"] == "learned"
    positions = params["wpe.weight"][:length] if learned else sinusoids(length, config["n_embd"])
    x = keep("embedding.out", params["wte.weight"][tokens] + positions)
    for i in range(config["n_layer"]):
        block = f"h.{i}"
        normed = opened_norm(x, params, f"{block}.ln_1", keep)
        qkv = keep(f"{block}.attn.qkv", linear(normed, params, f"{block}.attn.c_attn"))
        attended = opened_attention(qkv, config["n_head"], f"{block}.attn", keep)
        branch = linear(attended, params, f"{block}.attn.c_proj")
        x = keep(f"{block}.resid_mid", x + keep(f"{block}.attn.proj", branch))
        normed = opened_norm(x, params, f"{block}.ln_2", keep)
        hidden = keep(f"{block}.mlp.fc", linear(normed, params, f"{block}.mlp.c_fc"))
        hidden = keep(f"{block}.mlp.act", activation(hidden, config["activation"]))
        branch = linear(hidden, params, f"{block}.mlp.c_proj")
        x = keep(f"{block}.resid_post", x + keep(f"{block}.mlp.proj", branch))
    normed = opened_norm(x, params, "ln_f", keep)
    head = params["wte.weight"] if config["tied"] else params["lm_head.weight"]
    return keep("logits", normed @ head.T)


def opened_norm(x, params, name, keep):
    variance, mean = torch.var_mean(x, dim=-1, correction=0)
    keep(f"{name}.mean", mean)
    keep(f"{name}.rstd", torch.rsqrt(variance + 1e-5))
    xhat = keep(f"{name}.xhat", F.layer_norm(x, x.shape[-1:], eps=1e-5))
    out = xhat * params[f"{name}.weight"]
    if f"{name}.bias" in params:
        out = out + params[f"{name}.bias"]
    return keep(f"{name}.out", out)


def opened_attention(qkv, n_head, name, keep):
    query, key, value = (
        keep(f"{name}.{part}", x.unflatten(-1, (n_head, -1)).transpose(1, 2))
        for part, x in zip(("query", "key", "value"), qkv.chunk(3, dim=-1), strict=True)
    )
    scores = keep(f"{name}.scores", query @ key.transpose(-1, -2) / math.sqrt(key.shape[-1]))
    future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    masked = scores.masked_fill(future, -math.inf)
    keep(f"{name}.lse", torch.logsumexp(masked, dim=-1))
    probabilities = keep(f"{name}.probabilities", torch.softmax(masked, dim=-1))
    heads = keep(f"{name}.heads", probabilities @ value)
    return keep(f"{name}.out", heads.transpose(1, 2).flatten(2))


def everything(config, start, tokens, targets):
    """Every activation and its gradient, of the mean loss over the targets that count."""
    params, kept = as_torch(start), {}

    def keep(name, x):
        kept[name] = x
        x.retain_grad()
        return x

    logits = opened_gpt(config, params, torch.from_numpy(tokens), keep)
    keep("lse", torch.logsumexp(logits, dim=-1))
    keep("probabilities", torch.softmax(logits, dim=-1))
    losses = F.cross_entropy(
        logits.flatten(0, 1), torch.from_numpy(targets).flatten(), ignore_index=-1, reduction="none"
    )
    losses = keep("losses", losses.unflatten(0, tokens.shape))
    (losses.sum() / (targets >= 0).sum().item()).backward()
    grads = (torch.zeros_like(x) if x.grad is None else x.grad for x in kept.values())
    return {
        "shapes": shapes_of(kept),
        "values": joined(x.detach() for x in kept.values()),
        "grads": joined(grads),
    }


def main():
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    arrays = {"about": f"{__doc__}\nMade with torch {torch.__version__}.\n"}
    for name, case in CASES.items():
        config, draws = case["config"], Draws(case["seed"])
        start = initial_parameters(config, draws)
        tokens, targets = one_batch(config, case["batch"], draws)
        computed = everything(config, start, tokens[:SEQUENCES], targets[:SEQUENCES])
        arrays |= {f"{name}/{key}": value for key, value in computed.items()}
    path = Path(__file__).with_name("activations.npz")
    write_npz(path, arrays)
    print(f"{path}: {len(arrays)} arrays, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(main())
