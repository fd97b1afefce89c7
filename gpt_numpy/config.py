"""What a model is, how it is trained and what a command does: frozen dataclasses, checked once.

Every name of a training setting is nanoGPT's own, so that its command lines and its configuration
files mean here what they mean there. The text beside a setting is what `--help` prints.
"""

import dataclasses
import math
import numbers
from dataclasses import dataclass, field
from typing import Any

from gpt_numpy.checks import WORD_LIMIT, shown
from gpt_numpy.errors import InputError

ACTIVATIONS = ("gelu", "gelu_tanh", "relu")
POSITIONS = ("learned", "sinusoidal")
DTYPES = ("float32", "float64", "complex128")
LIMIT = WORD_LIMIT
IMPLEMENTATIONS = ("kernels", "reference")  # of the layers; the first is the default


def setting(default: Any, text: str) -> Any:
    """A field of a configuration, with what `--help` says of it."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a GPT and the choices that change its mathematics.

    Raises `InputError` when a value is of the wrong type or out of range.
    """

    vocab_size: int = field(metadata={"help": "number of different tokens, V"})
    block_size: int = setting(1024, "context: the most positions the model sees at once, tokens")
    n_layer: int = setting(12, "number of blocks")
    n_head: int = setting(12, "attention heads in a block; divides n_embd")
    n_embd: int = setting(768, "channels of the residual stream")
    dropout: float = setting(0.0, "share of values dropped in training, 0 <= dropout < 1")
    bias: bool = setting(True, "biases in linear layers and layer norms")
    activation: str = setting(
        "gelu_tanh", "of the MLP: gelu (exact, nanoGPT's), gelu_tanh (GPT-2's) or relu"
    )
    positions: str = setting("learned", "position embedding: learned or sinusoidal")
    tied: bool = setting(True, "the head uses the token embedding as its weight")

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("vocab_size", "block_size", "n_layer", "n_head", "n_embd"):
            check_range(self, name, 1, None)
        if not 0.0 <= self.dropout < 1.0:
            raise InputError(f"dropout={self.dropout}: must be at least 0 and less than 1")
        if self.n_embd % self.n_head:
            raise InputError(
                f"n_embd={self.n_embd} is not divisible by n_head={self.n_head}: "
                f"each head gets n_embd / n_head channels; try n_embd={_round_up(self)}"
            )
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("positions", self.positions, POSITIONS)

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

    out_dir: str = setting("out", "folder of the run: checkpoints and log.jsonl")
    eval_interval: int = setting(2000, "iterations between evaluations")
    log_interval: int = setting(1, "iterations between printed training losses")
    eval_iters: int = setting(200, "batches an evaluation draws from each split")
    eval_only: bool = setting(False, "evaluate once and stop")
    eval_full: bool = setting(False, "evaluate the whole validation split, exactly")
    always_save_checkpoint: bool = setting(True, "save at every evaluation, not only a better one")
    keep_last: int = setting(
        1, "checkpoints to keep beside the best, 12 bytes a parameter each; 1: ckpt.npz alone"
    )
    init_from: str = setting(
        "scratch", "scratch, resume (the run in out_dir), or a folder with a model"
    )
    wandb_log: bool = setting(False, "accepted for nanoGPT; the log is out_dir/log.jsonl")
    wandb_project: str = setting("owt", "accepted for nanoGPT, without effect")
    wandb_run_name: str = setting("gpt2", "accepted for nanoGPT, without effect")
    dataset: str = setting(
        "shakespeare", "shakespeare, tinyshakespeare, names, python-docs, or a folder under data/"
    )
    data: str = setting("", "text file to train on, instead of --dataset")
    gradient_accumulation_steps: int = setting(1, "micro-batches that make one update")
    batch_size: int = setting(12, "sequences in a micro-batch")
    learning_rate: float = setting(6e-4, "of AdamW, at its highest")
    max_iters: int = setting(600_000, "last iteration; max_iters + 1 updates, as in nanoGPT")
    weight_decay: float = setting(0.1, "of tensors with two or more dimensions")
    beta1: float = setting(0.9, "AdamW's decay of the mean gradient")
    beta2: float = setting(0.95, "AdamW's decay of the mean squared gradient")
    grad_clip: float = setting(1.0, "largest norm of the whole gradient; 0 does not clip")
    decay_lr: bool = setting(True, "warm up and decay the learning rate; otherwise constant")
    warmup_iters: int = setting(2000, "iterations at the start over which the learning rate rises")
    lr_decay_iters: int = setting(600_000, "iteration at which it has fallen to min_lr")
    min_lr: float = setting(6e-5, "learning rate after lr_decay_iters")
    patience: int = setting(0, "evaluations without a better loss before the end; 0: never")
    seed: int = setting(1337, "of weights, batches and dropout")
    dtype: str = setting("float32", "float32 or float64")
    ops: str = setting(
        IMPLEMENTATIONS[0], f"implementation of the layers: {' or '.join(IMPLEMENTATIONS)}"
    )
    device: str = setting("cpu", "cpu, the only one")
    compile: bool = setting(False, "accepted for nanoGPT, without effect; see --ops")
    backend: str = setting("nccl", "accepted for nanoGPT, without effect")

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("eval_interval", "log_interval", "eval_iters", "batch_size", "keep_last"):
            check_range(self, name, 1, None)
        check_range(self, "gradient_accumulation_steps", 1, None)
        for name in ("max_iters", "warmup_iters", "lr_decay_iters", "patience", "seed"):
            check_range(self, name, 0, None)
        for name in ("learning_rate", "min_lr", "weight_decay", "grad_clip"):
            check_range(self, name, 0.0, None)
        for name in ("beta1", "beta2"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise InputError(f"{name}={getattr(self, name)}: must be at least 0 and below 1")
        if not self.out_dir:
            raise InputError("out_dir is empty: name the folder of the run")
        check_choice("dtype", self.dtype, DTYPES[:2])
        check_choice("ops", self.ops, IMPLEMENTATIONS)
        if self.device != "cpu":
            raise InputError(
                f"device={shown(self.device)}: gpt_numpy computes on the CPU only; use --device=cpu"
            )


def check_types(config: Any) -> None:
    """Raise `InputError` unless every field is of its type and every number finite."""
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        expected: Any = item.type
        if isinstance(value, int) and abs(value) >= LIMIT:
            raise InputError(
                f"{item.name} has {value.bit_length()} bits: it must be less than 2^64 in magnitude"
            )
        # NumPy's numbers, and whole numbers given for real ones, are what they stand for.
        kind = {int: numbers.Integral, float: numbers.Real}.get(expected)
        if kind is not None and isinstance(value, kind) and not isinstance(value, bool):
            value = expected(value)
            object.__setattr__(config, item.name, value)
        if type(value) is not expected:
            raise InputError(
                f"{item.name}={shown(value)} is of type {type(value).__name__}: "
                f"it must be of type {expected.__name__}"
            )
        if expected is float and not math.isfinite(value):
            raise InputError(f"{item.name}={value!r}: must be a finite number")


def check_range(config: Any, name: str, low: float, high: float | None) -> None:
    """Raise `InputError` unless a field lies between `low` and `high`, both allowed."""
    value = getattr(config, name)
    if value < low or (high is not None and value > high):
        bounds = f"at least {low}" + (f" and at most {high}" if high is not None else "")
        raise InputError(f"{name}={value}: must be {bounds}")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise `InputError` unless a value is one of the choices."""
    if value not in choices:
        raise InputError(f"{name}={shown(value)}: must be one of {', '.join(choices)}")


def _round_up(config: GPTConfig) -> int:
    return -(-config.n_embd // config.n_head) * config.n_head
