"""`gpt-numpy train`: starts or resumes a run and trains it to its end."""

import contextlib
import dataclasses
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from gpt_numpy.base.environment import differences
from gpt_numpy.base.errors import InputError, NotFiniteError
from gpt_numpy.base.progress import Progress
from gpt_numpy.base.shell import quoted
from gpt_numpy.cli.exit_status import INTERRUPTED
from gpt_numpy.cli.pair_runs import (
    data_of,
    of_pairs,
    open_run_pairs,
    refuse_settings_of_gpts,
    refuse_settings_of_pairs,
    start_pairs,
    training_of,
)
from gpt_numpy.cli.precision import TRAINING, note_of_emulation
from gpt_numpy.cli.processes import (
    check_same_everywhere,
    copies_in_training,
    describe_processes,
)
from gpt_numpy.cli.settings import (
    Types,
    field_types,
    gather,
    names_nanogpts_data,
    nanogpts_training,
    settings_of,
    split,
)
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.presets import DEFAULT_PRESET, NANOGPT_DEFAULTS, PRESETS
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.config.transformer import TransformerConfig
from gpt_numpy.config.translation import TranslationConfig
from gpt_numpy.data.dataset import Dataset, check_length, open_dataset
from gpt_numpy.data.pair_dataset import PairDataset
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.data.tokenizers.tokenizer import Tokenizer
from gpt_numpy.files.durable import remove_leftovers
from gpt_numpy.files.locks import locked
from gpt_numpy.interop import cropped, holds_foreign_model, open_nanogpt_run, open_run
from gpt_numpy.model.flops import counted_parameters
from gpt_numpy.model.gpt import GPT
from gpt_numpy.model.implementations import array_type
from gpt_numpy.model.memory import check_memory
from gpt_numpy.parallel.launch import start
from gpt_numpy.parallel.world import ONE, World
from gpt_numpy.training.checkpoint import Run, environment_of
from gpt_numpy.training.evaluation import evaluation_line
from gpt_numpy.training.log import Log
from gpt_numpy.training.loop import State, Training, new_run
from gpt_numpy.training.optimizers import optimizer_for
from gpt_numpy.training.run_folder import LAST, begin, find_checkpoint, make_folder, resume


def run(words: list[str], types: Types) -> int:
    """`gpt-numpy train`."""
    with start() as world, contextlib.ExitStack() as held:
        # Training itself reports what is not finite; NumPy's warnings would only repeat it.
        held.enter_context(np.errstate(all="ignore"))
        with world.together():
            run, config, dataset = _prepare(words, types, world, held)
        if config.eval_only:
            return _evaluate(run, config, dataset)
        return _train(run, config, dataset, world)


def _prepare(
    words: list[str], types: Types, world: World, held: contextlib.ExitStack
) -> tuple[Run, TrainConfig, Dataset | PairDataset]:
    """Read settings, model and data, and lock the folder of the run."""
    values = gather(words, types, print)
    _, flags = split(words, types)
    if flags.get("data") and "dataset" in flags:
        raise InputError("--data and --dataset exclude each other: give one of them")
    init_from = values.get("init_from", "scratch")
    out_dir = values.get("out_dir", TrainConfig.out_dir)
    dataset: Dataset | PairDataset
    if init_from == "resume":
        if not holds_foreign_model(out_dir):
            found = find_checkpoint(out_dir, "last")
            if found.name != LAST:
                print(f"no {LAST} in {out_dir}: resuming from {found.name}")
        if not values.get("eval_only") and world.first:
            held.enter_context(locked(Path(out_dir), print))
        run, config, dataset = _resume(out_dir, words, values, types, world)
    elif of_pairs(values):
        run, config, dataset = start_pairs(values, world)
    elif init_from == "scratch":
        run, config, dataset = _start(words, values, types, world)
    else:
        run, config, dataset = _start_from_model(words, values, types, world)
    world.share(config.gradient_accumulation_steps)  # also of a run that is resumed
    if init_from != "resume" and not config.eval_only and world.first:
        held.enter_context(locked(make_folder(config.out_dir), print))
    return run, config, dataset


def _resume(
    out_dir: str, words: list[str], values: dict[str, Any], types: Types, world: World
) -> tuple[Run, TrainConfig, Dataset | PairDataset]:
    _, flags = split(words, types)
    found = None
    if holds_foreign_model(out_dir):
        found = open_nanogpt_run(out_dir, ops=values.get("ops"), say=print)
    # The shape in a file gives way to the run's, as in nanoGPT; a flag that differs is refused.
    shape = field_types(GPTConfig, TransformerConfig).keys() & values.keys() - flags.keys()
    ignored = {name: values.pop(name) for name in shape - {"dropout"}}
    run, config = resume(out_dir, values, found)
    if isinstance(config, TranslationConfig):
        refuse_settings_of_gpts(flags)
    for name, value in ignored.items():
        if value != getattr(run.config, name, value):
            kept = getattr(run.config, name)
            print(f"{name} = {value} is ignored: the run in {out_dir} has {name} = {kept}")
    # nanoGPT's `shakespeare` is byte pairs, and not our text.
    nanogpts = found is not None and not isinstance(run.tokenizer, CharTokenizer)
    dataset: Any
    if isinstance(config, TranslationConfig):
        dataset = open_run_pairs(config, run.config, run.tokenizer)
    else:
        dataset = _open(config, run.tokenizer, nanogpts=nanogpts and "dataset" not in flags)
    if found is None:
        _check_same_data(run, dataset, config)
    else:
        _check_vocabulary(run, dataset, config)
        check_length(dataset, run.config.block_size)
    _check_progress(run, config)
    print(f"Resuming training from {config.out_dir}")
    if run.settings is not None and run.settings.dtype != config.dtype:
        print(f"dtype {run.settings.dtype} until now, {config.dtype} from here on")
    changed = differences(run.environment, environment_of(run.model))
    if changed:
        print(f"the last bits may differ from those of an uninterrupted run: {'; '.join(changed)}")
    if world.size > 1 and run.optimizer is not None:
        run.optimizer = run.optimizer.divided(world)
    return run, config, dataset


def _start(
    words: list[str], values: dict[str, Any], types: Types, world: World = ONE
) -> tuple[Run, TrainConfig, Dataset]:
    if all(word.startswith("--") for word in words):
        print(f"no preset or file named: starting from the preset {DEFAULT_PRESET}")
        values = PRESETS[DEFAULT_PRESET] | values
    refuse_settings_of_pairs(values)
    values = NANOGPT_DEFAULTS | nanogpts_training(words) | values
    config = TrainConfig(**settings_of(TrainConfig, values))
    shape = settings_of(GPTConfig, values)
    # Refuse a wrong shape before any data is fetched.
    _check_training_memory(GPTConfig(vocab_size=1, **shape), config, world)
    dataset = _open(config, nanogpts=names_nanogpts_data(words, types))
    model_config = GPTConfig(vocab_size=dataset.vocab_size, **shape)
    check_length(dataset, model_config.block_size)
    _check_training_memory(model_config, config, world)
    print("Initializing a new model from scratch")
    return new_run(model_config, config, world), config, dataset


def _start_from_model(
    words: list[str], values: dict[str, Any], types: Types, world: World
) -> tuple[Run, TrainConfig, Dataset]:
    """A run that starts from the parameters and the tokenizer of an existing model."""
    refuse_settings_of_pairs(values)
    _, flags = split(words, types)
    config = TrainConfig(**settings_of(TrainConfig, nanogpts_training(words) | values))
    source = config.init_from
    # Without dropout unless a setting says otherwise, as in nanoGPT.
    found = open_run(source, dropout=values.get("dropout", 0.0), dtype=config.dtype, ops=config.ops)
    shape = dataclasses.asdict(found.config)
    for name in settings_of(GPTConfig, flags).keys() - {"dropout", "block_size"}:
        if flags[name] != shape[name]:
            raise InputError(
                f"{name}={flags[name]}, but the model in {source} has {name}={shape[name]}: "
                "it keeps its shape; leave the setting out"
            )
    model = cropped(found.model, values.get("block_size", found.config.block_size))
    _check_training_memory(model.config, config, world)
    nanogpts = names_nanogpts_data(words, types)
    dataset = _open(config, found.tokenizer, nanogpts=nanogpts)
    _check_vocabulary(found, dataset, config)
    check_length(dataset, model.config.block_size)
    print(f"Initializing from the model in {source}")
    if dataset.tokenizer is not None and dataset.vocab_size < model.config.vocab_size:
        print(
            f"the model has {model.config.vocab_size} tokens, its tokenizer {dataset.vocab_size}: "
            "the others are not drawn"
        )
    optimizer = optimizer_for(model, config, world)
    return Run(model, model.config, optimizer=optimizer, settings=config), config, dataset


def _check_vocabulary(found: Run, dataset: Dataset, config: TrainConfig) -> None:
    """Refuse data whose tokens do not mean what the model's tokens mean."""
    theirs, ours = dataset.tokenizer, found.tokenizer
    source = config.out_dir if config.init_from == "resume" else config.init_from
    if theirs is not None and ours is not None and theirs.to_json() != ours.to_json():
        raise InputError(
            f"{dataset.name} has tokens of {theirs}, the model in {source} of {ours}: "
            "prepare the text with the model's own, "
            f"gpt-numpy prepare FILE --tokenizer={quoted(source)}, or use --data=FILE"
        )
    if ours is None and config.data:
        raise InputError(
            f"the model in {source} has no tokenizer, so it cannot read the text of "
            f"{config.data}: put its tokenizer.json next to it, or prepare the text with its "
            "tokenizer and use --dataset"
        )
    if dataset.vocab_size > found.config.vocab_size:
        raise InputError(
            f"{dataset.name} has vocab_size={dataset.vocab_size}, the model in {source} "
            f"has vocab_size={found.config.vocab_size}: they do not belong together"
        )


def _check_training_memory(model: GPTConfig, config: TrainConfig, world: World) -> None:
    size, micro_batches = config.batch_size, config.gradient_accumulation_steps
    mine = len(world.share(micro_batches))
    check_memory(
        model,
        size,
        itemsize=array_type(config.dtype).itemsize,
        copies=copies_in_training(config, world),
        more=16 * mine * size * model.block_size,  # tokens and targets of one update
        settings=f"batch_size={size}, gradient_accumulation_steps={micro_batches}",
    )


def _open(
    config: TrainConfig, tokenizer: Tokenizer | None = None, *, nanogpts: bool = False
) -> Dataset:
    dataset = open_dataset(
        config.dataset, config.data, tokenizer=tokenizer, nanogpts=nanogpts, say=print
    )
    print(f"found vocab_size = {dataset.vocab_size} (inside {config.data or dataset.name})")
    return dataset


def _check_same_data(run: Run, dataset: Dataset | PairDataset, config: TrainConfig) -> None:
    assert run.settings is not None
    before, now = data_of(run.settings), data_of(config)
    if run.dataset != dataset.fingerprint:
        raise InputError(
            f"the run in {config.out_dir} was trained on {before} with fingerprint "
            f"{run.dataset[:16]}, {now} has {dataset.fingerprint[:16]}: resume with the same data"
        )
    kinds = [_vocabulary_of(tokenizer) for tokenizer in (run.tokenizer, dataset.tokenizer)]
    if kinds[0] != kinds[1]:
        raise InputError(
            f"the run in {config.out_dir} was trained with {kinds[0]}, {now} has {kinds[1]}: "
            "resume with the same tokenizer"
        )


def _vocabulary_of(tokenizer: Tokenizer | None) -> str:
    if tokenizer is None:
        return "no tokenizer"
    content = json.dumps(tokenizer.to_json(), sort_keys=True).encode()
    fingerprint = hashlib.sha256(content).hexdigest()[:16]
    return f"a tokenizer of {tokenizer.vocab_size} tokens with fingerprint {fingerprint}"


def _check_progress(run: Run, config: TrainConfig) -> None:
    """Refuse a checkpoint with a malformed record of its progress, or one already at its end."""
    kinds = {field.name: field.type for field in dataclasses.fields(State)}
    fitting = run.progress.keys() == kinds.keys() and all(
        type(value) in (int, kinds[name]) or (value is None and kinds[name] is float)
        for name, value in run.progress.items()
    )
    if run.progress and not (fitting and run.progress["iteration"] >= 0):
        raise InputError(f"{config.out_dir}/{LAST} has no usable record of its progress")
    iteration = run.progress.get("iteration", 0)
    if iteration > config.max_iters and not config.eval_only:
        raise InputError(
            f"max_iters={config.max_iters}: the run in {config.out_dir} has already done "
            f"updates 0 to {iteration - 1}; to continue, give a larger --max_iters"
        )


def _evaluate(run: Run, config: TrainConfig, dataset: Dataset | PairDataset) -> int:
    """`--eval_only`: nothing is written."""
    training = training_of(run, config, dataset)
    measured = training.measure()
    print(f"step {training.state.iteration}: {evaluation_line(measured)}")
    if not all(map(math.isfinite, measured.values())):
        raise NotFiniteError(f"{config.out_dir}: the evaluation loss is not finite")
    return 0


def _train(run: Run, config: TrainConfig, dataset: Dataset | PairDataset, world: World) -> int:
    training = training_of(run, config, dataset)
    if world.size > 1:
        describe_processes(world, config)
    _describe(run.model, training)
    if config.decay_lr and config.lr_schedule != "noam" and config.min_lr > config.learning_rate:
        rate = config.learning_rate
        print(
            f"min_lr={config.min_lr:g} is above learning_rate={rate:g}, which stays constant after "
            f"the warm-up; to let it decay, give --min_lr={rate / 10:g}"
        )
    folder = Path(config.out_dir)
    with world.together():
        if world.first:
            folder = folder if run.progress else begin(config.out_dir, print)
            remove_leftovers(folder)
        log = Log(folder if world.first else None, run.progress)
        if world.size > 1:
            check_same_everywhere(run, config, dataset, world)
    with Progress(config.max_iters + 1, done=training.state.iteration) as progress:
        outcome = training.run(log, progress)
    state, name = training.state, quoted(config.out_dir)
    if outcome == "interrupted":
        with contextlib.suppress(OSError):  # a terminal that closed reads nothing more
            print(f"interrupted: iteration {state.iteration} is the next; saved in {folder / LAST}")
            print(f"continue with: gpt-numpy train --init_from=resume --out_dir={name}")
        return INTERRUPTED
    if outcome == "out of patience":
        print(f"no better validation loss in {config.patience} evaluations: ending here")
    if state.best_iteration >= 0:
        print(f"best val loss {state.best_val_loss:.4f} at iteration {state.best_iteration}")
    command = "translate" if isinstance(dataset, PairDataset) else "sample"
    print(f"saved in {folder}; see what it writes with: gpt-numpy {command} --out_dir={name}")
    return 0


def _describe(model: GPT, training: Training) -> None:
    print(f"tokens per iteration will be: {training.tokens_per_iteration:,}")
    print(f"number of parameters: {counted_parameters(model) / 1e6:.2f}M")
    for line in note_of_emulation(model, TRAINING):
        print(line)
    for kind, chosen in (
        ("decayed", [p for p in model.params.values() if p.ndim >= 2]),
        ("non-decayed", [p for p in model.params.values() if p.ndim < 2]),
    ):
        size = sum(p.size for p in chosen)
        print(f"num {kind} parameter tensors: {len(chosen)}, with {size:,} parameters")
