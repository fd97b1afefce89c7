"""Whether this machine has the memory that a model takes, asked before anything is allocated."""

import dataclasses
import math
import os
from collections.abc import Callable
from typing import Any

from gpt_numpy.base.arrays import Shape
from gpt_numpy.base.cgroups import memory_limit
from gpt_numpy.base.errors import InputError
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.model.stage import ModelConfig
from gpt_numpy.model.stages import activation_shapes, parameter_shapes


def check_memory(
    config: ModelConfig,
    batch_size: int,
    *,
    itemsize: int,
    copies: int,
    more: int = 0,
    settings: str = "",
) -> None:
    """Raise `InputError` where a model cannot fit into this machine's memory.

    Parameters
    ----------
    batch_size : sequences, as long as they can be, that go through the model at once.
    itemsize : bytes of one parameter.
    copies : how many arrays as large as the parameters there are, such as their gradients.
    more : bytes in addition to those of the model.
    settings : what else decides how much it is, for the message.
    """
    parameters = parameter_count(config)
    positions = longest_sequences(config)
    sizes = batch_size, *positions.values()
    activations = _of_blocks(config, lambda c: activation_shapes(c, *sizes))
    # Of the logits only a part need exist, some activations share a buffer, and in bfloat16 some
    # have 16 bits: a third of the others is a bound from below.
    activations -= batch_size * next(iter(positions.values())) * config.vocab_size
    needed = itemsize * (copies * parameters + activations // 3) + more
    needed += 8 * max(positions.values()) * config.n_embd  # the sinusoids
    available = _memory()
    if needed > available:
        named = {"n_layer": config.n_layer, "n_embd": config.n_embd} | positions
        # Not where another vocabulary would change nothing: it may not be known yet.
        if 100 * config.vocab_size * config.n_embd > parameters:
            named["vocab_size"] = config.vocab_size
        listed = ", ".join([f"{name}={value}" for name, value in named.items()] + [settings])
        raise InputError(
            f"{listed.removesuffix(', ')} take {_size(needed)} of memory or more; "
            f"this machine has {_size(available)}: make some of them smaller"
        )


def longest_sequences(config: ModelConfig) -> dict[str, int]:
    """The most positions that the model sees at once, by the name of the setting: T, and S."""
    if isinstance(config, GPTConfig):
        return {"block_size": config.block_size}
    return {"target_size": config.target_size, "source_size": config.source_size}


def parameter_count(config: ModelConfig) -> int:
    """How many parameters a model of this shape has, counted without making it."""
    return _of_blocks(config, parameter_shapes)


def _of_blocks(config: ModelConfig, shapes: Callable[[Any], dict[str, Shape]]) -> int:
    """Number of elements in a table of shapes; every block adds the same number."""
    one, two = (
        sum(map(math.prod, shapes(dataclasses.replace(config, n_layer=n)).values())) for n in (1, 2)
    )
    return one + (config.n_layer - 1) * (two - one)


def _memory() -> float:
    try:
        available: float = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # as on Windows: nothing is known
        return math.inf
    return min(available, memory_limit())


def _size(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9)):
        if count >= size:
            return f"{min(count // size, 10**6):,.0f} {unit}"
    return f"{count // 1e6:,.0f} MB"
