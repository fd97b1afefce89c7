"""Open models: runs and checkpoints of this project, Hugging Face folders, nanoGPT's files."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from gpt_numpy.base.checks import path as checked_path
from gpt_numpy.base.errors import InputError, VariableError, did_you_mean
from gpt_numpy.base.shell import quoted
from gpt_numpy.config.choices import EXPORT_DTYPES, FORMATS, IMPLEMENTATIONS
from gpt_numpy.config.transformer import TransformerConfig
from gpt_numpy.data.nanogpt_bins import NANOGPT_VOCAB_SIZE, read_vocabulary, write_vocabulary
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.data.tokenizers.gpt2 import gpt2_tokenizer
from gpt_numpy.data.tokenizers.tokenizer import Tokenizer
from gpt_numpy.data.tokenizers.tokenizer_files import read_tokenizer, write_tokenizer
from gpt_numpy.files.reading import os_errors_as_input_errors
from gpt_numpy.interop import huggingface, nanogpt
from gpt_numpy.interop.config_keys import CONFIG
from gpt_numpy.interop.nanogpt_training import StoredTraining, load_moments
from gpt_numpy.interop.weights import StoredModel, check_stored, load_parameters
from gpt_numpy.model.gpt import GPT
from gpt_numpy.model.memory import check_memory
from gpt_numpy.training.checkpoint import Run, load, save
from gpt_numpy.training.loop import State
from gpt_numpy.training.optimizers import optimizer_for
from gpt_numpy.training.run_folder import BEST, LAST, find_checkpoint

_DEFAULT = IMPLEMENTATIONS[0]
_GPT2_SIZES = (50257, NANOGPT_VOCAB_SIZE)
# Formats for training, whose weights are float32 even where products are computed in bfloat16:
# rounded ones would lose every update that is smaller than half a unit of theirs.
_KEEP_FLOAT32 = {
    "nanogpt": "nanoGPT trains float32 weights, which a ckpt.pt holds; leave dtype out, or use "
    "format=huggingface",
    "gpt_numpy": "a run keeps its weights in float32, whatever its products are computed in; leave "
    "dtype out, or use format=huggingface",
}
_FIRST_BEST = 1e9  # nanoGPT's best_val_loss before the first evaluation


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
    folder : contains config.json and model.safetensors (or pytorch_model.bin; both may be sharded),
        nanoGPT's ckpt.pt, or a run of this project; or the path of a ckpt.pt or .npz itself.
    dropout : the rate for training; None: the one of the configuration.
    dtype, ops : see `GPT`; float16 and bfloat16 are widened.

    Raises
    ------
    InputError : there is no such model, it is damaged, or of a kind that is not supported here.
    """
    return _open(checked_path("folder", folder), "best", dropout, dtype, ops, None).model


def open_run(
    source: str | os.PathLike[str],
    *,
    checkpoint: str = "best",
    dropout: float | None = None,
    dtype: str | None = None,
    ops: str | None = None,
    say: Callable[[str], None] = lambda line: None,
    pairs: bool = False,
) -> Run:
    """The model and the tokenizer of a source of `from_pretrained`, with the same errors.

    A nanoGPT file names its data set, whose folder data/NAME holds the vocabulary; without one, a
    vocabulary of GPT-2's size is GPT-2's, as its sample.py has it. `say` reports what is assumed.
    With `pairs` it may be an encoder-decoder, whose checkpoint holds its tokenizer.
    """
    path = Path(source)
    run = _open(path, checkpoint, dropout, dtype, ops, say, pairs)
    if isinstance(run.config, TransformerConfig):
        return run
    if run.tokenizer is None:
        folder = path if path.is_dir() else path.parent
        with _errors_name(path):
            run.tokenizer = _tokenizer_of(run, folder, say)
    if run.tokenizer is not None and run.tokenizer.vocab_size > run.config.vocab_size:
        raise InputError(
            f"{path}: its tokenizer has {run.tokenizer.vocab_size} tokens, its model "
            f"vocab_size={run.config.vocab_size}"
        )
    return run


def open_out_dir(
    out_dir: str,
    *,
    checkpoint: str = "best",
    ops: str | None = None,
    say: Callable[[str], None] = lambda line: None,
    pairs: bool = False,
) -> Run:
    """The run in a folder: of this project, or of another program if the folder has only that.

    pairs : an encoder-decoder will do as well as a GPT.
    """
    if not out_dir:
        raise InputError("out_dir is empty: name the folder of the run")
    if holds_foreign_model(out_dir) and checkpoint in ("best", "last"):
        return open_run(out_dir, ops=ops, say=say)
    path = find_checkpoint(out_dir, checkpoint)
    run = load(path, ops=ops)
    return run if pairs else _checked_gpt(run, path)


def holds_foreign_model(out_dir: str) -> bool:
    """Whether a folder holds a model of Hugging Face or nanoGPT, and no run of this project."""
    folder = Path(out_dir)
    foreign = (CONFIG, nanogpt.CHECKPOINT)
    return any(os.path.isfile(folder / name) for name in foreign) and not any(
        os.path.isfile(folder / name) for name in (LAST, BEST)
    )


def open_nanogpt_run(out_dir: str, *, ops: str | None, say: Callable[[str], None]) -> Run:
    """The run in a folder with nanoGPT's ckpt.pt, to be resumed: with its moments and progress.

    Its data has no fingerprint, "". Raises `InputError` where there is no optimizer to read.
    """
    path = Path(out_dir)
    if not (path / nanogpt.CHECKPOINT).is_file():
        raise InputError(
            f"{path} holds a model but no training state: it cannot be resumed; train it further "
            f"with --init_from={quoted(out_dir)} and another --out_dir"
        )
    run = open_run(path, ops=ops, say=say)
    with _errors_name(path), nanogpt.open_nanogpt(path / nanogpt.CHECKPOINT, None) as (_, stored):
        if stored.unusable:
            raise InputError(
                f"{nanogpt.CHECKPOINT} cannot be resumed: {stored.unusable}; train its model "
                f"further with --init_from={quoted(out_dir)} and another --out_dir"
            )
        check_memory(run.config, 1, itemsize=run.model.dtype.itemsize, copies=4)
        run.optimizer = optimizer_for(run.model, stored.settings)
        load_moments(run.optimizer, stored)
    return run


def _tokenizer_of(run: Run, folder: Path, say: Callable[[str], None]) -> Tokenizer | None:
    """The tokenizer next to a model, or the one of its data, as nanoGPT finds it."""
    places, name = [folder], run.settings.dataset if run.settings else ""
    if name and ".." not in Path(name).parts and not Path(name).is_absolute():
        places += [Path("data") / name, folder.parent / "data" / name]
    for place in places:
        if os.path.isfile(place / nanogpt.META):
            return read_vocabulary(place / nanogpt.META, say)[1]
        found = read_tokenizer(place)
        if found is not None:
            return found
    if run.settings and run.config.vocab_size in _GPT2_SIZES:
        try:
            say("no meta.pkl: assuming GPT-2's tokens, as nanoGPT does")
            return gpt2_tokenizer(say)
        except InputError as error:
            say(f"GPT-2's tokenizer is not available: {error}")
    return None


def _open(
    path: Path,
    checkpoint: str,
    dropout: float | None,
    dtype: str | None,
    ops: str | None,
    say: Callable[[str], None] | None,
    pairs: bool = False,
) -> Run:
    """The model of a source, and everything else that its checkpoint holds."""
    with _errors_name(path):
        own = path if path.suffix == ".npz" and path.is_file() else None
        if any((path / name).is_file() for name in (LAST, BEST)):
            own = find_checkpoint(str(path), checkpoint)
        if own is None:
            with _stored_model(path, dropout, say) as (stored, training):
                check_stored(stored)
                model = GPT(stored.config, seed=None, dtype=dtype or "float32", ops=ops or _DEFAULT)
                load_parameters(model, stored)
            run = Run(model, stored.config)
            if training is not None:
                run.settings, run.progress = training.settings, _progress(training)
            return run
        run = load(own, ops=ops) if pairs else _checked_gpt(load(own, ops=ops), own)
        if dtype not in (None, run.model.precision):
            model = GPT(run.config, seed=None, dtype=str(dtype), ops=run.model.ops_name)
            model.params.flat[...] = run.model.params.flat
            run = Run(model, run.config, run.tokenizer)
        if dropout is not None:
            run.model.set_dropout(dropout)
            run.config = run.model.config
        return run


def _checked_gpt(run: Run, path: Path) -> Run:
    """The run itself; `InputError` if its model is not a GPT."""
    if not isinstance(run.model, GPT):
        raise InputError(
            f"{path} is an encoder-decoder, and a GPT is needed here: let it translate with "
            f"gpt-numpy translate --out_dir={quoted(str(path.parent))}"
        )
    return run


def _progress(stored: StoredTraining) -> dict[str, Any]:
    state = State(iteration=stored.iteration)
    # nanoGPT writes the loss of the very model that it saves; at first it is 1e9.
    if stored.iteration and stored.best_val_loss < _FIRST_BEST:
        state.best_val_loss, state.best_iteration = stored.best_val_loss, stored.iteration
    return state.to_json()


@contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    """Turn every error of reading a file into an `InputError` that names the source."""
    try:
        yield
    except InputError as error:
        named = isinstance(error, VariableError) or str(error).startswith(str(path))
        raise (error if named else InputError(f"{path}: {error}")) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except MemoryError:
        raise
    except Exception as error:  # zipfile raises many types for a hostile file
        what = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise InputError(f"{path}: cannot be read: {what[:200]}") from error


def cropped(model: GPT, block_size: int) -> GPT:
    """The model with a shorter context, without the last rows of its position embedding.

    Raises `InputError` when `block_size` is larger than the model's.
    """
    longest = model.config.block_size
    if block_size == longest:
        return model
    if block_size > longest:
        raise InputError(
            f"block_size={block_size}, but the model has block_size={longest}: "
            "it has no embedding of later positions; use that or less"
        )
    config = dataclasses.replace(model.config, block_size=block_size)
    shorter = GPT(config, seed=None, dtype=model.precision, ops=model.ops_name)
    for name, param in shorter.params.items():
        param[...] = model.params[name][: len(param)]
    return shorter


def export(
    run: Run,
    folder: str | os.PathLike[str],
    form: str,
    say: Callable[[str], None] = print,
    *,
    dtype: str = "float32",
) -> None:
    """Write the model and the tokenizer of a run to a folder that holds no model yet.

    `form` is one of FORMATS; `dtype` one of EXPORT_DTYPES, what the numbers are rounded to; `say`
    reports what it expresses differently, one line per call. Raises `InputError` when it cannot
    express the model, or the folder is in use or cannot be written.
    """
    path = Path(folder)
    if form not in FORMATS:
        raise InputError(f"format={form!r}: {did_you_mean(form, FORMATS)}")
    if isinstance(run.config, TransformerConfig) and form != "gpt_numpy":
        raise InputError(
            f"format={form!r}: no program that reads it knows this encoder-decoder; "
            "--format=gpt_numpy writes the model and its tokenizer without the training state, and "
            "numpy.load reads the arrays"
        )
    if dtype not in EXPORT_DTYPES:
        raise InputError(f"dtype={dtype!r}: {did_you_mean(dtype, EXPORT_DTYPES)}")
    if dtype != "float32" and form in _KEEP_FLOAT32:
        raise InputError(f"dtype={dtype} with format={form}: {_KEEP_FLOAT32[form]}")
    for name in (CONFIG, huggingface.WEIGHTS, nanogpt.CHECKPOINT, LAST, BEST):
        if (path / name).exists():
            raise InputError(f"{path} already holds {name}: name another folder")
    existed = path.exists()
    if existed and not path.is_dir():
        raise InputError(f"{path} is a file: name another folder")
    try:
        advice = "free disk space, or name another folder"
        with os_errors_as_input_errors(f"{path}: cannot write there", advice):
            path.mkdir(parents=True, exist_ok=True)
            _write(run, path, form, say, dtype)
    finally:
        if not existed:
            with contextlib.suppress(OSError):
                path.rmdir()  # succeeds only if nothing was written


def _write(run: Run, path: Path, form: str, say: Callable[[str], None], dtype: str) -> None:
    if run.model.dtype != np.float32 and form != "gpt_numpy":
        say(f"{run.model.dtype} is rounded to float32")
    if form == "gpt_numpy":
        save(path / LAST, run.model, tokenizer=run.tokenizer)
        return
    if form == "nanogpt":
        dataset = nanogpt.write_nanogpt(path, run)
    else:
        huggingface.write_huggingface(path, run.model, say, dtype=dtype)
    if form == "nanogpt" and isinstance(run.tokenizer, CharTokenizer):
        write_vocabulary(path / nanogpt.META, run.tokenizer.characters)
        say(f"nanoGPT looks for meta.pkl in data/{dataset or 'DATASET'}/: copy it there")
    elif run.tokenizer is not None:
        write_tokenizer(path, run.tokenizer)


def _stored_model(
    path: Path, dropout: float | None, say: Callable[[str], None] | None
) -> AbstractContextManager[tuple[StoredModel, StoredTraining | None]]:
    """A model in another program's files, and its training if they hold it, while they are open."""
    if (path / CONFIG).exists():
        return huggingface.open_huggingface(path, dropout, say)
    file = path / nanogpt.CHECKPOINT if path.is_dir() else path
    if file.is_file():
        return nanogpt.open_nanogpt(file, dropout)
    reason = "there is no such file or folder"
    if path.exists() and not path.is_dir():
        reason = "it is neither a regular file nor a folder: name a folder with a model"
    elif path.is_dir():
        reason = f"the folder has no {CONFIG}, no {nanogpt.CHECKPOINT} and no {LAST}"
    elif path.parent == Path() and path.name.startswith("gpt2"):
        reason = (
            "there is no such folder, and models are not downloaded by name: put config.json, "
            f"model.safetensors and tokenizer.json of {path.name} into a folder and name it"
        )
    raise InputError(reason)
