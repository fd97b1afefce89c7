"""Presets, settings under one name: nanoGPT's Shakespeare models in three sizes, two of them also
with what came after GPT-2, and GPT-2 itself.
"""

from typing import Any

# The defaults of nanoGPT's train.py where they differ from GPTConfig's: its configuration files
# contain only what they change.
NANOGPT_DEFAULTS: dict[str, Any] = {"bias": False, "activation": "gelu"}

# And where they differ from TrainConfig's: what a `.py` file means where it does not say.
NANOGPT_TRAINING: dict[str, Any] = {"dataset": "openwebtext", "gradient_accumulation_steps": 40}
# Its data sets of GPT-2's byte pairs; `shakespeare` is another text here.
NANOGPT_BYTE_PAIRS = ("openwebtext", "shakespeare")

_SHAKESPEARE: dict[str, Any] = NANOGPT_DEFAULTS | {
    "eval_interval": 250,
    "log_interval": 10,
    "always_save_checkpoint": False,
    "learning_rate": 1e-3,
    "min_lr": 1e-4,
    "beta2": 0.99,
    "warmup_iters": 100,
}
_COLUMNS = "n_layer n_head n_embd block_size batch_size dropout eval_iters max_iters".split()
_SIZES = {
    "tiny": (4, 4, 128, 64, 12, 0.0, 20, 2000),  # 0.8 M parameters; nanoGPT's README, for a laptop
    "small": (4, 4, 256, 128, 16, 0.0, 50, 5000),  # 3.2 M, between the two
    "baby": (6, 6, 384, 256, 64, 0.2, 200, 5000),  # 10.6 M; nanoGPT's train_shakespeare_char.py
}

PRESETS: dict[str, dict[str, Any]] = {
    name: _SHAKESPEARE
    | dict(zip(_COLUMNS, sizes, strict=True))
    | {"out_dir": f"out-{name}", "lr_decay_iters": sizes[-1]}
    for name, sizes in _SIZES.items()
}
# The smallest GPT-2, 124 M parameters; nanoGPT's optimizer settings for it are the defaults.
PRESETS["gpt2"] = {
    "out_dir": "out-gpt2",
    "n_layer": 12,
    "n_head": 12,
    "n_embd": 768,
    "block_size": 1024,
    "batch_size": 1,
    "bias": True,
    "activation": "gelu_tanh",
}

# Two Shakespeare models with what came after GPT-2: nanochat's blocks, QK norm with weights as in
# Qwen3, and Muon for their matrices.
_MODERN: dict[str, Any] = {
    "norm": "rmsnorm",
    "positions": "rotary",
    "qk_norm": True,
    "activation": "relu2",
    "tied": False,
    "init_residual": "zero",
    "init_head": "zero",
    "optimizer": "muon",
    "muon_learning_rate": 0.02,
    "lr_schedule": "linear",
}
PRESETS["tiny-modern"] = PRESETS["tiny"] | _MODERN
PRESETS["tiny-modern"] |= {
    "out_dir": "out-tiny-modern",
    "learning_rate": 1e-2,
    "min_lr": 0.0,
    "warmup_iters": 20,
    "eval_interval": 300,
    "max_iters": 1200,
    "lr_decay_iters": 1200,
}
PRESETS["baby-modern"] = PRESETS["baby"] | _MODERN
PRESETS["baby-modern"] |= {
    "out_dir": "out-baby-modern",
    "batch_size": 12,
    "dropout": 0.0,
    "learning_rate": 4e-3,
    "min_lr": 4e-4,
    "warmup_iters": 50,
    "eval_interval": 100,
    "eval_iters": 50,
    "max_iters": 700,
    "lr_decay_iters": 700,
}

# Encoder-decoders: tasks made on the fly, and pairs of the user's files. Adam as in the paper. The
# figures of these recipes stand in benchmarks/README.md.
_PAIRS: dict[str, Any] = {
    "n_head": 4,
    "n_embd": 64,
    "source_size": 32,
    "target_size": 32,
    "beta2": 0.98,
    "weight_decay": 0.0,
    "batch_tokens": 1024,
    "eval_interval": 250,
    "eval_iters": 10,
    "log_interval": 50,
    "always_save_checkpoint": False,
}
_TASK: dict[str, Any] = _PAIRS | {"learning_rate": 3e-3, "min_lr": 1e-5, "warmup_iters": 100}
_PRE = {"norm_place": "pre", "learning_rate": 2e-3}  # post-norm stays longer on plateaus
_TASKS: dict[str, dict[str, Any]] = {
    "copy": {"n_layer": 2, "max_iters": 1000},
    "reverse": {"n_layer": 1, "max_iters": 2500},
    "addition": _PRE | {"n_layer": 1, "max_iters": 6000, "eval_interval": 500},
    "date": {"n_layer": 2, "max_iters": 2000, "batch_tokens": 1536},
}
TRANSLATION_PRESETS: dict[str, dict[str, Any]] = {
    name: _TASK | more | {"dataset": name, "lr_decay_iters": more["max_iters"]}
    for name, more in _TASKS.items()
}
# The paper's base model, smaller, with its schedule and its regularisation.
TRANSLATION_PRESETS["translate"] = _PAIRS | {
    "dataset": "pairs",
    "n_layer": 3,
    "n_embd": 128,
    "source_size": 128,
    "target_size": 128,
    "dropout": 0.1,
    "label_smoothing": 0.1,
    "tokenizer": "bpe",
    "batch_tokens": 4096,
    "lr_schedule": "noam",
    "warmup_iters": 1000,
    "max_iters": 10_000,
    "eval_interval": 500,
}
for _name, _preset in TRANSLATION_PRESETS.items():
    _preset["out_dir"] = f"out-{_name}"

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
