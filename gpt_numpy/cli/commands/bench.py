"""`gpt-numpy bench`: time the training steps of a preset."""

from gpt_numpy.bench.step_times import bench
from gpt_numpy.cli.options import BenchConfig
from gpt_numpy.cli.settings import Types, field_types, gather, settings_of, shape_of, split
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.presets import DEFAULT_PRESET
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.model.gpt import GPT
from gpt_numpy.model.implementations import array_type
from gpt_numpy.model.memory import check_memory
from gpt_numpy.training.optimizers import optimizer_for


def run(words: list[str], types: Types) -> int:
    """`gpt-numpy bench`."""
    sources, flags = split(words, types)
    sources = sources or [DEFAULT_PRESET]
    config = BenchConfig(**settings_of(BenchConfig, flags))
    shape = shape_of(sources) | {"dropout": 0.0} | settings_of(GPTConfig, flags)
    model_config = GPTConfig(**shape)
    given = gather(sources, field_types(GPTConfig, TrainConfig))
    batch_size = config.batch_size or given.get("batch_size", TrainConfig.batch_size)
    itemsize = array_type(config.dtype).itemsize
    sequences = f"batch_size={batch_size}"
    check_memory(model_config, batch_size, itemsize=itemsize, copies=4, settings=sequences)
    print(f"{' '.join(sources)}: batch {batch_size} x {model_config.block_size}, {config.ops}")
    model = GPT(model_config, dtype=config.dtype, ops=config.ops)
    kind = config.optimizer or given.get("optimizer", TrainConfig.optimizer)
    optimizer = optimizer_for(model, TrainConfig(optimizer=kind))
    bench(model, batch_size, optimizer, report=lambda line: print(line, flush=True))
    print("to compare with PyTorch, in a clone of gpt_numpy: python -m benchmarks.bench_step tiny")
    return 0
