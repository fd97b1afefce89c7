"""GPT: embedding, blocks of attention and MLP, head; backward is the mirror of forward.

    tokens -> embedding -> [ + attention -> + MLP ] x n_layer -> head -> logits -> loss

Source: GPT-2 (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019), with
the options of nanoGPT. The mathematics is in `reference/`, and which array each argument of a
sublayer's call is, in `wiring.py`.
"""

import importlib
import math
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from gpt_numpy.base.arrays import Array, NamedArrays, Shape, aligned_zeros, as_array
from gpt_numpy.base.checks import integer, shown
from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.config.choices import DTYPES, IMPLEMENTATIONS
from gpt_numpy.config.gpt import GPTConfig
from gpt_numpy.model.shapes import parameter_shapes
from gpt_numpy.model.wiring import (
    ATTENTION,
    HEAD,
    LOGITS,
    MLP,
    Buffers,
    Kept,
    Sublayer,
    match_patterns,
)
from gpt_numpy.reference.cross_entropy import IGNORED
from gpt_numpy.reference.embedding import sinusoidal_positions

INIT_STD = 0.02


class Pass(NamedTuple):
    """What the backward pass needs to know of the forward pass."""

    tokens: Array
    targets: Array
    divisor: int
    dropout: tuple[float, int]  # rate and key


class GPT:
    """A GPT with its parameters, its gradients, and the buffers that both passes work in.

    Parameters
    ----------
    config : the shape of the model.
    seed : of the initial parameters; None leaves them unset, for somebody who is about to set them.
    dtype : "float32", "float64", or with ops="reference" also "complex128".
    ops : the implementation of the layers; "reference" is the readable one.
    keep : patterns (`"h.*.attn.out"`) of activations to hold on to after the passes, with their
        gradients; the others share buffers.

    Attributes
    ----------
    params, grads : `NamedArrays` with the same names and shapes, one flat buffer each.
    activations, activation_grads : mappings of the names that `keep` asked for.

    Raises
    ------
    InputError : an unknown dtype, implementation or activation name.
    """

    def __init__(
        self,
        config: GPTConfig,
        *,
        seed: int | None = 1337,
        dtype: str = "float32",
        ops: str = IMPLEMENTATIONS[0],
        keep: tuple[str, ...] = (),
    ) -> None:
        if not isinstance(config, GPTConfig):
            raise InputError(f"config={shown(config)}: must be a GPTConfig")
        self.config = config
        self.ops_name = ops
        self.ops = load_ops(ops)
        self.dtype = _check_dtype(dtype, ops)
        self._keep = match_patterns(config, keep)
        shapes = parameter_shapes(config)
        self.params = NamedArrays(shapes, self.dtype)
        zeros = aligned_zeros(self.params.flat.size, self.dtype)
        self.grads = NamedArrays(shapes, self.dtype, zeros)
        self._micro_grads: NamedArrays | None = None  # of one micro-batch, while they accumulate
        self._sinusoids: Array | None = None
        if config.positions == "sinusoidal":
            table = sinusoidal_positions(config.block_size, config.n_embd)
            self._sinusoids = table.astype(self.dtype)
        self._buffers = Buffers(config, self.dtype, self._keep, self.ops.LOGITS)
        self._rooms: dict[str, Array] = {}
        self._last: Pass | None = None
        if seed is not None:
            self.initialise(seed)

    def initialise(self, seed: int) -> None:
        """Draw new parameters: weights N(0, 0.02^2), layer norms 1, biases 0.

        The two projections that write to the residual stream are smaller by sqrt(2 n_layer), so
        that its variance does not grow with the number of sublayers that add to it (GPT-2).
        """
        rng = np.random.Generator(np.random.PCG64(integer("seed", seed)))
        for name, param in self.params.items():
            if name.endswith(".bias"):
                param[...] = 0
            elif param.ndim == 1:
                param[...] = 1
            else:
                residual = name.endswith(".c_proj.weight")
                std = INIT_STD / math.sqrt(2 * self.config.n_layer) if residual else INIT_STD
                for row in param:  # row by row, so that no second copy of a large table exists
                    row[...] = std * rng.standard_normal(row.shape)

    @property
    def n_params(self) -> int:
        """How many parameters there are, all of them."""
        return self.params.flat.size

    @property
    def positions(self) -> Array:
        """The row of each position, (block_size, C): learned, or sinusoids."""
        positions: Array = self.params.get("wpe.weight", self._sinusoids)
        return positions

    @property
    def activations(self) -> Mapping[str, Array]:
        """The activations of the last forward pass that `keep` names: views, until the next one."""
        return Kept(self._keep, self._buffers.acts)

    @property
    def activation_grads(self) -> Mapping[str, Array]:
        """The gradients of the loss with respect to them, from `backward` to the next `forward`."""
        return Kept(self._keep, self._buffers.dacts if self._last is None else {})

    def forward(
        self,
        tokens: Array,
        targets: Array,
        *,
        dropout_key: int | None = None,
        divisor: int | None = None,
    ) -> Any:
        """The mean loss of predicting `targets` from `tokens`, in nats a token.

        Parameters
        ----------
        tokens, targets : integers (B, T), T at most block_size. Targets of -1 are left out.
        dropout_key : an integer from which all masks of dropout follow; None: no dropout.
        divisor : what the sum of losses is divided by; the number of targets that count in
            `targets` by default. With several micro-batches: that of all of them together.

        Raises
        ------
        InputError : wrong shape or type, a token or target out of range.
        """
        tokens = self._check_tokens("tokens", tokens, lowest=0)
        targets = self._check_tokens("targets", targets, lowest=IGNORED)
        if targets.shape != tokens.shape:
            raise InputError(
                f"targets has shape {targets.shape}, tokens has {tokens.shape}: "
                "one target for each token; use -1 where none counts"
            )
        if divisor is None:
            count = np.not_equal(targets, IGNORED, out=self._room("count", targets.shape, np.bool_))
            divisor = max(int(np.count_nonzero(count)), 1)
        divisor = integer("divisor", divisor, 1, "the number of targets that count, at least 1")
        self._last = Pass(tokens, targets, divisor, self._dropout(dropout_key))

        self._blocks_forward(self._last)
        self.ops.head_loss_forward(**self._arguments(HEAD, self._last))
        wide = self._room("losses", targets.shape, np.result_type(self.dtype, np.float64))
        wide[...] = self._buffers.acts["losses"]
        return wide.sum().item() / divisor

    def backward(self, *, accumulate: bool = False) -> None:
        """Write the gradient of the last forward pass's loss to `grads`, or add it to them.

        Raises
        ------
        InputError : there was no `forward` since the last `backward` or `logits`.
        """
        if self._last is None:
            raise InputError(
                "backward() has no forward(tokens, targets) before it: call that first"
            )
        last, self._last = self._last, None
        grads = self._room_for_grads(accumulate)

        self._buffers.dacts["losses"][...] = 1 / last.divisor
        self.ops.head_loss_backward(**self._arguments(HEAD, last, grads=grads))
        self._blocks_backward(last, grads)

        if accumulate:
            self.grads.flat += grads.flat

    def _blocks_forward(self, now: Pass) -> None:
        self._buffers.prepare(*now.tokens.shape)
        self.ops.embedding_forward(
            now.tokens,
            self.params["wte.weight"],
            self.positions,
            *now.dropout,
            site=0,
            out=self._buffers.acts["embedding.out"],
        )
        for i in range(self.config.n_layer):
            self._run(self.ops.attention_sublayer_forward, ATTENTION, now, i)
            self._run(self.ops.mlp_sublayer_forward, MLP, now, i)

    def _blocks_backward(self, last: Pass, grads: NamedArrays) -> None:
        for i in reversed(range(self.config.n_layer)):
            self._run(self.ops.mlp_sublayer_backward, MLP, last, i, grads)
            self._run(self.ops.attention_sublayer_backward, ATTENTION, last, i, grads)
        dwte = grads["wte.weight"]
        self.ops.embedding_backward(
            self._buffers.dacts["embedding.out"],
            last.tokens,
            *last.dropout,
            site=0,
            dwte_head=dwte if self.config.tied else None,  # already there: the head's half
            dwte=dwte,
            dwpe=grads.get("wpe.weight"),
        )

    def logits(self, tokens: Array) -> Array:
        """The logits of the token after each position, (B, T, V), without dropout.

        Raises
        ------
        InputError : wrong shape or type, a token out of range.
        """
        self._last = None
        tokens = self._check_tokens("tokens", tokens, lowest=0)
        self._blocks_forward(Pass(tokens, tokens, 1, (0.0, 0)))
        out = np.empty((*tokens.shape, self.config.vocab_size), self.dtype)
        self.ops.head_forward(**self._buffers.forward_arguments(LOGITS, self.params) | {"out": out})
        return out

    def queries_keys_values(self, tokens: Array) -> list[Array]:
        """What each block's attention works with, (B, T, 3C), without dropout.

        Views, until the next pass. Raises `InputError` as `logits` does.
        """
        self._last = None
        tokens = self._check_tokens("tokens", tokens, lowest=0)
        self._blocks_forward(Pass(tokens, tokens, 1, (0.0, 0)))
        return [self._buffers.acts[f"h.{i}.attn.qkv"] for i in range(self.config.n_layer)]

    def _run(
        self,
        function: Callable[..., None],
        sublayer: Sublayer,
        now: Pass,
        i: int,
        grads: NamedArrays | None = None,
    ) -> None:
        """Call a sublayer's function, or let it repeat its last call where only values changed.

        With dropout the key is another in every pass.
        """
        if now.dropout[0] or not hasattr(function, "repeat"):
            function(**self._arguments(sublayer, now, i, grads))
        else:
            launches = self._buffers.launches_of(function, i, grads)
            function.repeat(launches, lambda: self._arguments(sublayer, now, i, grads))

    def _arguments(
        self, sublayer: Sublayer, now: Pass, i: int = 0, grads: NamedArrays | None = None
    ) -> dict[str, Any]:
        """All arguments of a sublayer's forward call, or with `grads` of its backward call."""
        if grads is None:
            arguments = self._buffers.forward_arguments(sublayer, self.params, i)
        else:
            arguments = self._buffers.backward_arguments(sublayer, self.params, grads, i)
        if sublayer is HEAD:
            return arguments | {"targets": now.targets}
        arguments[sublayer.setting] = getattr(self.config, sublayer.setting)
        rate, key = now.dropout
        return arguments | {"rate": rate, "key": key, "site": 3 * i + sublayer.site}

    def _room_for_grads(self, accumulate: bool) -> NamedArrays:
        if not accumulate:
            return self.grads
        if self._micro_grads is None:
            self._micro_grads = NamedArrays(parameter_shapes(self.config), self.dtype)
        return self._micro_grads

    def _dropout(self, dropout_key: int | None) -> tuple[float, int]:
        """The rate and key of a pass; the rate is 0 where nothing is dropped."""
        if dropout_key is None:
            return 0.0, 0
        return self.config.dropout, integer("dropout_key", dropout_key)

    def _check_tokens(self, name: str, tokens: Array, lowest: int) -> Array:
        """A copy of `tokens`, once it is known that all kernels can use it.

        Backward reads it again, so it must be out of reach of who fills `tokens` with the next
        batch before that; kernels do not look whether a token is in range.
        """
        tokens = as_array(name, tokens)
        if tokens.ndim != 2 or 0 in tokens.shape:
            raise InputError(
                f"{name} has shape {tokens.shape}: must be (sequences, positions), none of them 0"
            )
        if tokens.dtype.kind not in "iu":
            raise InputError(f"{name} is of type {tokens.dtype}: must be integers, such as int64")
        if tokens.shape[1] > self.config.block_size:
            raise InputError(
                f"{name} has {tokens.shape[1]} positions: "
                f"the model sees at most block_size={self.config.block_size} at once"
            )
        low, high = int(tokens.min()), int(tokens.max())
        if low < lowest or high >= self.config.vocab_size:
            wrong = low if low < lowest else high
            also = " (or -1 to leave a position out)" if lowest == IGNORED else ""
            raise InputError(
                f"{name} contains {wrong}: must be from 0 to {self.config.vocab_size - 1}{also}"
            )
        copy = self._room(name, tokens.shape, np.int64)
        copy[...] = tokens
        return copy

    def _room(self, name: str, shape: Shape, dtype: DTypeLike) -> Array:
        """An array for the purpose `name`, in the same memory every time: a step allocates none."""
        size = math.prod(shape)
        room = self._rooms.get(name)
        if room is None or room.size < size:
            room = self._rooms[name] = np.empty(size, dtype)
        return room[:size].reshape(shape)


def load_ops(name: str) -> ModuleType:
    """The package of layer functions of this name, imported when it is first asked for.

    Raises
    ------
    InputError : there is no such implementation.
    """
    if not isinstance(name, str) or name not in IMPLEMENTATIONS:
        raise InputError(f"ops={shown(name)}: {did_you_mean(str(name), IMPLEMENTATIONS)}")
    return importlib.import_module(f"gpt_numpy.{name}")


def _check_dtype(dtype: str, ops: str) -> np.dtype[Any]:
    allowed = DTYPES if ops == "reference" else DTYPES[:2]
    try:
        name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
    except TypeError:
        name = ""
    if name not in allowed:
        raise InputError(
            f"dtype={shown(dtype)} with ops={ops!r}: must be one of {', '.join(allowed)}"
        )
    return np.dtype(name)


def twin_of(model: GPT, keep: tuple[str, ...]) -> GPT:
    """A model with the same parameters, not copied, and with gradients and buffers of its own."""
    twin = GPT(model.config, seed=None, dtype=model.dtype.name, ops=model.ops_name, keep=keep)
    twin.params, twin.ops = model.params, model.ops
    return twin
