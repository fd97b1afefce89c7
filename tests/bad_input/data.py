"""Calls of configurations, checkpoints, tokenizers, data sets, settings and threads."""

import dataclasses
from fractions import Fraction

import numpy as np

import gpt_numpy as gn
from gpt_numpy.cli import options, settings
from gpt_numpy.config.choices import IMPLEMENTATIONS
from gpt_numpy.data import batches as drawing
from gpt_numpy.data import dataset
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.data.tokenizers.tokenizer_files import tokenizer_from_json
from tests.bad_input.calls import HUGE, LONG, SHAPE, WORD, Call, choose, plain, verdict
from tests.bad_input.values import BAD, Maybe, one_of, strange, token_array, whole


def configurations(world, rng):
    kinds = [
        gn.GPTConfig,
        gn.TrainConfig,
        options.SampleConfig,
        options.GradcheckConfig,
    ]
    kind = kinds[rng.integers(len(kinds))]
    usual = dataclasses.asdict(SHAPE) if kind is gn.GPTConfig else {}
    fields = {f.name: f.type for f in dataclasses.fields(kind)}
    name = list(fields)[rng.integers(len(fields))]
    value = strange(rng)
    expected = getattr(kind(**usual), name)
    stands_for_itself = type(value) is type(expected) and value == expected
    kept = isinstance(value, int | float | str | np.integer | np.floating | Fraction)
    return Call(
        kind.__name__, {name: value}, lambda: kind(**(usual | {name: value})), (name,),
        must_fail=not kept, may_fail=not stands_for_itself,
        right=lambda made: (
            getattr(made, name) == fields[name](value) and type(getattr(made, name)) is fields[name]
        ),
    )  # fmt: skip


def save(world, rng):
    model = world.any_model(rng)
    path = [None, 3, "", world.folder, world.run / "x.npz", "a\0b", b"x", 1.5][rng.integers(8)]
    return Call("save", {"path": path}, lambda: gn.save(path, model), ("path", "save"), True, True)


def load(world, rng):
    ops = None if rng.random() < 0.5 else strange(rng)
    meant = {"ops": None if ops is None else one_of(ops, IMPLEMENTATIONS)}
    path = world.run
    if rng.random() < 0.7:
        path = [None, 3, "", world.folder, world.folder / "none.npz", "a\0b", damaged(world, rng)][
            rng.integers(7)
        ]
        meant["path"] = BAD
    names = {"at_fault": ("ops", "path", "checkpoint", str(path)[:20] if path else "path")}
    return Call(
        "load", {"path": path, "ops": ops}, lambda: gn.load(path, ops=ops),
        **(verdict(meant) | names),
        right=lambda run: np.array_equal(run.model.params.flat, world.saved["kernels", "float32"]),
    )  # fmt: skip


def damaged(world, rng):
    """The checkpoint with a flipped bit, a part missing or doubled, or noise instead of it."""
    data = bytearray(world.bytes)
    at = int(rng.integers(len(data)))
    kind = rng.integers(4)
    if kind == 0:
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        data[at:at] = data[at : at + 100] or b"x"
    else:
        data = rng.bytes(int(rng.integers(0, 2000)))
    path = world.folder / "damaged.npz"
    path.write_bytes(bytes(data))
    return path


def encode(world, rng):
    t = world.tokenizer
    text = "".join(rng.choice([*"abcdefghij\n", "é", "\ud800", "\0", "\U0010ffff"], 6))
    value = text if rng.random() < 0.6 else strange(rng)
    known = isinstance(value, str) and set(value) <= set(t.characters)
    return Call(
        "encode", {"text": value}, lambda: t.encode(value), ("text",), not known, not known,
        right=lambda tokens: t.decode(tokens) == value,
    )  # fmt: skip


def decode(world, rng):
    """A row of tokens; most drawn arrays are cut to their first row."""
    t = world.tokenizer
    value, meant = token_array(rng, (1, 5), 0, t.vocab_size)
    if meant is not BAD and rng.random() < 0.9:
        value, meant = np.asarray(value)[0], meant[0].copy()
    elif isinstance(value, list | str) and not value:
        meant = np.zeros(0, int)
    elif isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype == np.int64:
        meant = value.copy() if meant is BAD else BAD
    else:
        meant = BAD
    right = lambda text: text == "".join(t.characters[i] for i in meant)  # noqa: E731
    means = {"ids": meant}
    return Call("decode", {"ids": value}, lambda: t.decode(value), **verdict(means), right=right)


def vocabulary(world, rng):
    value = strange(rng)
    right = isinstance(value, str) and len(value) > 0 and len(set(value)) == len(value)
    keys = isinstance(value, dict) and len(value) > 0  # are a row, too
    means = value if right else Maybe("".join(value)) if keys else BAD
    run = lambda: CharTokenizer(value)  # noqa: E731
    return Call(
        "CharTokenizer", {"characters": value}, run, **verdict({"characters": means}),
        right=lambda made: made.characters == plain({"characters": means})["characters"],
    )  # fmt: skip


def saved_tokenizer(world, rng):
    saved = world.tokenizer.to_json()
    saved[["kind", "characters", "more"][rng.integers(3)]] = strange(rng)
    return Call(
        "tokenizer_from_json", saved, lambda: tokenizer_from_json(saved),
        ("tokenizer", "characters"), False, True,
        right=lambda made: "".join(saved["characters"]) == made.characters,
    )  # fmt: skip


def batches(world, rng):
    """draw_batch and training_batch: the places in the text, and the tokens there."""
    text = np.arange(40, dtype=np.uint16)
    kinds = {
        "batch_size": (3, lambda v: whole(v, 1, HUGE)),
        "block_size": (5, lambda v: whole(v, 1, 39)),
        "seed": (1, lambda v: whole(v, 0, WORD)),
    }
    later = {"stream": (1, lambda v: whole(v, 0, WORD)), "step": (9, lambda v: whole(v, 0, WORD))}
    later |= {"micro_step": (0, lambda v: whole(v, 0, WORD))}
    index = {"index": (4, index_meaning)}
    function = [drawing.draw_batch, drawing.training_batch][rng.integers(2)]
    kinds |= later if function is drawing.draw_batch else index
    passed, means = choose(rng, kinds)
    count = means["batch_size"]
    count = count.value if isinstance(count, Maybe) else count
    if count is not BAD and count > LONG:
        passed["batch_size"] = means["batch_size"] = 2

    def right(result):
        x, y = result
        meant = plain(means)
        again = function(text, **meant)
        return (
            x.shape == y.shape == (meant["batch_size"], meant["block_size"])
            and np.array_equal(y, x + 1)
            and np.array_equal(again[0], x)
        )

    return Call(
        function.__name__, passed, lambda: function(text, **passed), **verdict(means), right=right
    )


def index_meaning(value):
    """Of a batch; the sequences of all batches up to it are counted in 64 bits, too."""
    meant = whole(value, 0, WORD)
    large = meant is not BAD and not isinstance(meant, Maybe) and meant > WORD // LONG
    return Maybe(meant) if large else meant


def open_dataset(world, rng):
    file = world.folder / "text.txt"
    length = int(rng.integers(0, 40))
    file.write_bytes(rng.bytes(length) if rng.random() < 0.5 else b"abc " * length)
    exists = rng.random() < 0.7
    data = str(file) if exists else strange(rng)
    if isinstance(data, str) and not data:
        data = "nothing"
    said = []
    content = file.read_bytes()
    return Call(
        "open_dataset", {"data": data}, lambda: dataset.open_dataset("x", data, say=said.append),
        ("data", str(file)), must_fail=not exists, may_fail=True,
        right=lambda made: len(made.train) + len(made.val) == len(content.decode("utf-8")),
    )  # fmt: skip


def command_line(world, rng):
    """Settings as words: a known key with a strange text, or no setting at all."""
    types_ = settings.field_types(gn.GPTConfig, gn.TrainConfig)
    key = list(types_)[rng.integers(len(types_))]
    value = strange(rng)
    word = [f"--{key}={value}", f"--{key}", f"--{key}x={value}", f"{key}={value}", str(value), "-"][
        rng.integers(6)
    ]
    said = []

    def right(result):
        return all(type(value) is types_[name] for name, value in result.items())

    return Call(
        "gather", word, lambda: settings.gather([word], types_, said.append), ("",), False, True,
        right=right,
    )  # fmt: skip


def threads(world, rng):
    """More than this machine has are refused, too."""
    value = strange(rng)
    possible = whole(value, 1, 10**9) is not BAD
    run = lambda: gn.set_threads(value)  # noqa: E731
    return Call("set_threads", value, run, ("threads",), not possible, may_fail=True)


FAMILIES = {
    configurations: 5, save: 1, load: 3, encode: 1, decode: 1, vocabulary: 1,
    saved_tokenizer: 1, batches: 3, open_dataset: 2,
    command_line: 3, threads: 1,
}  # fmt: skip
