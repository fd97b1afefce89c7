"""Shows on this machine, in under a minute, that gradients are right and mistakes are noticed.

`measure` checks every gradient of some small models against the complex step, the kernels against
the reference, identities that hold exactly, and the order of the Taylor remainder. `try_mutations`
puts five mistakes into a copy of the package, one at a time, and checks the gradients there: each
must be found. `recorded` reads the results of the long campaigns, which are not repeated here.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import InputError
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.files.temporary import temporary_folder
from gpt_numpy.gradients.model_check import gradcheck, randomise
from gpt_numpy.gradients.mutation import LIVE, PACKAGE, Mutation, copy_package, mutated
from gpt_numpy.gradients.report import scale_of
from gpt_numpy.model.gpt import GPT
from gpt_numpy.reference.bfloat16 import product as bfloat16_product
from gpt_numpy.reference.layernorm import layernorm_backward, layernorm_forward
from gpt_numpy.reference.linear import BFLOAT16

EXACT, SINGLE, IDENTITY, ORDER = 1e-13, 5e-6, 1e-15, 0.02  # bounds of the figures below
DIRECTIONS = 20
SECONDS_OF_A_MUTANT = 60.0

RECIPE: dict[str, Any] = {
    "vocab_size": 11, "block_size": 7, "n_layer": 2, "n_head": 2, "n_embd": 6, "dropout": 0.2,
}  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "GPT-2's kind": {},
    "heads = positions = head size": {
        "n_layer": 1, "n_head": 3, "n_embd": 9, "block_size": 3, "activation": "gelu"
    },
    "one position": {"block_size": 1, "activation": "gelu"},
    "untied, no biases, sinusoids": {
        "tied": False, "bias": False, "positions": "sinusoidal", "activation": "relu"
    },
}  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """A measured value and its bound, which it must exceed if there is a mistake to be found."""

    what: str
    value: float
    bound: float
    mistake: bool = False

    @property
    def ok(self) -> bool:
        """Whether the value is on the right side of its bound; NaN counts as beyond it."""
        return (self.value <= self.bound) != self.mistake

    def __str__(self) -> str:
        """One line of the table."""
        relation, good, bad = (
            (">", "found", "NOT FOUND") if self.mistake else ("<=", "ok", "MISSED")
        )
        verdict = good if self.ok else bad
        return f"{self.what:<68} {self.value:8.1e}  {relation:<2} {self.bound:7.1e}  {verdict}"


def measure() -> Iterator[Figure]:
    """Measure the figures of this installation, one at a time."""
    for name, changes in MODELS.items():
        yield Figure(f"every gradient, complex step: {name}", gradient_error(changes), EXACT)
    yield Figure("every gradient, complex step: initial weights", gradient_error(None), EXACT)
    yield Figure("kernels in float32 against the reference in float64", _kernel_error(), SINGLE)
    yield _bfloat16_bits()
    yield from _identities()
    name = f"Taylor remainder: distance from order 2, {DIRECTIONS} directions"
    yield Figure(name, _distance_from_order_2(), ORDER)


def gradient_error(changes: dict[str, Any] | None) -> float:
    """The largest error of a gradient of a small model; None: with GPT-2's initial weights."""
    model, tokens, targets = _small_model(changes or {})
    if changes is None:
        model.initialise(seed=0)
    return gradcheck(model, tokens, targets, dropout_key=1).worst.error


def _small_model(changes: dict[str, Any]) -> tuple[GPT, Array, Array]:
    """A model in float64, tokens with repeats, and targets of which some do not count."""
    config = GPTConfig(**RECIPE | changes)
    model = GPT(config, seed=None, dtype="float64", ops="reference", keep=("logits",))
    randomise(model, 0)
    rng = np.random.default_rng(0)
    shape = (2, min(5, config.block_size))
    tokens, targets = rng.integers(0, config.vocab_size, (2, *shape))
    tokens[1] = tokens[0, ::-1]
    if shape[1] > 1:
        targets[:, shape[1] // 2] = -1
    return model, tokens, targets


def _kernel_error() -> float:
    """The largest error of the kernels' float32 gradients, in a model of 27,000 parameters."""
    config = GPTConfig(vocab_size=65, block_size=40, n_layer=2, n_head=2, n_embd=32, dropout=0.1)
    rng = np.random.default_rng(0)
    tokens, targets = rng.integers(0, config.vocab_size, (2, 3, 37))
    grads = []
    for ops, dtype in (("kernels", "float32"), ("reference", "float64")):
        model = GPT(config, seed=0, dtype=dtype, ops=ops)
        model.forward(tokens, targets, dropout_key=1)
        model.backward()
        grads.append(model.grads)
    largest = float(np.abs(grads[1].flat).max())
    return max(
        float(np.abs(grads[0][name] - exact).max() / scale_of(np.abs(exact).max(), largest))
        for name, exact in grads[1].items()
    )


def _bfloat16_bits() -> Figure:
    """How many elements of the kernels' bfloat16 products differ in any bit from the reference."""
    from gpt_numpy.kernels import bfloat16_order, bfloat16_tile
    from gpt_numpy.kernels.linear import linear_backward, linear_forward

    rng, differ = np.random.default_rng(0), 0
    for rows, inner, columns in ((37, 75, 131), (150, 67, 33)):
        x, weight, dout = (
            rng.standard_normal(shape).astype(np.float32)
            for shape in ((rows, inner), (inner, columns), (rows, columns))
        )
        ours = out, dx, dweight = [np.empty_like(a) for a in (dout, x, weight)]
        linear_forward(x, weight, None, out=out, precision=BFLOAT16)
        linear_backward(
            dout, x, weight, None, dx=dx, dweight=dweight, dbias=None, precision=BFLOAT16
        )
        for got, (a, b) in zip(ours, ((x, weight), (dout, weight.T), (x.T, dout)), strict=True):
            exact = bfloat16_product(a, b, order=bfloat16_order())
            differ += int((got.view(np.uint32) != exact.view(np.uint32)).sum())
    return Figure(f"bfloat16 products ({bfloat16_tile()}) not those of the reference", differ, 0.0)


def _identities() -> Iterator[Figure]:
    """Identities that hold exactly for any parameters, relative to the largest gradient."""
    model, tokens, targets = _small_model({"dropout": 0.0})
    model.forward(tokens, targets)
    model.backward()
    dlogits = model.activation_grads["logits"]
    sums = np.abs(dlogits.sum(axis=-1)).max() / np.abs(dlogits).max()
    yield Figure("rows of dlogits sum to zero", float(sums), IDENTITY)

    C = model.config.n_embd
    key_bias = np.abs(model.grads["h.0.attn.c_attn.bias"][C : 2 * C]).max()
    share = float(key_bias / np.abs(model.grads.flat).max())
    yield Figure("the key bias has no gradient", share, IDENTITY)

    yield from _identities_of_layernorm()
    for ops in ("reference", "kernels"):
        yield Figure(f"logits that see the future: {ops}", _seeing_the_future(ops), 0.0)


def _identities_of_layernorm() -> Iterator[Figure]:
    """The cosines of dx with the two directions that layer norm removes."""
    rng = np.random.default_rng(0)
    x, dout = 1e6 * rng.standard_normal((1, 8, 16)), rng.standard_normal((1, 8, 16))  # eps << var
    weight, bias = rng.standard_normal((2, 16))
    out, dx = np.empty_like(x), np.empty_like(x)
    mean, rstd = np.empty((2, 1, 8))
    layernorm_forward(x, weight, bias, out=out, mean=mean, rstd=rstd)
    dweight, dbias = np.empty_like(weight), np.empty_like(bias)
    layernorm_backward(dout, x, weight, bias, mean, rstd, dx=dx, dweight=dweight, dbias=dbias)
    xhat = (x - mean[..., None]) * rstd[..., None]
    size = np.linalg.norm(dx, axis=-1) * math.sqrt(x.shape[-1])
    for name, v in (("ones", 1.0), ("xhat", xhat)):
        cosine = float((np.abs((dx * v).sum(axis=-1)) / size).max())
        yield Figure(f"layer norm's dx is orthogonal to {name}", cosine, IDENTITY)


def _seeing_the_future(ops: str) -> float:
    """How many earlier logits change when only later tokens change; NaN if a later one does not."""
    config = GPTConfig(vocab_size=65, block_size=40, n_layer=2, n_head=2, n_embd=32)
    model = GPT(config, seed=0, ops=ops)
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, config.vocab_size, (2, 37))
    changed = tokens.copy()
    changed[:, 20:] = (changed[:, 20:] + 1) % config.vocab_size
    differ = model.logits(tokens) != model.logits(changed)
    if not differ[:, 20:].any(axis=-1).all():
        return math.nan
    return float(differ[:, :20].sum())


def _distance_from_order_2() -> float:
    """How far the order of |J(p + h v) - J(p) - h v.grad| in h is from 2, as for a right grad."""
    model, tokens, targets = _small_model({"activation": "gelu"})
    start = model.params.flat.copy()
    loss = model.forward(tokens, targets, dropout_key=1)
    model.backward()
    grad = model.grads.flat.copy()
    rng = np.random.default_rng(0)
    distances = []
    for _ in range(DIRECTIONS):
        v = rng.standard_normal(start.size)
        remainders = []
        for h in (2e-5, 1e-5):
            model.params.flat[...] = start + h * v
            moved = model.forward(tokens, targets, dropout_key=1)
            remainders.append(abs(moved - loss - h * float(v @ grad)))
        distances.append(abs(math.log2(remainders[0] / remainders[1]) - 2))
    return max(distances)


def try_mutations(mutations: tuple[Mutation, ...] = LIVE) -> Iterator[Figure]:
    """Check an unchanged copy of the package, which must pass, then each of the mutations."""
    with temporary_folder() as folder:
        package = copy_package(folder)
        yield Figure("the copy without a mistake", _error_in(folder), EXACT)
        for mutation in mutations:
            path = package / mutation.path
            right = path.read_text(encoding="utf-8")
            path.write_text(mutated(mutation, package), encoding="utf-8")
            what = f"{mutation.name}  {mutation.what}"
            yield Figure(what, _error_in(folder), EXACT, mistake=True)
            path.write_text(right, encoding="utf-8")


_CHECK = """
import json, pathlib, gpt_numpy
from gpt_numpy.gradients import selfcheck
assert pathlib.Path(gpt_numpy.__file__).resolve().parents[1] == pathlib.Path.cwd().resolve()
print(json.dumps(selfcheck.gradient_error({})))
"""


def _error_in(folder: Path) -> float:
    """The largest error of a gradient with the package in `folder`, in a separate process."""
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTHONSAFEPATH", None)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CHECK],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS_OF_A_MUTANT,
        )
    except subprocess.TimeoutExpired:
        limit = f"{SECONDS_OF_A_MUTANT:.0f} s"
        raise InputError(f"checking a copy of the package takes more than {limit}") from None
    if done.returncode:
        raise InputError(f"a copy of the package does not run: {done.stderr.strip()[-500:]}")
    return float(json.loads(done.stdout))


def recorded(path: Path = PACKAGE / "gradients" / "recorded.json") -> tuple[list[str], bool]:
    """Lines about the campaigns of `python -m tests.mutations --record`; whether all went well."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        campaign, seeds = content["mutations"], content["false_alarms"]
        lines = [
            f"{campaign['mutations']} mutations, {campaign['in_kernels']} of them in kernels: "
            f"{campaign['killed']} found, {campaign['equivalent']} proven to change nothing, "
            f"{campaign['survived']} survived" + _when(campaign),
            f"{seeds['seeds']} seeds on correct code: {seeds['alarms']} false alarms"
            + _when(seeds),
        ]
        return lines, campaign["survived"] == 0 and seeds["alarms"] == 0
    except (OSError, ValueError, KeyError) as error:
        return [f"{path.name} cannot be read: {error!r}"], False


def _when(figures: dict[str, Any]) -> str:
    return f" ({figures['date']}, version {figures['version']})"
