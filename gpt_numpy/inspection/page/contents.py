"""Everything that the page shows, as one dictionary of numbers, strings and packed arrays.

    about         the model, the run and the text
    tokens        of the text, and the targets; `names`: each token as it is shown
    arrays        by name: shape, statistics, remarks, value and gradient (encoding.py)
    embedding     the vectors of the text's tokens and positions
    next, lens    the distribution of the next token, at the end and after each layer
    steps         of backward, with the lines of code
    verdicts      of the gradient check, by name
    influence     how strongly each position influences the loss of each token
    history       curves and samples of the run's log

Activations are stored whole; where they would exceed BUDGET, neighbouring channels are grouped.
Parameters are stored as maps of at most 64 x 64 groups, with their exact norms.
"""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import InputError
from gpt_numpy.base.version import __version__
from gpt_numpy.inspection.page.backwards import steps
from gpt_numpy.inspection.page.encoding import BYTES_A_NUMBER, pack, strongest
from gpt_numpy.inspection.page.gradient_check import check_gradients
from gpt_numpy.inspection.page.logit_lens import logit_lens, most_likely
from gpt_numpy.inspection.page.token_influence import token_influence
from gpt_numpy.inspection.page.training_history import training_history
from gpt_numpy.inspection.summary.statistics import ArrayStatistics, Summary, array_statistics
from gpt_numpy.inspection.trace.diagram import parts
from gpt_numpy.inspection.trace.recomputed import next_token
from gpt_numpy.inspection.trace.trace import Trace, Traced
from gpt_numpy.model.gpt import GPT
from gpt_numpy.model.stages import gpt
from gpt_numpy.training.checkpoint import Run

BUDGET = 4_500_000  # bytes of all arrays together
PARAMETER_MAP = (64, 64)
LARGEST_VOCABULARY = 512  # of which every logit is stored


def contents(run: Run, trace: Trace, folder: str, text: str) -> dict[str, Any]:
    """The contents for `trace`, a pass over `text` of the model of `run`, which is in `folder`.

    Raises
    ------
    InputError : the arrays exceed BUDGET even in groups.
    """
    assert trace.targets is not None
    group = _group_of_channels(trace)
    influence = token_influence(run.model, trace)
    found = {
        "about": _about(run, trace, folder, text, group),
        "tokens": trace.tokens[0].tolist(),
        "targets": trace.targets[0].tolist(),
        "arrays": _arrays(trace, array_statistics(trace, run.optimizer), group),
        "embedding": _embedding(run.model, trace, group),
        "next": _next(trace),
        "lens": logit_lens(trace),
        "steps": steps(trace),
        "verdicts": check_gradients(run.model, trace),
        "influence": None if influence is None else pack(influence, lower=True),
        "history": training_history(folder),
    }
    found["names"] = _names(run, trace, found)
    return found


def _about(run: Run, trace: Trace, folder: str, text: str, group: int) -> dict[str, Any]:
    c = run.config
    return {
        "version": __version__,
        "folder": folder,
        "text": text,
        "iteration": run.progress.get("iteration"),
        "loss": _finite(trace.loss),
        "uniform": math.log(c.vocab_size),
        "ops": trace.ops,
        "dtype": str(trace.dtype),
        "parameters": run.model.n_params,
        "group": group,
        "grad_clip": None if run.optimizer is None else run.optimizer.grad_clip,
        "config": dataclasses.asdict(c) | {"head_size": c.head_size, "n_hidden": c.n_hidden},
    }


def _finite(value: float | None) -> float | None:
    """The number with six digits; None if it is not finite, which JSON cannot hold."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None


def _is_left_out(name: str, trace: Trace) -> bool:
    large = trace.config.vocab_size > LARGEST_VOCABULARY
    return name in parts(trace.config) or (large and name in ("logits", "probabilities"))


def _group_of_channels(trace: Trace) -> int:
    """The number of neighbouring channels in a group, so that all arrays fit into BUDGET."""
    fixed = channels = 0
    for name, entry in trace.items():
        size = math.prod(entry.shape)
        both = 2 - (entry.kind == "statistic" or name.endswith(".proj"))
        if entry.kind == "parameter":
            fixed += min(2 * size, math.prod(PARAMETER_MAP))
        elif _has_channels(entry):
            channels += both * size
        elif not _is_left_out(name, trace):
            fixed += both * size
    left = BUDGET / BYTES_A_NUMBER - fixed
    if left <= 0 or channels / left > trace.config.n_embd:
        T = trace.tokens.shape[1]
        raise InputError(
            f"text has {T + 1} tokens: too many for one page of this model; give a shorter one"
        )
    return int(2 ** max(math.ceil(math.log2(channels / left)), 0))


def _has_channels(entry: Traced) -> bool:
    """Whether the last axis is that of channels, not of positions or tokens."""
    return (
        entry.kind == "activation"
        and len(entry.shape) == 3
        and entry.name not in ("logits", "probabilities")
    )


def _arrays(trace: Trace, listed: list[ArrayStatistics], group: int) -> dict[str, Any]:
    # What a sublayer adds to the residual stream has the gradient of the sum.
    sums = {name: stage.writes.name for stage in gpt(trace.config) for name in stage.taps.values()}
    found: dict[str, Any] = {}
    for row in listed:
        entry = trace[row.name]
        parameter = entry.kind == "parameter"
        about: dict[str, Any] = {
            "kind": entry.kind,
            "shape": list(entry.shape if parameter else entry.shape[1:]),
            "numbers": _numbers(row.value),
            "grad_numbers": None if row.grad is None else _numbers(row.grad),
            "update": _finite(row.update),
            "remarks": row.remarks,
            "forward": [step.equation for step in entry.forward],
        }
        if not _is_left_out(row.name, trace):
            matrix = parameter and len(entry.shape) == 2  # only its gradient is shown
            about["value"] = None if matrix else _pack(entry, entry.value, group)
            if row.name in sums:
                about["grad"] = {"of": sums[row.name]}
            else:
                grad = entry.grad
                about["grad"] = None if grad is None else _pack(entry, grad, group, gradient=True)
        found[row.name] = about
    return found


def _numbers(of: Summary) -> dict[str, float | None]:
    return {name: _finite(getattr(of, name)) for name in ("mean", "spread", "norm", "zeros")}


def _pack(entry: Traced, array: Array, group: int, *, gradient: bool = False) -> dict[str, Any]:
    """An array in groups: of a parameter whole, of an activation for the one sequence."""
    lower = False
    if entry.kind == "parameter":
        most = PARAMETER_MAP if array.ndim == 2 else (math.prod(PARAMETER_MAP),)
        groups = tuple(-(-size // limit) for size, limit in zip(array.shape, most, strict=True))
    else:
        array = array[0]
        groups = (*[1] * (array.ndim - 1), group if _has_channels(entry) else 1)
        # Masked pairs have weight 0, and their gradient has no effect.
        lower = entry.name.endswith(".attn.probabilities") or (
            gradient and entry.name.endswith(".attn.scores")
        )
    return pack(strongest(array, groups), lower=lower) | {"groups": list(groups)}


def _embedding(model: GPT, trace: Trace, group: int) -> dict[str, Any]:
    """The vectors of the text's tokens and positions, (T, C) each."""
    tokens = trace.tokens[0]
    return {
        "token": pack(strongest(model.params["wte.weight"][tokens], (1, group))),
        "position": pack(strongest(model.positions[: len(tokens)], (1, group))),
    }


def _next(trace: Trace) -> dict[str, Any]:
    """The distribution after each position: the most likely tokens and the target."""
    assert trace.targets is not None
    p = next_token(trace["logits"].value[0].astype(np.float64), trace["lse"].value[0])
    best = most_likely(p, 12)
    right = trace.targets[0][:, None]
    grad = trace["logits"].grad
    assert grad is not None
    return {
        "tokens": best.tolist(),
        "probabilities": pack(np.take_along_axis(p, best, axis=-1)),
        "gradients": pack(np.take_along_axis(grad[0], best, axis=-1)),
        "right": pack(np.take_along_axis(p, right, axis=-1)[:, 0]),
        "right_gradient": pack(np.take_along_axis(grad[0], right, axis=-1)[:, 0]),
        "losses": pack(trace["losses"].value[0]),
    }


def _names(run: Run, trace: Trace, found: dict[str, Any]) -> dict[str, str]:
    """The string of every token on the page."""
    if run.config.vocab_size <= LARGEST_VOCABULARY:
        numbers: Iterable[int] = range(run.config.vocab_size)
    else:
        lists = [found["next"]["tokens"], *(layer["tokens"] for layer in found["lens"])]
        numbers = {int(token) for listed in lists for row in listed for token in row}
        numbers |= set(found["tokens"]) | set(found["targets"])
    if run.tokenizer is None:
        return {str(number): str(number) for number in numbers}
    known = run.tokenizer.vocab_size  # a model may have more tokens, to round their number up
    return {
        str(number): run.tokenizer.decode(np.array([number])) if number < known else "\ufffd"
        for number in numbers
    }
