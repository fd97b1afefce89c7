"""How a model is trained: nanoGPT's settings under nanoGPT's names, and a few more."""

from dataclasses import dataclass

from gpt_numpy.base.checks import shown
from gpt_numpy.base.errors import InputError
from gpt_numpy.config.choices import DTYPES, IMPLEMENTATIONS
from gpt_numpy.config.fields import check_choice, check_range, check_types, setting


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
