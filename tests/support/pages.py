"""A run, with hostile names and texts, of which the tests of the page look at the page."""

import base64
import json
import zlib

import numpy as np

import gpt_numpy as gn
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.gradients.model_check import randomise
from gpt_numpy.inspection.page.contents import contents
from gpt_numpy.training.checkpoint import load

CHARACTERS = "\n !\"&'()/1;<=>abceilnoprstx\u2028\x1b\ud800"
HOSTILE = "</script><script>alert(1)</script>"
FOLDER = "<img src=x onerror=alert(2)> & $run"
SAMPLE = "<!--<script>alert(3)</script>\x1b[31m"


def make_run(parent, **changes):
    """The folder of a run of a small model: a checkpoint and a log."""
    settings = {"n_layer": 2, "n_head": 2, "n_embd": 8, "block_size": 40} | changes
    config = gn.GPTConfig(vocab_size=len(CHARACTERS), **settings)
    model = gn.GPT(config, seed=None, ops="reference")
    randomise(model, seed=3)
    optimizer = gn.AdamW(model)
    tokens = np.random.default_rng(0).integers(0, config.vocab_size, (2, 9))
    for _ in range(2):
        model.forward(tokens[:, :-1], tokens[:, 1:])
        model.backward()
        optimizer.step()
    folder = parent / FOLDER
    folder.mkdir()
    gn.save(folder / "ckpt.npz", model, tokenizer=CharTokenizer(CHARACTERS), optimizer=optimizer)
    lines = []
    for i in range(0, 60, 10):
        layers = {"embedding": [1 / (i + 1), 0.01], HOSTILE: [0.5, 0.002]}
        lines.append(
            {"iter": i, "loss": 4 - i / 50, "lr": 1e-3, "grad_norm": 2.0, "layers": layers}
        )
    lines += [{"iter": i, "train_loss": 3.9, "val_loss": 4 - i / 60} for i in (0, 50)]
    lines += [{"iter": i, "sample": SAMPLE} for i in (0, 50)]
    text = "\n".join(map(json.dumps, lines)) + '\n{"iter": 60, "lo'
    (folder / "log.jsonl").write_text(text, encoding="utf-8")
    return folder


def look(folder, text=HOSTILE, live=False):
    """The run, the trace and the contents of its page; `live`: it computes the passes itself."""
    run = load(folder / "ckpt.npz", ops="reference")
    tokens = run.tokenizer.encode(text)
    trace = gn.trace(run.model, tokens[None, :-1], tokens[None, 1:])
    return run, trace, contents(run, trace, str(folder), text, live=live)


def inflated(text, kind):
    """The numbers of a string of deflated.py, as parts/twin/inflated.js gives them."""
    back = text.encode().translate(bytes.maketrans(b",./", b"<>&"))
    data = np.frombuffer(zlib.decompress(base64.b85decode(back)), np.uint8)
    width = np.dtype(kind).itemsize
    return np.ascontiguousarray(data.reshape(width, -1).T).view(kind).reshape(-1)
