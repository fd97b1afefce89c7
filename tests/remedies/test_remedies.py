"""Each error that says what to do is provoked; then what it says is done, and must work.

A step is a command line, or a function without arguments.
"""

import json
import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.base.errors import InputError
from gpt_numpy.cli import main as cli
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.data.tokenizers.tokenizer_files import read_tokenizer, write_tokenizer
from gpt_numpy.generation.generate import generate
from gpt_numpy.interop import open_run
from tests.support.commands import QUICK, TEXT

Step = str | Callable[[], object]
MODEL = " ".join(QUICK[1:])  # all but the data
TRAIN = f"train {MODEL} --data=t.txt"
SAMPLE = "sample --num_samples=1 --max_new_tokens=2 --ops=reference"


class Remedy(NamedTuple):
    """What is done wrong, what the message says, and what a user then does literally."""

    wrong: Step
    says: str  # a regular expression
    then: tuple[Step, ...]
    before: tuple[Step, ...] = ()


def model(**changes):
    config = {"vocab_size": 20, "block_size": 8, "n_layer": 1, "n_head": 2, "n_embd": 8} | changes
    return gn.GPT(gn.GPTConfig(**config), ops="reference")


def written(name, content):
    """A step that writes a file."""

    def step():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        Path(name).write_bytes(data)

    return step


def changed(name, **keys):
    """A step that changes keys of a JSON file."""
    return lambda: Path(name).write_text(json.dumps(json.loads(Path(name).read_text()) | keys))


def set_variable(name, value):
    return lambda: os.environ.__setitem__(name, value)


def grown(name):
    return lambda: Path(name).write_bytes(Path(name).read_bytes() + b"\0\0")


def saved_without_tokenizer():
    gn.save("m.npz", model())


HF = "convert run hf"
PREPARE = "prepare t.txt --dataset=d"
FINE = f"train {MODEL} --init_from=run --out_dir=fine"

REMEDIES = {
    # the words of a command line
    "a command misspelt": Remedy("trian", "did you mean train", (f"{TRAIN} --out_dir=r",)),
    "a setting misspelt": Remedy(
        f"{TRAIN} --out_dri=r", "did you mean --out_dir", (f"{TRAIN} --out_dir=r",)
    ),
    "a preset as a command": Remedy(
        "tiny", "did you mean gpt-numpy train tiny", (f"train tiny {MODEL} --data=t.txt",)
    ),
    "a preset misspelt": Remedy(
        f"train tinny {MODEL} --data=t.txt", "did you mean tiny",
        (f"train tiny {MODEL} --data=t.txt",)
    ),
    "a flag without dashes": Remedy(
        f"{TRAIN} out_dir=r", "did you mean --out_dir=VALUE", (f"{TRAIN} --out_dir=r",)
    ),
    "a value after a blank": Remedy(
        f"{TRAIN} --out_dir r", "write --out_dir=VALUE, without spaces", (f"{TRAIN} --out_dir=r",)
    ),
    "a truth value after a blank": Remedy(
        f"{TRAIN} --eval_only True", "settings are written --key=True",
        (f"{TRAIN} --eval_only=True",)
    ),
    "a number that is none": Remedy(
        f"{TRAIN} --seed=x", "must be an integer, such as 12", (f"{TRAIN} --seed=12",)
    ),
    "a truth value that is none": Remedy(
        f"{TRAIN} --bias=maybe", "must be True or False", (f"{TRAIN} --bias=False",)
    ),
    "too many threads": Remedy(
        f"{TRAIN} --threads=0", "must be an integer from 1 to 1024", (f"{TRAIN} --threads=1",)
    ),
    "a GPU": Remedy(f"{TRAIN} --device=cuda", "use --device=cpu", (f"{TRAIN} --device=cpu",)),
    "two sources of data": Remedy(
        f"{TRAIN} --dataset=names", "give one of them", (TRAIN,)
    ),
    "a word where there are only flags": Remedy(
        "sample run", "such as --out_dir=RUN", (f"{SAMPLE} --out_dir=run",)
    ),
    "an exponent of lists": Remedy(
        "train c.py", "write the value itself",
        (written("c.py", "max_iters = 2"), f"train c.py {MODEL} --data=t.txt"),
        (written("c.py", "max_iters = len([1, 2])"),),
    ),
    "a table in TOML": Remedy(
        "train c.toml", "`key = value` without tables",
        (written("c.toml", "seed = 2"), f"train c.toml {MODEL} --data=t.txt"),
        (written("c.toml", "[train]\nseed = 2"),),
    ),
    # the shape of a model
    "heads that do not divide": Remedy(
        f"{TRAIN} --n_embd=7", "try n_embd=8", (f"{TRAIN} --n_embd=8",)
    ),
    "nothing to predict": Remedy(
        "gradcheck --vocab_size=1", "give 2 or more", ("gradcheck --vocab_size=2",)
    ),
    "too large for memory": Remedy(
        f"{TRAIN} --batch_size=100000000", "make some of them smaller", (f"{TRAIN} --batch_size=2",)
    ),
    "an unknown type": Remedy(
        lambda: gn.GPT(model().config, dtype="float8", ops="reference"),
        "must be one of float32, float64",
        (lambda: gn.GPT(model().config, dtype="float64", ops="reference"),),
    ),
    "an array replaced": Remedy(
        lambda: model().params.__setitem__("wte.weight", 0), r"\[\.\.\.\] = values",
        (lambda: model().params["wte.weight"].__setitem__(..., 0),),
    ),
    # texts and tokens
    "a text that is a folder": Remedy(
        f"train {MODEL} --data=run", "name a text file", (TRAIN,)
    ),
    "an empty text": Remedy(
        f"train {MODEL} --data=e", "name a file with some text", (TRAIN,), (written("e", ""),)
    ),
    "a text of another encoding": Remedy(
        f"train {MODEL} --data=l", "convert it to UTF-8 first",
        (lambda: Path("l").write_text(Path("l").read_text("latin-1"), "utf-8"),
         f"train {MODEL} --data=l"),
        (written("l", ("ä" + TEXT).encode("latin-1")),),
    ),
    "a text too short for the context": Remedy(
        f"{TRAIN} --block_size=999", "use --block_size=(299) or less",
        (f"{TRAIN} --block_size=299",)
    ),
    "no data set of this name": Remedy(
        f"train {MODEL} --dataset=dd", "did you mean d", (f"train {MODEL} --dataset=d",), (PREPARE,)
    ),
    "nothing to prepare": Remedy(
        "prepare --dataset=d", "gpt-numpy prepare FILE... --dataset=NAME", (PREPARE,)
    ),
    "a folder that is prepared": Remedy(
        PREPARE, "remove it, or name another --dataset",
        ("prepare t.txt --dataset=e", lambda: Path("data/d/train.bin").unlink(), PREPARE),
         (PREPARE,),
    ),
    "a data set outside of data": Remedy(
        "prepare t.txt --dataset=../d", "must be the NAME of a new folder", (PREPARE,)
    ),
    "a tokenizer of no kind": Remedy(
        f"{PREPARE} --tokenizer=word", "must be char, .* or a folder with a model",
        (f"{PREPARE} --tokenizer=char", "prepare t.txt --dataset=e --tokenizer=run"),
    ),
    "too little to split": Remedy(
        "prepare s --dataset=d", "give more text", (PREPARE,), (written("s", "abc"),)
    ),
    "tokens cut off": Remedy(
        f"train {MODEL} --dataset=d", "prepare the folder again",
        (lambda: shutil.rmtree("data/d"), PREPARE, f"train {MODEL} --dataset=d"),
        (PREPARE, lambda: Path("data/d/val.bin").write_bytes(b"abc")),
    ),
    # models that there are
    "no such run": Remedy(
        f"{SAMPLE} --out_dir=rum", "did you mean run", (f"{SAMPLE} --out_dir=run",)
    ),
    "a run without a checkpoint": Remedy(
        f"{SAMPLE} --out_dir=new", "gpt-numpy train --out_dir=new",
        (f"{TRAIN} --out_dir=new", f"{SAMPLE} --out_dir=new"), (lambda: Path("new").mkdir(),),
    ),
    "no such checkpoint": Remedy(
        f"{SAMPLE} --out_dir=run --checkpoint=first", "best or last",
        (f"{SAMPLE} --out_dir=run --checkpoint=best", f"{SAMPLE} --out_dir=run --checkpoint=last"),
    ),
    "a run that has ended": Remedy(
        f"{TRAIN} --init_from=resume --out_dir=run", "give a larger --max_iters",
        (f"{TRAIN} --init_from=resume --out_dir=run --max_iters=5",),
    ),
    "resumed in another shape": Remedy(
        "train --init_from=resume --out_dir=run --max_iters=5 --n_layer=2", "leave the setting out",
        ("train --init_from=resume --out_dir=run --max_iters=5",),
    ),
    "resumed on another text": Remedy(
        "train --init_from=resume --out_dir=run --max_iters=5 --data=u.txt",
        "resume with the same data",
        ("train --init_from=resume --out_dir=run --max_iters=5 --data=t.txt",),
        (written("u.txt", TEXT[::-1]),),
    ),
    "a damaged last checkpoint": Remedy(
        "train --init_from=resume --out_dir=run --max_iters=5",
        r"another checkpoint of this run \(ckpt-best.npz\), rename it to ckpt.npz",
        (lambda: os.replace("run/ckpt-best.npz", "run/ckpt.npz"),
         "train --init_from=resume --out_dir=run --max_iters=5"),
        (grown("run/ckpt.npz"),),
    ),
    "another data set's tokens": Remedy(
        f"{FINE} --dataset=d", "gpt-numpy prepare FILE --tokenizer=run, or use --data=FILE",
        ("prepare t.txt --dataset=e --tokenizer=run", f"{FINE} --dataset=e",
         f"{FINE} --data=t.txt"),
        (written("u.txt", TEXT + "0123"), "prepare u.txt --dataset=d"),
    ),
    "another shape than the model": Remedy(
        f"{FINE} --data=t.txt --n_embd=16", "leave the setting out", (f"{FINE} --data=t.txt",)
    ),
    "a longer context than the model": Remedy(
        f"{FINE} --data=t.txt --block_size=16", "use that or less",
        (f"{FINE} --data=t.txt --block_size=8", f"{FINE} --data=t.txt --block_size=4"),
    ),
    "a model without a tokenizer": Remedy(
        f"train {MODEL} --init_from=hf --data=t.txt --out_dir=fine",
        "put its tokenizer.json next to it, or prepare the text with its tokenizer and use --datas",
        (f"train {MODEL} --init_from=hf --dataset=d --out_dir=other",
         lambda: os.rename("tokenizer.json", "hf/tokenizer.json"),
         f"train {MODEL} --init_from=hf --data=t.txt --out_dir=fine"),
        (f"{PREPARE} --tokenizer=train --vocab_size=300", f"train {MODEL} --dataset=d --out_dir=b",
         "convert b hf", lambda: os.rename("hf/tokenizer.json", "tokenizer.json")),
    ),
    "a target that is in use": Remedy(
        HF, "name another folder", ("convert run other",), (HF,)
    ),
    "rates that differ": Remedy(
        lambda: gn.from_pretrained("hf", ops="reference"), "set it with dropout=RATE",
        (lambda: gn.from_pretrained("hf", ops="reference", dropout=0.1),),
        (HF, changed("hf/config.json", attn_pdrop=0.3)),
    ),
    "a format that cannot say it": Remedy(
        "convert m.npz out --format=nanogpt", "use --format=huggingface",
        ("convert m.npz out --format=huggingface",),
        (lambda: gn.save("m.npz", model(activation="relu")),),
    ),
    "a name instead of a folder": Remedy(
        "convert gpt2-none other", "put config.json, model.safetensors and tokenizer.json",
        (lambda: os.rename("hf", "gpt2-none"), "convert gpt2-none other"), (HF,),
    ),
    "one name to convert": Remedy("convert run", "convert FROM TO", ("convert run other",)),
    # prompts
    "an unknown character": Remedy(
        f"{SAMPLE} --out_dir=run --start=T0", "use only its", (f"{SAMPLE} --out_dir=run --start=T",)
    ),
    "an empty prompt": Remedy(
        f"{SAMPLE} --out_dir=run --start=", "give at least one character",
        (f"{SAMPLE} --out_dir=run --start=T",),
    ),
    "words for a model without a tokenizer": Remedy(
        f"{SAMPLE} --init_from=m.npz --start=To", "such as --start='5 17'",
        (f"{SAMPLE} --init_from=m.npz --start='5 17'",), (saved_without_tokenizer,),
    ),
    "nothing to read": Remedy(
        "inspect --out_dir=run", "with --text='...'", ("inspect --out_dir=run --text='To be'",)
    ),
    "too much to read": Remedy(
        f"inspect --out_dir=run --text={'a' * 30}", "give 2 to 9",
        ("inspect --out_dir=run --text=be", "inspect --out_dir=run --text='To be, or'"),
    ),
    "a page of a part": Remedy(
        "inspect --out_dir=run --text=be --html=p.html --keep=logits", "leave keep out",
        ("inspect --out_dir=run --text=be --html=p.html",),
    ),
    "a window of no kind": Remedy(
        lambda: generate(model(), [1], 2, window="hal"), "did you mean half",
        (lambda: generate(model(), [1], 2, window="half"),),
    ),
    "floats as tokens": Remedy(
        lambda: generate(model(), [0.5], 2), "must be integers, such as int64",
        (lambda: generate(model(), np.array([0.5]).astype("int64"), 2),),
    ),
    # curves
    "no run to plot": Remedy("plot", "plot out-tiny", ("plot run",)),
    "a picture of no kind": Remedy(
        "plot run --out=l.bmp", r"\.png or \.svg",
        ("plot run --out=l.svg",),
    ),
    # the disk
    "a folder that is a file": Remedy(
        f"{TRAIN} --out_dir=t.txt", "choose another folder with --out_dir",
        (f"{TRAIN} --out_dir=r",)
    ),
    "a page that cannot be written": Remedy(
        "inspect --out_dir=run --text=be --html=t.txt/p.html", "name another file",
        ("inspect --out_dir=run --text=be --html=p.html",),
    ),
    "a target that cannot be written": Remedy(
        "convert run t.txt/hf", "name another folder", ("convert run other",)
    ),
    "no tokenizer next to a model": Remedy(
        "prepare t.txt --dataset=d --tokenizer=m/ckpt.npz", "put its tokenizer.json next to it",
        (lambda: shutil.copy("gpt_numpy_tokenizer.json", "m"),
         "prepare t.txt --dataset=d --tokenizer=m/ckpt.npz"),
        (lambda: gn.save("m/ckpt.npz", model(vocab_size=60)),
         lambda: write_tokenizer(Path(), CharTokenizer.from_text(TEXT)),
         lambda: read_tokenizer(Path()) or open_run("m")),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a text and a run."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "t.txt").write_text(TEXT)
    here = Path.cwd()
    os.chdir(folder)
    try:
        assert cli.main(shlex.split(f"{TRAIN} --out_dir=run")) == 0
    finally:
        os.chdir(here)
    return folder


@pytest.mark.parametrize("case", REMEDIES)
def test_what_a_message_says_works(case, trained, tmp_path, monkeypatch, capsys):
    remedy = REMEDIES[case]
    monkeypatch.chdir(shutil.copytree(trained, tmp_path / "here"))
    monkeypatch.setenv("GPT_NUMPY_CACHE", str(tmp_path / "cache"))
    if "plot" in str(remedy.then):
        pytest.importorskip("matplotlib")
    if HF in (*remedy.before, remedy.wrong) or "convert" in str(remedy.then):
        pytest.importorskip("safetensors")
    if "tokenizer=train" in str(remedy.before):
        pytest.importorskip("tokenizers")
    for step in remedy.before:
        done(step, capsys)
    message = refusal(remedy.wrong, capsys)
    assert re.search(remedy.says, message), message
    for step in remedy.then:
        done(step, capsys)


def done(step, capsys):
    if callable(step):
        step()
        return
    status = cli.main(shlex.split(step))
    assert status == 0, (step, capsys.readouterr().err)


def refusal(step, capsys):
    """The message of a step that must be refused."""
    if callable(step):
        with pytest.raises(InputError) as info:
            step()
        return str(info.value)
    capsys.readouterr()
    assert cli.main(shlex.split(step)) == cli.BAD_INPUT
    err = capsys.readouterr().err
    assert err.startswith("gpt-numpy: ") and err.count("\n") == 1
    return err


def test_there_are_enough():
    assert len(REMEDIES) >= 40
