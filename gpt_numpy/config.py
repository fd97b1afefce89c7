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
GRADCHECK_METHODS = ("auto", "elements", "directions", "differences")
IMPLEMENTATIONS = ("kernels", "reference")  # of the layers; the first is the default


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a GPT and the choices that change its mathematics.

    Raises `InputError` when a value is of the wrong type or out of range.
    """

    vocab_size: int = field(metadata={"help": "number of different tokens, V"})
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
    keep_last: int = _setting(
        1, "checkpoints to keep beside the best, 12 bytes a parameter each; 1: ckpt.npz alone"
    )
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
    warmup_iters: int = _setting(2000, "iterations at the start over which the learning rate rises")
    lr_decay_iters: int = _setting(600_000, "iteration at which it has fallen to min_lr")
    min_lr: float = _setting(6e-5, "learning rate after lr_decay_iters")
    patience: int = _setting(0, "evaluations without a better loss before the end; 0: never")
    seed: int = _setting(1337, "of weights, batches and dropout")
    dtype: str = _setting("float32", "float32 or float64")
    ops: str = _setting(
        IMPLEMENTATIONS[0], f"implementation of the layers: {' or '.join(IMPLEMENTATIONS)}"
    )
    device: str = _setting("cpu", "cpu, the only one")
    compile: bool = _setting(False, "accepted for nanoGPT, without effect; see --ops")
    backend: str = _setting("nccl", "accepted for nanoGPT, without effect")

    def __post_init__(self) -> None:
        _check_types(self)
        for name in ("eval_interval", "log_interval", "eval_iters", "batch_size", "keep_last"):
            _check_range(self, name, 1, None)
        _check_range(self, "gradient_accumulation_steps", 1, None)
        for name in ("max_iters", "warmup_iters", "lr_decay_iters", "patience", "seed"):
            _check_range(self, name, 0, None)
        for name in ("learning_rate", "min_lr", "weight_decay", "grad_clip"):
            _check_range(self, name, 0.0, None)
        for name in ("beta1", "beta2"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise InputError(f"{name}={getattr(self, name)}: must be at least 0 and below 1")
        if not self.out_dir:
            raise InputError("out_dir is empty: name the folder of the run")
        _check_choice("dtype", self.dtype, DTYPES[:2])
        _check_choice("ops", self.ops, IMPLEMENTATIONS)
        if self.device != "cpu":
            raise InputError(
                f"device={shown(self.device)}: gpt_numpy computes on the CPU only; use --device=cpu"
            )


@dataclass(frozen=True)
class SampleConfig:
    """What a trained model is asked to write; nanoGPT's names.

    Raises `InputError` when a value is of the wrong type or out of range.
    """

    out_dir: str = _setting("out", "folder of the run")
    checkpoint: str = _setting("best", "best, last, or the iteration of one that was kept")
    init_from: str = _setting("resume", "accepted for nanoGPT: resume, the only one")
    start: str = _setting("\n", "text to go on from, or FILE:path of one")
    num_samples: int = _setting(10, "how many texts to write")
    max_new_tokens: int = _setting(500, "tokens to write in each")
    temperature: float = _setting(0.8, "below 1 more cautious, above 1 bolder; 0 the likeliest")
    top_k: int = _setting(200, "draw from this many likeliest tokens; 0: from all")
    top_p: float = _setting(1.0, "draw from the likeliest that reach this probability")
    seed: int = _setting(1337, "of the draws")
    device: str = _setting("cpu", "cpu, the only one")
    dtype: str = _setting("float32", "accepted for nanoGPT; the checkpoint's is used")
    compile: bool = _setting(False, "accepted for nanoGPT, without effect")
    ops: str = _setting("", "implementation of the layers; empty: the run's own")

    def __post_init__(self) -> None:
        _check_types(self)
        _check_range(self, "num_samples", 1, None)
        for name in ("max_new_tokens", "temperature", "top_k", "seed"):
            _check_range(self, name, 0, None)
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p={self.top_p}: must be greater than 0 and at most 1")
        if self.device != "cpu":
            raise InputError(f"device={shown(self.device)}: gpt_numpy computes on the CPU only")
        if self.init_from != "resume":
            raise InputError(
                f"init_from={shown(self.init_from)}: must be resume, with --out_dir=RUN"
            )
        if self.ops:
            _check_choice("ops", self.ops, IMPLEMENTATIONS)


@dataclass(frozen=True)
class GradcheckConfig:
    """What the gradient check looks at.

    Raises `InputError` when a value is of the wrong type or out of range.
    """

    out_dir: str = _setting("", "folder of a run to check; empty: a random model")
    checkpoint: str = _setting("best", "best or last; the last where there is no best")
    batch_size: int = _setting(2, "sequences")
    seed: int = _setting(0, "of parameters, tokens and random directions")
    tolerance: float = _setting(1e-10, "largest error of a right gradient")
    method: str = _setting("auto", "auto, elements, directions or differences")
    json: bool = _setting(False, "print the result as JSON, and what is going on to stderr")
    ops: str = _setting("", "implementation to check; empty: the run's own, or kernels if large")

    def __post_init__(self) -> None:
        _check_types(self)
        _check_choice("method", self.method, GRADCHECK_METHODS)
        _check_range(self, "batch_size", 1, None)
        _check_range(self, "seed", 0, None)
        if not self.tolerance > 0:
            raise InputError(f"tolerance={self.tolerance}: must be greater than 0")
        if self.ops:
            _check_choice("ops", self.ops, IMPLEMENTATIONS)


@dataclass(frozen=True)
class InspectConfig:
    """What of a run is looked at, and with which text.

    Raises `InputError` when a value is of the wrong type or out of range.
    """

    out_dir: str = _setting("out", "folder of the run")
    checkpoint: str = _setting("best", "best or last; the last where there is no best")
    text: str = _setting("", "what the model reads, each token the target of the one before it")
    keep: str = _setting("*", "patterns of the arrays to show, such as 'h.0.attn.*,logits'")
    html: str = _setting("", "file to write: everything as one page, instead of the table")
    ops: str = _setting("", "implementation of the layers; empty: the run's own")

    def __post_init__(self) -> None:
        _check_types(self)
        if self.html and self.keep != "*":
            raise InputError(f"keep={shown(self.keep)}: a page shows everything; leave keep out")
        if self.ops:
            _check_choice("ops", self.ops, IMPLEMENTATIONS)


@dataclass(frozen=True)
class PlotConfig:
    """Where loss curves are drawn.

    Raises `InputError` when a value is of the wrong type.
    """

    out: str = _setting("loss.png", "file to write, .png or .svg")

    def __post_init__(self) -> None:
        _check_types(self)


@dataclass(frozen=True)
class BenchConfig:
    """What is timed.

    Raises `InputError` when a value is of the wrong type or out of range.
    """

    batch_size: int = _setting(0, "sequences; 0: the preset's")
    dtype: str = _setting("float32", "float32 or float64")
    ops: str = _setting(IMPLEMENTATIONS[0], f"implementation: {' or '.join(IMPLEMENTATIONS)}")
    torch: bool = _setting(True, "time PyTorch in turn, where it is installed (tanh GELU)")
    device: str = _setting("cpu", "cpu, the only one")
    compile: bool = _setting(False, "accepted for nanoGPT, without effect")

    def __post_init__(self) -> None:
        _check_types(self)
        _check_range(self, "batch_size", 0, None)
        _check_choice("dtype", self.dtype, DTYPES[:2])
        _check_choice("ops", self.ops, IMPLEMENTATIONS)
        if self.device != "cpu":
            raise InputError(f"device={shown(self.device)}: gpt_numpy computes on the CPU only")


def _check_types(config: Any) -> None:
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


def _check_range(config: Any, name: str, low: float, high: float | None) -> None:
    value = getattr(config, name)
    if value < low or (high is not None and value > high):
        bounds = f"at least {low}" + (f" and at most {high}" if high is not None else "")
        raise InputError(f"{name}={value}: must be {bounds}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name}={shown(value)}: must be one of {', '.join(choices)}")


def _round_up(config: GPTConfig) -> int:
    return -(-config.n_embd // config.n_head) * config.n_head
