"""What a call is, what it acts on, and how its arguments are drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import gpt_numpy as gn
from gpt_numpy.config.choices import IMPLEMENTATIONS
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.gradients.model_check import randomise
from tests.bad_input.values import BAD, Maybe, strange

SHAPE = gn.GPTConfig(vocab_size=11, block_size=8, n_layer=1, n_head=2, n_embd=6, dropout=0.2)
PAIR_SHAPE = gn.TransformerConfig(
    vocab_size=9, source_size=6, target_size=6, n_layer=1, n_head=2, n_embd=6, dropout=0.2,
    label_smoothing=0.1,
)  # fmt: skip
WORD = 2**64 - 1
LONG = 64  # what would only take long is not tried: counts from here to HUGE
HUGE = 2**32 - 1


@dataclass
class Call:
    """A call and its judge. `right` says whether a result is; `at_fault` what an error may name."""

    function: str
    arguments: Any
    run: Callable[[], Any]
    at_fault: tuple[str, ...]
    must_fail: bool
    may_fail: bool
    right: Callable[[Any], bool] = lambda result: True
    errors: tuple[type[Exception], ...] = (gn.InputError,)


class World:
    """What calls act on: a model of each kind, and the truth about it."""

    def __init__(self, folder, seed=0):
        self.folder = folder
        self.models, self.transformers = {}, {}
        for ops in IMPLEMENTATIONS:
            for dtype in ("float32", "float64"):
                made = {"seed": None, "dtype": dtype, "ops": ops}
                self.models[ops, dtype] = gn.GPT(SHAPE, **made)
                self.transformers[ops, dtype] = gn.Transformer(PAIR_SHAPE, **made)
        for model in self.all_models():
            randomise(model, seed)
        exact = {"seed": None, "dtype": "float64", "ops": "reference"}
        self.truth, self.pair_truth = gn.GPT(SHAPE, **exact), gn.Transformer(PAIR_SHAPE, **exact)
        self.before = [model.params.flat.copy() for model in self.all_models()]
        self.saved = {key: model.params.flat.copy() for key, model in self.models.items()}
        self.tokenizer = CharTokenizer("abcdefghij\n")
        self.run = folder / "run.npz"
        gn.save(self.run, self.models["kernels", "float32"], tokenizer=self.tokenizer)
        self.bytes = self.run.read_bytes()

    def any_model(self, rng):
        """One of the models; `truth` is its twin from now on."""
        key = list(self.models)[rng.integers(len(self.models))]
        self.truth.params.flat[...] = self.models[key].params.flat
        return self.models[key]

    def any_transformer(self, rng):
        """One of the encoder-decoders; `pair_truth` is its twin from now on."""
        key = list(self.transformers)[rng.integers(len(self.transformers))]
        self.pair_truth.params.flat[...] = self.transformers[key].params.flat
        return self.transformers[key]

    def all_models(self):
        """The models of both kinds."""
        return [*self.models.values(), *self.transformers.values()]

    def unchanged(self):
        """Whether the parameters of all models are what they were."""
        return all(
            np.array_equal(model.params.flat, before)
            for model, before in zip(self.all_models(), self.before, strict=True)
        )


def close(model, ours, exact):
    """Equal to the rounding of the model's type."""
    bound = 1e-4 if model.dtype == np.float32 else 1e-9
    return np.abs(np.asarray(ours) - exact).max() <= bound * max(1.0, np.abs(exact).max())


def choose(rng, kinds, chance=1.0):
    """Arguments of which one or two are strange: passed, meant, and whose fault an error is.

    `kinds` has for each argument the usual value and what a value means.
    """
    passed = {name: usual for name, (usual, _) in kinds.items()}
    if rng.random() < chance:
        for name in rng.choice(list(kinds), size=rng.integers(1, 3)):
            passed[name] = strange(rng)
    means = {name: kinds[name][1](value) for name, value in passed.items()}
    return passed, means


def verdict(means):
    """The fields of Call that follow from what the arguments mean."""
    bad = tuple(name for name, value in means.items() if value is BAD)
    doubtful = tuple(name for name, value in means.items() if isinstance(value, Maybe))
    return {"at_fault": bad + doubtful, "must_fail": bool(bad), "may_fail": bool(bad + doubtful)}


def plain(means):
    """What is meant, without the doubts."""
    return {n: v.value if isinstance(v, Maybe) else v for n, v in means.items()}
