"""A GPT from scratch in NumPy, every backward pass derived by hand."""

import importlib
from typing import TYPE_CHECKING, Any

from gpt_numpy.base.version import __version__ as __version__

if TYPE_CHECKING:
    from gpt_numpy import parallel as parallel
    from gpt_numpy.base.errors import InputError as InputError
    from gpt_numpy.base.threads import set_threads as set_threads
    from gpt_numpy.config.model import GPTConfig as GPTConfig
    from gpt_numpy.config.train import TrainConfig as TrainConfig
    from gpt_numpy.config.transformer import TransformerConfig as TransformerConfig
    from gpt_numpy.generation.generate import generate as generate
    from gpt_numpy.generation.translating import translate as translate
    from gpt_numpy.gradients.layer_check import check_layer as check_layer
    from gpt_numpy.gradients.model_check import gradcheck as gradcheck
    from gpt_numpy.inspection.hooks.hooks import ablate as ablate
    from gpt_numpy.inspection.hooks.hooks import replaced as replaced
    from gpt_numpy.inspection.trace.trace import trace as trace
    from gpt_numpy.interop import from_pretrained as from_pretrained
    from gpt_numpy.model.encoder_decoder import Transformer as Transformer
    from gpt_numpy.model.gpt import GPT as GPT
    from gpt_numpy.training.checkpoint import load as load
    from gpt_numpy.training.checkpoint import save as save
    from gpt_numpy.training.muon import Muon as Muon
    from gpt_numpy.training.optimizer import AdamW as AdamW

# Imported when first used, so that `import gpt_numpy` and `gpt-numpy --help` cost nothing.
_HOME = {
    "GPT": "model.gpt",
    "GPTConfig": "config.model",
    "TrainConfig": "config.train",
    "Transformer": "model.encoder_decoder",
    "TransformerConfig": "config.transformer",
    "AdamW": "training.optimizer",
    "Muon": "training.muon",
    "InputError": "base.errors",
    "check_layer": "gradients.layer_check",
    "ablate": "inspection.hooks.hooks",
    "from_pretrained": "interop",
    "generate": "generation.generate",
    "gradcheck": "gradients.model_check",
    "load": "training.checkpoint",
    "replaced": "inspection.hooks.hooks",
    "save": "training.checkpoint",
    "set_threads": "base.threads",
    "translate": "generation.translating",
    "trace": "inspection.trace.trace",
}
__all__ = sorted([*_HOME, "__version__", "parallel"])


def __getattr__(name: str) -> Any:
    if name == "parallel":  # a package by itself
        return importlib.import_module("gpt_numpy.parallel")
    if name not in _HOME:
        raise AttributeError(f"module 'gpt_numpy' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"gpt_numpy.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
