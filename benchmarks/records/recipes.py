"""The recipes that hold the records: a model, its training, and the loss that it has to reach."""

from dataclasses import dataclass
from typing import Any

from gpt_numpy.config.presets import PRESETS


@dataclass(frozen=True)
class Recipe:
    """One race.

    Attributes
    ----------
    target : the loss in nats a token, over the whole validation split (of names: the test split).
    dataset : whose texts; "names" is trained on rows of names (names.py).
    settings : of GPTConfig and TrainConfig; max_iters counts updates here, and the learning rates
        are 0 after the last.
    """

    target: float
    dataset: str
    settings: dict[str, Any]


def _race(preset: str, updates: int, **settings: Any) -> dict[str, Any]:
    return PRESETS[preset] | {"max_iters": updates, "lr_decay_iters": updates} | settings


RECIPES = {
    "tiny": Recipe(
        1.88,
        "tinyshakespeare",
        _race("tiny-modern", 300, dtype="bfloat16"),
    ),
    "baby": Recipe(
        1.4697,
        "tinyshakespeare",
        _race("baby-modern", 650, min_lr=0.0, dtype="bfloat16"),
    ),
    "names": Recipe(
        2.0,
        "names",
        _race(
            "tiny-modern", 260, n_layer=2, n_head=3, n_embd=96, block_size=24, batch_size=128,
            learning_rate=3e-2, warmup_iters=5, dtype="bfloat16",
        ),
    ),
}  # fmt: skip
