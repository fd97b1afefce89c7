"""Configurations are checked when they are made; messages name setting, value and fix."""

import dataclasses
import math

import numpy as np
import pytest

from gpt_numpy.base.errors import InputError
from gpt_numpy.cli.options import GradcheckConfig, SampleConfig
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.presets import GRADCHECK_MODEL, NANOGPT_DEFAULTS, PRESETS
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.model.memory import check_memory

MODEL = {"vocab_size": 11, "block_size": 8, "n_layer": 1, "n_head": 2, "n_embd": 8}


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        *((GPTConfig, name, value) for name in MODEL for value in (0, -1, 2.5, "4", True, None)),
        *((GPTConfig, "dropout", value) for value in (1.0, -0.1, math.nan, math.inf, "0", None)),
        (GPTConfig, "bias", 1),
        (GPTConfig, "activation", "swish"),
        (GPTConfig, "positions", "rope"),
        (GPTConfig, "n_layer", 2**64),
        (GPTConfig, "n_layer", -(10**3000)),
        (GPTConfig, "dropout", 10**400),
        *((TrainConfig, n, 0) for n in ("eval_interval", "log_interval", "eval_iters")),
        *((TrainConfig, n, 0) for n in ("batch_size", "gradient_accumulation_steps")),
        *((TrainConfig, n, -1) for n in ("max_iters", "warmup_iters", "patience", "seed")),
        *((TrainConfig, n, v) for n in ("learning_rate", "min_lr") for v in (-1.0, math.nan)),
        *((TrainConfig, n, v) for n in ("beta1", "beta2") for v in (1.0, -0.1, math.nan)),
        (TrainConfig, "grad_clip", -1.0),
        (TrainConfig, "weight_decay", math.inf),
        (TrainConfig, "seed", 2**64),
        (TrainConfig, "out_dir", ""),
        (TrainConfig, "dtype", "float16"),
        (TrainConfig, "dtype", "complex128"),
        (TrainConfig, "device", "cuda"),
        (TrainConfig, "ops", "torch"),
        (SampleConfig, "num_samples", 0),
        (SampleConfig, "max_new_tokens", -1),
        (SampleConfig, "temperature", -0.1),
        (SampleConfig, "top_k", -1),
        *((SampleConfig, "top_p", value) for value in (0.0, 1.1, math.nan)),
        (SampleConfig, "init_from", ""),
        (SampleConfig, "ops", "torch"),
        (GradcheckConfig, "batch_size", 0),
        (GradcheckConfig, "tolerance", 0.0),
        (GradcheckConfig, "ops", "torch"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(kind, name, value):
    given = MODEL if kind is GPTConfig else {}
    with pytest.raises(InputError, match=name) as caught:
        kind(**given | {name: value})
    assert "\n" not in str(caught.value)


def test_channels_that_heads_do_not_share_evenly_are_refused_with_a_number_that_works():
    with pytest.raises(InputError, match="n_embd=10 .* n_head=4.* n_embd=12"):
        GPTConfig(**MODEL | {"n_embd": 10, "n_head": 4})


def test_numbers_of_numpy_become_numbers_of_python():
    config = GPTConfig(**MODEL | {"n_layer": np.int64(2), "dropout": np.float32(0.5)})
    assert type(config.n_layer) is int
    assert type(config.dropout) is float
    assert type(TrainConfig(learning_rate=1).learning_rate) is float


def test_configurations_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        GPTConfig(**MODEL).n_layer = 2


def test_nanogpts_schedules_that_end_before_the_warm_up_are_accepted():
    assert TrainConfig(warmup_iters=100, lr_decay_iters=20).lr_decay_iters == 20


def test_presets_make_configurations():
    names = {field.name for field in dataclasses.fields(GPTConfig)}
    for preset in PRESETS.values():
        values = NANOGPT_DEFAULTS | preset
        GPTConfig(vocab_size=65, **{k: v for k, v in values.items() if k in names})
        TrainConfig(**{k: v for k, v in values.items() if k not in names})
    GPTConfig(**GRADCHECK_MODEL)


def test_what_cannot_fit_into_memory_is_refused_before_it_is_asked_for():
    check_memory(GPTConfig(**MODEL), 2, itemsize=4, copies=4)
    for name in MODEL:
        if name != "n_head":
            with pytest.raises(InputError, match=f"{name}=.*this machine has"):
                config = GPTConfig(**MODEL | {name: 10**12})
                check_memory(config, 2, itemsize=4, copies=4)
    with pytest.raises(InputError, match="batch_size=12345678 take"):
        check_memory(
            GPTConfig(**MODEL), 10**12, itemsize=4, copies=4, settings="batch_size=12345678"
        )


def test_the_estimate_of_memory_is_not_above_what_a_model_takes():
    from gpt_numpy.model import memory
    from gpt_numpy.model.stages import parameter_shapes

    config = GPTConfig(**MODEL | {"n_layer": 3})
    exact = sum(math.prod(shape) for shape in parameter_shapes(config).values())
    assert memory._of_blocks(config, parameter_shapes) == exact
