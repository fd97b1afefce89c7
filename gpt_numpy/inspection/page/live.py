"""What the page needs to compute the passes by itself: the parameters, and how to read a text.

The page has a twin of the reference in JavaScript (parts/twin/), which runs both passes in float64
from these float32 parameters. A model with a part that the twin does not know, or with too many
parameters for a file, gets the recorded pass instead, and the page says why.
"""

from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.inspection.page.deflated import deflated
from gpt_numpy.inspection.page.facts import about_array, finite
from gpt_numpy.inspection.summary.statistics import ArrayStatistics
from gpt_numpy.inspection.trace.trace import Trace
from gpt_numpy.model.gpt import GPT
from gpt_numpy.model.stage import Stage
from gpt_numpy.model.stages import gpt
from gpt_numpy.training.checkpoint import Run

MOST_PARAMETERS = 2_000_000  # a little over 4 characters each (deflated.py): 9 MB
# What parts/twin/ has: of each layer all weights, and all that its forward keeps.
_NORM = {"ln_weight", "ln_bias"}, {"mean", "rstd", "norm"}
_PROJECTIONS = {"proj_weight", "proj_bias"}
KNOWN: dict[str, tuple[set[str], set[str]]] = {
    "embedding": ({"wte", "wpe"}, set()),
    "attention_sublayer": (
        _NORM[0] | _PROJECTIONS | {"qkv_weight", "qkv_bias", "q_norm", "k_norm", "rotations"},
        _NORM[1] | {"qkv", "ready", "lse", "attn"},
    ),
    "mlp_sublayer": (
        _NORM[0] | _PROJECTIONS | {"fc_weight", "fc_bias"},
        _NORM[1] | {"fc", "act"},
    ),
    "head_loss": (_NORM[0] | {"weight"}, _NORM[1] | {"logits", "lse"}),
}
# And the values of the settings of a stage; None: any.
SETTINGS: dict[str, set[Any] | None] = {
    "n_head": None,
    "n_kv_head": None,
    "precision": None,
    "norm_kind": {"layernorm", "rmsnorm"},
    "norm_eps": None,
    "activation": {"gelu", "gelu_tanh", "relu", "relu2", "swiglu"},
    "softcap": None,
    "smoothing": {0.0},
    "lengths": {None},
}
POSITIONS = {"learned", "sinusoidal", "rotary", "none"}


def why_not_live(model: GPT) -> str:
    """Why the page cannot compute this model's passes; "" if it can."""
    if model.n_params > MOST_PARAMETERS:
        return (
            f"the model has {model.n_params:,} parameters; up to {MOST_PARAMETERS:,} travel "
            "in a page"
        )
    unknown = [part for stage in gpt(model.config) for part in _unknown(stage)]
    if model.config.positions not in POSITIONS:
        unknown.append(f"positions {model.config.positions}")
    return f"the page cannot compute this part of the model: {unknown[0]}" if unknown else ""


def _unknown(stage: Stage) -> list[str]:
    """The parts of a stage that the twin does not have."""
    if stage.layer not in KNOWN:
        return [stage.layer]
    weights, kept = KNOWN[stage.layer]
    found = sorted(set(stage.weights) - weights | set(stage.kept) - kept)
    settings = {} if stage.settings is None else stage.settings._asdict()
    for name, value in settings.items():
        values = SETTINGS.get(name, set())
        if values is not None and value not in values:
            found.append(f"{name} {value}")
    return found


def live_model(run: Run) -> dict[str, Any]:
    """The parameters in one string of float32, their names and shapes, and the characters."""
    return {
        "table": [[name, list(array.shape)] for name, array in run.model.params.items()],
        "numbers": as_float32(run.model),
        "characters": characters(run),
    }


def as_float32(model: GPT) -> str:
    """All parameters, one after the other."""
    arrays = model.params.values()
    return deflated(np.concatenate([np.asarray(a, np.float32).reshape(-1) for a in arrays]))


def characters(run: Run) -> list[str] | None:
    """The character of each token, where a token is one; a text cannot be edited otherwise."""
    tokenizer = run.tokenizer
    return list(tokenizer.characters) if isinstance(tokenizer, CharTokenizer) else None


def live_arrays(trace: Trace, listed: list[ArrayStatistics]) -> dict[str, Any]:
    """What the page cannot compute of each array; `probe` is a number of its gradient.

    By the probe the page sees whether the gradient that it computed is the one that was checked.
    """
    found = {}
    for row in listed:
        entry = trace[row.name]
        found[row.name] = about_array(entry, row) | {
            "probe": None if entry.grad is None else finite(probe(entry.grad, entry.kind))
        }
    return found


def probe(grad: Array, kind: str) -> float:
    """The sum of a gradient's numbers, each times the cosine of an integer made of its indices.

    Any change of the gradient changes it; parts/live.js computes the same. The batch has one
    sequence, whose axis does not count; nor do pairs of a query and a later key.
    """
    array = grad if kind == "parameter" else grad[0]
    if array.ndim == 3:
        array = np.tril(array)
    place = np.zeros(array.shape)
    for axis, index in enumerate(np.indices(array.shape, sparse=True)):
        place = place + index * 991 ** (array.ndim - 1 - axis)
    return float((np.cos(place) * array.astype(np.float64)).sum())
