"""Whatever holds a model: a run or checkpoint of ours, a Hugging Face folder, nanoGPT's file."""

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.config.choices import FORMATS, IMPLEMENTATIONS
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.data.nanogpt_bins import read_vocabulary, write_vocabulary
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.data.tokenizers.tokenizer import Tokenizer
from gpt_numpy.data.tokenizers.tokenizer_files import read_tokenizer, write_tokenizer
from gpt_numpy.interop import huggingface, nanogpt
from gpt_numpy.interop.weights import Tensor, check_against, fill
from gpt_numpy.model.gpt import GPT
from gpt_numpy.training.checkpoint import Run, load, save
from gpt_numpy.training.run_folder import BEST, LAST, find_checkpoint

_DEFAULT = IMPLEMENTATIONS[0]


def from_pretrained(
    folder: str | os.PathLike[str],
    *,
    dropout: float | None = None,
    dtype: str = "float32",
    ops: str = _DEFAULT,
) -> GPT:
    """The model in a folder that Hugging Face's transformers, nanoGPT or this project wrote.

    Parameters
    ----------
    folder : with config.json and model.safetensors (or pytorch_model.bin; both may be sharded),
        with nanoGPT's ckpt.pt, or a run of this project; or such a ckpt.pt or .npz itself.
    dropout : the rate for training; None: the configuration's own.
    dtype, ops : as `GPT` has them; float16 and bfloat16 are widened.

    Raises
    ------
    InputError : nothing of the kind, damaged, or with mathematics that this project does not have.
    """
    return _open(Path(folder), "best", dropout, dtype, ops).model


def open_run(
    source: str | os.PathLike[str],
    *,
    checkpoint: str = "best",
    dropout: float | None = None,
    dtype: str | None = None,
    ops: str | None = None,
) -> Run:
    """The model and the tokenizer of a source, as `from_pretrained` finds it.

    Raises
    ------
    InputError : as `from_pretrained` says.
    """
    path = Path(source)
    run = _open(path, checkpoint, dropout, dtype, ops)
    if run.tokenizer is None:
        with _errors_name(path):
            run.tokenizer = _tokenizer(path if path.is_dir() else path.parent)
    if run.tokenizer is not None and run.tokenizer.vocab_size > run.config.vocab_size:
        raise InputError(
            f"{path}: its tokenizer has {run.tokenizer.vocab_size} tokens, its model "
            f"vocab_size={run.config.vocab_size}"
        )
    return run


def _open(
    path: Path, checkpoint: str, dropout: float | None, dtype: str | None, ops: str | None
) -> Run:
    """The model of a source, and what its checkpoint holds beside it."""
    with _errors_name(path):
        own = _own_checkpoint(path, checkpoint)
        if own is None:
            with _table(path, dropout) as (config, tensors, transposed, size):
                check_against(config, tensors, size, transposed)
                model = GPT(config, seed=None, dtype=dtype or "float32", ops=ops or _DEFAULT)
                fill(model, tensors, transposed)
            return Run(model, config)
        run = load(own, ops=ops)
        if dtype not in (None, run.model.dtype.name):
            model = GPT(run.config, seed=None, dtype=str(dtype), ops=run.model.ops_name)
            model.params.flat[...] = run.model.params.flat
            run = Run(model, run.config, run.tokenizer)
        if dropout is not None:
            run.model.set_dropout(dropout)
            run.config = run.model.config
        return run


@contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    """Every error of reading a file becomes an `InputError` that names the source."""
    try:
        yield
    except InputError as error:
        text = str(error)
        raise (error if text.startswith(str(path)) else InputError(f"{path}: {text}")) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except MemoryError:
        raise
    except Exception as error:  # zipfile raises many kinds on a file made to harm
        what = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise InputError(f"{path}: cannot be read: {what[:200]}") from error


def cropped(model: GPT, block_size: int) -> GPT:
    """The model with a shorter context: the position embedding loses its last rows.

    Raises
    ------
    InputError : it is to be longer than the model's own.
    """
    config = model.config
    if block_size == config.block_size:
        return model
    if block_size > config.block_size:
        raise InputError(
            f"block_size={block_size}, but the model has block_size={config.block_size}: "
            "it has no position embedding beyond; give that or less"
        )
    shorter = GPT(
        dataclasses.replace(config, block_size=block_size),
        seed=None,
        dtype=model.dtype.name,
        ops=model.ops_name,
    )
    for name, param in shorter.params.items():
        param[...] = model.params[name][:block_size] if name == "wpe.weight" else model.params[name]
    return shorter


def export(
    run: Run, folder: str | os.PathLike[str], form: str, say: Callable[[str], None] = print
) -> None:
    """Write the model and the tokenizer of a run for others, to a folder without such files.

    Parameters
    ----------
    form : one of FORMATS.
    say : is told what the format expresses differently, a line at a time.

    Raises
    ------
    InputError : the format cannot express the model, the folder cannot be written or is taken.
    """
    path = Path(folder)
    if form not in FORMATS:
        raise InputError(f"format={form!r}: {did_you_mean(form, FORMATS)}")
    for name in (huggingface.CONFIG, huggingface.WEIGHTS, nanogpt.CHECKPOINT, LAST, BEST):
        if (path / name).exists():
            raise InputError(f"{path} already holds {name}: name another folder")
    existed = path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
        _write(run, path, form, say)
    except BaseException as error:
        if not existed:
            with contextlib.suppress(OSError):
                path.rmdir()
        if isinstance(error, OSError):
            raise InputError(f"{path}: cannot write there: {error.strerror or error}") from error
        raise


def _write(run: Run, path: Path, form: str, say: Callable[[str], None]) -> None:
    if run.model.dtype.name != "float32" and form != "gpt_numpy":
        say(f"{run.model.dtype.name} is rounded to float32")
    if form == "gpt_numpy":
        save(path / LAST, run.model, tokenizer=run.tokenizer)
        return
    if form == "nanogpt":
        loss = run.progress.get("best_val_loss")
        nanogpt.write_checkpoint(
            path,
            run.model,
            iterations=run.progress.get("iteration", 0),
            best_val_loss=math.inf if loss is None else float(loss),
            dataset=run.settings.dataset if run.settings else "",
        )
        if isinstance(run.tokenizer, CharTokenizer):
            write_vocabulary(path / nanogpt.META, run.tokenizer.characters)
            say("nanoGPT looks for meta.pkl in data/DATASET/: copy it there")
            return
    else:
        huggingface.write_folder(path, run.model, say)
    if run.tokenizer is not None:
        write_tokenizer(path, run.tokenizer)


def _own_checkpoint(path: Path, checkpoint: str) -> Path | None:
    if path.is_dir():
        own = any((path / name).is_file() for name in (LAST, BEST))
        return find_checkpoint(str(path), checkpoint) if own else None
    return path if path.suffix == ".npz" and path.is_file() else None


@contextmanager
def _table(
    path: Path, dropout: float | None
) -> Iterator[tuple[GPTConfig, Mapping[str, Tensor], Callable[[str], bool], int]]:
    """The configuration and the parameters of somebody else's model, and the bytes of its files."""
    if path.is_dir() and (path / huggingface.CONFIG).exists():
        config = huggingface.read_config(path, dropout)
        size = sum(part.stat().st_size for part in huggingface.weight_files(path))
        with huggingface.opened_table(path) as tensors:
            yield config, tensors, lambda name: False, size
        return
    file = path / nanogpt.CHECKPOINT if path.is_dir() else path
    if not file.is_file():
        raise InputError(_nothing_there(path))
    with nanogpt.opened(file, dropout) as (config, tensors):
        yield config, tensors, nanogpt.is_transposed, file.stat().st_size


def _nothing_there(path: Path) -> str:
    if path.is_dir():
        return f"the folder has no {huggingface.CONFIG}, no {nanogpt.CHECKPOINT} and no {LAST}"
    if path.parent == Path() and path.name.startswith("gpt2"):
        return (
            "there is no such folder, and models are not fetched by name: get "
            f"config.json, model.safetensors and tokenizer.json of {path.name} into one and name it"
        )
    return "there is no such file or folder"


def _tokenizer(folder: Path) -> Tokenizer | None:
    meta = folder / nanogpt.META
    if meta.is_file():
        return read_vocabulary(meta, lambda text: None)[1]
    return read_tokenizer(folder)
