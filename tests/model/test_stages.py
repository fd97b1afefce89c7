"""Which array, and which place of dropout, each call of a layer gets."""

import numpy as np

import gpt_numpy as gn

CONFIG = gn.GPTConfig(
    vocab_size=11, block_size=5, n_layer=2, n_head=2, n_embd=6, dropout=0.2, activation="gelu"
)


class Watched:
    """The reference's layers; what each call got as `site`."""

    def __init__(self, ops):
        self.ops, self.sites = ops, []

    def __getattr__(self, name):
        function = getattr(self.ops, name)

        def call(*args, **kwargs):
            if "site" in kwargs:
                self.sites.append((name, kwargs["site"]))
            return function(*args, **kwargs)

        return call


def test_every_place_has_its_own_site_of_dropout():
    # As reference/dropout.py says: 0 the embedding, block i 3 i + 1, 3 i + 2 and 3 i + 3.
    model = gn.GPT(CONFIG, dtype="float64", ops="reference")
    model.ops = Watched(model.ops)
    tokens = np.arange(10).reshape(2, 5)
    model.forward(tokens, tokens, dropout_key=1)
    forward, model.ops.sites = model.ops.sites, []
    model.backward()
    expected = [("embedding", 0)]
    for i in range(CONFIG.n_layer):
        expected += [("attention_sublayer", 3 * i + 1), ("mlp_sublayer", 3 * i + 3)]
    assert forward == [(f"{name}_forward", site) for name, site in expected]
    assert model.ops.sites == [(f"{name}_backward", site) for name, site in reversed(expected)]
