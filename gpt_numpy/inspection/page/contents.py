"""Everything that the page shows, as one dictionary of numbers, strings and packed arrays.

    about         the model, the run and the text
    tokens        of the text, and the targets; `names`: each token as it is shown
    arrays        by name: shape, statistics, remarks, value and gradient (encoding.py), and of some
                  the length of each token's vector
    embedding     the vectors of the text's tokens and positions, their lengths, and some channels
    neurons       of each MLP: how many are active, and the most active
    next, lens    the distribution of the next token, at the end and after each layer
    steps         of backward, with the lines of code
    verdicts      of the gradient check, by name; `unchecked`: why the others have none
    influence     how strongly each position influences the loss of each token
    history       curves and samples of the run's log
    code          by name: the lines of the reference that compute the array
    live          of small models: the parameters, from which the page computes all arrays itself
    recorded      why it cannot; "" if it can

Activations are stored whole; where they would exceed BUDGET, neighbouring channels of a head or of
a vector are grouped. Parameters are stored as maps of at most 64 x 64 groups. Norms, lengths and
counts are those of all numbers.
"""

import dataclasses
import math
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import InputError
from gpt_numpy.base.version import __version__
from gpt_numpy.inspection.page.backwards import forward_code, steps
from gpt_numpy.inspection.page.earlier import earlier_models
from gpt_numpy.inspection.page.encoding import BYTES_A_NUMBER, pack, strongest
from gpt_numpy.inspection.page.facts import about_array, finite
from gpt_numpy.inspection.page.gradient_check import check_gradients
from gpt_numpy.inspection.page.live import live_arrays, live_model, why_not_live
from gpt_numpy.inspection.page.logit_lens import logit_lens, most_likely
from gpt_numpy.inspection.page.token_influence import token_influence
from gpt_numpy.inspection.page.training_history import training_history
from gpt_numpy.inspection.summary.statistics import ArrayStatistics, array_statistics
from gpt_numpy.inspection.trace.diagram import all_shapes, parts
from gpt_numpy.inspection.trace.recomputed import next_token
from gpt_numpy.inspection.trace.trace import Trace, Traced
from gpt_numpy.model.gpt import GPT
from gpt_numpy.model.stages import gpt
from gpt_numpy.reference.activation import FORWARD
from gpt_numpy.training.checkpoint import Run

BUDGET = 4_500_000  # bytes of all arrays together, or half of it for those with channels
LARGEST = 24_000_000  # bytes of a page: maps of T x T cannot be grouped
PARAMETER_MAP = (64, 64)
MOST_WHOLE = 128  # tokens of a text whose masked scores are stored, too
LARGEST_VOCABULARY = 512  # of which every logit is stored
ACTIVE = 0.05  # above which a neuron counts as active


def contents(
    run: Run,
    trace: Trace,
    folder: str,
    text: str,
    tick: Callable[[], None] = lambda: None,
    *,
    live: bool = True,
) -> dict[str, Any]:
    """The contents for `trace`, a pass over `text` of the model of `run`, which is in `folder`.

    Parameters
    ----------
    tick : called after each gradient that was checked (gradient_check.py).
    live : whether the page may compute the passes itself, where it can (live.py); it then has the
        parameters, and not the arrays of this one pass.

    Raises
    ------
    InputError : the arrays exceed LARGEST even in groups.
    """
    assert trace.targets is not None
    recorded = why_not_live(run.model) if live else "asked for"
    live = not recorded
    group = 1 if live else _group_of_channels(trace)
    verdicts, unchecked = check_gradients(run.model, trace, tick)
    verdicts = {name: v | {"error": finite(v["error"])} for name, v in verdicts.items()}
    influence = token_influence(run.model, trace)
    listed = array_statistics(trace, run.optimizer)
    found = {
        "about": _about(run, trace, folder, text, group),
        "tokens": trace.tokens[0].tolist(),
        "targets": trace.targets[0].tolist(),
        "arrays": live_arrays(trace, listed) if live else _arrays(trace, listed, group),
        "steps": steps(trace),
        "code": forward_code(trace) if live else {},
        "verdicts": verdicts,
        "unchecked": unchecked,
        "influence": None if influence is None else pack(influence, lower=True),
        "history": training_history(folder, run.optimizer.grad_clip if run.optimizer else None),
        "live": live_model(run) | {"earlier": earlier_models(folder, run)} if live else None,
        "recorded": recorded,
    }
    if not live:
        found |= {
            "embedding": _embedding(run.model, trace, group),
            "neurons": _neurons(trace, group),
            "next": _next(trace),
            "lens": logit_lens(trace),
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
        "loss": finite(trace.loss),
        "uniform": math.log(c.vocab_size),
        "ops": trace.ops,
        "dtype": str(trace.dtype),
        "parameters": run.model.n_params,
        "group": group,
        "grad_clip": None if run.optimizer is None else run.optimizer.grad_clip,
        "config": dataclasses.asdict(c)
        | {"head_size": c.head_size, "n_hidden": c.n_hidden, "n_groups": c.n_groups},
    }


def _is_left_out(name: str, trace: Trace) -> bool:
    large = trace.config.vocab_size > LARGEST_VOCABULARY
    return name in parts(trace.config) or (large and name in ("logits", "probabilities"))


def _group_of_channels(trace: Trace) -> int:
    """The number of neighbouring channels in a group, a power of two.

    Raises
    ------
    InputError : the page would exceed LARGEST; it says how many tokens fit.
    """
    T = trace.tokens.shape[1]
    group, size = _group_and_size(trace, T)
    if size <= LARGEST:
        return group
    # The sizes grow with T: the first that is too large comes after all that fit.
    most = bisect_left(range(1, T + 1), True, key=lambda t: _group_and_size(trace, t)[1] > LARGEST)
    if most == 0:
        raise InputError("the model is too large for a page; leave html out, and get a table")
    raise InputError(
        f"text has {T + 1} tokens: too many for one page of this model, which holds {most + 1}; "
        "give a shorter one"
    )


def _group_and_size(trace: Trace, T: int) -> tuple[int, float]:
    """For T tokens: how many channels share a group, and the size of all arrays in bytes."""
    shapes = all_shapes(trace.config, 1, T)
    fixed, channels = T * T / 2, 0.0  # the influence of each token on each loss
    for name, entry in trace.items():
        size = math.prod(shapes[name])
        both = 2 - (entry.kind == "statistic" or name.endswith(".proj"))
        if entry.kind == "parameter":
            fixed += min(2 * size, math.prod(PARAMETER_MAP))
        elif _has_channels(entry):
            channels += both * size
        elif not _is_left_out(name, trace):
            triangles = sum(_is_lower(name, T, gradient=g) for g in (False, True))
            fixed += (both - triangles / 2) * size
    all_numbers = BUDGET / BYTES_A_NUMBER
    left = max(all_numbers - fixed, all_numbers / 2)
    group = int(2 ** max(math.ceil(math.log2(channels / left)), 0))
    if group > trace.config.n_embd:
        return group, math.inf
    return group, (fixed + channels / group) * BYTES_A_NUMBER


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
    streams = {stage.writes.name for stage in gpt(trace.config)} - {"losses"}
    with_lengths = {*streams, *sums, *parts(trace.config)}
    found: dict[str, Any] = {}
    for row in listed:
        entry = trace[row.name]
        parameter = entry.kind == "parameter"
        about = about_array(entry, row)
        if row.name in with_lengths:
            about["lengths"] = pack(_lengths(entry.value[0]))
        if parameter and len(entry.shape) == 1:
            about["range"] = [finite(float(f(entry.value))) for f in (np.min, np.max)]
        if not _is_left_out(row.name, trace):
            matrix = parameter and len(entry.shape) == 2  # only its gradient is shown
            about["value"] = None if matrix else _pack(trace, entry, entry.value, group)
            if row.name in sums:
                about["grad"] = {"of": sums[row.name]}
            else:
                grad: Any = entry.grad
                if grad is not None:
                    grad = _pack(trace, entry, grad, group, gradient=True)
                about["grad"] = grad
        found[row.name] = about
    return found


def _pack(
    trace: Trace, entry: Traced, array: Array, group: int, *, gradient: bool = False
) -> dict[str, Any]:
    """An array in groups: of a parameter whole, of an activation for the one sequence.

    `channels`: how many numbers the last axis has; `of_head`: how many of them belong to a head,
    where that is so. No group has channels of two heads.
    """
    if entry.kind == "parameter":
        most = PARAMETER_MAP if array.ndim == 2 else (math.prod(PARAMETER_MAP),)
        groups = tuple(-(-size // limit) for size, limit in zip(array.shape, most, strict=True))
        return pack(strongest(array, groups)) | _about_groups(array, groups)
    array = array[0]
    if entry.name in {part.whole for part in parts(trace.config).values()}:
        return _pack_of_heads(array, trace.config.head_size, group)
    groups = (*[1] * (array.ndim - 1), group if _has_channels(entry) else 1)
    lower = _is_lower(entry.name, trace.tokens.shape[1], gradient=gradient)
    wide = entry.kind == "statistic"
    return pack(strongest(array, groups), lower=lower, wide=wide) | _about_groups(array, groups)


def _pack_of_heads(array: Array, head_size: int, group: int) -> dict[str, Any]:
    """An array (T, channels) in which `head_size` neighbours at a time belong to a head."""
    heads = strongest(array.reshape(len(array), -1, head_size), (1, 1, group))
    about = _about_groups(array, (1, group)) | {"of_head": head_size}
    return pack(heads.reshape(len(array), -1)) | about


def _about_groups(array: Array, groups: tuple[int, ...]) -> dict[str, Any]:
    return {"groups": list(groups), "channels": array.shape[-1]}


def _is_lower(name: str, T: int, *, gradient: bool) -> bool:
    """Whether only the lower triangle is stored: masked pairs have weight 0, and what their
    gradient is has no effect. Scores before the mask are stored whole, of short texts.
    """
    whole = not gradient and T <= MOST_WHOLE
    return name.endswith(".attn.probabilities") or (name.endswith(".attn.scores") and not whole)


def _lengths(vectors: Array) -> Array:
    return np.linalg.norm(vectors.astype(np.float64), axis=-1)


def _embedding(model: GPT, trace: Trace, group: int) -> dict[str, Any]:
    """The vectors of the text's tokens and positions, (T, C) each; four channels of the latter.

    Where no vectors are added at positions there is only "token", and no "waves".
    """
    tokens, positions = trace.tokens[0], model.positions
    rows = {"token": model.params["wte.weight"][tokens]}
    if positions is not None:
        rows["position"] = positions[: len(tokens)]
    C = trace.config.n_embd
    channels = sorted({int(share * (C - 1)) for share in (0, 0.125, 0.3, 0.6)})
    found: dict[str, Any] = {name: pack(strongest(x, (1, group))) for name, x in rows.items()}
    for name, x in rows.items():
        found[name] |= _about_groups(x, (1, group))
    found["lengths"] = {name: pack(_lengths(x)) for name, x in rows.items()}
    if positions is not None:
        found["waves"] = {"channels": channels, "values": pack(rows["position"][:, channels])}
    return found


def _neurons(trace: Trace, group: int) -> list[dict[str, Any]]:
    """Of each block: how many neurons are active at each position, and which are the most active.

    `after`: the nonlinearity of what is shown of each group before it. The strongest after it may
    be another neuron.
    """
    found = []
    for i in range(trace.config.n_layer):
        before, after = (trace[f"h.{i}.mlp.{part}"].value[0] for part in ("fc", "act"))
        best = most_likely(after, 8)
        if trace.config.activation == "swiglu":  # two of `before` make one of `after`
            shown = strongest(after, (1, group))
        else:
            shown = strongest(before, (1, group)).astype(np.float64)
            FORWARD[trace.config.activation](shown, out=shown)
        found.append(
            {
                "active": (after > ACTIVE).sum(axis=-1).tolist(),
                "best": best.tolist(),
                "values": pack(np.take_along_axis(after, best, axis=-1)),
                "after": pack(shown) if group > 1 else None,
            }
        )
    return found


def _next(trace: Trace) -> dict[str, Any]:
    """The distribution after each position: the most likely tokens and the target."""
    assert trace.targets is not None
    logits, cap = trace["logits"].value[0].astype(np.float64), trace.config.logit_softcap
    p = next_token(logits, trace["lse"].value[0], cap)
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
    if run.config.vocab_size <= LARGEST_VOCABULARY or found["live"]:
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
