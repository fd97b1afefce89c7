"""Runs of encoder-decoders, for `train`: which words mean one, its settings, its data."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from gpt_numpy.base.checks import shown
from gpt_numpy.base.errors import InputError
from gpt_numpy.cli.processes import copies_in_training
from gpt_numpy.cli.settings import field_types, settings_of
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.presets import TRANSLATION_PRESETS
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.config.transformer import TransformerConfig
from gpt_numpy.config.translation import (
    FROM_FILES,
    PAIR_DATASETS,
    TASKS,
    VERSES,
    TranslationConfig,
)
from gpt_numpy.data.dataset import Dataset
from gpt_numpy.data.pair_dataset import PairDataset, open_pairs
from gpt_numpy.data.tokenizers.tokenizer import Tokenizer
from gpt_numpy.model.implementations import array_type
from gpt_numpy.model.memory import check_memory
from gpt_numpy.parallel.world import World
from gpt_numpy.training.bleu import sacrebleu
from gpt_numpy.training.checkpoint import Run
from gpt_numpy.training.loop import Training, new_run
from gpt_numpy.training.pair_training import TranslationTraining

_FILES = ("source", "target", "mo")
# Settings of training that pairs have no use for, and what to write instead.
_INSTEAD = {
    "batch_size": "use --batch_tokens=N, tokens of the sources, and of the targets, in a batch",
    "data": "use --source=FILE and --target=FILE, or --mo=FOLDER",
}


def of_pairs(values: Mapping[str, Any]) -> bool:
    """Whether these settings are of a run of an encoder-decoder."""
    named = values.get("dataset") in PAIR_DATASETS or _of_preset(values)
    return named or any(values.get(name) for name in _FILES)


def _of_preset(values: Mapping[str, Any]) -> bool:
    """Whether a preset of pairs was named, whatever --dataset says."""
    return any(preset.keys() <= values.keys() for preset in TRANSLATION_PRESETS.values())


def refuse_settings_of_pairs(values: Mapping[str, Any]) -> None:
    """Refuse settings that only an encoder-decoder has, in a run of a GPT."""
    known = field_types(GPTConfig, TrainConfig)
    for name in values:
        if name not in known:
            raise InputError(
                f"{name}={shown(values[name])}: a GPT has no such setting; an encoder-decoder has, "
                f"one of the presets {', '.join(TRANSLATION_PRESETS)}"
            )


def refuse_settings_of_gpts(values: Mapping[str, Any]) -> None:
    """Refuse settings that have no meaning in a run of an encoder-decoder."""
    known = field_types(TransformerConfig, TranslationConfig)
    for name, value in values.items():
        if name in _INSTEAD or name not in known:
            fix = _INSTEAD.get(name, "an encoder-decoder has no such setting")
            raise InputError(f"{name}={shown(value)}: {fix}")


def start_pairs(
    values: Mapping[str, Any], world: World
) -> tuple[Run, TranslationConfig, PairDataset]:
    """A new run of an encoder-decoder.

    Raises `InputError` when a setting or a file cannot be used.
    """
    if values.get("init_from", "scratch") != "scratch":
        raise InputError(
            f"init_from={shown(values['init_from'])}: an encoder-decoder starts from scratch, or "
            "resumes the run in out_dir (--init_from=resume)"
        )
    preset = TRANSLATION_PRESETS["translate"]
    if values.get("dataset") not in (*TASKS, FROM_FILES) and not _of_preset(values):
        print("no preset named: starting from the preset translate")
        source = VERSES if values.get("dataset") == VERSES else FROM_FILES
        values = preset | {**values, "dataset": source}
    refuse_settings_of_gpts(values)
    config = TranslationConfig(**settings_of(TranslationConfig, values))
    shape = settings_of(TransformerConfig, values)
    # Refuse a wrong shape before any file is read.
    sized = TransformerConfig(vocab_size=4, **shape)
    _check_training_memory(sized, config, world)
    dataset = open_run_pairs(config, sized)
    model_config = dataclasses.replace(sized, vocab_size=dataset.vocab_size)
    _check_training_memory(model_config, config, world)
    print("Initializing a new model from scratch")
    return new_run(model_config, config, world), config, dataset


def _check_training_memory(
    model: TransformerConfig, config: TranslationConfig, world: World
) -> None:
    longest = max(model.source_size, model.target_size)
    check_memory(
        model,
        max(1, config.batch_tokens // longest),
        itemsize=array_type(config.dtype).itemsize,
        copies=copies_in_training(config, world),
        settings=f"batch_tokens={config.batch_tokens}",
    )


def open_run_pairs(
    config: TranslationConfig, model: TransformerConfig, tokenizer: Tokenizer | None = None
) -> PairDataset:
    """The pairs of a run."""
    if config.bleu:
        sacrebleu()  # or an error, before anything else takes time
    sizes = (model.source_size, model.target_size)
    dataset = open_pairs(config, sizes, tokenizer=tokenizer, say=print)
    print(f"found vocab_size = {dataset.vocab_size} (inside {dataset.name})")
    return dataset


def training_of(run: Run, config: TrainConfig, dataset: Dataset | PairDataset) -> Training:
    """The loop that trains this kind of model."""
    kind = TranslationTraining if isinstance(dataset, PairDataset) else Training
    return kind(run, config, dataset)


def data_of(config: TrainConfig) -> str:
    """What the settings name as the data of a run."""
    if isinstance(config, TranslationConfig):
        return config.source or config.mo or config.dataset
    return config.data or config.dataset
