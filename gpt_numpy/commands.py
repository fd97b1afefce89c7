"""What each command of `gpt-numpy` does, once its words are read."""

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gpt_numpy.arrays import Array
from gpt_numpy.checkpoint import Run, load
from gpt_numpy.config import IMPLEMENTATIONS, GPTConfig, GradcheckConfig, SampleConfig, TrainConfig
from gpt_numpy.datasets import EVALUATE_VAL, Dataset, check_length, draw_batch, open_dataset
from gpt_numpy.errors import InputError
from gpt_numpy.generation import generate
from gpt_numpy.gradient_check import gradcheck as check_gradients
from gpt_numpy.gradient_check import randomise
from gpt_numpy.model import GPT
from gpt_numpy.presets import GRADCHECK_MODEL, NANOGPT_DEFAULTS, PRESETS
from gpt_numpy.progress import Progress
from gpt_numpy.runs import LAST, Log, begin, find_checkpoint, resume
from gpt_numpy.settings import Types, field_types, gather
from gpt_numpy.training import Training, new_run

INTERRUPTED = 130
DEFAULT_PRESET = "tiny"
RULE = "---------------"


def train(words: list[str], types: Types) -> int:
    """`gpt-numpy train`."""
    values = gather(words, types)
    if values.get("data") and "dataset" in gather(
        [w for w in words if w[:2] == "--"], types, _mute
    ):
        raise InputError("--data and --dataset exclude each other: give one of them")
    if values.get("init_from") == "resume":
        run, config = resume(values.get("out_dir", TrainConfig.out_dir), values)
        dataset = _open(config)
        _check_same_data(run, dataset, config)
        print(f"Resuming training from {config.out_dir}")
    else:
        run, config, dataset = _start(words, values)
    return _train(run, config, dataset)


def _start(words: list[str], values: dict[str, Any]) -> tuple[Run, TrainConfig, Dataset]:
    if values.get("init_from", "scratch") != "scratch":
        raise InputError(f"init_from={values['init_from']!r}: must be scratch or resume")
    if all(word.startswith("--") for word in words):
        print(f"no preset or file named: starting from the preset {DEFAULT_PRESET}")
        values = PRESETS[DEFAULT_PRESET] | values
    values = NANOGPT_DEFAULTS | values
    model_names = {field.name for field in dataclasses.fields(GPTConfig)}
    config = TrainConfig(**{k: v for k, v in values.items() if k not in model_names})
    shape = {k: v for k, v in values.items() if k in model_names}
    GPTConfig(vocab_size=1, **shape)  # refuses a wrong shape before any data is fetched
    dataset = _open(config)
    model_config = GPTConfig(vocab_size=dataset.vocab_size, **shape)
    check_length(dataset, model_config.block_size)
    print("Initializing a new model from scratch")
    return new_run(model_config, config), config, dataset


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


def _train(run: Run, config: TrainConfig, dataset: Dataset) -> int:
    training = Training(run, config, dataset)
    _describe(run.model, training)
    if not config.eval_only:
        begun = Path(config.out_dir) if run.progress else begin(config.out_dir, print)
    else:
        begun = Path(os.devnull)
    log = Log(begun, run.progress)
    with Progress(config.max_iters + 1, done=training.state.iteration) as progress:
        outcome = training.run(log, progress)
    state, folder = training.state, config.out_dir
    if outcome == "interrupted":
        print(f"interrupted: iteration {state.iteration} is the next; saved in {folder}/{LAST}")
        print(f"go on with: gpt-numpy train --init_from=resume --out_dir={folder}")
        return INTERRUPTED
    if config.eval_only:
        return 0
    if outcome == "out of patience":
        print(f"no better validation loss in {config.patience} evaluations: ending here")
    if state.best_iteration >= 0:
        print(f"best val loss {state.best_val_loss:.4f} at iteration {state.best_iteration}")
    print(f"saved in {folder}; see what it writes with: gpt-numpy sample --out_dir={folder}")
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
    text = config.start.replace("\\n", "\n") if config.start == "\\n" else config.start
    if text.startswith("FILE:"):
        try:
            text = Path(text[5:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"start={config.start!r}: cannot read the file: {error}") from error
    if not text:
        raise InputError("start is empty: give at least one character to go on from")
    if run.tokenizer is not None:
        return run.tokenizer.encode(text)
    if text == "\n":
        return np.zeros(1, dtype=np.int64)
    try:
        return np.array([int(word) for word in text.split()], dtype=np.int64)
    except ValueError:
        raise InputError(
            f"start={text!r}: this run has no tokenizer (its data came as tokens); "
            "give token numbers, such as --start='5 17'"
        ) from None


def _text(run: Run, tokens: Array) -> str:
    if run.tokenizer is not None:
        return run.tokenizer.decode(tokens)
    return " ".join(map(str, tokens))


def gradcheck(words: list[str], types: Types) -> int:
    """`gpt-numpy gradcheck`."""
    sources = [word for word in words if not word.startswith("--")]
    flags = gather([word for word in words if word.startswith("--")], types, _mute)
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
    model = GPT(GPTConfig(**base | shape), seed=None, dtype="float64", ops=ops)
    randomise(model, config.seed)
    return _random_tokens(model, config)


def _random_tokens(model: GPT, config: GradcheckConfig) -> tuple[GPT, Array, Array]:
    """Tokens with repeats, and a target in each row that is left out."""
    rng = np.random.default_rng(config.seed)
    size = (config.batch_size, model.config.block_size)
    tokens = rng.integers(0, model.config.vocab_size, size)
    tokens[:, -1] = tokens[:, 0]
    targets = rng.integers(0, model.config.vocab_size, size)
    targets[:, size[1] // 2] = -1
    return model, tokens, targets


def _painter() -> Callable[[str, bool], str]:
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return lambda text, ok: text
    return lambda text, ok: f"\033[{32 if ok else 31}m{text}\033[0m"


def _only_flags(command: str, words: list[str]) -> list[str]:
    for word in words:
        if not word.startswith("--"):
            raise InputError(f"{command} takes settings only, such as --out_dir=RUN: not {word!r}")
    return words


def _mute(text: str) -> None:
    pass
