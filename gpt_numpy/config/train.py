"""How a model is trained: a frozen dataclass of nanoGPT's settings, and a few more."""

from dataclasses import dataclass

from gpt_numpy.base.errors import InputError
from gpt_numpy.config.choices import DTYPES, IMPLEMENTATIONS, OPTIMIZERS, SCHEDULES
from gpt_numpy.config.fields import CPU_ONLY, Configuration, setting


@dataclass(frozen=True)
class TrainConfig(Configuration):
    """The settings of a training run; nanoGPT's names and meanings."""

    out_dir: str = setting("out", "folder of the run: checkpoints and log.jsonl")
    eval_interval: int = setting(2000, "iterations between evaluations", low=1)
    log_interval: int = setting(1, "iterations between printed training losses", low=1)
    eval_iters: int = setting(200, "batches drawn from each split per evaluation", low=1)
    eval_only: bool = setting(False, "evaluate once and stop")
    eval_full: bool = setting(False, "evaluate the whole validation split, exactly")
    always_save_checkpoint: bool = setting(True, "save at every evaluation, not only a better one")
    save_minutes: float = setting(
        10.0, "save at least this often; 0: only at evaluations and at the end", low=0
    )
    keep_last: int = setting(
        1, "checkpoints to keep in addition to the best, 12 bytes per parameter each", low=1
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
    gradient_accumulation_steps: int = setting(1, "micro-batches per update", low=1)
    batch_size: int = setting(12, "sequences in a micro-batch", low=1)
    optimizer: str = setting(
        "adamw",
        "adamw, or muon: Muon for the matrices inside the blocks, AdamW for the rest",
        choices=OPTIMIZERS,
    )
    learning_rate: float = setting(6e-4, "peak learning rate of AdamW", low=0)
    muon_learning_rate: float = setting(0.02, "peak learning rate of Muon", low=0)
    muon_momentum: float = setting(0.95, "Muon's decay of the mean gradient", low=0, below=1)
    max_iters: int = setting(600_000, "last iteration; max_iters + 1 updates, as in nanoGPT", low=0)
    weight_decay: float = setting(0.1, "of tensors with two or more dimensions", low=0)
    beta1: float = setting(0.9, "AdamW's decay of the mean gradient", low=0, below=1)
    beta2: float = setting(0.95, "AdamW's decay of the mean squared gradient", low=0, below=1)
    grad_clip: float = setting(1.0, "largest norm of the whole gradient; 0: no clipping", low=0)
    decay_lr: bool = setting(True, "warm up and decay the learning rate; otherwise constant")
    lr_schedule: str = setting(
        "cosine",
        "after the warm-up: along a cosine, linear, or noam (the paper's 1 / sqrt(step))",
        choices=SCHEDULES,
    )
    noam_factor: float = setting(
        1.0, "of noam's rate, n_embd^-0.5 min(step^-0.5, step warmup_iters^-1.5)", low=0
    )
    warmup_iters: int = setting(2000, "iterations over which the learning rate rises", low=0)
    lr_decay_iters: int = setting(600_000, "iteration at which it has fallen to min_lr", low=0)
    min_lr: float = setting(6e-5, "learning rate after lr_decay_iters", low=0)
    patience: int = setting(0, "evaluations without a better loss before stopping; 0: never", low=0)
    seed: int = setting(1337, "of weights, batches and dropout", low=0)
    dtype: str = setting(
        "float32", "float32, bfloat16 (operands of matrix products) or float64", choices=DTYPES[:3]
    )
    ops: str = setting("kernels", "implementation: kernels or reference", choices=IMPLEMENTATIONS)
    device: str = setting("cpu", "cpu, the only one", **CPU_ONLY)
    compile: bool = setting(False, "accepted for nanoGPT, without effect; see --ops")
    backend: str = setting("nccl", "accepted for nanoGPT, without effect")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.out_dir:
            raise InputError("out_dir is empty: name the folder of the run")
