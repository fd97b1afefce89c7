"""How an encoder-decoder is trained: the settings of training, and which pairs of sentences."""

from dataclasses import dataclass

from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.config.fields import setting
from gpt_numpy.config.train import TrainConfig

TASKS = ("copy", "reverse", "addition", "date")  # pairs made on the fly
VERSES = "verses"  # the Bible in English and Spanish, downloaded
FROM_FILES = "pairs"  # the dataset of --source and --target, or --mo
PAIR_DATASETS = (*TASKS, VERSES, FROM_FILES)
PAIR_TOKENIZERS = ("char", "bpe")


@dataclass(frozen=True)
class TranslationConfig(TrainConfig):
    """The settings of a training run on pairs of a source and a target."""

    source: str = setting("", "text file with a source in each line")
    target: str = setting("", "text file with the target of each line of --source")
    mo: str = setting("", "folder (or file) of gettext's .mo and .po files: messages and theirs")
    tokenizer: str = setting(
        "char", "of the pairs: char, or bpe (byte pairs of both texts)", choices=PAIR_TOKENIZERS
    )
    bpe_size: int = setting(4000, "largest number of tokens, with --tokenizer=bpe", low=257)
    task_size: int = setting(
        0, "copy, reverse: longest sequence; addition: digits; 0: 10, 12, 5", low=0, high=64
    )
    batch_tokens: int = setting(
        4096, "tokens of the sources, and of the targets, in a micro-batch, padding counted", low=1
    )
    eval_pairs: int = setting(
        200, "unseen sources that are translated at an evaluation; 0: none", low=0
    )
    eval_beam: int = setting(1, "beam of these translations; 1: greedy", low=1, high=1024)
    bleu: bool = setting(False, "BLEU of these translations, by sacrebleu")
    eval_test: bool = setting(
        False, "with --eval_only: evaluate the test of verses, which training never evaluates"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.source) != bool(self.target):
            given, missing = ("source", "target") if self.source else ("target", "source")
            raise InputError(
                f"{given}={getattr(self, given)!r} without {missing}: give both files, "
                "line by line a pair"
            )
        if self.source and self.mo:
            raise InputError("--source and --mo exclude each other: give one of them")
        if self.dataset in (*TASKS, VERSES) and (self.source or self.mo):
            where = "source" if self.source else "mo"
            raise InputError(
                f"{where}={getattr(self, where)!r} with dataset={self.dataset!r}, which needs no "
                f"files: use --dataset={FROM_FILES}"
            )
        if self.dataset not in PAIR_DATASETS:
            raise InputError(
                f"dataset={self.dataset!r}: no pairs have this name; "
                f"{did_you_mean(self.dataset, PAIR_DATASETS)}"
            )
        if self.dataset == FROM_FILES and not (self.source or self.mo):
            raise InputError(
                f"dataset={FROM_FILES!r} without files: give --source=FILE and --target=FILE, or "
                "--mo=FOLDER"
            )
        if self.eval_test and not (self.eval_only and self.dataset == VERSES):
            raise InputError(
                f"eval_test=True with eval_only={self.eval_only}, dataset={self.dataset!r}: only "
                f"{VERSES} has a test, for a trained model: use it with --eval_only"
            )
