"""The contents of the page of an encoder-decoder: what its cross-attention did with one pair.

For every decoder block and head the weights, which say how strongly each token of the target is
read from each of the source, and the gradients of weights and scores; the loss of each token, and
what comes back to the encoder. All numbers are those of the trace (inspection/trace), and every
gradient of the pass is checked by the complex step (gradient_check.py).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import InputError
from gpt_numpy.base.version import __version__
from gpt_numpy.config.transformer import BEGIN, END, PAD
from gpt_numpy.data.sentences import FIRST
from gpt_numpy.data.tokenizers.tokenizer import Tokenizer
from gpt_numpy.inspection.page.encoding import three_digits
from gpt_numpy.inspection.page.facts import finite
from gpt_numpy.inspection.page.gradient_check import check_gradients
from gpt_numpy.inspection.trace.trace import Trace
from gpt_numpy.training.checkpoint import Run

MOST = 3_000_000  # numbers of the maps together; one takes about seven bytes
SPECIAL = {PAD: "PAD", BEGIN: "BEGIN", END: "END"}
# What is shown of each weight: the array, and whether it or its gradient.
KINDS = {
    "weights": ("probabilities", "value"),
    "dweights": ("probabilities", "grad"),
    "dscores": ("scores", "grad"),
}


def alignment_contents(
    run: Run, trace: Trace, folder: str, given: bool, tick: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """The contents for `trace`, a pass of the model of `run`, which is in `folder`, over one pair.

    given : whether the target was given; otherwise the model wrote it.
    tick : called after each gradient that was checked.

    Raises
    ------
    InputError : the maps of so many tokens are too large for a page.
    """
    config, target = run.config, np.asarray(trace.targets)[0]
    T, S = len(target) - 1, trace.tokens.shape[1]
    count = len(KINDS) * config.n_layer * config.n_head * T * S
    if count > MOST:
        raise InputError(
            f"a source of {S} tokens and a target of {T} make {count:,} numbers, and a page holds "
            f"{MOST:,}: give a shorter pair"
        )
    verdicts, why = check_gradients(run.model, trace, tick)
    P, logits = trace["probabilities"].value[0], trace["logits"].value[0]
    return {
        "about": _about(run, trace, folder, given),
        "source": _names(trace.tokens[0], run.tokenizer),
        "target": _names(target[1:], run.tokenizer),
        **{kind: _maps(trace, config.n_layer, *which) for kind, which in KINDS.items()},
        "equations": {kind: _equation(trace, *which) for kind, which in KINDS.items()},
        "losses": _numbers(-np.log(np.maximum(P[np.arange(T), target[1:]], 1e-300))),
        "best": _names(logits.argmax(axis=-1), run.tokenizer),
        "pull": _numbers(trace.token_norms("encoder.out")[0]),
        "checked": {
            "count": len(verdicts),
            "wrong": [name for name, verdict in verdicts.items() if not verdict["ok"]],
            "error": finite(max((v["error"] for v in verdicts.values()), default=None)),
            "why": why,
        },
    }


def _about(run: Run, trace: Trace, folder: str, given: bool) -> dict[str, Any]:
    assert run.tokenizer is not None
    source, target = trace.tokens[0], np.asarray(trace.targets)[0]
    return {
        "version": __version__,
        "folder": folder,
        "iteration": run.progress.get("iteration"),
        "loss": finite(trace.loss),
        "smoothing": run.config.label_smoothing,
        "ops": trace.ops,
        "dtype": str(trace.dtype),
        "parameters": run.model.n_params,
        "blocks": run.config.n_layer,
        "heads": run.config.n_head,
        "channels": run.config.n_embd,
        "source": "".join(_names(source[:-1], run.tokenizer)),
        "target": "".join(_names(target[1:-1], run.tokenizer)),
        "given": given,
    }


def _names(tokens: Array, tokenizer: Tokenizer | None) -> list[str]:
    """The text of each token; a model may have more tokens than its tokenizer."""
    assert tokenizer is not None
    known = FIRST + tokenizer.vocab_size
    return [
        SPECIAL[int(token)]
        if token < FIRST
        else tokenizer.decode(np.array([token - FIRST]))
        if token < known
        else "\ufffd"
        for token in tokens
    ]


def _maps(trace: Trace, blocks: int, part: str, which: str) -> list[list[list[float | None]]]:
    """For each block and head the numbers in rows, one for each token of the target."""
    found = []
    for i in range(blocks):
        array = getattr(trace[f"decoder.h.{i}.cross.{part}"], which)[0]
        found.append([_numbers(head) for head in array])
    return found


def _numbers(array: Array) -> list[float | None]:
    """The numbers of an array with three digits, None for those that are not finite."""
    x = three_digits(np.asarray(array, np.float64)).reshape(-1)
    return [float(number) if np.isfinite(number) else None for number in x]


def _equation(trace: Trace, part: str, which: str) -> dict[str, str]:
    entry = trace[f"decoder.h.0.cross.{part}"]
    step = (entry.forward if which == "value" else entry.backward)[0]
    file = step.derivation.replace(".", "/") + ".py"
    return {"text": step.equation, "file": file, "function": str(step.function)}
