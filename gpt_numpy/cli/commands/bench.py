"""`gpt-numpy bench`: time the training steps of a preset, or updates of several processes."""

from collections.abc import Sequence

from gpt_numpy.base.threads import wanted_threads
from gpt_numpy.bench.process_times import bench_processes
from gpt_numpy.bench.step_times import bench
from gpt_numpy.cli.options import BenchConfig
from gpt_numpy.cli.settings import Types, field_types, gather, settings_of, shape_of, split
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.presets import DEFAULT_PRESET
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.model.gpt import GPT
from gpt_numpy.model.implementations import array_type
from gpt_numpy.model.memory import check_memory
from gpt_numpy.parallel.launch import start
from gpt_numpy.parallel.world import ONE, World
from gpt_numpy.training.optimizer import AdamW
from gpt_numpy.training.optimizers import optimizer_for


def run(words: list[str], types: Types) -> int:
    """`gpt-numpy bench`."""
    sources, flags = split(words, types)
    config = BenchConfig(**settings_of(BenchConfig, flags))
    sources = sources or [DEFAULT_PRESET]
    shape = shape_of(sources) | {"dropout": 0.0} | settings_of(GPTConfig, flags)
    if config.parallel:
        return _in_processes(sources, config, GPTConfig(**shape))
    model, batch_size, optimizer = _prepare(sources, config, GPTConfig(**shape))
    bench(model, batch_size, optimizer, report=_report)
    print("to compare with PyTorch, in a clone of gpt_numpy: python -m benchmarks.bench_step tiny")
    return 0


def _in_processes(sources: Sequence[str], config: BenchConfig, shape: GPTConfig) -> int:
    """`gpt-numpy bench --parallel`: in the processes of mpiexec, or in this one."""
    with start() as world:
        with world.together():
            micro_batches = config.gradient_accumulation_steps or world.size
            world.share(micro_batches)
            model, batch_size, optimizer = _prepare(sources, config, shape, world)
        threads = f"{wanted_threads()} thread{'s' * (wanted_threads() > 1)}"
        print(f"{world.size} process{'es' * (world.size > 1)} with {threads} each")
        bench_processes(model, batch_size, micro_batches, optimizer, report=_report)
    return 0


def _prepare(
    sources: Sequence[str], config: BenchConfig, shape: GPTConfig, world: World = ONE
) -> tuple[GPT, int, AdamW]:
    """The model, its batch size and its optimizer."""
    given = gather(sources, field_types(GPTConfig, TrainConfig))
    batch_size = config.batch_size or given.get("batch_size", TrainConfig.batch_size)
    itemsize = array_type(config.dtype).itemsize
    sequences = f"batch_size={batch_size}"
    check_memory(shape, batch_size, itemsize=itemsize, copies=4, settings=sequences)
    print(f"{' '.join(sources)}: batch {batch_size} x {shape.block_size}, {config.ops}")
    model = GPT(shape, dtype=config.dtype, ops=config.ops)
    kind = config.optimizer or given.get("optimizer", TrainConfig.optimizer)
    return model, batch_size, optimizer_for(model, TrainConfig(optimizer=kind), world)


def _report(line: str) -> None:
    print(line, flush=True)
