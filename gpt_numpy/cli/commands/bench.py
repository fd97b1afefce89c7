"""`gpt-numpy bench`: training steps of a preset, timed, layer by layer."""

import dataclasses

import numpy as np

from gpt_numpy.bench.step_times import bench
from gpt_numpy.cli.options import BenchConfig
from gpt_numpy.cli.settings import Types, gather, is_flag, mute, shape_of
from gpt_numpy.config.gpt import GPTConfig
from gpt_numpy.config.presets import PRESETS
from gpt_numpy.model.gpt import GPT
from gpt_numpy.model.memory import check_memory

DEFAULT_PRESET = "tiny"


def run(words: list[str], types: Types) -> int:
    """`gpt-numpy bench`."""
    sources = [word for word in words if not is_flag(word)] or [DEFAULT_PRESET]
    flags = gather(filter(is_flag, words), types, mute)
    names = {field.name for field in dataclasses.fields(BenchConfig)}
    config = BenchConfig(**{name: value for name, value in flags.items() if name in names})
    shape = {name: value for name, value in flags.items() if name not in names}
    model_config = GPTConfig(**shape_of(sources) | {"dropout": 0.0} | shape)
    batch_size = config.batch_size or PRESETS.get(sources[-1], {}).get("batch_size", 1)
    itemsize = np.dtype(config.dtype).itemsize
    check_memory(model_config, batch_size, itemsize=itemsize, copies=4)
    print(f"{' '.join(sources)}: batch {batch_size} x {model_config.block_size}, {config.ops}")
    model = GPT(model_config, dtype=config.dtype, ops=config.ops)
    bench(model, batch_size, say=lambda text: print(text, flush=True))
    print(
        "to compare with PyTorch, in a clone of the repository with PyTorch installed: "
        "python -m benchmarks.bench_step"
    )
    return 0
