"""Llamas and Qwen3s: what is exported is what transformers reads and computes, and comes back."""

import json
import re

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy import interop
from gpt_numpy.base.errors import InputError
from gpt_numpy.interop.llama import array_pieces, model_type
from gpt_numpy.interop.safetensors_files import read_safetensors, write_safetensors
from gpt_numpy.training.checkpoint import Run
from tests.interop.test_interop import TOKENS, assert_close, edit

LLAMA = {
    "vocab_size": 23, "block_size": 12, "n_layer": 2, "n_head": 4, "n_kv_head": 2, "n_embd": 24,
    "bias": False, "norm": "rmsnorm", "positions": "rotary", "activation": "swiglu", "tied": False,
}  # fmt: skip
VARIANTS = [
    {},
    {"bias": True, "n_inner": 11, "tied": True, "norm_eps": 1e-6},
    {"qk_norm": True, "rope_base": 100.0, "n_kv_head": 0, "norm_eps": 1e-2},
]


@pytest.fixture(autouse=True)
def library():
    return pytest.importorskip("safetensors", reason="the extra `safetensors` is not installed")


@pytest.fixture
def transformers():
    pytest.importorskip("torch", reason="transformers computes with PyTorch")
    return pytest.importorskip("transformers", reason="it is what the files are written for")


def make(**changed):
    model = gn.GPT(gn.GPTConfig(**LLAMA | changed), ops="reference", seed=2)
    rng = np.random.default_rng(3)
    for param in model.params.values():
        param[...] += 0.3 * rng.standard_normal(param.shape)
    return model


def exported(folder, **changed):
    run = Run(make(**changed), None)
    interop.export(run, folder, "huggingface", say=lambda text: None)
    return run.model


@pytest.mark.parametrize("changed", VARIANTS, ids=str)
def test_what_is_exported_comes_back_to_the_bit(changed, tmp_path):
    model = exported(tmp_path, **changed)
    read = gn.from_pretrained(tmp_path, ops="reference")
    assert read.config == model.config
    assert np.array_equal(read.params.flat, model.params.flat)


def test_the_arrays_are_transformers_under_its_names(tmp_path):
    model = exported(tmp_path, qk_norm=True)
    with (tmp_path / "model.safetensors").open("rb") as file:
        found = read_safetensors(file)
        values = {name: np.empty(tensor.shape, np.float32) for name, tensor in found.items()}
        for name, tensor in found.items():
            tensor.read_into(values[name])
    C, F = 24, 64
    qkv, fc = model.params["h.1.attn.c_attn.weight"], model.params["h.1.mlp.c_fc.weight"]
    block = "model.layers.1"
    expected = {
        f"{block}.self_attn.q_proj.weight": qkv[:, :C].T,
        f"{block}.self_attn.k_proj.weight": qkv[:, C : C + 12].T,
        f"{block}.self_attn.v_proj.weight": qkv[:, C + 12 :].T,
        f"{block}.self_attn.q_norm.weight": model.params["h.1.attn.q_norm.weight"],
        f"{block}.mlp.gate_proj.weight": fc[:, :F].T,
        f"{block}.mlp.up_proj.weight": fc[:, F:].T,
        f"{block}.mlp.down_proj.weight": model.params["h.1.mlp.c_proj.weight"].T,
        "model.norm.weight": model.params["ln_f.weight"],
        "lm_head.weight": model.params["lm_head.weight"],
    }
    for name, value in expected.items():
        assert np.array_equal(values[name], value), name
    assert set(values) == set(array_pieces(model.config))
    keys = json.loads((tmp_path / "config.json").read_text())
    assert keys["architectures"] == ["Qwen3ForCausalLM"]
    assert keys["rope_parameters"] == {"rope_type": "default", "rope_theta": 10000.0}


@pytest.mark.parametrize("changed", VARIANTS, ids=str)
@pytest.mark.filterwarnings("ignore")
def test_transformers_loads_what_is_exported_with_the_same_logits(changed, tmp_path, transformers):
    import torch

    model = exported(tmp_path / "hf", **changed)
    theirs, info = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "hf", output_loading_info=True, local_files_only=True
    )
    assert not any(info.values()), info
    with torch.no_grad():
        logits = theirs.eval()(torch.tensor(TOKENS)).logits.numpy()
    assert_close(model.logits(TOKENS), logits)


@pytest.mark.parametrize("kind", ["Llama", "Qwen3"])
@pytest.mark.filterwarnings("ignore")
def test_what_transformers_saved_is_read_with_the_same_logits(kind, tmp_path, transformers):
    import torch

    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=23, max_position_embeddings=12, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, hidden_size=24, head_dim=6, intermediate_size=40, rms_norm_eps=1e-2,
        initializer_range=0.3,
    )  # fmt: skip
    theirs = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    theirs.save_pretrained(tmp_path)
    model = gn.from_pretrained(tmp_path, ops="reference")
    assert model_type(model.config) == kind.lower()
    with torch.no_grad():
        logits = theirs(torch.tensor(TOKENS)).logits.numpy()
    assert_close(model.logits(TOKENS), logits)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_act", "gelu"),
        ("rms_norm_eps", "1e-6"),
        ("rms_norm_eps", 0),
        ("rms_norm_eps", 10**400),  # no float is as large
        ("rope_scaling", {"factor": 2.0}),
        ("rope_parameters", {"rope_type": "llama3", "rope_theta": 5e5}),
        ("rope_parameters", {"rope_type": "default", "rope_theta": "much"}),
        ("head_dim", 8),
        ("num_key_value_heads", 0),
        ("num_key_value_heads", 3),
        ("num_attention_heads", 5),
        ("attention_bias", True),
        ("tie_word_embeddings", 1),
        ("intermediate_size", 63),
        ("hidden_size", None),
        ("num_hidden_layers", 3),
        ("attention_dropout", "none"),
    ],
)
def test_an_unsupported_configuration_is_refused_by_name(key, value, tmp_path):
    exported(tmp_path)
    edit(tmp_path, **{key: value})
    expected = {
        "rope_parameters": "rope_parameters|rope_theta",
        "rms_norm_eps": "rms_norm_eps|norm_eps=0.0",
        "intermediate_size": "mlp.c_fc",
        "num_hidden_layers": "layers.2",
        "num_key_value_heads": "num_key_value_heads|n_kv_head=3",
    }
    with pytest.raises(InputError, match=expected.get(key, key)):
        gn.from_pretrained(tmp_path)


def test_arrays_that_are_missing_or_too_many_are_refused(tmp_path):
    model = exported(tmp_path)
    path = tmp_path / "model.safetensors"
    with path.open("rb") as file:
        arrays = {n: np.empty(t.shape, np.float32) for n, t in read_safetensors(file).items()}
    for changed, message in (
        ({n: a for n, a in arrays.items() if "v_proj" not in n}, "layers.0.self_attn.v_proj"),
        (
            arrays | {"model.layers.0.mlp.gate_proj.bias": np.zeros(64, np.float32)},
            "gate_proj.bias",
        ),
        (arrays | {"lm_head.weight": np.zeros((22, 24), np.float32)}, "lm_head.weight"),
    ):
        write_safetensors(path, changed)
        with pytest.raises(InputError, match=re.escape(message)):
            gn.from_pretrained(tmp_path)
    assert model.config.n_kv_head == 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"activation": "relu2"}, "norm='rmsnorm'"),
        ({"norm": "layernorm"}, "positions='rotary'"),
        ({"logit_softcap": 15.0}, "norm='rmsnorm'"),
        ({"qk_norm": True, "bias": True}, "Qwen3's MLP has no biases"),
    ],
)
def test_what_no_program_has_is_not_exported(changed, message, tmp_path):
    with pytest.raises(InputError, match=message):
        exported(tmp_path / "hf", **changed)


@pytest.mark.parametrize(
    "changed",
    [{"norm": "rmsnorm"}, {"qk_norm": True}, {"n_kv_head": 1}, {"n_inner": 9}, {"norm_eps": 1e-6}],
    ids=str,
)
def test_nanogpt_has_none_of_it(changed, tmp_path):
    config = gn.GPTConfig(
        vocab_size=23, block_size=12, n_layer=1, n_head=2, n_embd=10, activation="gelu", **changed
    )
    with pytest.raises(InputError, match=f"{next(iter(changed))}=.*nanoGPT's models have only"):
        interop.export(Run(gn.GPT(config), config), tmp_path / "n", "nanogpt")
