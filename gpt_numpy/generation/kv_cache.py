"""The keys and values of the tokens so far, so that one token more costs one position.

All memory is taken when a `Cache` is made. A prompt but for its last token goes through the
model's own forward pass; that token, and each one after it, is a step.
"""

import numpy as np

from gpt_numpy.base.arrays import Array, aligned_empty
from gpt_numpy.model.gpt import GPT
from gpt_numpy.model.stages import gpt
from gpt_numpy.reference.decoding import DecodingWeights, KeysValues
from gpt_numpy.reference.head import HeadWeights


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
            tokens, slots, self.lengths,
            DecodingWeights(model.params.flat, self._places, model.positions),
            KeysValues(self._keys, self._values),
            n_hidden=model.config.n_hidden, activation=model.config.activation, out=out,
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
    _, *sublayers, head = gpt(model.config)
    rows: list[list[str | None]] = [
        [stage.weight_name(argument) for argument in stage.weights_type._fields]
        for stage in sublayers
    ]
    names = [attention + mlp for attention, mlp in zip(rows[::2], rows[1::2], strict=True)]
    last = ["wte.weight", *[head.weight_name(argument) for argument in HeadWeights._fields]]
    names.append(last + [None] * (len(names[0]) - len(last)))
    return np.array([[starts.get(name or "", -1) for name in row] for row in names], dtype=np.int64)
