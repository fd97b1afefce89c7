"""Training of an encoder-decoder: the loop of `loop.py` on batches of pairs.

An evaluation measures the mean loss of both splits without label smoothing, its perplexity, and
translates sources of the validation split: the share of targets that are right to the last token,
and BLEU. With `eval_test` the test split takes its place.
"""

import json
import math
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import NotFiniteError
from gpt_numpy.config.decoding import Decoding
from gpt_numpy.config.transformer import PAD
from gpt_numpy.config.translation import TranslationConfig
from gpt_numpy.data.batches import EVALUATE_TRAIN, EVALUATE_VAL, TRAIN
from gpt_numpy.data.pair_batches import DrawnPairs, PairBatch, StoredPairs
from gpt_numpy.data.pair_dataset import PairDataset
from gpt_numpy.data.sentences import source_tokens, text_of
from gpt_numpy.generation.translating import hypotheses
from gpt_numpy.model.encoder_decoder import Transformer
from gpt_numpy.parallel.tree_sum import sum_in_order
from gpt_numpy.parallel.world import ONE, World
from gpt_numpy.training.bleu import bleu_score
from gpt_numpy.training.evaluation import Poll, in_order
from gpt_numpy.training.loop import Training

_SAMPLES = 3  # translations in the log of an evaluation


class TranslationTraining(Training):
    """One run of an encoder-decoder."""

    config: TranslationConfig
    dataset: PairDataset
    model: Transformer

    def measure(self) -> dict[str, float]:
        """The loss of training; that of unseen pairs, its perplexity, exact matches and BLEU."""
        config, dataset, world = self.config, self.dataset, self.world
        how: dict[str, Any] = {"poll": self._poll_alone, "world": world}
        # With eval_test, which is not for training: it would choose the checkpoint by the test.
        name, unseen = ("test", dataset.test) if config.eval_test else ("val", dataset.val)
        found = {
            "train": mean_loss(self.model, dataset.train, config, self.state.iteration, **how),
            name: mean_loss(self.model, unseen, config, None, **how),
        }
        found["perplexity"] = math.exp(min(found[name], 700.0))
        if config.eval_pairs and all(map(math.isfinite, found.values())):
            pairs = unseen.texts(config.eval_pairs, seed=config.seed, stream=EVALUATE_VAL)
            decoding, sources = Decoding(beam=config.eval_beam), [source for source, _ in pairs]
            written = translated(self.model, dataset, sources, decoding, **how)
            right = [text == target for text, (_, target) in zip(written, pairs, strict=True)]
            found["exact"] = sum(right) / len(right)
            if config.bleu:
                found["bleu"] = bleu_score(written, [target for _, target in pairs])
        return found

    def _write_sample(self) -> None:
        """Log what the model makes of some sources of the validation split."""
        if not self.world.first:
            return
        pairs = self.dataset.val.texts(_SAMPLES, seed=self.config.seed, stream=EVALUATE_VAL)
        with suppress(NotFiniteError):  # the next training step will find and report it
            written = translated(
                self.model, self.dataset, [s for s, _ in pairs], Decoding(beam=1), self._poll_alone
            )
            lines = [f"{s} -> {text}" for (s, _), text in zip(pairs, written, strict=True)]
            self.log.write(iter=self.state.iteration, sample="\n".join(lines))

    def _batch(self, micro_step: int) -> tuple[Array, Array]:
        config = self.config
        index = self.state.iteration * config.gradient_accumulation_steps + micro_step
        batch = self.dataset.train.batch(
            config.batch_tokens, seed=config.seed, stream=TRAIN, index=index
        )
        self._tokens = batch.source.size + batch.target.size  # of the last micro-batch
        return batch

    def _count(self, targets: Array) -> int:
        return targets_in(targets)

    def _speed(self, seconds: float) -> str:
        tokens = self._tokens * self.config.gradient_accumulation_steps
        return f"{tokens / seconds:,.0f} tokens/s"

    @property
    def tokens_per_iteration(self) -> int:
        """The most source and target tokens in one update."""
        return 2 * self.config.batch_tokens * self.config.gradient_accumulation_steps


def targets_in(targets: Array) -> int:
    """How many targets of a batch (B, T + 1) count in the loss."""
    return int((targets[:, 1:] != PAD).sum())


def mean_loss(
    model: Transformer,
    pairs: DrawnPairs | StoredPairs,
    config: TranslationConfig,
    iteration: int | None,
    poll: Poll = lambda: None,
    world: World = ONE,
) -> float:
    """The mean loss in nats a target, without smoothing; the batches are divided among `world`.

    `eval_iters` batches; or all there are, if they are stored and fewer, or with `eval_full`.
    iteration : draws batches of its own; None: the same batches every time, of a split that is not
        trained on.
    """
    found, count = [], 0
    for k, (source, target) in enumerate(_batches(pairs, config, iteration)):
        targets = targets_in(target)
        count += targets
        if k % world.size == world.rank:
            poll()
            found.append(model.forward(source, target, smoothing=False) * targets)
    return sum_in_order(in_order(found, world)) / count


def _batches(
    pairs: DrawnPairs | StoredPairs, config: TranslationConfig, iteration: int | None
) -> Iterable[PairBatch]:
    size, seed = config.batch_tokens, config.seed
    if isinstance(pairs, StoredPairs) and iteration is None:
        if config.eval_full or pairs.n_batches(size) <= config.eval_iters:
            return pairs.all_batches(size)
    stream = EVALUATE_VAL if iteration is None else EVALUATE_TRAIN
    first = (iteration or 0) * config.eval_iters
    numbers = range(first, first + config.eval_iters)
    return (pairs.batch(size, seed=seed, stream=stream, index=k) for k in numbers)


def translated(
    model: Transformer,
    dataset: PairDataset,
    sources: list[str],
    how: Decoding,
    poll: Poll = lambda: None,
    world: World = ONE,
) -> list[str]:
    """What the model writes for each source; the sources are divided among `world`."""
    mine = [source_tokens(dataset.tokenizer, text) for text in sources[world.rank :: world.size]]
    texts = [text_of(dataset.tokenizer, h.tokens) for h in hypotheses(model, mine, how, poll)]
    written = [""] * len(sources)
    for rank, found in enumerate(world.texts(json.dumps(texts))):
        written[rank :: world.size] = json.loads(found)
    return written
