"""Decoding, token by token: the source is read once, and keys and values are kept.

The encoder's output does not depend on the target, so neither do the keys and values that each
decoder block computes from it: they are computed once, before the first step. The keys and values
of the target's own tokens never change either, because a position sees only those before it
(attention.py). So a step is one position: in each block one query for the target's tokens so far,
and one for the source.

Rows are targets that are being written. Several may belong to one source, as the hypotheses of a
beam do; they share its keys and values. A step computes what `Transformer.logits` would at the last
position; there is one implementation, in NumPy, because its products are small.
"""

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from gpt_numpy.base.arrays import Array, as_array, check_range
from gpt_numpy.base.checks import integer
from gpt_numpy.base.errors import InputError
from gpt_numpy.config.transformer import TransformerConfig
from gpt_numpy.model.base_model import Model
from gpt_numpy.reference.layernorm import layernorm_forward
from gpt_numpy.reference.linear import PRODUCTS, round_stored

FIRST = 16  # positions for which there is memory at first


class Decoder:
    """Targets that are written token by token, from `Transformer.start_decoding`.

    Attributes
    ----------
    rows : how many targets are being written.
    sources : the number of each row's source, (rows,).
    positions : how many tokens each row has so far; the model's target_size is the most.
    """

    def __init__(self, model: Model, memory: Array, lengths: Array, rows_each: int) -> None:
        rows_each = integer("rows_each", rows_each, 1, "an integer of at least 1")
        self._model, self._config = model, model.config
        config: TransformerConfig = model.config
        self._seen = np.arange(memory.shape[1]) < lengths[:, None]  # what is no padding, (B, S)
        self._memory = [
            self._heads(self._linear(f"decoder.h.{i}.cross.c_kv", memory), 2)
            for i in range(config.n_layer)
        ]
        self.positions = 0
        self.sources = np.repeat(np.arange(len(memory)), rows_each)
        shape = (2, config.n_layer, self.rows, config.n_head, FIRST, config.head_size)
        self._kept = np.empty(shape, model.dtype)  # keys and values of the rows' own tokens
        self._share()

    @property
    def rows(self) -> int:
        """How many targets are being written."""
        return len(self.sources)

    def step(self, tokens: Array) -> Array:
        """The logits of the token after one more of each row, (rows, V): first of all BEGIN.

        Raises
        ------
        InputError : another shape or type, an unknown id, more tokens than target_size.
        """
        config, params, t = self._config, self._model.params, self.positions
        tokens = self._checked(tokens)
        if t == self._kept.shape[-2]:
            self._kept = np.concatenate([self._kept, np.empty_like(self._kept)], axis=-2)
        table = self._model.positions
        assert table is not None
        x = params["wte.weight"][tokens] * math.sqrt(config.n_embd) + table[t]
        for i in range(config.n_layer):
            block = f"decoder.h.{i}"
            x = self._sublayer(f"{block}.ln_1", x, partial(self._attend, i))
            x = self._sublayer(f"{block}.ln_2", x, partial(self._attend_to_source, i))
            x = self._sublayer(f"{block}.ln_3", x, partial(self._mlp, block))
        if config.norm_place == "pre":
            x = self._norm("decoder.ln_f", x)
        self.positions += 1
        logits: Array = PRODUCTS[self._model.products](x, params["wte.weight"].T)
        return logits

    def select(self, rows: Array) -> None:
        """Let row i continue what row rows[i] was, as beams do; there may be fewer or more rows.

        Raises
        ------
        InputError : no integers, or a row that there is not.
        """
        rows = as_array("rows", rows)
        if rows.ndim != 1 or rows.dtype.kind not in "iu" or rows.size == 0:
            raise InputError(f"rows has shape {rows.shape}, type {rows.dtype}: must be integers")
        check_range("rows", rows, self.rows)
        before = self.sources
        self.sources = before[rows]
        self._kept = self._kept[:, :, rows]
        if not np.array_equal(before, self.sources):
            self._share()

    def _share(self) -> None:
        """Rows next to each other share their source's keys and values, if equally many do."""
        sources, counts = np.unique(self.sources, return_counts=True)
        if not np.array_equal(self.sources, np.repeat(sources, counts[0])):
            sources = self.sources  # each row on its own
        self._groups = self._seen[sources], [(K[sources], V[sources]) for K, V in self._memory]

    def _checked(self, tokens: Array) -> Array:
        tokens, config = as_array("tokens", tokens), self._config
        if tokens.shape != (self.rows,) or tokens.dtype.kind not in "iu":
            raise InputError(
                f"tokens has shape {tokens.shape}, type {tokens.dtype}: must be {self.rows} "
                "integers, one for each row"
            )
        check_range("tokens", tokens, config.vocab_size)
        if self.positions == config.target_size:
            raise InputError(
                f"every row has target_size={config.target_size} tokens: the model sees no more"
            )
        return tokens

    def _sublayer(self, ln: str, x: Array, inside: Callable[[Array], Array]) -> Array:
        if self._config.norm_place == "pre":
            return x + inside(self._norm(ln, x))
        return self._norm(ln, x + inside(x))

    def _attend(self, i: int, x: Array) -> Array:
        """Self-attention of one position; its key and value are kept."""
        name, t = f"decoder.h.{i}.attn", self.positions + 1
        Q, K, V = self._heads(self._linear(f"{name}.c_attn", x)[:, None], 3)
        keys, values = self._kept[:, i, :, :, :t]
        keys[:, :, -1], values[:, :, -1] = K[:, :, 0], V[:, :, 0]
        return self._projected(name, _average(Q, keys, values), x)

    def _attend_to_source(self, i: int, x: Array) -> Array:
        """Cross-attention of one position: rows of one source are queries of one product."""
        name, (seen, memory) = f"decoder.h.{i}.cross", self._groups
        K, V = memory[i]
        q = self._linear(f"{name}.c_q", x)
        (Q,) = self._heads(q.reshape(len(seen), -1, x.shape[-1]), 1)
        return self._projected(name, _average(Q, K, V, seen[:, None, None]), x)

    def _projected(self, name: str, heads: Array, x: Array) -> Array:
        attn = heads.swapaxes(1, 2).reshape(x.shape)
        round_stored(attn, self._model.products)
        return self._linear(f"{name}.c_proj", attn, stored=False)

    def _mlp(self, block: str, x: Array) -> Array:
        hidden = np.maximum(self._linear(f"{block}.mlp.c_fc", x), 0)
        return self._linear(f"{block}.mlp.c_proj", hidden, stored=False)

    def _linear(self, name: str, x: Array, *, stored: bool = True) -> Array:
        """A linear layer; what the forward pass stores in 16 bits is rounded here, too."""
        params, precision = self._model.params, self._model.products
        out: Array = PRODUCTS[precision](x, params[f"{name}.weight"])
        if (bias := params.get(f"{name}.bias")) is not None:
            out += bias
        if stored:
            round_stored(out, precision)
        return out

    def _norm(self, name: str, x: Array) -> Array:
        params, out = self._model.params, np.empty_like(x)
        mean, rstd = np.empty((2, len(x)), x.dtype)
        weight, bias = params[f"{name}.weight"], params.get(f"{name}.bias")
        layernorm_forward(x, weight, bias, out=out, mean=mean, rstd=rstd)
        return out

    def _heads(self, x: Array, parts: int) -> tuple[Array, ...]:
        """(B, T, parts C) as `parts` arrays (B, H, T, D)."""
        B, T, _ = x.shape
        H, D = self._config.n_head, self._config.head_size
        return tuple(x.reshape(B, T, parts, H, D).transpose(2, 0, 3, 1, 4))


def _average(Q: Array, K: Array, V: Array, seen: Array | None = None) -> Array:
    """Each query's average of the values that are seen, or of all, (B, H, T, D)."""
    s = Q @ K.swapaxes(-1, -2) * (1 / math.sqrt(Q.shape[-1]))
    if seen is not None:
        s = np.where(seen, s, -np.inf)
    p = np.exp(s - s.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    average: Array = p @ V
    return average
