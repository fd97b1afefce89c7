"""Explains in words what is wrong with the gradient of one tensor of a model.

If every element of the exact gradient is known, `diagnosis/` compares the two. If it is known only
along directions, parts of the tensor are moved one at a time, by a forward pass each: query, key
and value, rows of tokens that repeat, blocks of rows.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.gradients.derivatives import STEP
from gpt_numpy.gradients.diagnosis.clues import model_clues
from gpt_numpy.gradients.diagnosis.diagnose import diagnose
from gpt_numpy.gradients.diagnosis.factors import name_factor
from gpt_numpy.gradients.oracles import Measured, Twins
from gpt_numpy.gradients.report import scale_of
from gpt_numpy.model.calls import Call
from gpt_numpy.model.gpt import GPT
from gpt_numpy.model.stage import STACKS
from gpt_numpy.reference.tap import no_tap

BLOCKS = 8  # of rows, moved one at a time
SAME = 1e-7  # largest relative difference between equal slopes


def explain(
    twins: Twins,
    name: str,
    found: Measured,
    scale: float,
    tolerance: float,
    rng: np.random.Generator,
) -> list[str]:
    """Sentences on where a gradient is wrong and which mistakes give these numbers."""
    hand = twins.hand.grads[name]
    if not np.isfinite(hand).all():
        return [f"{int((~np.isfinite(hand)).sum()):,} elements are not finite numbers"]
    if found.exact is not None:
        clues = model_clues(twins.hand.config, twins.tokens, twins.targets, name)
        named = dict(_tied_parts(twins, found.exact)) if name == "wte.weight" else {}
        clues = dataclasses.replace(clues, named=named, contributions=found.contributions)
        return diagnose(hand, found.exact, scale, tolerance, clues)
    if not hand.any():
        return ["it is zero: this gradient, or the only path to it, is missing"]
    if twins.oracle is None:
        return []
    return list(_along_directions(twins, name, hand, tolerance, rng))


def _tied_parts(twins: Twins, exact: Array) -> Iterator[tuple[str, Array]]:
    """The gradient of a tied token embedding if one of its uses is forgotten."""
    uses = {"embedding": "the embedding", "head": "the head"}
    if not isinstance(twins.hand, GPT):
        stacks = {f"{stack}.embedding": f"the {stack}'s embedding" for stack in STACKS}
        uses = {**stacks, "head": "the head"}
    elif not twins.hand.config.tied:
        return
    for stage, what in uses.items():
        missing = exact - _through_stage(twins, stage)
        yield f"the part of the tied table that comes from {what} is missing", missing


def _through_stage(twins: Twins, stage: str) -> Array:
    """The exact gradient of the token embedding through one of the stages that read it."""
    oracle = twins.oracle
    assert oracle is not None
    table = oracle.params["wte.weight"].copy()

    def with_table(call: Call) -> None:
        x, weights, *kept = call.args
        moved = weights._replace(**{"weight" if stage == "head" else "wte": table})
        dataclasses.replace(call, args=[x, moved, *kept]).run_tapped(no_tap)

    found = np.empty(table.shape)
    before, oracle.overrides = oracle.overrides, {stage: with_table}
    try:
        for index in np.ndindex(*table.shape):
            table[index] += 1j * STEP
            loss = oracle.forward(twins.tokens, twins.targets, dropout_key=twins.key)
            found[index] = loss.imag / STEP
            table[index] = table[index].real
    finally:
        oracle.overrides = before
    return found


def _along_directions(
    twins: Twins, name: str, hand: Array, tolerance: float, rng: np.random.Generator
) -> Iterator[str]:
    """Sentences on a tensor that is wrong along a direction, from a few more passes."""
    v, w = rng.standard_normal((2, *hand.shape))
    exact = twins.slope(name, v), twins.slope(name, w)
    slopes = float((v * hand).sum()), float((w * hand).sum())
    if all(exact):
        ratios = slopes[0] / exact[0], slopes[1] / exact[1]
        if abs(ratios[0] - ratios[1]) <= SAME * abs(ratios[0]):
            clues = model_clues(twins.hand.config, twins.tokens, twins.targets, name)
            yield f"looks like, along 2 directions: {name_factor(ratios[0], clues.numbers)}"
            return
    if hand.ndim == 2 and hand.shape[0] == hand.shape[1]:
        turned = float((v.T * hand).sum()), float((w.T * hand).sum())
        if all(abs(t - e) <= SAME * abs(e) for t, e in zip(turned, exact, strict=True)):
            yield "looks like, along 2 directions: it is transposed: its transpose is right"
            return
    wrong, right = [], []
    for text, mask in _parts(twins, name, hand):
        part = v * mask
        mine, true = float((part * hand).sum()), twins.slope(name, part)
        scale = max(abs(true), float(np.linalg.norm(hand * mask)))
        if abs(mine - true) <= tolerance * scale_of(scale, float(np.linalg.norm(hand))):
            right.append(text)
        elif true:
            text += f" ({mine / true:.6g} times the right slope along one direction)"
            wrong.append(text)
        else:
            wrong.append(text)
    if not wrong:
        yield "no part of it alone is wrong by more than the tolerance"
        return
    ok = f"; right in {', '.join(right)}" if right else ""
    yield f"moved part by part, it is wrong in {', '.join(wrong)}{ok}"


def _parts(twins: Twins, name: str, hand: Array) -> Iterator[tuple[str, Array]]:
    """Meaningful parts of a tensor: a description, and a mask that is 1 inside the part."""
    config = twins.hand.config
    C = config.n_embd
    if "c_attn" in name or "c_kv" in name:
        parts = ("query", "key", "value") if "c_attn" in name else ("key", "value")
        for k, what in enumerate(parts):
            mask = np.zeros(hand.shape[-1])
            mask[k * C : (k + 1) * C] = 1
            yield f"the {what}", mask
    elif name == "wte.weight":
        times = np.bincount(_looked_up(twins), minlength=len(hand))
        for text, rows in (
            ("rows of tokens that do not occur", times == 0),
            ("rows of tokens that occur once", times == 1),
            ("rows of tokens that occur several times", times > 1),
        ):
            if rows.any():
                yield text, rows[:, None].astype(float)
    else:
        for rows in np.array_split(np.arange(len(hand)), min(BLOCKS, len(hand))):
            mask = np.zeros((len(hand), *[1] * (hand.ndim - 1)))
            mask[rows] = 1
            what = f"rows {rows[0]}-{rows[-1]}" if rows.size > 1 else f"row {rows[0]}"
            yield what, mask


def _looked_up(twins: Twins) -> Array:
    """The tokens whose rows the embedding reads: of a Transformer, those of both stacks."""
    tokens = np.asarray(twins.tokens).reshape(-1)
    if isinstance(twins.hand, GPT):
        return tokens
    return np.concatenate([tokens, np.asarray(twins.targets)[:, :-1].reshape(-1)])
