"""Hostile files of thirty-odd kinds, each a function of a folder that it writes them to.

Each returns what to call on it: the reader that a user would meet it with.
"""

import io
import json
import pickle
import struct
import zipfile

import numpy as np

import gpt_numpy as gn
from gpt_numpy import interop
from gpt_numpy.data.dataset import open_dataset
from gpt_numpy.data.tokenizers import byte_pairs as bpe
from gpt_numpy.files import durable, pickles
from gpt_numpy.training.checkpoint import Run

MARK = "EXECUTED"  # a file that hostile code would make

CONFIG = {
    "model_type": "gpt2",
    "vocab_size": 11,
    "n_positions": 4,
    "n_layer": 1,
    "n_head": 1,
    "n_embd": 4,
}


class Evil:
    """An object whose unpickling makes the mark."""

    def __reduce__(self):
        return open, (MARK, "w")


def model():
    names = {"vocab_size": 11, "block_size": 4, "n_layer": 1, "n_head": 1, "n_embd": 4}
    return gn.GPT(gn.GPTConfig(**names, activation="gelu"), ops="reference")


def hugging_face(folder, header=b"", body=b"", config=None, name="model.safetensors", whole=None):
    text = config if isinstance(config, bytes) else json.dumps(CONFIG | (config or {})).encode()
    (folder / "config.json").write_bytes(text)
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    data = struct.pack("<Q", len(header)) + header + body if whole is None else whole
    (folder / name).write_bytes(data)
    return lambda: gn.from_pretrained(folder)


def torch_file(folder, pickled, members=(), name="ckpt.pt", method=zipfile.ZIP_STORED):
    if name != "ckpt.pt":
        (folder / "config.json").write_text(json.dumps(CONFIG))
    with zipfile.ZipFile(folder / name, "w", method) as archive:
        archive.writestr("a/data.pkl", pickled)
        for member, data in members:
            archive.writestr(member, data)
    return lambda: gn.from_pretrained(folder)


def entry(begin, end, shape=(1,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def sealed(folder, data):
    """A checkpoint of ours with a checksum that fits, whatever it holds."""
    path = folder / "ckpt.npz"
    with path.open("w+b") as file:
        file.write(data)
        durable.seal(file)
    return lambda: gn.load(path)


def npz(header, members=(), method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("header.json", header)
        for name, data in members:
            archive.writestr(name, data)
        archive.comment = durable.UNSEALED
    return out.getvalue()


def ours(folder, **changed):
    """A checkpoint of ours with some of its header changed."""
    interop.export(Run(model(), None), folder / "good", "gpt_numpy", say=lambda text: None)
    with zipfile.ZipFile(folder / "good" / "ckpt.npz") as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    header = json.loads(members[0][1])
    for key, value in changed.items():
        header[key] = header[key] | value if isinstance(header[key], dict) else value
    return sealed(folder, npz(json.dumps(header), members[1:]))


def bins(folder, meta):
    for name in ("train.bin", "val.bin"):
        np.zeros(9, "<u2").tofile(folder / name)
    (folder / "meta.pkl").write_bytes(meta)
    return lambda: open_dataset(str(folder.resolve()), say=lambda text: None)


def zip_with_forged_directory(count):
    """An end record that claims a list of members of `count` bytes."""
    data = npz("{}")
    end = data.rindex(b"PK\x05\x06")
    return data[: end + 12] + struct.pack("<I", count) + data[end + 16 :]


def many_members(folder):
    """200,000 members of nothing."""
    fields = (b"PK\x01\x02", 20, 0, 20, 0, 0, 0, 0, 33, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0)
    entry = struct.pack("<4s4B4HL2L5H2L", *fields)
    central = b"".join(entry + b"%07d" % i for i in range(200_000))
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, len(central), 0, 0)
    (folder / "ckpt.pt").write_bytes(b"PK\x03\x04" + central + end)
    return lambda: gn.from_pretrained(folder)


def overlapping(folder):
    """Two members whose contents are the same bytes of the file."""
    data = bytearray(npz("{}", [("a/data.pkl", b"N."), ("b", b"x" * 50)]))
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 1)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    (folder / "ckpt.pt").write_bytes(data)
    return lambda: gn.from_pretrained(folder)


def polyglot(folder):
    """At once a .safetensors file and a zip archive with a checkpoint of PyTorch."""
    torch_file(folder, pickle.dumps(Evil()))
    header = json.dumps({"wte.weight": entry(0, 4)}).encode()
    tail = (folder / "ckpt.pt").read_bytes()
    return hugging_face(folder, header, b"1234" + tail)


def storage(count=44, key=b"0"):
    start = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0" + key
    return start + b"X\x03\0\0\0cpuJ" + struct.pack("<i", count) + b"tQ"


def tensor(count=44, offset=0, shape=(11, 4), strides=(4, 1), **changed):
    view = b"".join(map(pickles.instructions, (offset, shape, strides, False)))
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage(count=count, **changed)
        + view
        + b"ccollections\nOrderedDict\n)RtR"
    )


def state(value):
    """The pickle of a pytorch_model.bin whose token embedding is `value`."""
    return b"\x80\x02}X\x0a\0\0\0wte.weight" + value + b"s."


def torch_state(folder, value, size=176):
    return torch_file(folder, state(value), [("a/data/0", bytes(size))], "pytorch_model.bin")


def tokenizer(folder, text):
    (folder / "tokenizer.json").write_text(text)
    return lambda: bpe.BPETokenizer.from_file(folder / "tokenizer.json")


DEEP = "[" * 200_000
# A pickled list of 60 lists, each of which contains the one before it twice: 2^60 to print.
MANY = b"(]q\0" + b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(60)) + b"l"
SETTINGS = ("vocab_size", "block_size", "n_layer", "n_head", "n_embd", "dropout", "bias")
KINDS = {
    "safetensors: header of 2^63 bytes": lambda f: hugging_face(
        f, whole=b"\xff" * 7 + b"\x7f" + b"{}"
    ),
    "safetensors: header of 100 MB": lambda f: hugging_face(
        f, whole=struct.pack("<Q", 10**8) + b"{" + b" " * 10**8
    ),
    "safetensors: cut off": lambda f: hugging_face(f, whole=b"\x08\0\0"),
    "safetensors: deep JSON": lambda f: hugging_face(f, DEEP.encode()),
    "safetensors: many small objects": lambda f: hugging_face(f, b"[" + b"[]," * 349_000 + b"[]]"),
    "safetensors: overlapping": lambda f: hugging_face(
        f, {"a": entry(0, 4), "wte.weight": entry(0, 4)}, b"1234"
    ),
    "safetensors: a hole": lambda f: hugging_face(
        f, {"a": entry(0, 4), "b": entry(8, 12)}, bytes(12)
    ),
    "safetensors: negative offset": lambda f: hugging_face(f, {"a": entry(-4, 0)}, b"1234"),
    "safetensors: beyond the end": lambda f: hugging_face(f, {"a": entry(0, 4 << 40, (1 << 40,))}),
    "safetensors: product overflows": lambda f: hugging_face(
        f, {"a": entry(0, 0, (2**62, 2**62, 4))}
    ),
    "safetensors: NaN size": lambda f: hugging_face(
        f, b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}', b"1234"
    ),
    "safetensors: a key twice": lambda f: hugging_face(
        f, b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":1}', b"1234"
    ),
    "safetensors: polyglot with a pickle": polyglot,
    "safetensors: number of 4,000,000 digits": lambda f: hugging_face(
        f, b'{"a":' + b"9" * 900_000 + b"}"
    ),
    "config: deep JSON": lambda f: hugging_face(f, config=DEEP.encode()),
    "config: 20 MB": lambda f: hugging_face(f, config=b'{"a":"' + b"x" * 20_000_000 + b'"}'),
    "config: a billion blocks": lambda f: hugging_face(
        f, {"a": entry(0, 4)}, b"1234", {"n_layer": 10**9}
    ),
    "config: a vocabulary of 2^40": lambda f: hugging_face(
        f, {"wte.weight": entry(0, 4)}, b"1234", {"vocab_size": 2**40}
    ),
    "torch: a call": lambda f: torch_file(f, pickle.dumps(Evil(), 2)),
    "torch: a call, newest protocol": lambda f: torch_file(f, pickle.dumps({"model": Evil()}, 5)),
    "torch: a call next to the tensors": lambda f: torch_state(
        f, tensor()[:-2] + b"cbuiltins\nopen\n(X\x08\0\0\0EXECUTEDX\x01\0\0\0wtRtR"
    ),
    "torch: compressed bomb": lambda f: torch_file(
        f, bytes(200_000_000), method=zipfile.ZIP_DEFLATED
    ),
    "torch: bomb of memo references": lambda f: torch_file(
        f, b"\x80\x02]q\0" + b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(60)) + b"."
    ),
    "torch: a setting too large to print": lambda f: torch_file(
        f, pickles.pickled({"model": {}, "model_args": dict.fromkeys(SETTINGS, MANY)})
    ),
    "torch: a name too large to print": lambda f: torch_file(
        f, b"\x80\x04" + MANY + b"\x8c\x01a\x93."
    ),
    "torch: pickle of empty lists": lambda f: torch_file(
        f, b"\x80\x02(" + b"]" * 4_000_000 + b"l."
    ),
    "torch: tensor beyond its storage": lambda f: torch_state(f, tensor(44, 8)),
    "torch: strides of zero": lambda f: torch_state(f, tensor(1, 0, (11, 4), (0, 0)), 4),
    "torch: negative strides": lambda f: torch_state(f, tensor(44, 0, (11, 4), (-4, 1))),
    "torch: storage of another size": lambda f: torch_state(f, tensor(2**30)),
    "torch: shape of 2^40": lambda f: torch_state(f, tensor(44, 0, (2**40, 4))),
    "torch: storage outside of the archive": lambda f: torch_state(f, tensor(key=b"/")),
    "torch: 200,000 members": many_members,
    "torch: overlapping members": overlapping,
    "torch: forged list of members": lambda f: (
        (f / "ckpt.pt").write_bytes(zip_with_forged_directory(2**31)),
        lambda: gn.from_pretrained(f),
    )[1],
    "ours: compressed bomb": lambda f: sealed(
        f, npz(b" " * 200_000_000, method=zipfile.ZIP_DEFLATED)
    ),
    "ours: a million blocks": lambda f: ours(f, config={"n_layer": 10**6}),
    "ours: a shape of 2^40": lambda f: ours(f, config={"vocab_size": 2**40}),
    "ours: deep JSON": lambda f: sealed(f, npz(DEEP)),
    "meta.pkl: a call": lambda f: bins(f, pickle.dumps({"vocab_size": Evil()})),
    "meta.pkl: huge integer": lambda f: bins(f, pickle.dumps({"vocab_size": 1 << 8_000_000})),
    "tokenizer.json: deep JSON": lambda f: tokenizer(f, DEEP),
    "tokenizer.json: 20 MB": lambda f: tokenizer(f, '{"a":"' + "x" * 20_000_000 + '"}'),
    "tokenizer.json: another kind": lambda f: tokenizer(f, '{"model":{"type":"Unigram"}}'),
}
