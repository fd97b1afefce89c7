"""Which array, and which place of dropout, each call of a layer gets."""

import gpt_numpy as gn

CONFIG = gn.GPTConfig(
    vocab_size=11, block_size=5, n_layer=2, n_head=2, n_embd=6, dropout=0.2, activation="gelu"
)


def test_every_place_has_its_own_site_of_dropout():
    # As reference/dropout.py says: 0 the embedding, block i 3 i + 1, 3 i + 2 and 3 i + 3.
    model = gn.GPT(CONFIG, dtype="float64", ops="reference")
    expected = [("embedding", 0)]
    for i in range(CONFIG.n_layer):
        expected += [(f"h.{i}.attn", 3 * i + 1), (f"h.{i}.mlp", 3 * i + 3)]
    calls = model.calls((2, 5), rate=CONFIG.dropout)
    found = [
        [(c.stage.name, c.kwargs["dropout"].site) for c in listed if "dropout" in c.kwargs]
        for listed in calls
    ]
    assert found == [expected, expected[::-1]]
    assert {c.kwargs["dropout"].rate for c in calls.forward[:-1]} == {CONFIG.dropout}
