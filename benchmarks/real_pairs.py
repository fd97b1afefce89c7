"""A small translator trained here and in PyTorch: its loss and its BLEU after equal steps.

    python -m benchmarks.real_pairs ours|pytorch [--steps N] [--threads N] [--out FILE.json]

`verses`, English to Spanish (extras `bpe` and `translate`). Both sides begin with the same
parameters and see the same batches at the same rates; each draws its own masks of dropout and
translates the test greedily with its own code. BLEU is sacrebleu's with its defaults.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.workloads import set_thread_variables

SIZE = 64  # longest source and target, in tokens
SAMPLES = 6


class Ours:
    """The side of this package."""

    def __init__(self, config: Any) -> None:
        from gpt_numpy import AdamW, Transformer

        self.model = Transformer(config)
        self.optimizer = AdamW(
            self.model, betas=(0.9, 0.98), eps=1e-9, weight_decay=0.0, grad_clip=0.0
        )

    def step(self, batch: Any, rate: float, number: int) -> None:
        """An update."""
        self.optimizer.learning_rate = rate
        self.model.forward(*batch, dropout_key=number)
        self.model.backward()
        self.optimizer.step()

    def loss(self, batch: Any) -> float:
        """The mean loss without smoothing and dropout."""
        return float(self.model.forward(*batch, smoothing=False))

    def translations(self, source: Any) -> Sequence[Any]:
        """Tokens of a target for each source."""
        from gpt_numpy import translate

        return translate(self.model, source, beam=1)


class PyTorch:
    """The same in PyTorch, eager: the shapes of batches change from step to step."""

    def __init__(self, config: Any) -> None:
        import torch

        from benchmarks.torch_transformer import TorchPairTrainer
        from gpt_numpy import Transformer

        torch.manual_seed(1337)
        self.trainer = TorchPairTrainer(config, dict(Transformer(config).params), compiled=False)
        self.model, self.inference = self.trainer.model, torch.inference_mode

    def step(self, batch: Any, rate: float, number: int) -> None:
        """An update."""
        self.trainer.optimizer.param_groups[0]["lr"] = rate
        self.model.train()
        self.trainer.step(*self._tensors(*batch))

    def loss(self, batch: Any) -> float:
        """The mean loss without smoothing and dropout."""
        with self.inference():
            return float(self.model.eval()(*self._tensors(*batch)))

    def translations(self, source: Any) -> Sequence[Any]:
        """Tokens of a target for each source, with what follows END."""
        with self.inference():
            return list(self.model.eval().greedy(*self._tensors(source)).numpy())

    def _tensors(self, *arrays: Any) -> list[Any]:
        import torch

        return [torch.from_numpy(array) for array in arrays]


def main() -> None:
    """Train one side, test it, and print or write what was found as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.real_pairs", description=__doc__.split("\n")[0]
    )
    parser.add_argument("side", choices=("ours", "pytorch"))
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="file for the result, as JSON")
    options = parser.parse_args()
    set_thread_variables(options.threads)
    result = trained_and_tested(options.side, options.steps, options.threads)
    text = json.dumps(result, ensure_ascii=False, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


def trained_and_tested(name: str, steps: int, threads: int) -> dict[str, Any]:
    """One side: losses of the validation on the way; loss, BLEU and samples of the test."""
    from gpt_numpy import TransformerConfig
    from gpt_numpy.config.translation import TranslationConfig
    from gpt_numpy.data.pair_dataset import open_pairs
    from gpt_numpy.kernels.engine.pool import set_threads
    from gpt_numpy.training.schedule import learning_rate_at

    settings = TranslationConfig(
        dataset="verses", tokenizer="bpe", batch_tokens=1024, learning_rate=2e-3, min_lr=1e-4,
        warmup_iters=300, lr_decay_iters=steps,
    )  # fmt: skip
    data = open_pairs(settings, (SIZE, SIZE))
    config = TransformerConfig(
        vocab_size=data.vocab_size, source_size=SIZE, target_size=SIZE, n_layer=3, n_head=4,
        n_embd=128, dropout=0.1, label_smoothing=0.1,
    )  # fmt: skip
    set_threads(threads)
    if name == "pytorch":
        import torch

        torch.set_num_threads(threads)
    side = Ours(config) if name == "ours" else PyTorch(config)
    curve, seconds = [], -time.process_time()
    for k in range(steps):
        batch = data.train.batch(settings.batch_tokens, seed=settings.seed, stream=0, index=k)
        side.step(batch, learning_rate_at(k, settings), k)
        if (k + 1) % 500 == 0:
            curve.append([k + 1, round(mean_loss(side, data.val, settings.batch_tokens), 4)])
            print(name, *curve[-1], f"{seconds + time.process_time():.0f} s", flush=True)
    seconds += time.process_time()
    loss = mean_loss(side, data.test, settings.batch_tokens)
    bleu, samples = translated(side, data, settings.batch_tokens)
    return {
        "side": name, "steps": steps, "processor_seconds": round(seconds), "val": curve,
        "test": round(loss, 4), "perplexity": round(math.exp(loss), 2), "bleu": round(bleu, 2),
        "samples": samples,
    }  # fmt: skip


def mean_loss(side: Ours | PyTorch, pairs: Any, batch_tokens: int) -> float:
    """The mean loss in nats a target token."""
    from gpt_numpy.training.pair_training import targets_in

    total, count = 0.0, 0
    for batch in pairs.all_batches(batch_tokens):
        targets = targets_in(batch.target)
        total, count = total + targets * side.loss(batch), count + targets
    return total / count


def translated(side: Ours | PyTorch, data: Any, batch_tokens: int) -> tuple[float, list[Any]]:
    """BLEU of the whole test, and some of its sources, references and translations."""
    from gpt_numpy.config.transformer import END
    from gpt_numpy.data.sentences import text_of
    from gpt_numpy.training.bleu import bleu_score

    def text(tokens: Any) -> str:
        ends = (tokens == END).nonzero()[0]
        return text_of(data.tokenizer, tokens[: ends[0]] if len(ends) else tokens)

    found = []
    for source, target in data.test.all_batches(batch_tokens):
        written = side.translations(source)
        found += [tuple(map(text, t)) for t in zip(source, target, written, strict=True)]
    _, references, translations = zip(*found, strict=True)
    apart = len(found) // SAMPLES
    return bleu_score(translations, references), found[apart // 2 :: apart]


if __name__ == "__main__":
    main()
