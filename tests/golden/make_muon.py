"""Write muon.npz: 50 steps of Muon and AdamW by PyTorch, for test_golden_muon.py to compare with.

    python tests/golden/make_muon.py

needs torch; the tests need only the file. The models, their initial parameters and the batches are
those of make_golden.py. Muon is written here from K. Jordan's description, on weights as PyTorch
has them, (out, in); what is left to AdamW is torch's own. It imports nothing from gpt_numpy.

For the cases A and C: `A/settings` (JSON), `A/learning_rates` (AdamW's and Muon's of each step),
`A/tokens`, `A/targets` (step, micro-batch, sequence, position), `A/norms` (of the whole gradient,
before it is clipped), `A/losses` and `A/params` as in golden.npz, and `A/momentum`, Muon's running
means after the last step as (in, out), one after the other in the order of the parameters.
"""

import json
import sys
from pathlib import Path

import torch
from make_golden import (
    CASES,
    Draws,
    as_torch,
    gpt,
    initial_parameters,
    joined,
    one_batch,
    summed_loss,
    trace_batches,
    write_npz,
)

STEPS = 50
GRAD_CLIP = 1.0
SETTINGS = {
    "learning_rate": 2e-2, "betas": (0.9, 0.99), "weight_decay": 0.1, "grad_clip": GRAD_CLIP,
    "muon_learning_rate": 5e-2, "muon_momentum": 0.9, "warmup_iters": 5, "lr_decay_iters": 50,
}  # fmt: skip


class Muon:
    """Muon over matrices (out, in), some of them parts of one tensor."""

    def __init__(self, matrices):
        self.matrices = matrices  # functions from a tensor to a view of it, with the tensor
        self.means = [torch.zeros_like(part(tensor)) for tensor, part in matrices]

    @torch.no_grad()
    def step(self, learning_rate, momentum, weight_decay):
        for (tensor, part), mean in zip(self.matrices, self.means, strict=True):
            gradient, weight = part(tensor.grad), part(tensor)
            mean.lerp_(gradient, 1 - momentum)
            update = newton_schulz(gradient.lerp(mean, momentum))
            update *= max(1, weight.size(0) / weight.size(1)) ** 0.5
            weight.mul_(1 - learning_rate * weight_decay)
            weight.sub_(learning_rate * update)


def newton_schulz(matrix):
    """Five steps towards the orthogonal matrix; the shorter side comes first meanwhile."""
    tall = matrix.size(0) > matrix.size(1)
    x = matrix.T if tall else matrix
    x = x / (torch.linalg.matrix_norm(x) + 1e-7)
    for _ in range(5):
        outer = x @ x.T
        x = 3.4445 * x + torch.addmm(outer, outer, outer, beta=-4.7750, alpha=2.0315) @ x
    return x.T if tall else x


def matrices_of(params, heads):
    """The weights inside the blocks, turned to (out, in); each query, key and value head apart."""
    for name, tensor in params.items():
        if name.startswith("h.") and tensor.dim() == 2:
            parts = 3 * heads if "c_attn" in name else 1
            for k in range(parts):
                yield name, tensor, lambda t, k=k, parts=parts: t.T.chunk(parts)[k]


def rates_at(step):
    """A linear rise, then a straight line to a tenth."""
    rise, end = SETTINGS["warmup_iters"], SETTINGS["lr_decay_iters"]
    share = (step + 1) / (rise + 1) if step < rise else 1 - 0.9 * (step - rise) / (end - rise)
    return [SETTINGS["learning_rate"] * share, SETTINGS["muon_learning_rate"] * share]


def train(config, start, tokens, targets):
    params = as_torch(start)
    listed = list(matrices_of(params, config["n_head"]))
    names = {name for name, _, _ in listed}
    muon = Muon([(tensor, part) for _, tensor, part in listed])
    rest = [p for name, p in params.items() if name not in names]
    adamw = torch.optim.AdamW(
        [
            {
                "params": [p for p in rest if p.dim() >= 2],
                "weight_decay": SETTINGS["weight_decay"],
            },
            {"params": [p for p in rest if p.dim() < 2], "weight_decay": 0.0},
        ],
        betas=SETTINGS["betas"],
        eps=1e-8,
    )
    losses, norms, rates = [], [], []
    for step in range(STEPS):
        rates.append(rates_at(step))
        for p in params.values():
            p.grad = None
        kept = (targets[step] >= 0).sum().item()
        losses.append(0.0)
        for x, y in zip(tokens[step], targets[step], strict=True):
            logits = gpt(config, params, torch.from_numpy(x), lambda name, value: value)
            loss = summed_loss(logits, torch.from_numpy(y)) / kept
            loss.backward()
            losses[-1] += loss.item()
        norms.append(torch.nn.utils.clip_grad_norm_(params.values(), GRAD_CLIP).item())
        for group in adamw.param_groups:
            group["lr"] = rates[-1][0]
        adamw.step()
        muon.step(rates[-1][1], SETTINGS["muon_momentum"], SETTINGS["weight_decay"])
    clipped = sum(norm > GRAD_CLIP for norm in norms)
    assert STEPS // 10 <= clipped <= STEPS - STEPS // 10, f"{clipped} of {STEPS} steps are clipped"
    means = dict.fromkeys(names)
    for name in params:
        if name in names:
            parts = [m.T for m, (n, _, _) in zip(muon.means, listed, strict=True) if n == name]
            means[name] = torch.cat(parts, dim=1)
    return {
        "learning_rates": rates,
        "losses": losses,
        "norms": norms,
        "params": joined(p.detach() for p in params.values()),
        "momentum": joined(means[name] for name in params if name in names),
    }


def main():
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)  # one order of summation
    torch.use_deterministic_algorithms(True)
    arrays = {"about": f"{__doc__}\nMade with torch {torch.__version__}.\n"}
    for name in ("A", "C"):
        case = CASES[name]
        config, draws = case["config"], Draws(case["seed"])
        start = initial_parameters(config, draws)
        one_batch(config, case["batch"], draws)  # so that the draws are those of golden.npz
        tokens, targets = (each[:STEPS] for each in trace_batches(config, draws))
        arrays[f"{name}/settings"] = json.dumps(SETTINGS)
        arrays |= {f"{name}/tokens": tokens.astype("i1"), f"{name}/targets": targets.astype("i1")}
        found = train(config, start, tokens, targets)
        arrays |= {f"{name}/{key}": value for key, value in found.items()}
        print(f"{name}: loss {found['losses'][0]:.4f} to {found['losses'][-1]:.4f}")
    path = Path(__file__).with_name("muon.npz")
    write_npz(path, arrays)
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(main())
