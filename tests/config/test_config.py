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
from gpt_numpy.model.gpt import GPT
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


def test_messages_say_what_a_value_must_be():
    for given, message in (
        ({"n_layer": 0}, "n_layer=0: must be an integer, at least 1 and less than 2^64"),
        ({"dropout": 1.0}, "dropout=1.0: must be a finite number, at least 0 and less than 1"),
        (
            {"activation": "swish"},
            "activation='swish': must be one of gelu, gelu_tanh, relu, relu2, swiglu",
        ),
        ({"bias": "yes"}, "bias='yes': must be True or False"),
    ):
        with pytest.raises(InputError) as caught:
            GPTConfig(**MODEL | given)
        assert str(caught.value) == message
    with pytest.raises(InputError, match="one of kernels, reference, or empty"):
        GradcheckConfig(ops="torch")


def test_presets_of_nanogpt_have_its_values():
    # Of nanoGPT's config/train_shakespeare_char.py, and of its README for a laptop.
    sizes = "n_layer n_head n_embd block_size batch_size dropout eval_iters max_iters".split()
    assert [PRESETS["baby"][n] for n in sizes] == [6, 6, 384, 256, 64, 0.2, 200, 5000]
    assert [PRESETS["tiny"][n] for n in sizes] == [4, 4, 128, 64, 12, 0.0, 20, 2000]
    for name in ("tiny", "small", "baby"):
        preset = PRESETS[name]
        assert preset["lr_decay_iters"] == preset["max_iters"]
        assert preset["learning_rate"] == 1e-3 == 10 * preset["min_lr"]
        assert (preset["beta2"], preset["warmup_iters"], preset["eval_interval"]) == (
            0.99,
            100,
            250,
        )


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
    # A vocabulary that is not known yet counts as 1, which no user has asked for.
    with pytest.raises(
        InputError, match="^n_layer=1000000000000, n_embd=[0-9]*, block_size=[0-9]* t"
    ):
        unknown = GPTConfig(**MODEL | {"n_layer": 10**12, "vocab_size": 1})
        check_memory(unknown, 2, itemsize=4, copies=4)


@pytest.mark.parametrize(
    "sizes",
    [
        {"n_layer": 10**9},
        {"vocab_size": 10**9, "n_layer": 100, "n_embd": 16384},
        {"vocab_size": 2**40, "block_size": 2**40, "n_embd": 2**20},
    ],
)
def test_a_model_that_cannot_fit_is_refused_before_it_is_made(sizes):
    with pytest.raises(InputError, match="n_layer=.*of memory or more; this machine has"):
        GPT(GPTConfig(**MODEL | sizes), ops="reference")


def test_the_estimate_of_memory_is_not_above_what_a_model_takes():
    from gpt_numpy.model import memory
    from gpt_numpy.model.stages import parameter_shapes

    config = GPTConfig(**MODEL | {"n_layer": 3})
    exact = sum(math.prod(shape) for shape in parameter_shapes(config).values())
    assert memory._of_blocks(config, parameter_shapes) == exact


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"n_head": 6, "n_embd": 12, "n_kv_head": 4},
            "n_kv_head=4 does not divide n_head=6.*try n_kv_head=2",
        ),
        (
            {"n_head": 2, "n_embd": 6, "positions": "rotary"},
            "positions='rotary' with n_embd=6, n_head=2: heads of 3 channels.*try n_embd=8",
        ),
        ({"init_head": "zero"}, "init_head='zero' with tied=True.*use tied=False"),
        ({"rope_base": 1.0}, "rope_base=1.0: must be a finite number, greater than 1"),
        ({"logit_softcap": -1}, "logit_softcap=-1.0: must be a finite number, at least 0"),
        ({"norm_eps": 0}, "norm_eps=0.0: must be a finite number, at least 1e-12 and at most 1"),
        ({"norm_eps": 1.5}, "norm_eps=1.5: must be a finite number, at least 1e-12 and at most 1"),
        ({"norm_eps": float("nan")}, "norm_eps=nan: must be a finite number"),
        ({"norm_eps": "small"}, "norm_eps=.small.: must be a finite number"),
        ({"norm": "batchnorm"}, "norm='batchnorm': must be one of layernorm, rmsnorm"),
    ],
)
def test_modern_settings_that_do_not_fit_are_refused_with_a_fix(given, message):
    with pytest.raises(InputError, match=message):
        GPTConfig(**MODEL | given)


def test_the_hidden_size_follows_from_the_activation_or_is_given():
    sizes = {"vocab_size": 3, "n_head": 2}
    assert GPTConfig(**sizes, n_embd=384).n_hidden == 1536
    assert GPTConfig(**sizes, n_embd=384, activation="swiglu").n_hidden == 1024
    assert GPTConfig(**sizes, n_embd=128, activation="swiglu").n_hidden == 352  # 341.3
    assert GPTConfig(**sizes, n_embd=128, activation="swiglu", n_inner=7).n_hidden == 7
