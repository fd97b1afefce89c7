"""The settings of all commands except `train`: frozen dataclasses, checked when they are made."""

from dataclasses import dataclass

from gpt_numpy.base.checks import shown
from gpt_numpy.base.errors import InputError
from gpt_numpy.config.choices import (
    DTYPES,
    EXPORT_DTYPES,
    FORMATS,
    GRADCHECK_METHODS,
    IMPLEMENTATIONS,
    OPTIMIZERS,
    WINDOWS,
)
from gpt_numpy.config.decoding import Decoding
from gpt_numpy.config.fields import CPU_ONLY, Configuration, setting

OPS = ("", *IMPLEMENTATIONS)
BEST_OR_LAST = "best or last; the last if there is no best"


@dataclass(frozen=True)
class SampleConfig(Configuration):
    """Which model writes what, and how its tokens are drawn; nanoGPT's names."""

    out_dir: str = setting("out", "folder of the run")
    checkpoint: str = setting("best", "best, last, or the iteration of one that was kept")
    init_from: str = setting("resume", "resume: the run in out_dir; or a folder with a model")
    start: str = setting(
        "\n",
        "prompt, or FILE:path of a file with it",
    )
    num_samples: int = setting(10, "number of texts to write", low=1)
    max_new_tokens: int = setting(500, "tokens to write in each", low=0)
    temperature: float = setting(0.8, "low: cautious; high: bold; 0: the most likely token", low=0)
    top_k: int = setting(200, "draw from this many most likely tokens; 0: from all", low=0)
    top_p: float = setting(
        1.0, "draw from the most likely tokens that reach this probability", above=0, high=1
    )
    min_p: float = setting(
        0.0, "draw only tokens at least this many times as likely as the most likely", low=0, high=1
    )
    repetition_penalty: float = setting(
        1.0, "above 1: tokens already in the text become less likely", above=0
    )
    stop: str = setting("", "end a text where this string comes; \\n is a line break")
    logprobs: bool = setting(False, "print the log-probability of the new text")
    window: str = setting(
        WINDOWS[0],
        "beyond the context: full recomputes all, as nanoGPT; half, faster, keeps the last half",
        choices=WINDOWS,
    )
    seed: int = setting(1337, "of the draws", low=0)
    device: str = setting("cpu", "cpu, the only one", **CPU_ONLY)
    dtype: str = setting(
        "", "float32, or bfloat16, which reads weights of 16 bits for each token; empty: the run's"
    )
    compile: bool = setting(False, "accepted for nanoGPT, without effect")
    ops: str = setting("", "implementation of the layers; empty: the run's own", choices=OPS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.init_from:
            raise InputError("init_from is empty: must be resume, or a folder with a model")


@dataclass(frozen=True)
class TranslateConfig(Decoding):
    """Which encoder-decoder translates, and how its targets are written."""

    out_dir: str = setting("out-translate", "folder of the run")
    checkpoint: str = setting("best", "best, last, or the iteration of one that was kept")
    logprobs: bool = setting(False, "print the log-probability after each target, and a tab")
    ops: str = setting("", "implementation of the layers; empty: the run's own", choices=OPS)


@dataclass(frozen=True)
class GradcheckConfig(Configuration):
    """Which gradients are checked, and how."""

    out_dir: str = setting("", "folder of a run to check; empty: a random model")
    checkpoint: str = setting("best", BEST_OR_LAST)
    batch_size: int = setting(2, "sequences", low=1)
    seed: int = setting(0, "of parameters, tokens and random directions", low=0)
    tolerance: float = setting(1e-10, "largest error of a correct gradient", above=0)
    method: str = setting("auto", ", ".join(GRADCHECK_METHODS), choices=GRADCHECK_METHODS)
    dtype: str = setting(
        "float64", "float64; bfloat16: what its rounding costs", choices=("float64", "bfloat16")
    )
    json: bool = setting(False, "print the result as JSON, and progress to stderr")
    ops: str = setting("", "implementation; empty: the run's, or kernels if large", choices=OPS)


@dataclass(frozen=True)
class InspectConfig(Configuration):
    """What is shown of a trained model while it reads a text."""

    out_dir: str = setting("out", "folder of the run")
    checkpoint: str = setting("best", BEST_OR_LAST)
    text: str = setting(
        "", "text for the model to read; in a GPT the target of each token is the next"
    )
    target: str = setting(
        "", "of an encoder-decoder: the target of the text; empty: as the model translates it"
    )
    keep: str = setting("*", "patterns of the arrays to show, such as 'h.0.attn.*,logits'")
    html: str = setting("", "file to write: everything as one page, instead of the table")
    ops: str = setting("", "implementation of the layers; empty: the run's own", choices=OPS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.html and self.keep != "*":
            raise InputError(f"keep={shown(self.keep)}: a page shows everything; leave keep out")


@dataclass(frozen=True)
class PlotConfig(Configuration):
    """Where loss curves are drawn."""

    out: str = setting("loss.png", "file to write, .png or .svg")
    reference: str = setting("", "preset whose measured curve is drawn below: tiny, small")


@dataclass(frozen=True)
class BenchConfig(Configuration):
    """What is timed."""

    batch_size: int = setting(0, "sequences; 0: the preset's", low=0)
    optimizer: str = setting("", "adamw or muon; empty: the preset's", choices=("", *OPTIMIZERS))
    dtype: str = setting("float32", "float32, bfloat16 or float64", choices=DTYPES[:3])
    ops: str = setting("kernels", "implementation: kernels or reference", choices=IMPLEMENTATIONS)
    device: str = setting("cpu", "cpu, the only one", **CPU_ONLY)
    compile: bool = setting(False, "accepted for nanoGPT, without effect")
    real_data: bool = setting(True, "accepted for nanoGPT; the time does not depend on the tokens")
    seed: int = setting(1337, "accepted for nanoGPT, without effect", low=0)
    profile: bool = setting(False, "accepted for nanoGPT; layers are always timed")
    parallel: bool = setting(False, "time updates of the processes of mpiexec, and predict others")
    gradient_accumulation_steps: int = setting(
        0, "with parallel: micro-batches of an update; 0: one for each process", low=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gradient_accumulation_steps and not self.parallel:
            raise InputError(
                f"gradient_accumulation_steps={self.gradient_accumulation_steps} is for "
                "--parallel: add it, or leave this out"
            )


@dataclass(frozen=True)
class PrepareConfig(Configuration):
    """How text files become a folder of tokens."""

    dataset: str = setting("", "NAME of the folder data/NAME to write; train takes the same")
    tokenizer: str = setting(
        "char",
        "char, gpt2, train (byte pairs of the files), a tokenizer.json, or a folder with a model",
    )
    vocab_size: int = setting(8192, "largest number of tokens, with --tokenizer=train", low=257)
    separator: str = setting(
        "<|endoftext|>", "between documents, for byte pairs; \\n is a line break"
    )
    val_share: float = setting(0.1, "share for validation, from the end", above=0, below=1)


@dataclass(frozen=True)
class ConvertConfig(Configuration):
    """What a model is converted to."""

    format: str = setting(
        FORMATS[0],
        f"of the new folder: {', '.join(FORMATS)}; of an encoder-decoder only gpt_numpy",
        choices=FORMATS,
    )
    checkpoint: str = setting("best", BEST_OR_LAST, choices=("best", "last"))
    dtype: str = setting(
        "float32", "of the numbers written; bfloat16: for huggingface alone", choices=EXPORT_DTYPES
    )
