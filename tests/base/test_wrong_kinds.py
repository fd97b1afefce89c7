"""Arguments of another kind than a public function takes: one error, which names and shows them."""

import dataclasses

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.base.errors import InputError

GPT = gn.GPT(gn.GPTConfig(vocab_size=11, block_size=8, n_layer=1, n_head=1, n_embd=8))
PAIRS = gn.TransformerConfig(
    vocab_size=11, source_size=6, target_size=7, n_layer=1, n_head=1, n_embd=8
)
TRANSFORMER = gn.Transformer(PAIRS)
SOURCE = [[5, 6]]


@pytest.mark.parametrize("value", [None, 3, "m", gn.GPT, {}, GPT.config, GPT.params])
@pytest.mark.parametrize(
    "use",
    [
        gn.AdamW,
        lambda model: gn.save("never.npz", model),
        lambda model: gn.gradcheck(model, [[1]], [[2]]),
        lambda model: gn.generate(model, [1], 1),
        lambda model: gn.translate(model, SOURCE),
    ],
)
def test_what_is_no_model(use, value):
    with pytest.raises(InputError, match="^model=.*: must be a (GPT|Transformer)"):
        use(value)


def test_a_model_of_the_other_kind():
    with pytest.raises(InputError, match="^model=.*: must be a Transformer; a GPT"):
        gn.translate(GPT, SOURCE)
    with pytest.raises(InputError, match="^model=.*: must be a GPT$"):
        gn.generate(TRANSFORMER, [1], 1)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: gn.translate(TRANSFORMER, SOURCE, length_penalty=1e308), "length_penalty=1e.308"),
        (lambda: gn.gradcheck(GPT, [[1]], [[2]], seed=-1), "seed=-1"),
        (lambda: gn.gradcheck(GPT, [[1]], [[2]], seed=1.5), "seed=1.5"),
        (lambda: gn.generate(GPT, [1], 1, top_k=-1), "top_k=-1: must be an integer, at least 0"),
        (lambda: gn.generate(GPT, [1], 1, seed=-1), "seed=-1: must be an integer, at least 0"),
        (lambda: gn.GPT(GPT.config, dtype=None), "dtype=None"),
        (lambda: gn.GPT(GPT.config, dtype=b"float32"), "dtype=b'float32'"),
    ],
)
def test_values_out_of_range(use, message):
    with pytest.raises(InputError, match=f"^{message}"):
        use()


def test_a_folder_is_no_checkpoint(tmp_path):
    for path in (tmp_path, ""):
        with pytest.raises(InputError, match="^cannot save .* is a folder: name a file in it"):
            gn.save(path, GPT)


def test_a_configuration_with_a_field_of_ones_own():
    @dataclasses.dataclass(frozen=True)
    class Noted(gn.GPTConfig):
        note: str = "mine"

    assert Noted(vocab_size=3, block_size=4, n_layer=1, n_head=1, n_embd=4).note == "mine"
    with pytest.raises(InputError, match="n_layer=0"):
        Noted(vocab_size=3, block_size=4, n_layer=0, n_head=1, n_embd=4)


def product_forward(x, w, out):
    out[...] = x @ w


def product_backward(dout, x, w, dx, dw):
    dx[...] = dout @ w.T
    dw[...] = x.T @ dout


def gradients_first(dx, dw, dout, x, w):
    product_backward(dout, x, w, dx, dw)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        *(({"seed": seed}, "seed=") for seed in (-1, 1.5, "x", None)),
        *(({"tolerance": t}, "tolerance=") for t in ("x", -1, 0, np.nan, np.inf)),
        *(({"constants": names}, "constants=") for names in (5, None, "x", (1,))),
        ({"constants": ("nosuch",)}, "constants names 'nosuch', which is no input: known: x, w$"),
        *(({name: 5}, f"{name}=5: must be") for name in ("inputs", "outputs", "extra", "mistakes")),
        *(
            ({"outputs": {"out": shape}}, "outputs: out=")
            for shape in ((-1, 5), (3.0, 5), "x", (10**12, 5))
        ),
        ({"backward": gradients_first}, "backward: dout comes after dx, .*: put dout before dx$"),
    ],
)
def test_bad_arguments_of_check_layer(changed, message):
    rng = np.random.default_rng(0)
    given = {
        "forward": product_forward,
        "backward": product_backward,
        "inputs": {"x": rng.standard_normal((3, 4)), "w": rng.standard_normal((4, 5))},
        "outputs": {"out": (3, 5)},
    }
    assert gn.check_layer(**given).ok
    with pytest.raises(InputError, match=f"^{message}"):
        gn.check_layer(**given | changed)
