"""Write golden.npz: what PyTorch computes for a few small GPTs, for test_golden.py to compare with.

    python tests/golden/make_golden.py

needs torch; the tests need only the file. The model below was written from the GPT-2 paper, with
PyTorch's own layer norm, attention, GELU, cross-entropy, autograd, clipping and AdamW, before its
author had read gpt_numpy's layers. It imports nothing from gpt_numpy and shares only names with it.

Everything is float64. Initial parameters are multiples of 1/1024, so that they compress well; they
and the tokens come from Philox's raw bits, whose stream NumPy guarantees, and are stored. The file
has the same bytes each time it is made on one machine with one version of torch and NumPy; other
versions may differ in the last bits of a value.

Arrays of the file, `A` standing for the name of a case (CASES):

    about                     this text and the versions
    A/config                  GPTConfig's arguments, JSON
    A/param_shapes            JSON, name -> shape, under GPT-2's names; weights are (in, out)
    A/params                  initial parameters, one after the other in that order
    A/tokens, A/targets       one batch; targets of -1 are left out
    A/logits, A/loss          of that batch; the loss is the mean over the targets kept
    A/grads                   gradient of the loss with respect to each parameter, likewise
    A/activation_shapes       JSON, name -> shape (cases with `activations`)
    A/activations             of that batch, one after the other in that order
    A/activation_grads        gradients of the loss with respect to them, over all paths
    A/trace/settings          arguments of AdamW and of the schedule, JSON (cases with `trace`)
    A/trace/tokens, targets   (step, micro-batch, sequence, position)
    A/trace/learning_rates    of each step
    A/trace/norms             of the whole gradient of each step, before it is clipped
    A/trace/losses            of each step, over both micro-batches, before its update
    A/trace/params            parameters after the last step
"""

import io
import json
import math
import sys
import zipfile
from pathlib import Path
from statistics import NormalDist

import numpy as np
import torch
import torch.nn.functional as F

STEPS = 100
GRAD_CLIP = 1.0
SPREAD = 0.3  # of all initial parameters; large, so that every term of a gradient weighs
UNIT = 1024  # initial parameters are multiples of 1 / UNIT

# Between them: tied and untied, biases and none, the three activations, both kinds of positions,
# one head and several, a batch shorter than the context (A). C is nanoGPT's choice.
CASES = {
    "A": {
        "seed": 1,
        "config": {
            "vocab_size": 17,
            "block_size": 8,
            "n_layer": 2,
            "n_head": 2,
            "n_embd": 8,
            "bias": True,
            "activation": "gelu_tanh",
            "positions": "learned",
            "tied": True,
        },
        "batch": (2, 6),
        "activations": True,
        "trace": {
            "learning_rate": 3e-2,
            "min_lr": 3e-3,
            "warmup_iters": 10,
            "lr_decay_iters": 100,
            "betas": (0.9, 0.99),
            "weight_decay": 0.1,
        },
    },
    "B": {
        "seed": 2,
        "config": {
            "vocab_size": 14,
            "block_size": 8,
            "n_layer": 2,
            "n_head": 2,
            "n_embd": 10,
            "bias": False,
            "activation": "gelu",
            "positions": "sinusoidal",
            "tied": False,
        },
        "batch": (3, 8),
    },
    "C": {
        "seed": 3,
        "config": {
            "vocab_size": 13,
            "block_size": 8,
            "n_layer": 2,
            "n_head": 3,
            "n_embd": 9,
            "bias": False,
            "activation": "gelu",
            "positions": "learned",
            "tied": True,
        },
        "batch": (3, 8),
        "trace": {
            "learning_rate": 3e-2,
            "min_lr": 3e-3,
            "warmup_iters": 10,
            "lr_decay_iters": 80,
            "betas": (0.9, 0.95),
            "weight_decay": 0.1,
        },
    },
    "D": {
        "seed": 4,
        "config": {
            "vocab_size": 11,
            "block_size": 7,
            "n_layer": 1,
            "n_head": 1,
            "n_embd": 6,
            "bias": True,
            "activation": "relu",
            "positions": "sinusoidal",
            "tied": False,
        },
        "batch": (3, 7),
    },
}


# The model, as a function of a dictionary of parameters.


def gpt(config, params, tokens, keep):
    """Logits (B, T, V) of a pre-norm GPT-2; `keep(name, x)` is told every activation."""
    length, channels = tokens.shape[1], config["n_embd"]
    if config["positions"] == "learned":
        positions = params["wpe.weight"][:length]
    else:
        positions = sinusoids(length, channels)
    x = keep("embedding.out", F.embedding(tokens, params["wte.weight"]) + positions)
    for i in range(config["n_layer"]):
        block = f"h.{i}"
        normed = keep(f"{block}.ln_1.out", layer_norm(x, params, f"{block}.ln_1"))
        qkv = keep(f"{block}.attn.qkv", linear(normed, params, f"{block}.attn.c_attn"))
        heads = keep(f"{block}.attn.out", attention(qkv, config["n_head"]))
        x = x + linear(heads, params, f"{block}.attn.c_proj")
        x = keep(f"{block}.resid_mid", x)
        normed = keep(f"{block}.ln_2.out", layer_norm(x, params, f"{block}.ln_2"))
        hidden = keep(f"{block}.mlp.fc", linear(normed, params, f"{block}.mlp.c_fc"))
        hidden = keep(f"{block}.mlp.act", activation(hidden, config["activation"]))
        x = x + linear(hidden, params, f"{block}.mlp.c_proj")
        x = keep(f"{block}.resid_post", x)
    normed = keep("ln_f.out", layer_norm(x, params, "ln_f"))
    head = params["wte.weight"] if config["tied"] else params["lm_head.weight"]
    return keep("logits", normed @ head.T)


def sinusoids(length, channels):
    """Positions of "Attention Is All You Need", section 3.5, over the root of its section 3.4."""
    table = torch.empty(length, channels)
    for t in range(length):
        for c in range(channels):
            angle = t / 10000 ** (2 * (c // 2) / channels)
            table[t, c] = math.cos(angle) if c % 2 else math.sin(angle)
    return table / math.sqrt(channels)


def layer_norm(x, params, name):
    return F.layer_norm(
        x, x.shape[-1:], params[f"{name}.weight"], params.get(f"{name}.bias"), eps=1e-5
    )


def linear(x, params, name):
    return F.linear(x, params[f"{name}.weight"].T, params.get(f"{name}.bias"))


def attention(qkv, n_head):
    """Causal attention; the heads' outputs side by side again, (B, T, C)."""
    query, key, value = (
        part.unflatten(-1, (n_head, -1)).transpose(1, 2) for part in qkv.chunk(3, dim=-1)
    )
    out = F.scaled_dot_product_attention(query, key, value, is_causal=True)  # 1 / sqrt(head size)
    return out.transpose(1, 2).flatten(2)


def activation(x, name):
    if name == "relu":
        return F.relu(x)
    return F.gelu(x, approximate="tanh" if name == "gelu_tanh" else "none")


def summed_loss(logits, targets):
    """Nats, summed over the targets that are not -1."""
    return F.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction="sum"
    )


# What it is given.


class Draws:
    """Numbers from Philox's raw bits, the same with every version of NumPy."""

    def __init__(self, seed):
        self.bits = np.random.Philox(key=seed)

    def uniform(self, *shape):
        """Float64 in the open interval (0, 1)."""
        raw = self.bits.random_raw(math.prod(shape)).reshape(shape)
        return ((raw >> np.uint64(12)) + 0.5) * 2.0**-52

    def normal(self, *shape):
        inverse = np.vectorize(NormalDist().inv_cdf, otypes=[np.float64])
        return inverse(self.uniform(*shape))

    def integers(self, high, *shape):
        """Integers from 0 to high - 1."""
        return np.floor(self.uniform(*shape) * high).astype(np.int64)


def initial_parameters(config, draws):
    """Arrays by name, in GPT-2's order. Gammas are spread about 1, all others about 0."""
    V, C, F_ = config["vocab_size"], config["n_embd"], 4 * config["n_embd"]
    shapes = {"wte.weight": (V, C)}
    if config["positions"] == "learned":
        shapes["wpe.weight"] = (config["block_size"], C)
    for i in range(config["n_layer"]):
        for name, shape in (
            ("ln_1", (C,)),
            ("attn.c_attn", (C, 3 * C)),
            ("attn.c_proj", (C, C)),
            ("ln_2", (C,)),
            ("mlp.c_fc", (C, F_)),
            ("mlp.c_proj", (F_, C)),
        ):
            shapes[f"h.{i}.{name}.weight"] = shape
            shapes[f"h.{i}.{name}.bias"] = shape[-1:]
    shapes["ln_f.weight"] = shapes["ln_f.bias"] = (C,)
    if not config["tied"]:
        shapes["lm_head.weight"] = (V, C)
    params = {}
    for name, shape in shapes.items():
        if name.endswith(".bias") and not config["bias"]:
            continue
        centre = 1.0 if "ln_" in name and name.endswith(".weight") else 0.0
        params[name] = np.round((centre + SPREAD * draws.normal(*shape)) * UNIT) / UNIT
    return params


def one_batch(config, shape, draws):
    """Tokens and targets: tokens repeat, the last two never occur, about a quarter is left out."""
    tokens = draws.integers(config["vocab_size"] - 2, *shape)
    targets = draws.integers(config["vocab_size"], *shape)
    targets[draws.uniform(*shape) < 0.25] = -1
    assert len(np.unique(tokens)) < tokens.size and 0 < (targets >= 0).sum() < targets.size
    return tokens, targets


def trace_batches(config, draws):
    """Tokens and targets (STEPS, 2, 2, block_size) of a language that can be learned.

    Three times in four the next token follows from the last. Of the first micro-batch of a step
    about an eighth of the targets is left out, of the second about a half.
    """
    vocabulary, length = config["vocab_size"], config["block_size"]
    shape = (STEPS, 2, 2, length + 1)
    text = draws.integers(vocabulary, *shape)
    follows = draws.uniform(*shape) < 0.75
    for t in range(1, length + 1):
        next_token = (5 * text[..., t - 1] + 2) % vocabulary
        text[..., t] = np.where(follows[..., t], next_token, text[..., t])
    tokens, targets = text[..., :-1].copy(), text[..., 1:].copy()
    share = np.array([0.125, 0.5]).reshape(1, 2, 1, 1)
    targets[draws.uniform(*targets.shape) < share] = -1
    kept = (targets >= 0).sum(axis=(2, 3))
    assert kept.min() > 0 and (kept[:, 0] != kept[:, 1]).mean() > 0.9
    return tokens, targets


# What it computes. Many small arrays would make a large file: each group becomes one vector.


def as_torch(params):
    return {name: torch.tensor(value, requires_grad=True) for name, value in params.items()}


def shapes_of(arrays):
    return json.dumps({name: list(array.shape) for name, array in arrays.items()})


def joined(arrays):
    return np.concatenate([np.ravel(array) for array in arrays])


def one_step(config, start, tokens, targets):
    """Logits, loss, the gradient of each parameter, and each activation with its gradient."""
    params, activations = as_torch(start), {}

    def keep(name, x):
        activations[name] = x
        x.retain_grad()
        return x

    logits = gpt(config, params, torch.from_numpy(tokens), keep)
    loss = summed_loss(logits, torch.from_numpy(targets)) / (targets >= 0).sum().item()
    loss.backward()
    results = {
        "logits": logits.detach(),
        "loss": loss.detach(),
        "grads": joined(p.grad for p in params.values()),
    }
    recorded = {
        "activation_shapes": shapes_of(activations),
        "activations": joined(x.detach() for x in activations.values()),
        "activation_grads": joined(x.grad for x in activations.values()),
    }
    return results, recorded


def learning_rate_at(step, settings):
    """NanoGPT's schedule: a linear rise, half a cosine down, then constant."""
    high, low = settings["learning_rate"], settings["min_lr"]
    rise, end = settings["warmup_iters"], settings["lr_decay_iters"]
    if step < rise:
        return high * (step + 1) / (rise + 1)
    if step > end:
        return low
    return low + 0.5 * (1.0 + math.cos(math.pi * (step - rise) / (end - rise))) * (high - low)


def train(config, start, settings, tokens, targets):
    """Loss, norm and learning rate of each of STEPS steps, and the parameters after the last."""
    params = as_torch(start)
    optimizer = torch.optim.AdamW(
        [
            {
                "params": [p for p in params.values() if p.dim() >= 2],
                "weight_decay": settings["weight_decay"],
            },
            {"params": [p for p in params.values() if p.dim() < 2], "weight_decay": 0.0},
        ],
        betas=settings["betas"],
        eps=1e-8,
    )
    losses, norms, rates = [], [], []
    for step in range(STEPS):
        rates.append(learning_rate_at(step, settings))
        for group in optimizer.param_groups:
            group["lr"] = rates[-1]
        optimizer.zero_grad()
        total_kept = (targets[step] >= 0).sum().item()
        losses.append(0.0)
        for x, y in zip(tokens[step], targets[step], strict=True):
            logits = gpt(config, params, torch.from_numpy(x), lambda name, value: value)
            loss = summed_loss(logits, torch.from_numpy(y)) / total_kept
            loss.backward()
            losses[-1] += loss.item()
        norms.append(torch.nn.utils.clip_grad_norm_(params.values(), GRAD_CLIP).item())
        optimizer.step()
    clipped = sum(norm > GRAD_CLIP for norm in norms)
    assert STEPS // 10 <= clipped <= STEPS - STEPS // 10, f"{clipped} of {STEPS} steps are clipped"
    final = joined(p.detach() for p in params.values())
    return {"losses": losses, "norms": norms, "learning_rates": rates, "params": final}


def compute_case(case):
    config, draws = case["config"], Draws(case["seed"])
    start = initial_parameters(config, draws)
    tokens, targets = one_batch(config, case["batch"], draws)
    arrays = {"config": json.dumps(config)}
    arrays |= {"param_shapes": shapes_of(start), "params": joined(start.values())}
    arrays |= {"tokens": tokens.astype(np.int8), "targets": targets.astype(np.int8)}
    results, recorded = one_step(config, start, tokens, targets)
    arrays |= results
    if case.get("activations"):
        arrays |= recorded
    if "trace" in case:
        tokens, targets = trace_batches(config, draws)
        settings = case["trace"] | {"grad_clip": GRAD_CLIP}
        trace = {"settings": json.dumps(settings)}
        trace |= {"tokens": tokens.astype(np.int8), "targets": targets.astype(np.int8)}
        trace |= train(config, start, settings, tokens, targets)
        arrays |= {f"trace/{name}": value for name, value in trace.items()}
    return arrays


def write_npz(path, arrays):
    """Like np.savez_compressed, with fixed dates: the same arrays give the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, value in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asarray(value), allow_pickle=False)
            archive.writestr(
                zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0)),
                content.getvalue(),
                zipfile.ZIP_DEFLATED,
            )


def main():
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)  # one order of summation
    torch.use_deterministic_algorithms(True)
    versions = f"Made with torch {torch.__version__}, NumPy {np.__version__}."
    arrays = {"about": f"{__doc__}\n{versions}\n"}
    for name, case in CASES.items():
        arrays |= {f"{name}/{key}": value for key, value in compute_case(case).items()}
    path = Path(__file__).with_name("golden.npz")
    write_npz(path, arrays)
    print(f"{path}: {len(arrays)} arrays, {path.stat().st_size:,} bytes")
    for name in CASES:
        if f"{name}/trace/losses" in arrays:
            losses = arrays[f"{name}/trace/losses"]
            clipped = sum(norm > GRAD_CLIP for norm in arrays[f"{name}/trace/norms"])
            print(
                f"{name}: loss {losses[0]:.4f} to {losses[-1]:.4f} in {STEPS} steps, "
                f"{clipped} of them clipped"
            )


if __name__ == "__main__":
    sys.exit(main())
