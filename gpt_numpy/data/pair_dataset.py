"""What an encoder-decoder is trained on: pairs of a source and a target, in splits."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import InputError
from gpt_numpy.config.translation import TASKS, VERSES, TranslationConfig
from gpt_numpy.data.pair_batches import DrawnPairs, StoredPairs
from gpt_numpy.data.pair_files import Pair, pairs_of_catalogues, pairs_of_lines
from gpt_numpy.data.pair_tasks import pair_task
from gpt_numpy.data.sentences import source_tokens, target_tokens, vocabulary_size
from gpt_numpy.data.tokenizers.byte_pairs import BPETokenizer
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.data.tokenizers.tokenizer import Tokenizer
from gpt_numpy.data.verses import verse_pairs

Tokens = tuple[Array, Array]  # of a source, and of its target

_SHARE = 10  # one source in so many is not trained on


@dataclass(frozen=True, eq=False)
class PairDataset:
    """Pairs in splits that have no source in common, and their tokenizer."""

    name: str
    train: DrawnPairs | StoredPairs
    val: DrawnPairs | StoredPairs
    test: DrawnPairs | StoredPairs  # of verses what no evaluation during training sees; else val
    tokenizer: Tokenizer
    fingerprint: str  # sha256 of the pairs, or of the task and its size

    @property
    def vocab_size(self) -> int:
        """The number of tokens of a model for it, V."""
        return vocabulary_size(self.tokenizer)


def open_pairs(
    config: TranslationConfig,
    sizes: tuple[int, int],
    *,
    tokenizer: Tokenizer | None = None,
    say: Callable[[str], None] = print,
) -> PairDataset:
    """The pairs that the settings name.

    sizes : source_size and target_size of the model, in tokens, END counted.
    tokenizer : encodes the pairs; None: as the settings say.
    say : reports what is left out.

    Raises `InputError` when files cannot be used, or a pair is longer than the model sees.
    """
    if config.dataset in TASKS:
        return _of_task(config, sizes)
    if config.dataset == VERSES:
        name, pairs = VERSES, verse_pairs(say)
    elif config.mo:
        name, pairs = config.mo, pairs_of_catalogues(config.mo)
    else:
        name, pairs = config.source, pairs_of_lines(config.source, config.target)
    splits = ("train", "val", "test") if config.dataset == VERSES else ("train", "val")
    split_of = _splits(name, pairs, splits)
    if tokenizer is None:
        tokenizer = _tokenizer_for(pairs, split_of, config)
    tokens = _encoded(pairs, tokenizer, name)
    if config.source:
        _check_lengths(config, tokens, sizes)
    kept = [k for k, pair in enumerate(tokens) if not _too_long(pair, sizes)]
    if len(kept) < len(pairs):
        say(
            f"{len(pairs) - len(kept):,} of {len(pairs):,} pairs are longer than "
            f"source_size={sizes[0]}, target_size={sizes[1]} tokens and left out"
        )
    stored = {split: _stored(split, split_of, pairs, tokens, kept) for split in splits}
    fingerprint = _fingerprint(pairs[k] for k in kept)
    train, val, test = stored["train"], stored["val"], stored.get("test", stored["val"])
    return PairDataset(name, train, val, test, tokenizer, fingerprint)


def _of_task(config: TranslationConfig, sizes: tuple[int, int]) -> PairDataset:
    task = pair_task(config.dataset, config.task_size)
    tokenizer = CharTokenizer(task.characters)
    train, val = (DrawnPairs(task, tokenizer, test=test) for test in (False, True))
    for name, size, longest in zip(("source", "target"), sizes, train.longest, strict=True):
        if longest > size:
            raise InputError(
                f"{name}_size={size}: a {name} of {task.name} has up to {longest} tokens, END "
                f"counted: use --{name}_size={longest}"
            )
    content = json.dumps(["gpt_numpy task", task.name, task.size])
    fingerprint = hashlib.sha256(content.encode()).hexdigest()
    return PairDataset(task.name, train, val, val, tokenizer, fingerprint)


def _tokenizer_for(
    pairs: Sequence[Pair], split_of: dict[str, str], config: TranslationConfig
) -> Tokenizer:
    """Characters of all pairs, or byte pairs of those of training, which can write any text."""
    if config.tokenizer == "char":
        return CharTokenizer.from_texts(text for pair in pairs for text in pair)
    texts = [text for pair in pairs if split_of[pair[0]] == "train" for text in pair]
    return BPETokenizer.train(texts, config.bpe_size)


def _encoded(pairs: Iterable[Pair], tokenizer: Tokenizer, name: str) -> list[Tokens]:
    found = []
    for number, (source, target) in enumerate(pairs, 1):
        try:
            found.append((source_tokens(tokenizer, source), target_tokens(tokenizer, target)))
        except InputError as error:
            raise InputError(f"{name}, pair {number}: {error}") from None
    return found


def _too_long(pair: Tokens, sizes: tuple[int, int]) -> bool:
    source, target = pair
    return len(source) > sizes[0] or len(target) - 1 > sizes[1]


def _check_lengths(
    config: TranslationConfig, tokens: Sequence[Tokens], sizes: tuple[int, int]
) -> None:
    """Refuse pairs that the model cannot read whole; the message names the first of each file."""
    for column, (name, size) in enumerate(zip(("source", "target"), sizes, strict=True)):
        lengths = [len(pair[column]) - column for pair in tokens]
        for number, length in enumerate(lengths, 1):
            if length > size:
                raise InputError(
                    f"{name}={getattr(config, name)!r}: line {number} has {length} tokens, END "
                    f"counted, and the model sees {name}_size={size}: use "
                    f"--{name}_size={max(lengths)}, or take out the longer lines of both files"
                )


def _splits(name: str, pairs: Sequence[Pair], splits: Sequence[str]) -> dict[str, str]:
    """The split of each source, by a hash of what it says; all but the first share a tenth."""
    digests = {source: hashlib.sha256(source.encode("utf-8", "surrogatepass")).digest()
               for source, _ in pairs}  # fmt: skip
    ordered = sorted(digests, key=digests.__getitem__)
    first, *others = splits
    if len(ordered) < len(splits):
        raise InputError(
            f"{name} has {len(ordered)} different sources and needs at least {len(splits)}: one in "
            f"{_SHARE} is kept for the test"
        )
    count = max(1, len(ordered) // (_SHARE * len(others)))
    found = dict.fromkeys(ordered, first)
    for k, split in enumerate(others):
        found.update(dict.fromkeys(ordered[k * count : (k + 1) * count], split))
    return found


def _stored(
    split: str,
    split_of: dict[str, str],
    pairs: Sequence[Pair],
    tokens: Sequence[Tokens],
    kept: Sequence[int],
) -> StoredPairs:
    chosen = [k for k in kept if split_of[pairs[k][0]] == split]
    if not chosen:
        raise InputError(
            f"no pair of the split {split} is short enough: use a larger --source_size and "
            "--target_size"
        )
    return StoredPairs([pairs[k] for k in chosen], [tokens[k] for k in chosen])


def _fingerprint(pairs: Iterable[Pair]) -> str:
    digest = hashlib.sha256(b"gpt_numpy pairs")
    for pair in pairs:
        for text in pair:
            data = text.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
