"""norm_eps: what every norm of a model adds under its root, by a plain formula."""

import dataclasses

import numpy as np
import pytest

import gpt_numpy as gn

TOKENS = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
EPS = 0.25


def made(norm, ops):
    config = gn.GPTConfig(
        vocab_size=11, block_size=5, n_layer=1, n_head=2, n_embd=8, norm=norm, qk_norm=True,
        norm_eps=EPS,
    )  # fmt: skip
    return gn.GPT(config, dtype="float64", ops=ops, seed=1, keep=("*",))


def centred(x, norm):
    return x - x.mean(axis=-1, keepdims=True) if norm == "layernorm" else x


@pytest.mark.parametrize("ops", ["kernels", "reference"])
@pytest.mark.parametrize("norm", ["layernorm", "rmsnorm"])
def test_every_norm_adds_it_under_its_root(norm, ops):
    model = made(norm, ops)
    model.forward(TOKENS, TOKENS)
    streams = {"h.0.ln_1": "embedding.out", "h.0.ln_2": "h.0.resid_mid", "ln_f": "h.0.resid_post"}
    for name, stream in streams.items():
        x = centred(model.activations[stream], norm)
        expected = 1 / np.sqrt((x * x).mean(axis=-1) + EPS)
        assert np.abs(model.activations[f"{name}.rstd"] - expected).max() <= 1e-14
    C = model.config.n_embd
    heads = model.activations["h.0.attn.qkv"][..., : 2 * C].reshape(2, 5, 4, 4)
    expected = heads / np.sqrt((heads * heads).mean(axis=-1, keepdims=True) + EPS)
    ready = model.activations["h.0.attn.ready"][..., : 2 * C].reshape(2, 5, 4, 4)
    assert np.abs(ready - expected).max() <= 1e-14


def test_a_checkpoint_from_before_the_setting_has_the_usual_one(tmp_path):
    model = made("rmsnorm", "reference")
    gn.save(tmp_path / "model.npz", model)
    assert gn.load(tmp_path / "model.npz").config == model.config
    before = dataclasses.asdict(model.config)
    del before["norm_eps"]
    assert gn.GPTConfig(**before).norm_eps == 1e-5
