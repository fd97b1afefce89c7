"""Write transformer.npz: what PyTorch computes for two small encoder-decoders.

    python tests/golden/make_transformer.py

needs torch; the tests need only the file. As in make_golden.py, whose parts that are not the model
are used here, everything is float64, the same bytes each time, and the model below imports nothing
from gpt_numpy. It has PyTorch's own attention (with boolean masks), layer norm, cross-entropy (with
label smoothing), autograd and Adam.

P is the paper's: post-norm, biases, label smoothing 0.1. Q is pre-norm, without biases and
smoothing. Each has two batches: sources longer than targets, and shorter.

Arrays of the file, `P` standing for the name of a case:

    about                     this text and the versions
    P/config                  TransformerConfig's arguments, JSON
    P/param_shapes, P/params  initial parameters, one after the other
    P/K/source, P/K/target    batch K (0 or 1); 0 is padding, 1 begins and 2 ends a target
    P/K/logits, P/K/loss      of that batch; the loss is the mean over targets, without padding
    P/K/grads                 gradient of the loss with respect to each parameter
    P/trace/learning_rates    of 100 steps of Adam, batch 0 and 1 in turn: the paper's schedule
    P/trace/losses            of each step, before its update
    P/trace/params            parameters after the last step
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from make_golden import Draws, as_torch, joined, linear, shapes_of, write_npz

SPREAD, UNIT, STEPS = 0.3, 1024, 100
CHANNELS, WARMUP = 512, 50  # of the schedule: those of the base model, and fewer than its 4000
PAD, BEGIN, END = 0, 1, 2
SIZES = {"vocab_size": 13, "source_size": 9, "target_size": 8, "n_layer": 2}
CASES = {
    "P": SIZES
    | {
        "n_head": 2,
        "n_embd": 10,
        "n_hidden": 14,
        "norm_place": "post",
        "label_smoothing": 0.1,
        "bias": True,
    },
    "Q": SIZES
    | {
        "n_head": 3,
        "n_embd": 12,
        "n_hidden": 20,
        "norm_place": "pre",
        "label_smoothing": 0.0,
        "bias": False,
    },
}
SHAPES = ((4, 9, 5), (3, 4, 8))  # sequences, positions of the source, of the target


def transformer(config, p, source, target):
    """Logits (B, T, V)."""
    seen = (source != PAD)[:, None, None, :]
    x = embedded(config, p, source)
    for i in range(config["n_layer"]):
        block = f"encoder.h.{i}"
        x = sublayer(
            config, p, f"{block}.ln_1", x, lambda h, b=block: within(config, p, b, h, seen)
        )
        x = sublayer(config, p, f"{block}.ln_2", x, lambda h, b=block: feed_forward(p, b, h))
    memory = x if config["norm_place"] == "post" else normed(p, "encoder.ln_f", x)
    y = embedded(config, p, target)
    T = target.shape[1]
    before = torch.ones(T, T, dtype=torch.bool).tril()
    for i in range(config["n_layer"]):
        block = f"decoder.h.{i}"
        y = sublayer(
            config, p, f"{block}.ln_1", y, lambda h, b=block: within(config, p, b, h, before)
        )
        y = sublayer(
            config, p, f"{block}.ln_2", y, lambda h, b=block: to(config, p, b, h, memory, seen)
        )
        y = sublayer(config, p, f"{block}.ln_3", y, lambda h, b=block: feed_forward(p, b, h))
    if config["norm_place"] == "pre":
        y = normed(p, "decoder.ln_f", y)
    return y @ p["wte.weight"].T


def embedded(config, p, tokens):
    C, T = config["n_embd"], tokens.shape[1]
    where, channel = torch.meshgrid(torch.arange(T), torch.arange(C), indexing="ij")
    angle = where / 10000 ** ((channel - channel % 2) / C)
    waves = torch.where(channel % 2 == 0, angle.sin(), angle.cos())
    return F.embedding(tokens, p["wte.weight"]) * math.sqrt(C) + waves


def sublayer(config, p, ln, x, inside):
    if config["norm_place"] == "post":
        return normed(p, ln, x + inside(x))
    return x + inside(normed(p, ln, x))


def normed(p, name, x):
    return F.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p.get(f"{name}.bias"), eps=1e-5)


def feed_forward(p, block, x):
    return linear(F.relu(linear(x, p, f"{block}.mlp.c_fc")), p, f"{block}.mlp.c_proj")


def within(config, p, block, x, mask):
    query, key, value = linear(x, p, f"{block}.attn.c_attn").chunk(3, dim=-1)
    return averaged(config, p, f"{block}.attn", (query, key, value), mask)


def to(config, p, block, x, memory, mask):
    key, value = linear(memory, p, f"{block}.cross.c_kv").chunk(2, dim=-1)
    return averaged(
        config, p, f"{block}.cross", (linear(x, p, f"{block}.cross.c_q"), key, value), mask
    )


def averaged(config, p, name, streams, mask):
    query, key, value = (x.unflatten(-1, (config["n_head"], -1)).transpose(1, 2) for x in streams)
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return linear(out.transpose(1, 2).flatten(2), p, f"{name}.c_proj")


def mean_loss(config, logits, target):
    return F.cross_entropy(
        logits.flatten(0, 1), target.flatten(), ignore_index=PAD,
        label_smoothing=config["label_smoothing"],
    )  # fmt: skip


def initial_parameters(config, draws):
    """Arrays by name. Weights of norms are spread about 1, all others about 0."""
    V, C, inside = config["vocab_size"], config["n_embd"], config["n_hidden"]
    square, triple, double = (C, C), (C, 3 * C), (C, 2 * C)
    attention = [("attn.c_attn", triple), ("attn.c_proj", square)]
    cross = [("cross.c_q", square), ("cross.c_kv", double), ("cross.c_proj", square)]
    mlp = [("mlp.c_fc", (C, inside)), ("mlp.c_proj", (inside, C))]
    sublayers = {"encoder": [attention, mlp], "decoder": [attention, cross, mlp]}
    shapes = {"wte.weight": (V, C)}
    for stack, inner in sublayers.items():
        for i in range(config["n_layer"]):
            for k, linears in enumerate(inner, start=1):
                norm = (f"ln_{k}", (C,))
                ordered = [norm, *linears] if config["norm_place"] == "pre" else [*linears, norm]
                shapes |= {f"{stack}.h.{i}.{name}.weight": shape for name, shape in ordered}
        if config["norm_place"] == "pre":
            shapes[f"{stack}.ln_f.weight"] = (C,)
    params = {}
    for name, shape in shapes.items():
        centre = 1.0 if ".ln_" in name else 0.0
        params[name] = np.round((centre + SPREAD * draws.normal(*shape)) * UNIT) / UNIT
        if config["bias"] and name != "wte.weight":
            bias = name.replace(".weight", ".bias")
            params[bias] = np.round(SPREAD * draws.normal(*shape[-1:]) * UNIT) / UNIT
    return params


def one_batch(config, shape, draws):
    """Sources and targets of unequal lengths; the last ones have one token."""
    B, S, T = shape
    source = 3 + draws.integers(config["vocab_size"] - 3, B, S)
    target = 3 + draws.integers(config["vocab_size"] - 3, B, T + 1)
    target[:, 0] = BEGIN
    for b in range(B):
        length = S if b == 0 else 1 if b == B - 1 else S - 2 * b
        source[b, max(length, 1) :] = PAD
        last = T if b == 0 else 1 if b == B - 1 else T - b
        target[b, last], target[b, last + 1 :] = END, PAD
    return source, target


def paper_rate(step):
    return CHANNELS**-0.5 * min(step**-0.5, step * WARMUP**-1.5)


def train(config, start, batches):
    params = as_torch(start)
    adam = torch.optim.Adam(params.values(), betas=(0.9, 0.98), eps=1e-9)
    rates = [paper_rate(step) for step in range(1, STEPS + 1)]
    losses = []
    for step, rate in enumerate(rates):
        source, target = map(torch.from_numpy, batches[step % len(batches)])
        adam.param_groups[0]["lr"] = rate
        adam.zero_grad()
        loss = mean_loss(config, transformer(config, params, source, target[:, :-1]), target[:, 1:])
        loss.backward()
        adam.step()
        losses.append(loss.item())
    end = joined(p.detach() for p in params.values())
    return {"learning_rates": np.array(rates), "losses": np.array(losses), "params": end}


def compute_case(config, seed):
    draws = Draws(seed)
    start = initial_parameters(config, draws)
    batches = [one_batch(config, shape, draws) for shape in SHAPES]
    found = {
        "config": json.dumps(config),
        "param_shapes": shapes_of(start),
        "params": joined(start.values()),
    }
    for k, (source, target) in enumerate(batches):
        params = as_torch(start)
        given = torch.from_numpy(target)
        logits = transformer(config, params, torch.from_numpy(source), given[:, :-1])
        loss = mean_loss(config, logits, given[:, 1:])
        loss.backward()
        found |= {
            f"{k}/source": source.astype(np.int8),
            f"{k}/target": target.astype(np.int8),
            f"{k}/logits": logits.detach(),
            f"{k}/loss": loss.detach(),
            f"{k}/grads": joined(p.grad for p in params.values()),
        }
    trace = train(config, start, batches)
    return found | {f"trace/{name}": value for name, value in trace.items()}


def main():
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)  # one order of summation
    torch.use_deterministic_algorithms(True)
    versions = f"Made with torch {torch.__version__}, NumPy {np.__version__}."
    arrays = {"about": f"{__doc__}\n{versions}\n"}
    for seed, (name, config) in enumerate(CASES.items(), start=20):
        arrays |= {f"{name}/{key}": value for key, value in compute_case(config, seed).items()}
    path = Path(__file__).with_name("transformer.npz")
    write_npz(path, arrays)
    print(f"{path}: {len(arrays)} arrays, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(main())
