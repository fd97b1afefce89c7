"""nanoGPT's own configuration files mean here what its train.py makes of them on the same data."""

import re
import shlex

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.cli import main as cli
from gpt_numpy.cli.commands import bench as bench_command
from gpt_numpy.cli.commands import train as train_command
from gpt_numpy.interop import export
from gpt_numpy.training.checkpoint import Run

# Equivalents of the files in nanoGPT's config folder: the same settings, written anew.
FILES = {
    "train_shakespeare_char.py": """
out_dir = 'out-shakespeare-char'
eval_interval = 250
log_interval = 10
eval_iters = 200
always_save_checkpoint = False
wandb_log = False
wandb_project = 'chars'
dataset = 'shakespeare_char'
gradient_accumulation_steps = 1
batch_size = 64
block_size = 256
n_layer = 6
n_head = 6
n_embd = 384
dropout = 0.2
learning_rate = 1e-3
max_iters = 5000
lr_decay_iters = 5000
min_lr = 1e-4
beta2 = 0.99
warmup_iters = 100
""",
    "train_gpt2.py": """
wandb_log = True
wandb_project = 'web'
batch_size = 12
block_size = 1024
gradient_accumulation_steps = 5 * 8
max_iters = 600000
lr_decay_iters = 600000
eval_interval = 1000
eval_iters = 200
log_interval = 10
weight_decay = 1e-1
""",
    "finetune_shakespeare.py": """
import time
out_dir = 'out-shakespeare'
eval_interval = 5
eval_iters = 40
wandb_log = False
wandb_run_name = 'ft-' + str(time.time())
dataset = 'shakespeare'
init_from = 'gpt2-xl'
always_save_checkpoint = False
batch_size = 1
gradient_accumulation_steps = 32
max_iters = 20
learning_rate = 3e-5
decay_lr = False
""",
} | {
    f"eval_{size.replace('-', '_')}.py": f"""
batch_size = 8
eval_iters = 500
eval_only = True
wandb_log = False
init_from = '{size}'
"""
    for size in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")
}

# What nanoGPT's train.py prints and uses: data set, tokens an iteration, the model's layers,
# channels, context and dropout; then rate, its minimum, warm-up, decay and last iteration.
SCHEDULE = (6e-4, 6e-5, 2000, 600000, 600000)
TABLE = {
    "train_shakespeare_char.py": (
        ("shakespeare_char", 16384, 6, 384, 256, 0.2),
        (1e-3, 1e-4, 100, 5000, 5000),
    ),
    "train_gpt2.py": (("openwebtext", 491520, 12, 768, 1024, 0.0), SCHEDULE),
    # Those of a model keep its shape: here that of a small stand-in for GPT-2.
    "finetune_shakespeare.py": (
        ("shakespeare", 32 * 16, 1, 8, 16, 0.0),
        (3e-5, 6e-5, 2000, 600000, 20),
    ),
    "eval_gpt2.py": (("openwebtext", 40 * 8 * 16, 1, 8, 16, 0.0), SCHEDULE),
    "eval_gpt2_medium.py": (("openwebtext", 40 * 8 * 16, 1, 8, 16, 0.0), SCHEDULE),
    "eval_gpt2_large.py": (("openwebtext", 40 * 8 * 16, 1, 8, 16, 0.0), SCHEDULE),
    "eval_gpt2_xl.py": (("openwebtext", 40 * 8 * 16, 1, 8, 16, 0.0), SCHEDULE),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPT_NUMPY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "config").mkdir()
    for name, text in FILES.items():
        (tmp_path / "config" / name).write_text(text)
    return tmp_path


def bins(folder, name, vocab_size=23):
    (folder / "data" / name).mkdir(parents=True)
    for split in ("train", "val"):
        tokens = np.random.default_rng(1).integers(0, vocab_size, 3000).astype("<u2")
        tokens.tofile(folder / "data" / name / f"{split}.bin")


def stand_in(folder, name):
    """A small model in a folder of the name that nanoGPT would download."""
    config = gn.GPTConfig(vocab_size=23, block_size=16, n_layer=1, n_head=2, n_embd=8)
    export(Run(gn.GPT(config, ops="reference"), config), folder / name, "huggingface", print)


@pytest.fixture
def started(monkeypatch):
    """The model's configuration, the settings and the data with which `train` starts."""
    found = []

    def note(run, config, dataset, *_):
        found.append((run.config, config, dataset))
        return 0

    monkeypatch.setattr(train_command, "_train", note)
    monkeypatch.setattr(train_command, "_evaluate", note)
    monkeypatch.setattr(train_command, "new_run", lambda shape, *_: Run(None, shape))
    monkeypatch.setattr(train_command, "_check_training_memory", lambda *_: None)

    def start(*words):
        status = cli.main(["train", *words])
        assert status == 0
        return found[-1]

    return start


def test_the_table_holds_every_file():
    assert TABLE.keys() == FILES.keys()


@pytest.mark.parametrize("name", FILES)
def test_a_file_runs_the_experiment_that_nanogpt_runs(name, folder, started):
    pytest.importorskip("safetensors", reason="the extra `safetensors` is not installed")
    for data in ("openwebtext", "shakespeare", "shakespeare_char"):
        bins(folder, data)
    if "gpt2" in name and "train" not in name or "finetune" in name:
        for size in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"):
            stand_in(folder, size)
    model, config, dataset = started(f"config/{name}", "--ops=reference")
    tokens = config.gradient_accumulation_steps * config.batch_size * model.block_size
    shape = (model.n_layer, model.n_embd, model.block_size, model.dropout)
    schedule = (config.learning_rate, config.min_lr, config.warmup_iters)
    schedule += (config.lr_decay_iters, config.max_iters)
    assert ((dataset.name, tokens, *shape), schedule) == TABLE[name]
    assert (config.beta1, config.weight_decay, config.grad_clip) == (0.9, 0.1, 1.0)
    assert config.beta2 == (0.99 if "char" in name else 0.95)
    if config.init_from == "scratch":
        assert (model.bias, model.activation, model.tied) == (False, "gelu", True)


def test_a_data_set_that_is_not_there_is_prepared_as_the_message_says(folder, started, capsys):
    digits = np.random.default_rng(0).integers(0, 10, 30_000)
    (folder / "web.txt").write_text("".join(map(str, digits)))
    assert cli.main(["train", "config/train_gpt2.py"]) == cli.BAD_INPUT
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "data/openwebtext/train.bin" in said
    command = shlex.split(re.search(r"gpt-numpy (prepare .*?), or", said)[1])
    pytest.importorskip("tokenizers", reason="the extra `bpe` is not installed")
    instead = {"FILE": "web.txt", "--tokenizer=gpt2": "--tokenizer=train"}  # no download
    command = [instead.get(word, word) for word in command]
    assert cli.main([*command, "--vocab_size=300"]) == 0
    assert started("config/train_gpt2.py")[2].name == "openwebtext"


def test_nanogpts_shakespeare_is_not_ours(folder, capsys):
    (folder / "c.py").write_text("dataset = 'shakespeare'\n")
    assert cli.main(["train", "c.py"]) == cli.BAD_INPUT
    assert "prepare FILE --dataset=shakespeare --tokenizer=gpt2" in capsys.readouterr().err


def test_what_the_command_line_names_after_a_file_is_ours(folder, started):
    (folder / "t.txt").write_text("To be, or not to be. " * 200)
    for words in (["--data=t.txt"], ["--dataset=mine"], ["tiny", "--dataset=mine"]):
        if "mine" in words[-1] and not (folder / "data").exists():
            bins(folder, "mine")
        _, config, _ = started("config/train_gpt2.py", "--block_size=16", *words)
        assert config.gradient_accumulation_steps == 40


def test_a_preset_stays_a_preset_below_a_file(folder, started):
    bins(folder, "mine")
    (folder / "c.py").write_text("batch_size = 3\n")
    model, config, _ = started("tiny", "c.py", "--dataset=mine")
    assert (config.batch_size, config.gradient_accumulation_steps) == (3, 1)
    assert config.max_iters == 2000 and model.n_embd == 128


def test_bench_times_the_model_and_the_batch_of_a_file(folder, monkeypatch):
    timed = []
    monkeypatch.setattr(bench_command, "GPT", lambda config, **_: config)
    monkeypatch.setattr(bench_command, "check_memory", lambda *_, **__: None)
    monkeypatch.setattr(bench_command, "optimizer_for", lambda _, config, world: config.optimizer)
    monkeypatch.setattr(bench_command, "bench", lambda *a, **_: timed.append(a))
    for name, batch, vocabulary in (("train_gpt2", 12, 50257), ("train_shakespeare_char", 64, 65)):
        assert cli.main(["bench", f"config/{name}.py"]) == 0
        model, batch_size, optimizer = timed[-1]
        assert (model.vocab_size, batch_size, optimizer) == (vocabulary, batch, "adamw")
