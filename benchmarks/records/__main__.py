"""Time training to a loss: `python -m benchmarks.records RECORD`.

The clock runs from the first update to the last, with the kernels loaded and without evaluations:
the length of a run is fixed before, and its loss, over the whole validation split, is taken when it
is over. So no run has seen the validation split. A record is the mean time of the seeds, if their
mean loss is below the target.
"""

import argparse
import statistics
import time

import gpt_numpy as gn
from benchmarks.records import names
from benchmarks.records.recipes import RECIPES
from gpt_numpy.base.environment import processor
from gpt_numpy.cli.settings import field_types, parse_flag
from gpt_numpy.data.batches import DROPOUT, random_key, training_batch
from gpt_numpy.data.dataset import open_dataset
from gpt_numpy.training.evaluation import full_loss
from gpt_numpy.training.optimizers import optimizer_for, set_learning_rates
from gpt_numpy.training.precompile import one_step


def main(words=None) -> int:
    """Train with each seed; 0 if the mean loss is below the target."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.records", description=__doc__.split("\n")[0]
    )
    parser.add_argument("record", choices=sorted(RECIPES))
    parser.add_argument("--data", default="", help="a file with the text instead of a download")
    parser.add_argument("--seeds", type=int, default=3, help="runs, seeded 1, 2, ...")
    parser.add_argument("--threads", type=int, default=0, help="0: one for each core")
    options, changes = parser.parse_known_args(words)
    recipe = RECIPES[options.record]
    types = field_types(gn.GPTConfig, gn.TrainConfig)
    changed = dict(parse_flag(word, types) for word in changes)
    if options.threads:
        gn.set_threads(options.threads)
    print(f"{options.record}: to {recipe.target}; {processor()}")
    data = Data(recipe, options.data)
    results = [
        race(recipe.settings | changed | {"seed": k + 1}, data) for k in range(options.seeds)
    ]
    seconds, losses = zip(*results, strict=True)
    mean, loss = statistics.fmean(seconds), statistics.fmean(losses)
    reached = loss < recipe.target
    verdict = "below" if reached else "NOT below"
    print(f"mean of {options.seeds}: {mean:.1f} s, loss {loss:.4f}, {verdict} {recipe.target}")
    return 0 if reached else 1


class Data:
    """Batches to train on, and the loss over what was held out."""

    def __init__(self, recipe, path):
        self.by_name = recipe.dataset == "names"
        if self.by_name:
            length = recipe.settings["block_size"]
            self.train, self.held_out, self.vocab_size = names.sequences(
                names.text_of(path), length
            )
        else:
            dataset = open_dataset(recipe.dataset, path)
            self.train, self.held_out = dataset.train, dataset.val
            self.vocab_size = dataset.vocab_size

    def batches(self, config, block_size):
        """Tokens and targets of one update after the other."""
        size, seed = config.batch_size, config.seed
        if self.by_name:
            return names.batches(self.train, block_size, size, seed)
        updates = range(config.max_iters)
        return (training_batch(self.train, size, block_size, seed=seed, index=i) for i in updates)

    def loss(self, model, size):
        """The mean loss over every target held out."""
        return (names.loss_over if self.by_name else full_loss)(model, self.held_out, size)


def race(settings, data):
    """Seconds of training, and the loss after it."""
    shape = {n: v for n, v in settings.items() if n in field_types(gn.GPTConfig)}
    config = gn.TrainConfig(**{n: v for n, v in settings.items() if n not in shape})
    shape = gn.GPTConfig(data.vocab_size, **shape)
    model = gn.GPT(shape, seed=config.seed, dtype=config.dtype, ops=config.ops)
    optimizer = optimizer_for(model, config)
    one_step(model, config)  # loads the kernels, or compiles them
    start = time.perf_counter()
    batches = data.batches(config, model.config.block_size)
    for iteration, (tokens, targets) in zip(range(config.max_iters), batches, strict=False):
        set_learning_rates(optimizer, iteration, config)
        key = random_key(config.seed, DROPOUT, iteration, 0)
        model.forward(tokens, targets, dropout_key=key)
        model.backward()
        optimizer.step()
    seconds = time.perf_counter() - start
    loss = data.loss(model, max(config.batch_size, 16))
    print(f"seed {config.seed}: {config.max_iters} updates, {seconds:.2f} s, loss {loss:.4f}")
    return seconds, loss


if __name__ == "__main__":
    raise SystemExit(main())
