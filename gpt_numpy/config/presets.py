"""Presets, settings under one name: nanoGPT's Shakespeare models in three sizes, and GPT-2."""

from typing import Any

# The defaults of nanoGPT's train.py where they differ from GPTConfig's: its configuration files
# contain only what they change.
NANOGPT_DEFAULTS: dict[str, Any] = {"bias": False, "activation": "gelu"}

# And where they differ from TrainConfig's: what a `.py` file means where it does not say.
NANOGPT_TRAINING: dict[str, Any] = {"dataset": "openwebtext", "gradient_accumulation_steps": 40}
# Its data sets of GPT-2's byte pairs; `shakespeare` is another text here.
NANOGPT_BYTE_PAIRS = ("openwebtext", "shakespeare")

_SHAKESPEARE: dict[str, Any] = {
    "bias": False,
    "activation": "gelu",
    "dropout": 0.0,
    "eval_interval": 250,
    "log_interval": 10,
    "always_save_checkpoint": False,
    "learning_rate": 1e-3,
    "min_lr": 1e-4,
    "beta2": 0.99,
    "warmup_iters": 100,
}

PRESETS: dict[str, dict[str, Any]] = {
    # nanoGPT's README, "I only have a macbook": about 0.8 M parameters.
    "tiny": _SHAKESPEARE
    | {
        "out_dir": "out-tiny",
        "n_layer": 4,
        "n_head": 4,
        "n_embd": 128,
        "block_size": 64,
        "batch_size": 12,
        "eval_iters": 20,
        "max_iters": 2000,
        "lr_decay_iters": 2000,
    },
    # Between the two: about 3.2 M parameters.
    "small": _SHAKESPEARE
    | {
        "out_dir": "out-small",
        "n_layer": 4,
        "n_head": 4,
        "n_embd": 256,
        "block_size": 128,
        "batch_size": 16,
        "eval_iters": 50,
        "max_iters": 5000,
        "lr_decay_iters": 5000,
    },
    # nanoGPT's config/train_shakespeare_char.py: about 10.6 M parameters, written for a GPU.
    "baby": _SHAKESPEARE
    | {
        "out_dir": "out-baby",
        "n_layer": 6,
        "n_head": 6,
        "n_embd": 384,
        "block_size": 256,
        "batch_size": 64,
        "dropout": 0.2,
        "eval_iters": 200,
        "max_iters": 5000,
        "lr_decay_iters": 5000,
    },
    # The smallest GPT-2, 124 M parameters, with nanoGPT's optimizer settings for it.
    "gpt2": {
        "out_dir": "out-gpt2",
        "n_layer": 12,
        "n_head": 12,
        "n_embd": 768,
        "block_size": 1024,
        "batch_size": 1,
        "bias": True,
        "activation": "gelu_tanh",
    },
}

DEFAULT_PRESET = "tiny"  # of `train` and `bench`

# Vocabulary sizes where there is no data to give one: of a preset, and of all others.
VOCABULARIES = {"gpt2": 50257}
CHARACTERS = 65

# What `gpt-numpy gradcheck` checks without arguments: small enough to check every element.
GRADCHECK_MODEL: dict[str, Any] = {
    "vocab_size": 11,
    "block_size": 5,
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 6,
    "dropout": 0.1,
}
