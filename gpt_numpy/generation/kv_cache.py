"""The keys and values of the tokens so far, so that one token more costs one position.

All memory is taken when a `Cache` is made. A prompt but for its last token goes through the
model's own forward pass; that token, and each one after it, is a step.
"""

import numpy as np

from gpt_numpy.base.arrays import Array, aligned_empty
from gpt_numpy.model.gpt import GPT

_BLOCK = (
    "ln_1.weight", "ln_1.bias", "attn.c_attn.weight", "attn.c_attn.bias",
    "attn.c_proj.weight", "attn.c_proj.bias", "ln_2.weight", "ln_2.bias",
    "mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias",
)  # fmt: skip


class Cache:
    """Slots for sequences, each with room for the keys and values of block_size tokens.

    Parameters
    ----------
    model : whose keys and values they are; it must not be trained while the cache is in use.
    count : how many sequences there may be.

    Attributes
    ----------
    lengths : how many tokens each slot holds, (count,).
    """

    def __init__(self, model: GPT, count: int) -> None:
        config = model.config
        L, H, D, T = config.n_layer, config.n_head, config.head_size, config.block_size
        self._model = model
        self._places = parameter_places(model)
        size = L * count * H * D * T
        self._keys = aligned_empty(size, model.dtype).reshape(L, count, H, D, T)
        self._values = aligned_empty(size, model.dtype).reshape(L, count, H, T, D)
        self._logits = aligned_empty(count * config.vocab_size, model.dtype)
        self._logits = self._logits.reshape(count, config.vocab_size)
        self.lengths = np.zeros(count, dtype=np.int64)

    def fill(self, slot: int, tokens: Array) -> None:
        """Let a slot hold these tokens, (T,), at most block_size, instead of what it held."""
        config, T = self._model.config, len(tokens)
        self.lengths[slot] = T
        if T == 0:
            return
        for i, qkv in enumerate(self._model.queries_keys_values(tokens[None])):
            _, keys, values = qkv[0].reshape(T, 3, config.n_head, config.head_size).swapaxes(0, 1)
            self._keys[i, slot, :, :, :T] = keys.transpose(1, 2, 0)
            self._values[i, slot, :, :T] = values.swapaxes(0, 1)

    def copy(self, source: int, target: int) -> None:
        """Let a slot hold what another one holds."""
        T = self.lengths[target] = self.lengths[source]
        self._keys[:, target, :, :, :T] = self._keys[:, source, :, :, :T]
        self._values[:, target, :, :T] = self._values[:, source, :, :T]

    def step(self, slots: Array, tokens: Array) -> Array:
        """Append a token to each of these slots; the logits of the next one.

        Shapes: slots, tokens (B,), int64, the slots all different and none of them full; the
        result is (B, V), overwritten by the next step.
        """
        model, out = self._model, self._logits[: len(slots)]
        model.ops.decode_step(
            tokens, slots, self.lengths, model.params.flat, self._places, model.positions,
            model.config.n_hidden, model.config.activation,
            keys=self._keys, values=self._values, out=out,
        )  # fmt: skip
        self.lengths[slots] += 1
        return out


def parameter_places(model: GPT) -> Array:
    """Where each parameter starts in the flat buffer, as the `decode_step` functions take it.

    Shapes: (n_layer + 1, 12), int64; a row a block, and in the last one the token embedding, the
    last layer norm and the head. -1 where the model has no such parameter.
    """
    starts, at = {}, 0
    for name, array in model.params.items():
        starts[name] = at
        at += array.size
    places = np.full((model.config.n_layer + 1, len(_BLOCK)), -1, dtype=np.int64)
    for i in range(model.config.n_layer):
        places[i] = [starts.get(f"h.{i}.{name}", -1) for name in _BLOCK]
    head = "wte.weight" if model.config.tied else "lm_head.weight"
    names = ("wte.weight", "ln_f.weight", "ln_f.bias", head)
    places[-1, : len(names)] = [starts.get(name, -1) for name in names]
    return places
