"""What is in the files, without the programs that they are for: names, shapes and numbers."""

import json
import re
import zipfile

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy import interop
from gpt_numpy.base.errors import InputError
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.interop.open_model import cropped
from gpt_numpy.interop.safetensors_files import read_safetensors, write_safetensors
from gpt_numpy.interop.torch_reader import (
    ORDERED,
    REBUILD,
    Name,
    Storage,
    StoredTensor,
    _called,
    _dense,
    _storage,
    open_torch,
    tensors_of,
)
from gpt_numpy.interop.torch_writer import write_torch
from gpt_numpy.interop.weights import is_size, read_elements
from gpt_numpy.training.checkpoint import Run

SHAPE = {"vocab_size": 23, "block_size": 12, "n_layer": 2, "n_head": 2, "n_embd": 10}
NANOGPT = {"bias": False, "activation": "gelu"}
TURNED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")  # (out, in) in PyTorch


def make(**changed):
    """A model of random parameters: no matrix is symmetric."""
    model = gn.GPT(gn.GPTConfig(**SHAPE | changed), ops="reference")
    model.params.flat[...] = np.random.default_rng(3).standard_normal(model.params.flat.size)
    return model


def exported(folder, form, tokenizer=None, **changed):
    run = Run(make(**changed), None, tokenizer)
    interop.export(run, folder, form, say=lambda text: None)
    return run.model


def arrays_of(folder):
    """The arrays of a model.safetensors, by the names that are in the file."""
    with (folder / "model.safetensors").open("rb") as file:
        found = {}
        for name, tensor in read_safetensors(file).items():
            found[name] = np.empty(tensor.shape, np.float32)
            tensor.read_into(found[name])
        return found


@pytest.fixture
def library():
    return pytest.importorskip("safetensors", reason="the extra `safetensors` is not installed")


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_an_exported_folder_has_every_parameter_of_gpt2(bias, tied, tmp_path, library):
    model = exported(tmp_path, "huggingface", bias=bias, tied=tied)
    arrays = arrays_of(tmp_path)
    names = {"transformer.wte.weight", "transformer.wpe.weight"}
    layers = ["transformer.ln_f"]
    for i in (0, 1):
        inside = ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj")
        layers += [f"transformer.h.{i}.{name}" for name in inside]
    names |= {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}
    assert arrays.keys() == names | (set() if tied else {"lm_head.weight"})
    for name, array in arrays.items():
        ours = model.params.get(name.removeprefix("transformer."))
        if ours is None:
            assert array.shape == arrays[name.replace(".bias", ".weight")].shape[-1:]
            assert not bias and not array.any()
        else:
            assert np.array_equal(array, ours)
    assert json.loads((tmp_path / "config.json").read_text())["tie_word_embeddings"] is tied


def test_sinusoids_are_written_as_positions(tmp_path, library):
    model = exported(tmp_path, "huggingface", positions="sinusoidal")
    tokens = np.random.default_rng(0).integers(0, 23, (2, 12))
    read = gn.from_pretrained(tmp_path, ops="reference")
    assert read.config.positions == "learned"
    assert np.allclose(read.logits(tokens), model.logits(tokens), rtol=1e-5, atol=1e-4)


def test_numbers_beyond_float32_are_not_exported(tmp_path, library):
    model = gn.GPT(gn.GPTConfig(**SHAPE), ops="reference", dtype="float64")
    model.params["ln_f.weight"][3] = 1e39
    with pytest.raises(InputError, match="ln_f.weight holds numbers beyond the range of float32"):
        interop.export(Run(model, None, None), tmp_path / "x", "huggingface", lambda line: None)
    assert not (tmp_path / "x").exists()


def test_the_file_is_the_librarys_byte_for_byte(tmp_path, library):
    from safetensors.numpy import save

    model = exported(tmp_path, "huggingface", tied=False)
    arrays = {f"transformer.{name}": array for name, array in model.params.items()}
    arrays["lm_head.weight"] = arrays.pop("transformer.lm_head.weight")
    written = (tmp_path / "model.safetensors").read_bytes()
    assert written == bytes(save(arrays, metadata={"format": "pt"}))


def test_bfloat16_is_written_rounded_to_the_nearest_and_to_the_even(tmp_path, library):
    import safetensors

    model = make()
    unit = 2.0**-7
    numbers = np.float32(
        [
            1 + unit / 2,
            1 + 3 * unit / 2,
            1 + unit * 0.49,
            1 + unit * 0.51,
            -1 - unit / 2,
            1e-40,
            -0.0,
        ]
    )
    model.params["wte.weight"].flat[: numbers.size] = numbers
    said = []
    interop.export(Run(model, None), tmp_path, "huggingface", said.append, dtype="bfloat16")
    read = dict(safetensors.deserialize((tmp_path / "model.safetensors").read_bytes()))
    assert {entry["dtype"] for entry in read.values()} == {"BF16"}
    assert json.loads((tmp_path / "config.json").read_text())["torch_dtype"] == "bfloat16"
    for name, entry in read.items():
        ours = model.params[name.removeprefix("transformer.")].astype(np.float64)
        bits = np.frombuffer(entry["data"], "<u2").reshape(entry["shape"])
        theirs = (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        # Half a unit of 8 significant bits.
        half = 2.0 ** (np.frexp(np.maximum(np.abs(ours), 2.0**-120))[1] - 9.0)
        assert (np.abs(theirs - ours) <= half).all(), name
    first = np.frombuffer(read["transformer.wte.weight"]["data"], "<u2")[: numbers.size]
    assert first.tolist() == [0x3F80, 0x3F82, 0x3F80, 0x3F81, 0xBF80, 0, 0x8000]
    again = gn.from_pretrained(tmp_path, ops="reference", dtype="bfloat16")
    assert again.precision == "bfloat16"
    interop.export(Run(again, None), tmp_path / "b", "huggingface", said.append, dtype="bfloat16")
    written = [(p / "model.safetensors").read_bytes() for p in (tmp_path, tmp_path / "b")]
    assert written[0] == written[1] and said == []


def test_arrays_larger_than_a_block_are_written_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("gpt_numpy.interop.safetensors_files._BLOCK", 4)
    array = np.arange(15, dtype=np.float32).reshape(5, 3)
    for dtype in ("float32", "bfloat16"):
        write_safetensors(tmp_path / "model.safetensors", {"b": array, "a": array.T}, dtype=dtype)
        found = arrays_of(tmp_path)
        assert np.array_equal(found["b"], array) and np.array_equal(found["a"], array.T)


def test_what_cannot_be_bfloat16_is_refused(tmp_path):
    model = make()
    model.params["ln_f.weight"][3] = 3.4e38  # finite in float32
    run = Run(model, None)
    with pytest.raises(InputError, match="ln_f.weight holds numbers beyond the range of bfloat16"):
        interop.export(run, tmp_path / "x", "huggingface", dtype="bfloat16")
    for form in ("nanogpt", "gpt_numpy"):
        with pytest.raises(
            InputError, match=f"dtype=bfloat16 with format={form}: .*float32.*leave"
        ):
            interop.export(run, tmp_path / "x", form, dtype="bfloat16")
    with pytest.raises(InputError, match="dtype='float16'"):
        interop.export(run, tmp_path / "x", "huggingface", dtype="float16")
    assert not (tmp_path / "x").exists()
    interop.export(run, tmp_path / "x", "huggingface")


def test_all_shards_are_read(tmp_path, library):
    model = exported(tmp_path, "huggingface")
    arrays = arrays_of(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    places = {name: f"model-{1 + k % 3}.safetensors" for k, name in enumerate(arrays)}
    for file in set(places.values()):
        some = {name: array for name, array in arrays.items() if places[name] == file}
        write_safetensors(tmp_path / file, some)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    read = gn.from_pretrained(tmp_path, ops="reference")
    assert np.array_equal(read.params.flat, model.params.flat)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_arrays_larger_than_a_block_are_read_whole(dtype, tmp_path):
    # A block has 4 MiB: 2 blocks and a bit of the smallest type.
    values = (np.arange((1 << 22) + 3) % 251 - 100).astype(np.float32)  # exact in every type
    stored = values.view("<u4") >> 16 if dtype == "bfloat16" else values.astype(f"<{dtype[0]}4")
    kind = {"bfloat16": "<u2", "float32": "<f4", "float64": "<f8", "float16": "<f2"}[dtype]
    (tmp_path / "numbers").write_bytes(stored.astype(kind).tobytes())
    out = np.full(values.size, np.nan, np.float32)
    with (tmp_path / "numbers").open("rb", buffering=0) as file:
        read_elements(file, dtype, out)
    assert np.array_equal(out, values)


def test_a_missing_array_is_named(tmp_path, library):
    exported(tmp_path, "huggingface")
    arrays = arrays_of(tmp_path)
    del arrays["transformer.h.1.ln_2.bias"]
    write_safetensors(tmp_path / "model.safetensors", arrays)
    with pytest.raises(InputError, match=r"the array h\.1\.ln_2\.bias is missing"):
        gn.from_pretrained(tmp_path)


def test_two_arrays_of_one_name_are_refused(tmp_path, library):
    exported(tmp_path, "huggingface")
    arrays = arrays_of(tmp_path)
    arrays["ln_f.bias"] = arrays["transformer.ln_f.bias"] + 1
    write_safetensors(tmp_path / "model.safetensors", arrays)
    with pytest.raises(InputError, match="'ln_f.bias' occurs twice"):
        gn.from_pretrained(tmp_path)


HEADERS = {
    "overlapping": ('{"a": [0, 8], "b": [4, 8]}', 8, "begins at 4 and not at 8"),
    "a hole": ('{"a": [0, 4], "b": [8, 12]}', 12, "begins at 8 and not at 4"),
    "a key twice": ('{"a": [0, 4], "a": [0, 4]}', 4, "a key twice"),
    "bytes after the end": ('{"a": [0, 4]}', 8, "have 4 bytes, the file has 8"),
    "fewer bytes": ('{"a": [0, 4]}', 0, "have 4 bytes, the file has 0"),
    "an offset too many": ('{"a": [0, 4, 4]}', 4, "lists of sizes"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_every_byte_belongs_to_one_array(name, tmp_path):
    places, size, message = HEADERS[name]

    def entry(found):
        begin, *rest = json.loads(found[1])
        shape = [(rest[0] - begin) // 4]
        return json.dumps({"dtype": "F32", "shape": shape, "data_offsets": [begin, *rest]})

    header = re.sub(r"(\[.*?\])", entry, places).encode()
    data = len(header).to_bytes(8, "little") + header + bytes(size)
    (tmp_path / "f").write_bytes(data)
    with (tmp_path / "f").open("rb") as file, pytest.raises(InputError, match=message):
        read_safetensors(file)


def test_a_storage_has_the_size_that_its_tensor_says(tmp_path):
    exported(tmp_path, "nanogpt", **NANOGPT)
    with zipfile.ZipFile(tmp_path / "ckpt.pt") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["archive/data/0"] += bytes(4)
    with zipfile.ZipFile(tmp_path / "ckpt.pt", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(InputError, match="the storage '0' does not have 230 numbers"):
        gn.from_pretrained(tmp_path)


def test_a_name_that_is_not_called_is_refused_too(tmp_path):
    with (tmp_path / "ckpt.pt").open("wb") as file:
        write_torch(file, {"harmless": b"cbuiltins\nprint\n"})
    with pytest.raises(InputError, match="it names 'builtins print'"):
        with open_torch(tmp_path / "ckpt.pt"):
            pytest.fail("it was opened")
    with pytest.raises(InputError) as caught:
        gn.from_pretrained(tmp_path)
    assert str(caught.value).startswith(str(tmp_path))


def test_an_array_fills_its_place(tmp_path):
    for shape, message in (([2], None), ([3], "give different sizes"), ([1], "different sizes")):
        header = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, 8]}})
        data = len(header).to_bytes(8, "little") + header.encode() + bytes(8)
        (tmp_path / "f").write_bytes(data)
        with (tmp_path / "f").open("rb") as file:
            if message is None:
                assert read_safetensors(file)["a"].shape == (2,)
                continue
            with pytest.raises(InputError, match=message):
                read_safetensors(file)


def test_big_endian_numbers_are_refused(tmp_path):
    exported(tmp_path, "nanogpt", **NANOGPT)
    with zipfile.ZipFile(tmp_path / "ckpt.pt") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert members["archive/byteorder"] == b"little"
    members["archive/byteorder"] = b"big"
    with zipfile.ZipFile(tmp_path / "ckpt.pt", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(InputError, match="big-endian"):
        gn.from_pretrained(tmp_path)


def test_dense_tensors_have_no_gaps():
    storage = Storage("float32", "0", 6)
    for shape, strides, dense in (
        ((2, 3), (3, 1), True),
        ((2, 3), (1, 2), True),
        ((2, 1, 3), (3, 99, 1), True),
        ((2, 3), (0, 1), False),
        ((2, 3), (6, 2), False),
        ((2, 3), (4, 1), False),
    ):
        assert _dense(StoredTensor(storage, 0, shape, strides)) is dense, strides


def test_calls_and_references_are_those_of_a_model():
    storage, rebuild = Storage("float32", "0", 6), Name(REBUILD)
    assert _called(rebuild, (storage, 0, (2, 3), (3, 1))).shape == (2, 3)
    for arguments in (
        (storage, 0, (2, 3), (1,)),
        (storage, 0, (2,), (-1,)),
        (storage, 0, (1,) * 9, (1,) * 9),
        (storage, 0, [2, 3], (3, 1)),
    ):
        with pytest.raises(InputError):
            _called(rebuild, arguments)
    with pytest.raises(InputError):
        _called(Name(ORDERED), (storage, 0, (2, 3), (3, 1)))
    assert _storage(("storage", Name("torch HalfStorage"), "0", "cpu", 6)).dtype == "float16"
    for kind, size in (
        (Name(ORDERED), 6),
        ("torch HalfStorage", 6),
        (Name("torch HalfStorage"), -1),
    ):
        with pytest.raises(InputError):
            _storage(("storage", kind, "0", "cpu", size))


@pytest.mark.parametrize("name", ["gpt2", "gpt2-xl"])
def test_a_model_that_is_known_by_name_is_not_downloaded(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"not downloaded by name: .* of {name} into a folder"):
        gn.from_pretrained(name)


def test_sizes_are_plain_integers():
    assert is_size(0) and is_size(2**48 - 1)
    assert not any(map(is_size, (-1, 2**48, True, 1.0, "1", None)))


@pytest.mark.parametrize("form", ["huggingface", "nanogpt", "gpt_numpy"])
def test_the_tokenizer_goes_along(form, tmp_path, library):
    exported(tmp_path, form, CharTokenizer("gfedcba"), **NANOGPT)
    tokenizer = interop.open_run(tmp_path).tokenizer
    assert isinstance(tokenizer, CharTokenizer) and tokenizer.characters == "gfedcba"


def test_square_projections_of_nanogpt_are_transposed(tmp_path):
    model = make(**NANOGPT)
    state = {
        f"transformer.{name}": np.ascontiguousarray(param.T if name.endswith(TURNED) else param)
        for name, param in model.params.items()
    }
    names = "n_layer n_head n_embd block_size bias vocab_size dropout".split()
    arguments = {name: getattr(model.config, name) for name in names}
    with (tmp_path / "ckpt.pt").open("wb") as file:
        write_torch(file, {"model": state, "model_args": arguments})
    read = gn.from_pretrained(tmp_path, ops="reference")
    assert read.params["h.0.attn.c_proj.weight"].shape == (10, 10)
    for name, param in read.params.items():
        assert np.array_equal(param, model.params[name]), name


def test_nanogpts_file_has_its_names_and_its_shapes(tmp_path):
    model = exported(tmp_path, "nanogpt", **NANOGPT)
    with open_torch(tmp_path / "ckpt.pt") as (archive, content):
        state = dict(tensors_of(archive, content["model"]))
        assert state.keys() == {f"transformer.{name}" for name in model.params} | {"lm_head.weight"}
        assert content["model"]["lm_head.weight"] == content["model"]["transformer.wte.weight"]
        for name, param in model.params.items():
            out = np.empty(state[f"transformer.{name}"].shape, np.float32)
            state[f"transformer.{name}"].read_into(out)
            assert np.array_equal(out, param.T if name.endswith(TURNED) else param), name


@pytest.mark.parametrize("form", ["huggingface", "nanogpt", "gpt_numpy"])
def test_a_rate_of_zero_replaces_the_files_own(form, tmp_path, library):
    exported(tmp_path, form, **NANOGPT, dropout=0.25)
    assert gn.from_pretrained(tmp_path, ops="reference").config.dropout == 0.25
    for rate in (0.0, 0.5):
        model = gn.from_pretrained(tmp_path, ops="reference", dropout=rate)
        assert model.config.dropout == rate


def test_a_run_is_opened_in_another_dtype(tmp_path):
    model = exported(tmp_path, "gpt_numpy")
    wide = gn.from_pretrained(tmp_path, ops="reference", dtype="float64")
    assert wide.dtype == np.float64 and np.array_equal(wide.params.flat, model.params.flat)
    assert interop.open_run(tmp_path, ops="reference").model.dtype == np.float32


def test_a_tokenizer_larger_than_its_model_is_refused(tmp_path, library):
    exported(tmp_path, "huggingface", CharTokenizer(map(chr, range(97, 121))))
    with pytest.raises(InputError, match="its tokenizer has 24 tokens, its model vocab_size=23"):
        interop.open_run(tmp_path)


def test_a_shorter_context_keeps_the_first_positions():
    model = make()
    tokens = np.random.default_rng(0).integers(0, 23, (2, 5))
    shorter = cropped(model, 5)
    assert shorter.config.block_size == 5
    assert np.array_equal(shorter.logits(tokens), model.logits(tokens))
    assert cropped(model, 12) is model
    with pytest.raises(InputError, match="block_size=13, but the model has block_size=12"):
        cropped(model, 13)
