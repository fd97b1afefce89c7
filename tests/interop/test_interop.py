"""Models of Hugging Face and nanoGPT are read and written with the same logits, or refused."""

import collections
import json
import pickle
import zipfile

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy import interop
from gpt_numpy.base.errors import InputError
from gpt_numpy.cli import main as cli
from gpt_numpy.data.nanogpt_bins import write_vocabulary
from gpt_numpy.data.tokenizers.byte_pairs import BPETokenizer
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.data.tokenizers.tokenizer_files import read_tokenizer, write_tokenizer
from gpt_numpy.files import pickles
from gpt_numpy.interop.safetensors_files import read_safetensors, write_safetensors
from gpt_numpy.interop.torch_writer import write_torch
from gpt_numpy.training.checkpoint import Run
from tests.support.commands import caller

SHAPE = {"vocab_size": 23, "block_size": 12, "n_layer": 2, "n_head": 2, "n_embd": 10}
NANOGPT = {"bias": False, "activation": "gelu"}
TOKENS = np.random.default_rng(5).integers(0, 23, (3, 12))


def make(**changed):
    """A model whose parameters all differ from their initial values."""
    model = gn.GPT(gn.GPTConfig(**SHAPE | changed), ops="reference", seed=2)
    rng = np.random.default_rng(3)
    for name, param in model.params.items():
        param[...] += 0.3 * rng.standard_normal(param.shape) * (2 if "wpe" in name else 1)
    return model


def exported(folder, form, tokenizer=None, **changed):
    run = Run(make(**changed), None, tokenizer)
    interop.export(run, folder, form, say=lambda text: None)
    return run.model


def assert_close(ours, theirs):
    assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()


def edit(folder, **keys):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


@pytest.fixture
def transformers():
    pytest.importorskip("torch", reason="transformers computes with PyTorch")
    return pytest.importorskip("transformers", reason="it is what the files are written for")


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="nanoGPT's files are PyTorch's")


@pytest.fixture(autouse=True)
def library():
    return pytest.importorskip("safetensors", reason="the extra `safetensors` is not installed")


VARIANTS = [
    {},
    {"bias": False, "activation": "gelu"},
    {"tied": False, "activation": "relu"},
    {"positions": "sinusoidal", "bias": False},
    {"positions": "none", "n_inner": 13, "norm_eps": 1e-2},
]


@pytest.mark.parametrize("changed", VARIANTS, ids=str)
@pytest.mark.filterwarnings("ignore")
def test_transformers_loads_what_is_exported_strictly_with_the_same_logits(
    changed, tmp_path, transformers, torch
):
    model = exported(tmp_path / "hf", "huggingface", **changed)
    theirs, info = transformers.GPT2LMHeadModel.from_pretrained(
        tmp_path / "hf", output_loading_info=True, local_files_only=True
    )
    assert not any(info.values()), info
    with torch.no_grad():
        logits = theirs.eval()(torch.tensor(TOKENS)).logits.numpy()
    assert_close(model.logits(TOKENS), logits)


@pytest.mark.filterwarnings("ignore")
def test_transformers_loads_bfloat16_as_such(tmp_path, transformers, torch):
    model = make()
    interop.export(Run(model, None), tmp_path, "huggingface", print, dtype="bfloat16")
    theirs = transformers.GPT2LMHeadModel.from_pretrained(
        tmp_path, local_files_only=True, torch_dtype="auto"
    )
    assert theirs.dtype == torch.bfloat16
    for name, param in theirs.transformer.named_parameters():
        assert torch.equal(param, torch.tensor(model.params[name]).to(torch.bfloat16)), name


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.filterwarnings("ignore")
def test_what_transformers_saved_is_read_with_the_same_logits(
    sharded, dtype, tmp_path, transformers, torch
):
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=23, n_positions=12, n_layer=2, n_head=2, n_embd=10, initializer_range=0.4
    )
    theirs = transformers.GPT2LMHeadModel(config).eval().to(getattr(torch, dtype))
    theirs.save_pretrained(tmp_path, max_shard_size="3KB" if sharded else "1GB")
    assert (tmp_path / "model.safetensors").exists() is not sharded
    model = gn.from_pretrained(tmp_path, ops="reference")
    assert model.config == gn.GPTConfig(**SHAPE, dropout=0.1)
    with torch.no_grad():
        logits = theirs.float()(torch.tensor(TOKENS)).logits.numpy()
    assert_close(model.logits(TOKENS), logits)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_a_pytorch_model_bin_is_read_without_torch(dtype, tmp_path, torch):
    model = exported(tmp_path, "huggingface")
    state = {f"transformer.{name}": torch.tensor(p) for name, p in model.params.items()}
    state = {name: tensor.to(getattr(torch, dtype)) for name, tensor in state.items()}
    state["lm_head.weight"] = state["transformer.wte.weight"]
    state["transformer.h.0.attn.bias"] = torch.ones(1, 1, 12, 12, dtype=torch.uint8)
    state["transformer.h.0.attn.masked_bias"] = torch.tensor(-1e4)
    # Stored in another order than that of its axes.
    name = "transformer.h.0.mlp.c_fc.weight"
    state[name] = state[name].T.contiguous().T
    (tmp_path / "model.safetensors").unlink()
    torch.save(state, tmp_path / "pytorch_model.bin")
    read = gn.from_pretrained(tmp_path, ops="reference")
    for name, param in read.params.items():
        assert np.array_equal(param, state[f"transformer.{name}"].float().numpy()), name


def test_names_without_a_prefix_and_masks_are_read_as_in_openais_own_file(tmp_path):
    model = exported(tmp_path, "huggingface")
    arrays = dict(model.params) | {"h.0.attn.bias": np.ones((1, 1, 12, 12), np.float32)}
    write_safetensors(tmp_path / "model.safetensors", arrays)
    read = gn.from_pretrained(tmp_path, ops="reference")
    assert np.array_equal(read.params.flat, model.params.flat)


def test_another_width_of_the_mlp_and_eps_come_back(tmp_path):
    model = exported(tmp_path, "huggingface", n_inner=13, norm_eps=1e-6)
    read = gn.from_pretrained(tmp_path, ops="reference")
    assert read.config.n_inner == 13 and read.config.norm_eps == 1e-6
    assert np.array_equal(read.params.flat, model.params.flat)


def test_float64_and_dropout_can_be_chosen(tmp_path):
    model = exported(tmp_path, "huggingface", dropout=0.25)
    assert gn.from_pretrained(tmp_path).config.dropout == 0.25
    wide = gn.from_pretrained(tmp_path, dtype="float64", dropout=0.0, ops="reference")
    assert wide.config.dropout == 0.0 and wide.dtype == np.float64
    assert np.array_equal(wide.params.flat, model.params.flat)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_type", "bert"),
        ("scale_attn_weights", False),
        ("scale_attn_by_inverse_layer_idx", True),
        ("add_cross_attention", True),
        ("is_encoder_decoder", True),
        ("layer_norm_epsilon", 0),
        ("layer_norm_epsilon", "1e-5"),
        ("layer_norm_epsilon", 10**400),  # no float is as large
        ("activation_function", "silu"),
        ("activation_function", ["gelu"]),
        ("n_inner", 40.5),
        ("pruned_heads", {"0": [1]}),
        ("quantization_config", {"bits": 8}),
        ("tie_word_embeddings", "no"),
        ("tie_word_embeddings", False),
        ("attn_pdrop", 0.3),
        ("attn_pdrop", None),
        ("vocab_size", None),
        ("vocab_size", 24),
        ("n_layer", 3),
        ("n_layer", 1),
        ("n_layer", 10**9),
        ("n_embd", 10.0),
        ("n_positions", 2**40),
        ("n_head", 3),
    ],
)
def test_an_unsupported_configuration_is_refused_by_name(key, value, tmp_path):
    exported(tmp_path, "huggingface")
    edit(tmp_path, **{key: value})
    expected = {
        "vocab_size": "vocab_size|wte.weight",
        "layer_norm_epsilon": "layer_norm_epsilon|norm_eps=0.0",
        "n_layer": "n_layer|h.1|h.2",
        "tie_word_embeddings": "tie_word_embeddings|lm_head",
        "n_positions": "n_positions|wpe|block_size",
    }
    with pytest.raises(InputError, match=expected.get(key, key)):
        gn.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("keys", "activation"),
    [
        ({"reorder_and_upcast_attn": True}, "gelu_tanh"),
        ({"n_inner": 40}, "gelu_tanh"),
        ({"activation_function": "gelu_fast"}, "gelu_tanh"),
        ({"activation_function": "gelu"}, "gelu"),
        ({"activation_function": "relu"}, "relu"),
    ],
)
def test_an_equivalent_configuration_is_accepted(keys, activation, tmp_path):
    exported(tmp_path, "huggingface")
    edit(tmp_path, **keys)
    assert gn.from_pretrained(tmp_path).config.activation == activation


def test_a_head_that_is_tied_but_differs_is_refused(tmp_path):
    model = exported(tmp_path, "huggingface")
    arrays = dict(model.params) | {"lm_head.weight": model.params["wte.weight"] + 1}
    write_safetensors(tmp_path / "model.safetensors", arrays)
    with pytest.raises(InputError, match="lm_head.weight and wte.weight differ"):
        gn.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["../model.safetensors", "/etc/passwd.bin", "a/b.bin", "a\\b.bin", "x", "", None, ".bin"],
)
def test_a_shard_outside_of_the_folder_is_refused(name, tmp_path):
    exported(tmp_path / "hf", "huggingface")
    (tmp_path / "hf" / "model.safetensors").rename(tmp_path / "model.safetensors")
    index = {"weight_map": {"wte.weight": name}}
    (tmp_path / "hf" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="not the name of a weight file"):
        gn.from_pretrained(tmp_path / "hf")


def test_elements_are_written_in_the_order_of_their_axes(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_safetensors(tmp_path / "a", {"a": array.T, "b": array[:, ::2]})
    with (tmp_path / "a").open("rb") as file:
        table = read_safetensors(file)
        for name, expected in (("a", array.T), ("b", array[:, ::2])):
            out = np.empty(expected.shape, np.float32)
            table[name].read_into(out)
            assert np.array_equal(out, expected)


def test_the_reader_reads_what_the_library_writes(tmp_path, library):
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    arrays = {f"x{i}": rng.standard_normal((i, 3)).astype("f4") for i in range(5)}
    save_file(arrays, tmp_path / "a")
    with (tmp_path / "a").open("rb") as file:
        table = read_safetensors(file)
        assert {name: t.shape for name, t in table.items()} == {
            k: a.shape for k, a in arrays.items()
        }
        for name, array in arrays.items():
            out = np.empty(array.shape)
            table[name].read_into(out)
            assert np.array_equal(out, array), name


def nanogpt_state(model, torch, prefix=""):
    state = {}
    for name, param in model.params.items():
        turned = name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))
        tensor = torch.tensor(param.T.copy() if turned else param)
        state[f"{prefix}transformer.{name}"] = tensor
    state[f"{prefix}lm_head.weight"] = state[f"{prefix}transformer.wte.weight"]
    return state


def arguments(model):
    names = "n_layer n_head n_embd block_size bias vocab_size dropout".split()
    return {name: getattr(model.config, name) for name in names}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("prefix", ["", "_orig_mod."])
def test_nanogpts_checkpoint_is_read_as_its_train_py_writes_it(prefix, bias, tmp_path, torch):
    model = make(activation="gelu", bias=bias)
    state = nanogpt_state(model, torch, prefix)
    parameters = [torch.nn.Parameter(tensor.clone()) for tensor in state.values()]
    optimizer = torch.optim.AdamW(parameters)
    sum((p**2).sum() for p in parameters).backward()
    optimizer.step()
    state = collections.OrderedDict(state)
    state._metadata = collections.OrderedDict({"": {"version": 1}})  # as a module's state has
    checkpoint = {
        "model": state,
        "optimizer": optimizer.state_dict(),
        "model_args": arguments(model),
        "iter_num": 250,
        "best_val_loss": torch.tensor(1.5),
        "config": {"dataset": "mine", "compile": True, "learning_rate": 1e-3, "betas": (0.9, None)},
    }
    torch.save(checkpoint, tmp_path / "ckpt.pt")
    write_vocabulary(tmp_path / "meta.pkl", "abcdefghijklmnopqrstuvw")
    for source in (tmp_path, tmp_path / "ckpt.pt"):
        run = interop.open_run(source)
        assert np.array_equal(run.model.params.flat, model.params.flat)
        assert run.config == model.config
        assert run.tokenizer.characters == "abcdefghijklmnopqrstuvw"


def test_torch_loads_our_nanogpt_file_with_weights_only(tmp_path, torch):
    characters = "".join(map(chr, range(97, 120)))
    model = exported(tmp_path, "nanogpt", CharTokenizer(characters), **NANOGPT)
    checkpoint = torch.load(tmp_path / "ckpt.pt", weights_only=True)
    expected = nanogpt_state(model, torch)
    assert checkpoint["model"].keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(checkpoint["model"][name], tensor), name
    assert checkpoint["model_args"] == arguments(model)
    assert checkpoint["iter_num"] == 0 and checkpoint["best_val_loss"] == float("inf")
    head, wte = (checkpoint["model"][n] for n in ("lm_head.weight", "transformer.wte.weight"))
    assert head.data_ptr() == wte.data_ptr()
    meta = pickle.loads((tmp_path / "meta.pkl").read_bytes())
    assert meta["vocab_size"] == 23 and meta["itos"][2] == "c" and meta["stoi"]["c"] == 2


@pytest.mark.parametrize("form", ["huggingface", "nanogpt", "gpt_numpy"])
def test_an_exported_model_can_be_read(form, tmp_path):
    tokenizer = CharTokenizer("abcdefg\ud800")
    model = exported(tmp_path / "out", form, tokenizer, bias=True, activation="gelu")
    run = interop.open_run(tmp_path / "out")
    assert run.config == model.config
    assert np.array_equal(run.model.params.flat, model.params.flat)
    assert run.tokenizer.characters == tokenizer.characters


@pytest.mark.parametrize(
    "changed", [{"activation": "gelu_tanh"}, {"positions": "sinusoidal"}, {"tied": False}]
)
def test_what_nanogpt_cannot_express_is_refused_by_name(changed, tmp_path):
    with pytest.raises(InputError, match=f"{next(iter(changed))}=.*nanoGPT"):
        exported(tmp_path / "out", "nanogpt", **NANOGPT | changed)
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(tmp_path):
    exported(tmp_path, "huggingface")
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(InputError, match="already holds config.json"):
        exported(tmp_path, "nanogpt", **NANOGPT)
    assert (tmp_path / "config.json").read_bytes() == before


VALUES = [None, True, False, 0, -1, 2**31, -(2**40), 1.5, "é\ud800", ()]
VALUES += [(1, (2,)), [1, [2]], {"a": {1: 2}}]


def test_python_unpickles_what_is_pickled_here():
    for value in [*VALUES, VALUES]:
        data = pickles.pickled({"value": value})
        assert pickle.loads(data) == {"value": value} == pickles.read_pickle(data)
    with pytest.raises(TypeError):
        pickles.pickled({"value": {1, 2}})


def test_views_of_a_larger_storage_are_read_and_masks_do_not_matter(tmp_path, torch):
    model = exported(tmp_path, "huggingface")
    (tmp_path / "model.safetensors").unlink()
    state = {name: torch.tensor(param) for name, param in model.params.items()}

    def within(name, place):
        """The parameter as the view `place` of a larger tensor, as a cropped wpe is one."""
        large = torch.full([2 * n + 1 for n in state[name].shape], 7.0)
        large[place] = state[name]
        state[name] = large[place]

    within("wpe.weight", np.s_[:12, :10])
    within("wte.weight", np.s_[5:28, 3:13])
    within("h.0.attn.c_attn.weight", np.s_[1::2, 1::2])
    within("h.1.ln_1.bias", np.s_[11:21])
    state["h.1.ln_2.bias"] = torch.full((3,), 0.5, dtype=torch.float64)[1].expand(10)
    for dtype in ("bfloat16", "float16", "float64"):
        name = f"h.1.mlp.c_proj.{'bias' if dtype == 'float16' else 'weight'}"
        within(name, np.s_[:10] if dtype == "float16" else np.s_[1:41, 2:12])
    state["h.0.attn.bias"] = torch.ones(1, 1, 30, 30).tril()[:, :, :12, :12]
    state["h.1.attn.bias"] = torch.ones(1, 1, 30, 30, dtype=torch.bool)[:, :, :12, :12]
    torch.save(state, tmp_path / "pytorch_model.bin")
    read = gn.from_pretrained(tmp_path, ops="reference")
    for name, param in read.params.items():
        assert np.array_equal(param, state[name].float().numpy()), name


def rebuilt(shape, strides, offset=0, size=230):
    """The pickle of a dictionary whose wte.weight is this view of a storage of `size` numbers."""
    storage = ("storage", b"ctorch\nFloatStorage\n", "0", "cpu", size)
    view = (pickles.instructions(storage) + b"Q", offset, shape, strides, False, {})
    call = b"ctorch._utils\n_rebuild_tensor_v2\n" + pickles.instructions(view) + b"R"
    return pickles.pickled({"wte.weight": call})


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [((23, 10), (10, 1), 1), ((23, 10), (11, 1), 0), ((24, 10), (10, 1), 0), ((1,), (1,), 230)],
)
def test_a_view_beyond_its_storage_is_refused_by_name(shape, strides, offset, tmp_path):
    exported(tmp_path, "huggingface")
    (tmp_path / "model.safetensors").unlink()
    with zipfile.ZipFile(tmp_path / "pytorch_model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", rebuilt(shape, strides, offset))
        archive.writestr("archive/data/0", bytes(4 * 230))
    with pytest.raises(InputError, match="wte.weight: of shape .* beyond its storage of 230"):
        gn.from_pretrained(tmp_path)


def test_a_flipped_bit_outside_of_a_view_is_noticed(tmp_path, torch):
    model = exported(tmp_path, "huggingface")
    (tmp_path / "model.safetensors").unlink()
    state = {name: torch.tensor(param) for name, param in model.params.items()}
    large = torch.cat([state["wpe.weight"], torch.full((5, 10), 7.0)])
    state["wpe.weight"] = large[:12]
    torch.save(state, tmp_path / "pytorch_model.bin")
    data = bytearray((tmp_path / "pytorch_model.bin").read_bytes())
    place = data.index(np.full(50, 7, "f4").tobytes())
    data[place + 100] ^= 1
    (tmp_path / "pytorch_model.bin").write_bytes(data)
    with pytest.raises(InputError, match="CRC"):
        gn.from_pretrained(tmp_path)


def test_one_storage_for_many_parameters_is_refused(tmp_path, torch):
    model = exported(tmp_path, "huggingface", n_layer=30)
    (tmp_path / "model.safetensors").unlink()
    state = {name: torch.tensor(param) for name, param in model.params.items()}
    shared = torch.zeros(10, 40)
    for i in range(30):
        state[f"h.{i}.mlp.c_fc.weight"] = shared
        state[f"h.{i}.mlp.c_proj.weight"] = shared.view(40, 10)
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="its arrays take .* bytes, and the files have"):
        gn.from_pretrained(tmp_path)


def test_a_file_of_an_old_pytorch_is_refused_with_advice(tmp_path, torch):
    model = exported(tmp_path, "huggingface")
    (tmp_path / "model.safetensors").unlink()
    state = {name: torch.tensor(param) for name, param in model.params.items()}
    torch.save(state, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match="if a PyTorch before 1.6 wrote it"):
        gn.from_pretrained(tmp_path)


def test_the_writer_and_the_reader_of_torch_files_agree_without_torch(tmp_path):
    model = exported(tmp_path, "huggingface")
    (tmp_path / "model.safetensors").unlink()
    with (tmp_path / "pytorch_model.bin").open("wb") as file:
        write_torch(file, dict(model.params))
    read = gn.from_pretrained(tmp_path, ops="reference")
    assert np.array_equal(read.params.flat, model.params.flat)


def test_a_flipped_bit_in_a_torch_file_is_noticed(tmp_path):
    model = exported(tmp_path, "nanogpt", **NANOGPT)
    data = bytearray((tmp_path / "ckpt.pt").read_bytes())
    place = data.index(model.params["wte.weight"].tobytes())
    data[place + 7] ^= 4
    (tmp_path / "ckpt.pt").write_bytes(data)
    with pytest.raises(InputError, match="ckpt.pt|CRC"):
        gn.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["gpt2", "no/such", ""])
def test_a_source_that_is_not_there_is_named(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no such|the folder has no"):
        gn.from_pretrained(name)


# Tokenizers.


@pytest.fixture
def tokenizers():
    return pytest.importorskip("tokenizers", reason="the extra `bpe` is not installed")


def byte_pairs(tokenizers, **changed):
    """The content of a tokenizer.json of GPT-2's kind, with these parts changed."""
    trained = BPETokenizer.train(["the theme of the thesis " * 20], 290)
    return json.loads(trained.description) | changed


PLAIN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
TRUNCATION = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
PADDING = {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None}
PADDING |= {"pad_id": 0, "pad_type_id": 0, "pad_token": "!"}


@pytest.mark.parametrize("part", [{"truncation": TRUNCATION}, {"padding": PADDING}], ids=str)
def test_truncation_and_padding_are_for_batches_and_passed_over(part, tmp_path, tokenizers):
    (tmp_path / "tokenizer.json").write_text(json.dumps(byte_pairs(tokenizers, **part)))
    tokenizer = read_tokenizer(tmp_path)
    for text in ("the theme of the thesis", "a"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_added_tokens_that_are_words_are_read_in_long_texts_too(tmp_path, tokenizers):
    content = byte_pairs(tokenizers)
    number = max(content["model"]["vocab"].values()) + 1
    added = {"id": number, "content": "<|im_start|>", "special": False} | PLAIN
    content["added_tokens"].append(added)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    tokenizer = read_tokenizer(tmp_path)
    assert tokenizer.vocab_size == number + 1
    text = "the <|im_start|> theme<|im_start|>of the\n" * 3000
    tokens = tokenizer.encode(text)
    theirs = tokenizers.Tokenizer.from_str(json.dumps(content)).encode(text)
    assert tokens.tolist() == theirs.ids and (tokens == number).sum() == 6000
    assert tokenizer.decode(tokens) == text
    for wrong in ({"rstrip": True}, {"content": "two words"}, {"content": "h\u00e9"}):
        content["added_tokens"][-1] = added | wrong
        (tmp_path / "tokenizer.json").write_text(json.dumps(content))
        with pytest.raises(InputError, match="added tokens are not special, and not plain"):
            read_tokenizer(tmp_path)


@pytest.mark.parametrize("end", [True, False])
def test_vocabularies_from_windows_and_without_an_end_of_text_are_read(end, tmp_path, tokenizers):
    model = byte_pairs(tokenizers)["model"]
    names = [token for token in model["vocab"] if token != "<|endoftext|>"]
    vocabulary = {token: k for k, token in enumerate(names + ["<|endoftext|>"] * end)}
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    lines = "".join(f"{line}\r\n" for line in ["#version: 0.2", *merges])
    mark = b"\xef\xbb\xbf"
    (tmp_path / "vocab.json").write_bytes(mark + json.dumps(vocabulary).encode())
    (tmp_path / "merges.txt").write_bytes(mark + lines.encode())
    tokenizer = read_tokenizer(tmp_path)
    assert tokenizer.vocab_size == len(vocabulary)
    assert (tokenizer.end_of_text is not None) is end
    tokens = tokenizer.encode("the theme of the thesis")
    assert tokenizer.decode(tokens) == "the theme of the thesis" and len(tokens) < 12


def test_rates_of_dropout_that_differ_matter_in_training_alone(tmp_path):
    exported(tmp_path, "huggingface")
    edit(tmp_path, attn_pdrop=0, embd_pdrop=0.0, resid_pdrop=0)
    assert gn.from_pretrained(tmp_path).config.dropout == 0
    edit(tmp_path, attn_pdrop=0.3)
    said = []
    assert interop.open_run(tmp_path, say=said.append).config.dropout == 0
    assert said == [
        "config.json: attn_pdrop=0.3, embd_pdrop=0.0, resid_pdrop=0: "
        "there is one rate here, resid_pdrop"
    ]
    with pytest.raises(InputError, match="set dropout=RATE|dropout=RATE"):
        gn.from_pretrained(tmp_path)
    assert gn.from_pretrained(tmp_path, dropout=0.2).config.dropout == 0.2


CHARACTERS = "\n !'-3ABZabc\u00e9\u4e16\U0001f600\u200b"


def test_transformers_reads_a_tokenizer_of_characters(tmp_path):
    transformers = pytest.importorskip("transformers", reason="it is what the files are for")
    tokenizer = CharTokenizer(CHARACTERS)
    exported(tmp_path, "huggingface", tokenizer, vocab_size=len(CHARACTERS))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    text = CHARACTERS * 2 + " \n\n  'a b' !  "
    tokens = tokenizer.encode(text).tolist()
    assert theirs(text)["input_ids"] == tokens
    assert theirs.decode(tokens) == text
    with pytest.raises(Exception, match="(?i)unk"):
        theirs("unknown: \t")
    theirs.save_pretrained(tmp_path / "again")
    again = read_tokenizer(tmp_path / "again")
    assert again.characters == CHARACTERS


def test_a_tokenizer_of_characters_is_read_back_and_others_of_words_are_not(tmp_path):
    write_tokenizer(tmp_path, CharTokenizer(CHARACTERS))
    (tmp_path / "gpt_numpy_tokenizer.json").unlink()
    assert read_tokenizer(tmp_path).characters == CHARACTERS
    content = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    for change in (
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"normalizer": {"type": "Lowercase"}},
        {"model": {"type": "WordLevel", "vocab": {"a": 0, "b": 2}, "unk_token": "x"}},
        {"model": {"type": "WordLevel", "vocab": {"a": 0, "bc": 1}, "unk_token": "x"}},
    ):
        (tmp_path / "tokenizer.json").write_text(json.dumps(content | change))
        with pytest.raises(InputError, match="single character|numbered from 0"):
            read_tokenizer(tmp_path)


# The command line.

TEXT = "abcdefgh ijklm nopq rstu vw\n" * 60
QUICK = ["--max_iters=2", "--eval_interval=2", "--eval_iters=1", "--batch_size=2"]
QUICK += ["--ops=reference", "--out_dir=ft"]


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.txt").write_text(TEXT)
    return caller(capsys)


def test_a_model_is_converted_fine_tuned_and_resumed(tmp_path, call):
    tokenizer = CharTokenizer(sorted(set(TEXT)))
    model = exported(tmp_path / "ours", "gpt_numpy", tokenizer, vocab_size=25)
    status, out, err = call("convert", "ours", "hf")
    assert (status, err) == (0, "") and "written to hf (huggingface)" in out
    status, out, err = call("train", "--init_from=hf", "--data=t.txt", "--block_size=8", *QUICK)
    assert status == 0, err
    assert "Initializing from the model in hf" in out
    run = gn.load(tmp_path / "ft" / "ckpt.npz")
    assert run.config.block_size == 8 and run.config.dropout == 0
    assert 0 < np.abs(run.model.params["wte.weight"] - model.params["wte.weight"]).max() < 0.1
    status, out, err = call("train", "--init_from=resume", *QUICK, "--max_iters=4")
    assert status == 0, err
    status, out, err = call("sample", "--init_from=hf", "--start=a", "--ops=reference")
    assert status == 0 and out.startswith("a"), err
    status, out, err = call("convert", "ours", "hf16", "--dtype=bfloat16")
    assert (status, err) == (0, "") and "written to hf16 (huggingface, bfloat16)" in out
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("hf", "hf16")]
    assert 0.5 <= sizes[1] / sizes[0] < 0.8  # the header has the same size
    status, out, err = call("sample", "--init_from=hf16", "--start=a", "--ops=reference")
    assert status == 0 and out.startswith("a"), err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--n_layer=3"], "n_layer=3, but the model in hf has n_layer=2"),
        (["--block_size=13"], "block_size=13, but the model has block_size=12"),
        (["--activation=gelu"], "activation=gelu, but"),
    ],
)
def test_fine_tuning_keeps_the_shape_of_the_model(words, message, tmp_path, call):
    exported(tmp_path / "hf", "huggingface", CharTokenizer(sorted(set(TEXT))), vocab_size=25)
    status, _, err = call("train", "--init_from=hf", "--data=t.txt", *QUICK, *words)
    assert status == cli.BAD_INPUT and message in err


def test_text_for_a_model_without_a_tokenizer_is_refused(tmp_path, call):
    exported(tmp_path / "hf", "huggingface", vocab_size=25)
    status, _, err = call("train", "--init_from=hf", "--data=t.txt", *QUICK)
    assert status == cli.BAD_INPUT and "has no tokenizer" in err


def test_mistakes_on_the_command_line_are_named(call):
    for words, message in (
        (["convert", "a"], "takes two names, not 1"),
        (["convert", "a", "b", "--format=torch"], "format='torch'"),
        (["convert", "a", "b", "--fromat=nanogpt"], "did you mean --format"),
        (["convert", "nowhere", "b"], "nowhere"),
        (["sample", "--init_from=nowhere"], "nowhere"),
    ):
        status, _, err = call(*words)
        assert status == cli.BAD_INPUT and message in err and err.count("\n") == 1, err


def bins(tmp_path, name="mine"):
    (tmp_path / "data" / name).mkdir(parents=True)
    for split in ("train", "val"):
        tokens = np.random.default_rng(1).integers(0, 20, 400).astype("<u2")
        tokens.tofile(tmp_path / "data" / name / f"{split}.bin")


def test_fine_tuning_on_bare_tokens_keeps_the_tokenizer_of_the_model(tmp_path, call):
    tokenizer = CharTokenizer(sorted(set(TEXT)))
    exported(tmp_path / "hf", "huggingface", tokenizer, vocab_size=25)
    bins(tmp_path)
    status, out, err = call("train", "--init_from=hf", "--dataset=mine", *QUICK, "--dropout=0")
    assert (status, err) == (0, "") and "cannot be encoded" not in out
    assert "taking the tokens for those of the model's tokenizer" in out
    assert gn.load("ft/ckpt.npz").tokenizer.characters == tokenizer.characters
    status, out, err = call("train", "--init_from=resume", *QUICK, "--max_iters=4")
    assert (status, err) == (0, "")
    status, out, err = call("sample", "--out_dir=ft", "--start=abc", "--num_samples=1")
    assert status == 0 and out.startswith("abc"), err


def test_tokens_beyond_the_models_tokenizer_are_not_taken_for_its_own(tmp_path, call):
    exported(tmp_path / "hf", "huggingface", CharTokenizer("abc"), vocab_size=25)
    bins(tmp_path)
    status, out, err = call("train", "--init_from=hf", "--dataset=mine", *QUICK, "--dropout=0")
    assert (status, err) == (0, "") and "text cannot be encoded" in out
    assert gn.load("ft/ckpt.npz").tokenizer is None


def test_a_file_of_another_shape_gives_way_to_the_run_and_a_flag_does_not(tmp_path, call):
    (tmp_path / "c.py").write_text("n_layer = 6\nblock_size = 99\nmax_iters = 3\ndropout = 0.1\n")
    small = ["--n_layer=1", "--n_head=2", "--n_embd=8", "--block_size=8", "--data=t.txt", *QUICK]
    assert call("train", *small)[0] == 0
    status, out, err = call("train", "c.py", "--init_from=resume", "--out_dir=ft", "--eval_iters=1")
    assert (status, err) == (0, "")
    assert "n_layer = 6 is ignored: the run in ft has n_layer = 1" in out
    run = gn.load("ft/ckpt.npz")
    assert (run.config.n_layer, run.config.block_size, run.config.dropout) == (1, 8, 0.1)
    assert run.progress["iteration"] == 4
    status, _, err = call("train", "c.py", "--init_from=resume", "--out_dir=ft", "--n_layer=6")
    assert status == cli.BAD_INPUT and "n_layer=6, but the run in ft has n_layer=1" in err


def test_sample_reads_files_and_passes_over_what_is_of_training(tmp_path, call):
    (tmp_path / "c.py").write_text(
        "out_dir = 'ft'\nn_layer = 1\ninit_from = 'scratch'\nnum_samples = 2\nstart = 'abc'\n"
        "max_new_tokens = 5 * num_samples\nlearning_rate = 1e-3\n"
    )
    (tmp_path / "c.toml").write_text("temperature = 0.5\nmax_iters = 3\n")
    small = ["--n_layer=1", "--n_head=2", "--n_embd=8", "--block_size=8", "--data=t.txt", *QUICK]
    assert call("train", *small)[0] == 0
    status, out, err = call("sample", "c.py", "c.toml", "--start=def")
    assert status == 0 and out.count("---------------") == 2 and out.startswith("def"), err
    assert len(out.split("\n---------------")[0]) == 13
    for words in (["c.py", "--max_iters=3"], ["tiny"], ["no.py"], ["c.py", "--init_from=scratch"]):
        status, _, err = call("sample", *words)
        assert status == cli.BAD_INPUT and err.count("\n") == 1


def test_bench_accepts_the_settings_of_nanogpts(monkeypatch, call):
    from gpt_numpy.cli.commands import bench

    monkeypatch.setattr(bench, "bench", lambda *_, **__: None)
    words = "--real_data=False --seed=3 --profile=True --batch_size=1 --n_embd=8 --n_layer=1"
    assert call("bench", *words.split())[0] == 0


@pytest.mark.parametrize("folder", [None, 3, "a\0b"])
def test_what_is_no_path_is_refused_by_name(folder):
    with pytest.raises(gn.InputError, match="^folder="):
        gn.from_pretrained(folder)
