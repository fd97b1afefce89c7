"""The keys and values of the tokens so far, so that one more token costs one position.

All tokens of a prompt except the last go through the model's forward pass at once; the last one,
and every generated token, is one step.
"""

import numpy as np

from gpt_numpy.base.arrays import Array, aligned_empty
from gpt_numpy.base.errors import InputError
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.model.gpt import GPT
from gpt_numpy.model.stages import gpt
from gpt_numpy.reference.attention import split_qkv
from gpt_numpy.reference.decoding import DecodingSettings, DecodingWeights, KeysValues
from gpt_numpy.reference.head import HeadWeights
from gpt_numpy.reference.linear import BFLOAT16


class Cache:
    """Slots for `count` sequences, each for the keys and values of `size` tokens.

    size : at most block_size, which it is by default.

    All memory is allocated at once, and the model must not be trained while the cache is in use.
    With dtype="bfloat16" the model's matrices are copied in 16 bits, two bytes a parameter, as they
    are when the cache is made: parameters are plain arrays, so nothing says whether they changed,
    and to compare them with their copies takes as long as to copy them. The model keeps the memory.
    `lengths` is the number of tokens in each slot, (count,).
    """

    def __init__(self, model: GPT, count: int, size: int | None = None) -> None:
        config = model.config
        L, G, D, T = config.n_layer, config.n_groups, config.head_size, size or config.block_size
        self._model = model
        self._settings = decoding_settings(config)
        places, copies = parameter_places(model), None
        if model.products == BFLOAT16:
            copies = model.decoding_copies = model.ops.decoding_copies(
                model.params.flat, places, settings=self._settings,
                vocab_size=config.vocab_size, out=model.decoding_copies,
            )  # fmt: skip
        self._weights = DecodingWeights(
            model.params.flat, places, model.positions, copies, model.rotations
        )
        numbers = L * count * G * D * T
        self._keys = aligned_empty(numbers, model.dtype).reshape(L, count, G, D, T)
        self._values = aligned_empty(numbers, model.dtype).reshape(L, count, G, T, D)
        self._logits = aligned_empty(count * config.vocab_size, model.dtype).reshape(count, -1)
        self.lengths = np.zeros(count, dtype=np.int64)

    def fill(self, slot: int, tokens: Array) -> None:
        """Replace the content of a slot by these tokens, (T,), at most as many as it has places."""
        config, T = self._model.config, len(tokens)
        self.lengths[slot] = T
        if T == 0:
            return
        for i, qkv in enumerate(self._model.queries_keys_values(tokens[None])):
            _, keys, values = split_qkv(qkv, config.n_head, config.n_groups)
            self._keys[i, slot, :, :, :T] = keys[0].swapaxes(1, 2)
            self._values[i, slot, :, :T] = values[0]

    def copy(self, source: int, target: int) -> None:
        """Replace the content of one slot by that of another."""
        T = self.lengths[target] = self.lengths[source]
        self._keys[:, target, :, :, :T] = self._keys[:, source, :, :, :T]
        self._values[:, target, :, :T] = self._values[:, source, :, :T]

    def step(self, slots: Array, tokens: Array) -> Array:
        """Append a token to each of these slots; return the logits of the next tokens.

        Shapes: slots (different, none full) and tokens are (B,), int64; the result is (B, V), and
        the next step overwrites it.
        """
        model, out = self._model, self._logits[: len(slots)]
        model.ops.decode_step(
            tokens, slots, self.lengths, self._weights, KeysValues(self._keys, self._values),
            settings=self._settings, out=out,
        )  # fmt: skip
        self.lengths[slots] += 1
        return out


def decoding_settings(config: GPTConfig) -> DecodingSettings:
    """How the steps of a model of this shape compute; an argument of `decode_step`."""
    return DecodingSettings(
        config.n_head, config.n_groups, config.n_embd, config.n_hidden,
        config.activation, config.norm, config.logit_softcap, config.norm_eps,
    )  # fmt: skip


def parameter_places(model: GPT) -> Array:
    """Where each parameter starts in the flat buffer; an argument of `decode_step`.

    Shapes: (n_layer + 1, 15), int64; one row per block, and a last one for the token embedding, the
    last norm and the head. -1 where the model has no such parameter.
    """
    starts = model.params.starts
    _, *sublayers, head = gpt(model.config)
    if {stage.layer for stage in sublayers} - {"attention_sublayer", "mlp_sublayer"}:
        raise InputError("generation knows blocks of attention and MLP only: extend decode_step")
    rows = [list(map(stage.weight_name, stage.weights_type._fields)) for stage in sublayers]
    names = [attention + mlp for attention, mlp in zip(rows[::2], rows[1::2], strict=True)]
    last = ["wte.weight", *map(head.weight_name, HeadWeights._fields)]
    names.append(last + [None] * (len(names[0]) - len(last)))
    return np.array([[starts.get(name or "", -1) for name in row] for row in names], dtype=np.int64)
