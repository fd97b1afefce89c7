"""What a model is and how it is trained: two frozen dataclasses, checked once, and the presets.

Every name of a training setting is nanoGPT's own, so that its command lines and its configuration
files mean here what they mean there. The text beside a setting is what `--help` prints.
"""

import dataclasses
import math
import numbers
from dataclasses import dataclass, field
from typing import Any

from gpt_numpy.errors import InputError, did_you_mean

ACTIVATIONS = ("gelu", "gelu_tanh", "relu")
POSITIONS = ("learned", "sinusoidal")
DTYPES = ("float32", "float64", "complex128")
IMPLEMENTATIONS = ("kernels", "reference")


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a GPT and the choices that change its mathematics.

    Raises `InputError` when a value is of the wrong type or out of range.
    """

    vocab_size: int = field(metadata={"help": "number of different tokens"})
    block_size: int = _setting(1024, "context: the most positions the model sees at once, tokens")
    n_layer: int = _setting(12, "number of blocks")
    n_head: int = _setting(12, "attention heads in a block; divides n_embd")
    n_embd: int = _setting(768, "channels of the residual stream")
    dropout: float = _setting(0.0, "share of values dropped in training, 0 <= dropout < 1")
    bias: bool = _setting(True, "biases in linear layers and layer norms")
    activation: str = _setting(
        "gelu_tanh", "of the MLP: gelu (exact, nanoGPT's), gelu_tanh (GPT-2's) or relu"
    )
    positions: str = _setting("learned", "position embedding: learned or sinusoidal")
    tied: bool = _setting(True, "the head uses the token embedding as its weight")

    def __post_init__(self) -> None:
        _check_types(self)
        for name in ("vocab_size", "block_size", "n_layer", "n_head", "n_embd"):
            _check_range(self, name, 1, None)
        if not 0.0 <= self.dropout < 1.0:
            raise InputError(f"dropout={self.dropout}: must be at least 0 and less than 1")
        if self.n_embd % self.n_head:
            raise InputError(
                f"n_embd={self.n_embd} is not divisible by n_head={self.n_head}: "
                f"each head gets n_embd / n_head channels; try n_embd={_round_up(self)}"
            )
        _check_choice("activation", self.activation, ACTIVATIONS)
        _check_choice("positions", self.positions, POSITIONS)

    @property
    def head_size(self) -> int:
        """Channels of one head, D."""
        return self.n_embd // self.n_head

    @property
    def n_hidden(self) -> int:
        """Channels inside the MLP, F: four times the residual stream's, as in GPT-2."""
        return 4 * self.n_embd


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained: nanoGPT's settings under nanoGPT's names, and a few more.

    Raises `InputError` when a value is of the wrong type or out of range.
    """

    out_dir: str = _setting("out", "folder of the run: checkpoints and log.jsonl")
    eval_interval: int = _setting(2000, "iterations between evaluations")
    log_interval: int = _setting(1, "iterations between printed training losses")
    eval_iters: int = _setting(200, "batches an evaluation draws from each split")
    eval_only: bool = _setting(False, "evaluate once and stop")
    eval_full: bool = _setting(False, "evaluate the whole validation split, exactly")
    always_save_checkpoint: bool = _setting(True, "save at every evaluation, not only a better one")
    init_from: str = _setting("scratch", "scratch, or resume to go on with the run in out_dir")
    wandb_log: bool = _setting(False, "accepted for nanoGPT; the log is out_dir/log.jsonl")
    wandb_project: str = _setting("owt", "accepted for nanoGPT, without effect")
    wandb_run_name: str = _setting("gpt2", "accepted for nanoGPT, without effect")
    dataset: str = _setting(
        "shakespeare", "shakespeare, tinyshakespeare, names, python-docs, or a folder under data/"
    )
    data: str = _setting("", "text file to train on, instead of --dataset")
    gradient_accumulation_steps: int = _setting(1, "micro-batches that make one update")
    batch_size: int = _setting(12, "sequences in a micro-batch")
    learning_rate: float = _setting(6e-4, "of AdamW, at its highest")
    max_iters: int = _setting(600_000, "last iteration; max_iters + 1 updates, as in nanoGPT")
    weight_decay: float = _setting(0.1, "of tensors with two or more dimensions")
    beta1: float = _setting(0.9, "AdamW's decay of the mean gradient")
    beta2: float = _setting(0.95, "AdamW's decay of the mean squared gradient")
    grad_clip: float = _setting(1.0, "largest norm of the whole gradient; 0 does not clip")
    decay_lr: bool = _setting(True, "warm up and decay the learning rate; otherwise constant")
    warmup_iters: int = _setting(2000, "iterations over which the learning rate rises")
    lr_decay_iters: int = _setting(600_000, "iteration at which it has fallen to min_lr")
    min_lr: float = _setting(6e-5, "learning rate after lr_decay_iters")
    patience: int = _setting(0, "evaluations without a better loss before the end; 0: never")
    seed: int = _setting(1337, "of weights, batches and dropout")
    dtype: str = _setting("float32", "float32 or float64")
    ops: str = _setting("reference", "implementation of the layers: " + ", ".join(IMPLEMENTATIONS))
    device: str = _setting("cpu", "cpu, the only one")
    compile: bool = _setting(False, "accepted for nanoGPT, without effect; see --ops")
    backend: str = _setting("nccl", "accepted for nanoGPT, without effect")

    def __post_init__(self) -> None:
        _check_types(self)
        for name in ("eval_interval", "log_interval", "eval_iters", "batch_size"):
            _check_range(self, name, 1, None)
        _check_range(self, "gradient_accumulation_steps", 1, None)
        for name in ("max_iters", "warmup_iters", "lr_decay_iters", "patience", "seed"):
            _check_range(self, name, 0, None)
        for name in ("learning_rate", "min_lr", "weight_decay", "grad_clip"):
            _check_range(self, name, 0.0, None)
        for name in ("beta1", "beta2"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise InputError(f"{name}={getattr(self, name)}: must be at least 0 and below 1")
        if self.decay_lr and self.lr_decay_iters < self.warmup_iters:
            raise InputError(
                f"lr_decay_iters={self.lr_decay_iters} is smaller than "
                f"warmup_iters={self.warmup_iters}: decay ends after warm-up; raise the first"
            )
        if not self.out_dir:
            raise InputError("out_dir is empty: name the folder of the run")
        _check_choice("dtype", self.dtype, DTYPES[:2])
        _check_choice("ops", self.ops, IMPLEMENTATIONS)
        if self.device != "cpu":
            raise InputError(
                f"device={self.device!r}: gpt_numpy computes on the CPU only; use --device=cpu"
            )


# nanoGPT's train.py starts from these where they differ from GPTConfig's own defaults, so a
# configuration file written for it says only what it changes.
NANOGPT_DEFAULTS: dict[str, Any] = {"bias": False, "activation": "gelu"}

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


def replace(config: Any, **changes: Any) -> Any:
    """A copy of a configuration with some values changed, checked like a new one."""
    known = [f.name for f in dataclasses.fields(config)]
    for name in changes:
        if name not in known:
            raise InputError(f"no setting {name!r}: {did_you_mean(name, known)}")
    return dataclasses.replace(config, **changes)


def _check_types(config: Any) -> None:
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        expected = item.type if isinstance(item.type, type) else str
        if not isinstance(value, bool) and isinstance(value, numbers.Real):
            # NumPy's numbers and whole numbers given for real ones are what they stand for.
            if expected is float or (expected is int and isinstance(value, numbers.Integral)):
                value = expected(value)
                object.__setattr__(config, item.name, value)
        if type(value) is not expected:
            raise InputError(
                f"{item.name}={value!r} is of type {type(value).__name__}: "
                f"it must be of type {expected.__name__}"
            )
        if expected is float and not math.isfinite(value):
            raise InputError(f"{item.name}={value!r}: must be a finite number")


def _check_range(config: Any, name: str, low: float, high: float | None) -> None:
    value = getattr(config, name)
    if value < low or (high is not None and value > high):
        bounds = f"at least {low}" + (f" and at most {high}" if high is not None else "")
        raise InputError(f"{name}={value}: must be {bounds}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name}={value!r}: must be one of {', '.join(choices)}")


def _round_up(config: GPTConfig) -> int:
    return -(-config.n_embd // config.n_head) * config.n_head
