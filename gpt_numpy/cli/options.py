"""What each command but `train` can be told: frozen dataclasses, checked once, as in config.py."""

from dataclasses import dataclass

from gpt_numpy.base.checks import shown
from gpt_numpy.base.errors import InputError
from gpt_numpy.config.choices import DTYPES, FORMATS, GRADCHECK_METHODS, IMPLEMENTATIONS, WINDOWS
from gpt_numpy.config.fields import check_choice, check_range, check_types, setting


@dataclass(frozen=True)
class SampleConfig:
    """What a trained model is asked to write; nanoGPT's names.

    Raises `InputError` when a value is of the wrong type or out of range.
    """

    out_dir: str = setting("out", "folder of the run")
    checkpoint: str = setting("best", "best, last, or the iteration of one that was kept")
    init_from: str = setting("resume", "resume: the run in out_dir; or a folder with a model")
    start: str = setting("\n", "text to go on from, or FILE:path of one")
    num_samples: int = setting(10, "how many texts to write")
    max_new_tokens: int = setting(500, "tokens to write in each")
    temperature: float = setting(0.8, "below 1 more cautious, above 1 bolder; 0 the likeliest")
    top_k: int = setting(200, "draw from this many likeliest tokens; 0: from all")
    top_p: float = setting(1.0, "draw from the likeliest that reach this probability")
    min_p: float = setting(0.0, "only tokens this many times as likely as the likeliest")
    repetition_penalty: float = setting(1.0, "above 1: tokens of the text become less likely")
    stop: str = setting("", "end a text where this comes; it is not printed")
    logprobs: bool = setting(False, "print how likely the new text is to the model")
    window: str = setting(
        WINDOWS[0],
        "beyond the context: full recomputes all, as nanoGPT; half goes on from the last half, "
        "faster, with other results",
    )
    seed: int = setting(1337, "of the draws")
    device: str = setting("cpu", "cpu, the only one")
    dtype: str = setting("float32", "accepted for nanoGPT; the checkpoint's is used")
    compile: bool = setting(False, "accepted for nanoGPT, without effect")
    ops: str = setting("", "implementation of the layers; empty: the run's own")

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, "num_samples", 1, None)
        for name in ("max_new_tokens", "temperature", "top_k", "seed"):
            check_range(self, name, 0, None)
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p={self.top_p}: must be greater than 0 and at most 1")
        check_range(self, "min_p", 0, 1)
        if self.repetition_penalty <= 0:
            raise InputError(
                f"repetition_penalty={self.repetition_penalty}: must be greater than 0"
            )
        check_choice("window", self.window, WINDOWS)
        if self.device != "cpu":
            raise InputError(f"device={shown(self.device)}: gpt_numpy computes on the CPU only")
        if not self.init_from:
            raise InputError("init_from is empty: must be resume, or a folder with a model")
        if self.ops:
            check_choice("ops", self.ops, IMPLEMENTATIONS)


@dataclass(frozen=True)
class GradcheckConfig:
    """What the gradient check looks at.

    Raises `InputError` when a value is of the wrong type or out of range.
    """

    out_dir: str = setting("", "folder of a run to check; empty: a random model")
    checkpoint: str = setting("best", "best or last; the last where there is no best")
    batch_size: int = setting(2, "sequences")
    seed: int = setting(0, "of parameters, tokens and random directions")
    tolerance: float = setting(1e-10, "largest error of a right gradient")
    method: str = setting("auto", "auto, elements, directions or differences")
    json: bool = setting(False, "print the result as JSON, and what is going on to stderr")
    ops: str = setting("", "implementation to check; empty: the run's own, or kernels if large")

    def __post_init__(self) -> None:
        check_types(self)
        check_choice("method", self.method, GRADCHECK_METHODS)
        check_range(self, "batch_size", 1, None)
        check_range(self, "seed", 0, None)
        if not self.tolerance > 0:
            raise InputError(f"tolerance={self.tolerance}: must be greater than 0")
        if self.ops:
            check_choice("ops", self.ops, IMPLEMENTATIONS)


@dataclass(frozen=True)
class InspectConfig:
    """What of a run is looked at, and with which text.

    Raises `InputError` when a value is of the wrong type or out of range.
    """

    out_dir: str = setting("out", "folder of the run")
    checkpoint: str = setting("best", "best or last; the last where there is no best")
    text: str = setting("", "what the model reads, each token the target of the one before it")
    keep: str = setting("*", "patterns of the arrays to show, such as 'h.0.attn.*,logits'")
    html: str = setting("", "file to write: everything as one page, instead of the table")
    ops: str = setting("", "implementation of the layers; empty: the run's own")

    def __post_init__(self) -> None:
        check_types(self)
        if self.html and self.keep != "*":
            raise InputError(f"keep={shown(self.keep)}: a page shows everything; leave keep out")
        if self.ops:
            check_choice("ops", self.ops, IMPLEMENTATIONS)


@dataclass(frozen=True)
class PlotConfig:
    """Where loss curves are drawn.

    Raises `InputError` when a value is of the wrong type.
    """

    out: str = setting("loss.png", "file to write, .png or .svg")
    reference: str = setting("", "preset whose measured curve is laid under them: tiny, small")

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True)
class BenchConfig:
    """What is timed.

    Raises `InputError` when a value is of the wrong type or out of range.
    """

    batch_size: int = setting(0, "sequences; 0: the preset's")
    dtype: str = setting("float32", "float32 or float64")
    ops: str = setting(IMPLEMENTATIONS[0], f"implementation: {' or '.join(IMPLEMENTATIONS)}")
    device: str = setting("cpu", "cpu, the only one")
    compile: bool = setting(False, "accepted for nanoGPT, without effect")

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, "batch_size", 0, None)
        check_choice("dtype", self.dtype, DTYPES[:2])
        check_choice("ops", self.ops, IMPLEMENTATIONS)
        if self.device != "cpu":
            raise InputError(f"device={shown(self.device)}: gpt_numpy computes on the CPU only")


@dataclass(frozen=True)
class PrepareConfig:
    """How text files become a folder of tokens.

    Raises `InputError` when a value is of the wrong type or out of range.
    """

    dataset: str = setting("", "NAME of the folder data/NAME to write; train takes the same")
    tokenizer: str = setting(
        "char", "char, gpt2, train (byte pairs of the files), or a tokenizer.json"
    )
    vocab_size: int = setting(8192, "tokens at most, where --tokenizer=train")
    separator: str = setting(
        "<|endoftext|>", "text between documents in a file, for byte pairs; empty: none"
    )
    val_share: float = setting(0.1, "share of the tokens for validation, the last ones")

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, "vocab_size", 257, None)
        if not 0 < self.val_share < 1:
            raise InputError(f"val_share={self.val_share}: must be greater than 0 and less than 1")


@dataclass(frozen=True)
class ConvertConfig:
    """What a model is converted to.

    Raises `InputError` when a value is of the wrong type or out of range.
    """

    format: str = setting(FORMATS[0], f"of the new folder: {', '.join(FORMATS)}")
    checkpoint: str = setting("best", "of a run: best or last; the last where there is no best")

    def __post_init__(self) -> None:
        check_types(self)
        check_choice("format", self.format, FORMATS)
        check_choice("checkpoint", self.checkpoint, ("best", "last"))
