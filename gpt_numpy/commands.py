"""What each command of `gpt-numpy` does, once its words are read."""

import dataclasses
import math
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gpt_numpy.arrays import Array
from gpt_numpy.checkpoint import Run, load
from gpt_numpy.config import IMPLEMENTATIONS, GPTConfig, GradcheckConfig, SampleConfig, TrainConfig
from gpt_numpy.datasets import EVALUATE_VAL, Dataset, check_length, draw_batch, open_dataset
from gpt_numpy.errors import InputError, NotFiniteError
from gpt_numpy.evaluation import evaluate
from gpt_numpy.generation import generate
from gpt_numpy.gradient_check import gradcheck as check_gradients
from gpt_numpy.gradient_check import randomise
from gpt_numpy.memory import check_memory
from gpt_numpy.model import GPT
from gpt_numpy.presets import GRADCHECK_MODEL, NANOGPT_DEFAULTS, PRESETS
from gpt_numpy.progress import Progress
from gpt_numpy.runs import LAST, Log, begin, find_checkpoint, remove_leftovers, resume
from gpt_numpy.settings import Types, field_types, gather, is_flag
from gpt_numpy.training import State, Training, new_run

INTERRUPTED = 130
DEFAULT_PRESET = "tiny"
RULE = "---------------"


def train(words: list[str], types: Types) -> int:
    """`gpt-numpy train`."""
    values = gather(words, types)
    flags = gather(filter(is_flag, words), types, _mute)
    if flags.get("data") and "dataset" in flags:
        raise InputError("--data and --dataset exclude each other: give one of them")
    if values.get("init_from") == "resume":
        run, config = resume(values.get("out_dir", TrainConfig.out_dir), values)
        dataset = _open(config)
        _check_same_data(run, dataset, config)
        _check_progress(run, config)
        print(f"Resuming training from {config.out_dir}")
    else:
        run, config, dataset = _start(words, values)
    # What is not finite is looked for and reported; NumPy's warnings would only come on top.
    with np.errstate(all="ignore"):
        return (_evaluate if config.eval_only else _train)(run, config, dataset)


def _start(words: list[str], values: dict[str, Any]) -> tuple[Run, TrainConfig, Dataset]:
    if values.get("init_from", "scratch") != "scratch":
        raise InputError(f"init_from={values['init_from']!r}: must be scratch or resume")
    if all(map(is_flag, words)):
        print(f"no preset or file named: starting from the preset {DEFAULT_PRESET}")
        values = PRESETS[DEFAULT_PRESET] | values
    values = NANOGPT_DEFAULTS | values
    model_names = {field.name for field in dataclasses.fields(GPTConfig)}
    config = TrainConfig(**{k: v for k, v in values.items() if k not in model_names})
    shape = {k: v for k, v in values.items() if k in model_names}
    # Refuse a wrong shape before any data is fetched.
    _check_training_memory(GPTConfig(vocab_size=1, **shape), config)
    dataset = _open(config)
    model_config = GPTConfig(vocab_size=dataset.vocab_size, **shape)
    check_length(dataset, model_config.block_size)
    _check_training_memory(model_config, config)
    print("Initializing a new model from scratch")
    return new_run(model_config, config), config, dataset


def _check_training_memory(model: GPTConfig, config: TrainConfig) -> None:
    # The parameters, their gradients, AdamW's two averages; the micro-batches of one update.
    batches = 16 * config.gradient_accumulation_steps * config.batch_size * model.block_size
    itemsize = np.dtype(config.dtype).itemsize
    names = ("batch_size", "gradient_accumulation_steps")
    settings = ", ".join(f"{name}={getattr(config, name)}" for name in names)
    check_memory(
        model, config.batch_size, itemsize=itemsize, copies=4, more=batches, settings=settings
    )


def _open(config: TrainConfig) -> Dataset:
    dataset = open_dataset(config.dataset, config.data, say=print)
    print(f"found vocab_size = {dataset.vocab_size} (inside {config.data or dataset.name})")
    return dataset


def _check_same_data(run: Run, dataset: Dataset, config: TrainConfig) -> None:
    if run.dataset != dataset.fingerprint:
        raise InputError(
            f"the run in {config.out_dir} was trained on data with fingerprint "
            f"{run.dataset[:16]}, {config.data or config.dataset} has {dataset.fingerprint[:16]}: "
            "resume with the same data"
        )


def _check_progress(run: Run, config: TrainConfig) -> None:
    """Refuse a checkpoint whose record of the progress is none, and one that has arrived."""
    kinds = {field.name: field.type for field in dataclasses.fields(State)}
    fitting = run.progress.keys() == kinds.keys() and all(
        type(value) is int or type(value) is kinds[name] or (value is None and kinds[name] is float)
        for name, value in run.progress.items()
    )
    if run.progress and not (fitting and run.progress["iteration"] >= 0):
        raise InputError(f"{config.out_dir}/{LAST} has no usable record of its progress")
    iteration = run.progress.get("iteration", 0)
    if iteration > config.max_iters and not config.eval_only:
        raise InputError(
            f"max_iters={config.max_iters}: the run in {config.out_dir} has already made the "
            f"updates 0 to {iteration - 1}; to go on, give a larger --max_iters"
        )


def _evaluate(run: Run, config: TrainConfig, dataset: Dataset) -> int:
    """`--eval_only`: nothing is written."""
    iteration = run.progress.get("iteration", 0)
    losses = evaluate(run.model, dataset, config, iteration)
    assert losses is not None
    print(f"step {iteration}: train loss {losses['train']:.4f}, val loss {losses['val']:.4f}")
    if not all(map(math.isfinite, losses.values())):
        raise NotFiniteError(f"{config.out_dir}: the evaluation loss is not finite")
    return 0


def _train(run: Run, config: TrainConfig, dataset: Dataset) -> int:
    training = Training(run, config, dataset)
    _describe(run.model, training)
    folder = Path(config.out_dir) if run.progress else begin(config.out_dir, print)
    remove_leftovers(folder)
    log = Log(folder, run.progress)
    with Progress(config.max_iters + 1, done=training.state.iteration) as progress:
        outcome = training.run(log, progress)
    state, quoted = training.state, shlex.quote(config.out_dir)
    if outcome == "interrupted":
        print(f"interrupted: iteration {state.iteration} is the next; saved in {folder / LAST}")
        print(f"go on with: gpt-numpy train --init_from=resume --out_dir={quoted}")
        return INTERRUPTED
    if outcome == "out of patience":
        print(f"no better validation loss in {config.patience} evaluations: ending here")
    if state.best_iteration >= 0:
        print(f"best val loss {state.best_val_loss:.4f} at iteration {state.best_iteration}")
    print(f"saved in {folder}; see what it writes with: gpt-numpy sample --out_dir={quoted}")
    return 0


def _describe(model: GPT, training: Training) -> None:
    print(f"tokens per iteration will be: {training.tokens_per_iteration:,}")
    positions = model.params.get("wpe.weight")
    counted = model.n_params - (positions.size if positions is not None else 0)
    print(f"number of parameters: {counted / 1e6:.2f}M")
    for kind, chosen in (
        ("decayed", [p for p in model.params.values() if p.ndim >= 2]),
        ("non-decayed", [p for p in model.params.values() if p.ndim < 2]),
    ):
        size = sum(p.size for p in chosen)
        print(f"num {kind} parameter tensors: {len(chosen)}, with {size:,} parameters")


def sample(words: list[str], types: Types) -> int:
    """`gpt-numpy sample`."""
    config = SampleConfig(**gather(_only_flags("sample", words), types, _mute))
    run = load(find_checkpoint(config.out_dir, config.checkpoint), ops=config.ops or None)
    start = _start_tokens(run, config)
    room = 8 * config.num_samples * (len(start) + config.max_new_tokens)
    check_memory(
        run.config,
        config.num_samples,
        itemsize=run.model.dtype.itemsize,
        copies=2,
        more=room,
        settings=f"num_samples={config.num_samples}, max_new_tokens={config.max_new_tokens}",
    )
    with np.errstate(all="ignore"):
        out = generate(
            run.model,
            np.tile(start, (config.num_samples, 1)),
            config.max_new_tokens,
            temperature=config.temperature,
            top_k=config.top_k,
            top_p=config.top_p,
            seed=config.seed,
        )
    for row in out:
        print(_text(run, row))
        print(RULE)
    return 0


def _start_tokens(run: Run, config: SampleConfig) -> Array:
    text = "\n" if config.start == "\\n" else config.start
    name = f"start={_short(text)}"
    if text.startswith("FILE:"):
        try:
            text = Path(text[5:]).read_text(encoding="utf-8-sig")
        except OSError as error:
            raise InputError(f"{name}: cannot read the file: {error.strerror or error}") from error
        except ValueError as error:
            raise InputError(f"{name}: the file is not UTF-8 text: {error}") from error
    if not text:
        raise InputError(f"{name} is empty: give at least one character to go on from")
    if run.tokenizer is not None:
        try:
            return run.tokenizer.encode(text)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
    if text == "\n":
        return np.zeros(1, dtype=np.int64)
    try:
        return np.array([int(word) for word in text.split()], dtype=np.int64)
    except ValueError:
        raise InputError(
            f"{name}: this run has no tokenizer (its data came as tokens); "
            "give token numbers, such as --start='5 17'"
        ) from None


def _text(run: Run, tokens: Array) -> str:
    if run.tokenizer is not None:
        return run.tokenizer.decode(tokens)
    return " ".join(map(str, tokens))


def gradcheck(words: list[str], types: Types) -> int:
    """`gpt-numpy gradcheck`."""
    sources = [word for word in words if not is_flag(word)]
    flags = gather(filter(is_flag, words), types, _mute)
    names = {field.name for field in dataclasses.fields(GradcheckConfig)}
    config = GradcheckConfig(**{k: v for k, v in flags.items() if k in names})
    shape = {k: v for k, v in flags.items() if k not in names}
    if config.out_dir:
        if sources or shape:
            extra = sources[0] if sources else f"--{min(shape)}"
            raise InputError(f"{extra} does not go with --out_dir: the run has its own shape")
        model, tokens, targets = _from_run(config)
    else:
        model, tokens, targets = _random_model(config, sources, shape)
    key = 1 if model.config.dropout else None
    report = check_gradients(
        model,
        tokens,
        targets,
        dropout_key=key,
        tolerance=config.tolerance,
        seed=config.seed,
        say=lambda text: print(text, flush=True),
    )
    print("\n".join(report.lines(_painter())))
    return 0 if report.ok else 1


def _from_run(config: GradcheckConfig) -> tuple[GPT, Array, Array]:
    run = load(find_checkpoint(config.out_dir, config.checkpoint), ops=config.ops or None)
    _check_gradcheck_memory(run.config, config)
    if run.settings is None:
        return _random_tokens(run.model, config)
    dataset = open_dataset(run.settings.dataset, run.settings.data, say=print)
    if dataset.fingerprint != run.dataset:
        raise InputError(
            f"{config.out_dir}: {run.settings.data or dataset.name} has changed since training"
        )
    tokens, targets = draw_batch(
        dataset.val,
        config.batch_size,
        run.config.block_size,
        seed=config.seed,
        stream=EVALUATE_VAL,
        step=0,
    )
    return run.model, tokens, targets


def _random_model(
    config: GradcheckConfig, sources: list[str], shape: dict[str, Any]
) -> tuple[GPT, Array, Array]:
    base = GRADCHECK_MODEL
    if sources:
        # Presets and files say how to train, too; here only the shape of the model counts.
        given = gather(sources, field_types(GPTConfig, TrainConfig), _mute)
        names = {field.name for field in dataclasses.fields(GPTConfig)}
        base = NANOGPT_DEFAULTS | {"vocab_size": 65}
        base |= {name: value for name, value in given.items() if name in names}
    ops = config.ops or IMPLEMENTATIONS[0]
    model_config = GPTConfig(**base | shape)
    if model_config.vocab_size == 1:
        raise InputError("vocab_size=1: with one token there is nothing to predict; give 2 or more")
    _check_gradcheck_memory(model_config, config)
    model = GPT(model_config, seed=None, dtype="float64", ops=ops)
    randomise(model, config.seed)
    return _random_tokens(model, config)


def _check_gradcheck_memory(model: GPTConfig, config: GradcheckConfig) -> None:
    # Parameters and gradients: of the model itself, of its twin, and twice as large of the oracle.
    settings = f"batch_size={config.batch_size}"
    check_memory(model, config.batch_size, itemsize=8, copies=8, settings=settings)


def _random_tokens(model: GPT, config: GradcheckConfig) -> tuple[GPT, Array, Array]:
    """Tokens with repeats, and a target in each row that is left out, if it is not the only one."""
    rng = np.random.default_rng(config.seed)
    size = (config.batch_size, model.config.block_size)
    tokens = rng.integers(0, model.config.vocab_size, size)
    tokens[:, -1] = tokens[:, 0]
    targets = rng.integers(0, model.config.vocab_size, size)
    if size[1] > 1:
        targets[:, size[1] // 2] = -1
    return model, tokens, targets


def _painter() -> Callable[[str, bool], str]:
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return lambda text, ok: text
    return lambda text, ok: f"\033[{32 if ok else 31}m{text}\033[0m"


def _only_flags(command: str, words: list[str]) -> list[str]:
    for word in words:
        if not is_flag(word):
            raise InputError(f"{command} takes settings only, such as --out_dir=RUN: not {word!r}")
    return words


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _mute(text: str) -> None:
    pass
