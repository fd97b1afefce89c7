"""A small text, and the settings of a short run on it."""

import numpy as np
import pytest

from gpt_numpy.config.train import TrainConfig
from gpt_numpy.data.dataset import open_dataset


@pytest.fixture
def dataset(tmp_path):
    path = tmp_path / "text.txt"
    rng = np.random.default_rng(0)
    path.write_text("".join(rng.choice(list("abcd \n"), 3000)), encoding="utf-8")
    return open_dataset("", str(path), say=lambda text: None)


@pytest.fixture
def config(tmp_path):
    return TrainConfig(
        out_dir=str(tmp_path / "run"),
        batch_size=3,
        gradient_accumulation_steps=2,
        max_iters=12,
        eval_interval=4,
        eval_iters=2,
        warmup_iters=2,
        lr_decay_iters=12,
        learning_rate=1e-2,
        ops="reference",
    )
