"""A GPT from scratch in NumPy, every backward pass derived by hand."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from gpt_numpy.checkpoint import load as load
    from gpt_numpy.checkpoint import save as save
    from gpt_numpy.config import GPTConfig as GPTConfig
    from gpt_numpy.config import TrainConfig as TrainConfig
    from gpt_numpy.errors import InputError as InputError
    from gpt_numpy.generation import generate as generate
    from gpt_numpy.gradients.check import gradcheck as gradcheck
    from gpt_numpy.gradients.layer_check import check_layer as check_layer
    from gpt_numpy.inspection.hooks import ablate as ablate
    from gpt_numpy.inspection.hooks import replaced as replaced
    from gpt_numpy.inspection.trace import trace as trace
    from gpt_numpy.interop import from_pretrained as from_pretrained
    from gpt_numpy.model import GPT as GPT
    from gpt_numpy.optimizer import AdamW as AdamW
    from gpt_numpy.threads import set_threads as set_threads

# Imported when first used, so that `import gpt_numpy` and `gpt-numpy --help` cost nothing.
_HOME = {
    "GPT": "model",
    "GPTConfig": "config",
    "TrainConfig": "config",
    "AdamW": "optimizer",
    "InputError": "errors",
    "check_layer": "gradients.layer_check",
    "ablate": "inspection.hooks",
    "from_pretrained": "interop",
    "generate": "generation",
    "gradcheck": "gradients.check",
    "load": "checkpoint",
    "replaced": "inspection.hooks",
    "save": "checkpoint",
    "set_threads": "threads",
    "trace": "inspection.trace",
}
__all__ = sorted([*_HOME, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gpt_numpy' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"gpt_numpy.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
