"""GPT: embedding, blocks of attention and MLP, head; backward is the mirror of forward.

    tokens -> embedding -> [ + attention -> + MLP ] x n_layer -> head -> logits -> loss

Source: GPT-2 (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019), with
the options of nanoGPT. The mathematics is in `reference/`; the block diagram is the table in
`stages.py`, and a pass is the list of calls that `calls.py` prepares from it.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from gpt_numpy.base.arrays import Array, NamedArrays, Shape, aligned_zeros
from gpt_numpy.base.checks import integer, shown
from gpt_numpy.base.errors import InputError
from gpt_numpy.base.guarded import Guarded
from gpt_numpy.config.choices import IMPLEMENTATIONS
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.model.buffers import Buffers, Kept, Layout, match_patterns, numbers
from gpt_numpy.model.calls import Call, CallBuilder, Calls
from gpt_numpy.model.implementations import array_type, checked_dtype, load_ops
from gpt_numpy.model.initial_parameters import draw_parameters
from gpt_numpy.model.stages import (
    ROTATIONS,
    SINUSOIDS,
    activations,
    gpt,
    parameter_shapes,
)
from gpt_numpy.model.token_check import checked_tokens
from gpt_numpy.reference.cross_entropy import IGNORED, capped
from gpt_numpy.reference.embedding import sinusoidal_positions
from gpt_numpy.reference.linear import BFLOAT16, FULL
from gpt_numpy.reference.rotary import rotation_table

MASK64 = 2**64 - 1


class Pass(NamedTuple):
    """What the backward pass needs to know of the forward pass."""

    layout: Layout
    divisor: int
    rate: float  # of dropout


class GPT(Guarded):
    """A GPT with its parameters, its gradients, and the buffers that both passes work in.

    Parameters
    ----------
    config : the shape of the model.
    seed : of the initial parameters; None leaves them unset, for a caller who sets them.
    dtype : "float32", "float64", or with ops="reference" also "complex128". With "bfloat16" arrays
        are float32, and operands of matrix products are rounded to bfloat16, as are the activations
        that products alone read: the kernels store these in 16 bits.
    ops : the implementation of the layers; "reference" is the readable one.
    keep : patterns (`"h.*.attn.out"`) of activations to hold on to after the passes, with their
        gradients; the others share buffers.

    Attributes
    ----------
    dtype, precision : the type of all arrays, and the name given as `dtype`.
    products : the precision of matrix products, "full" or "bfloat16".
    params, grads : `NamedArrays` with the same names and shapes, one flat buffer each.
    activations, activation_grads : mappings of the names that `keep` asked for.

    Raises
    ------
    InputError : an unknown dtype, implementation or activation name.
    """

    CHANGEABLE = ("overrides",)
    INSTEAD = {
        "params": "write into its arrays, model.params[name][...] = values",
        "grads": "write into its arrays, model.grads[name][...] = values",
        "config": "use model.set_dropout(rate), or make a model of the other shape, GPT(config)",
        "dtype": "make a model of the other type, GPT(config, dtype=...), and copy the parameters",
        "precision": "make a model of the other type, GPT(config, dtype=...); copy the parameters",
        "ops": "make a model with the other layers, GPT(config, ops=...)",
        "activations": "to replace an activation, use gn.replaced(model, {name: value})",
        "activation_grads": "to replace an activation, use gn.replaced(model, {name: value})",
        "dropout": "use model.set_dropout(rate); a pass without dropout_key has none",
        "training": "a pass without dropout_key is one without dropout",
    }

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
        self.precision = checked_dtype(dtype, ops)
        self.dtype = array_type(self.precision)
        self.products = BFLOAT16 if self.precision == BFLOAT16 else FULL
        self._stages = list(gpt(config))
        self._keep = match_patterns(config, keep)
        self._statistics = frozenset(n for n, a in activations(config).items() if not a.grad)
        shapes = parameter_shapes(config)
        self.params = NamedArrays(shapes, self.dtype)
        zeros = aligned_zeros(self.params.flat.size, self.dtype)
        self.grads = NamedArrays(shapes, self.dtype, zeros)
        self._micro_grads: NamedArrays | None = None  # of one micro-batch, while they accumulate
        self._fixed: dict[str, Array] = {}  # weights that are no parameters
        if config.positions == "sinusoidal":
            table = sinusoidal_positions(config.block_size, config.n_embd)
            self._fixed[SINUSOIDS] = table.astype(self.dtype)
        if config.positions == "rotary":
            table = rotation_table(config.block_size, config.head_size, config.rope_base)
            self._fixed[ROTATIONS] = table.astype(self.dtype)
        self._buffers = Buffers(config, self.dtype, self._keep, self.ops.LOGITS)
        self._dropout_key = np.zeros(1, np.uint64)
        self._workspaces: dict[str, Array] = {}
        self._forwarded: Layout | None = None  # the layout of the last forward pass
        self._last: Pass | None = None  # a forward pass that backward has not been called for
        self.overrides: dict[str, Callable[[Call], None]] = {}  # by stage; inspection/hooks
        self._complete = True  # from here on Guarded refuses assignments
        if seed is not None:
            self.initialise(seed)

    def __reduce__(self) -> Any:
        """For `copy` and `pickle`: everything but the activations of the last pass."""
        made_with = (self.config, self.precision, self.ops_name, tuple(sorted(self._keep)))
        return _copied, (*made_with, self.params.flat, self.grads.flat)

    def initialise(self, seed: int) -> None:
        """Draw new parameters, those that a model of this seed starts with."""
        draw_parameters(self.params, self.config, seed)

    def set_dropout(self, rate: float) -> None:
        """Train with another rate of dropout from now on; the rest of the shape is fixed.

        Raises
        ------
        InputError : the rate is not at least 0 and less than 1.
        """
        # Past Guarded, which refuses the assignment.
        vars(self)["config"] = dataclasses.replace(self.config, dropout=rate)

    def set_precision(self, dtype: str) -> None:
        """Compute with float32 products instead of bfloat16 ones from now on, or the reverse.

        Raises
        ------
        InputError : a dtype with arrays of another type; they would have to be converted.
        """
        precision = checked_dtype(dtype, self.ops_name)
        if array_type(precision) != self.dtype:
            raise InputError(
                f"dtype={dtype!r}: a model of {self.precision} cannot change to it; "
                + self.INSTEAD["dtype"]
            )
        products = BFLOAT16 if precision == BFLOAT16 else FULL
        vars(self).update(precision=precision, products=products, _last=None)

    @property
    def n_params(self) -> int:
        """The number of parameters."""
        return self.params.flat.size

    @property
    def positions(self) -> Array | None:
        """The vector added at each position, (block_size, C): learned, or sinusoids; or None."""
        return self.params.get("wpe.weight", self._fixed.get(SINUSOIDS))

    @property
    def rotations(self) -> Array | None:
        """The turns of rotary positions (reference/rotary.py), (block_size, D); or None."""
        return self._fixed.get(ROTATIONS)

    @property
    def activations(self) -> Mapping[str, Array]:
        """The activations of the last forward pass that `keep` names: see `buffers.Kept`."""
        return Kept(self._keep, frozenset(), self._forwarded.acts if self._forwarded else None)

    @property
    def activation_grads(self) -> Mapping[str, Array]:
        """The gradients of the loss with respect to them, from `backward` to the next `forward`."""
        done = self._forwarded if self._last is None else None
        return Kept(self._keep, self._statistics, done.dacts if done else None)

    def calls(self, shape: Shape, *, rate: float = 0.0, accumulate: bool = False) -> Calls:
        """The calls of both passes over a batch of this shape (B, T), prepared once.

        rate : of dropout.
        accumulate : whether those of backward write to the gradients of a micro-batch.
        """
        layout, precision = self._layout(shape), self.products
        if (rate, accumulate, precision) not in layout.calls:
            grads = self._grads_of_micro_batch() if accumulate else self.grads
            weights = {**self.params, **self._fixed}
            builder = CallBuilder(layout, weights, grads, rate, self._dropout_key, precision)
            sibling = layout.calls.get((rate, not accumulate, precision))  # its forward is the same
            if sibling:
                forward = sibling.forward
            else:
                forward = [builder.forward_call(stage, self.ops) for stage in self._stages]
            backward = [builder.backward_call(s, self.ops) for s in reversed(self._stages)]
            layout.calls[rate, accumulate, precision] = Calls(forward, backward)
        calls: Calls = layout.calls[rate, accumulate, precision]
        return calls

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
        divisor : what the sum of losses is divided by; by default the number of targets other than
            -1. With several micro-batches: that of all of them together.

        Raises
        ------
        InputError : wrong shape or type, a token or target out of range.
        """
        tokens = checked_tokens("tokens", tokens, self.config)
        targets = checked_tokens("targets", targets, self.config, lowest=IGNORED)
        if targets.shape != tokens.shape:
            raise InputError(
                f"targets has shape {targets.shape}, tokens has {tokens.shape}: "
                "one target for each token; use -1 where none counts"
            )
        if divisor is None:
            counts = self._workspace("counts", targets.shape, np.bool_)
            np.not_equal(targets, IGNORED, out=counts)
            divisor = max(int(np.count_nonzero(counts)), 1)
        divisor = integer("divisor", divisor, 1, "the number of targets that count, at least 1")
        rate = 0.0 if dropout_key is None else self.config.dropout
        if dropout_key is not None:
            self._dropout_key[0] = integer("dropout_key", dropout_key) & MASK64

        layout = self._begin(tokens, targets)
        self._run(self.calls(tokens.shape, rate=rate).forward)
        self._last = Pass(layout, divisor, rate)
        wide = self._workspace("losses", targets.shape, np.result_type(self.dtype, np.float64))
        wide[...] = layout.acts["losses"]
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
        shape = last.layout.inputs["tokens"].shape
        last.layout.dacts["losses"][...] = 1 / last.divisor
        self._run(self.calls(shape, rate=last.rate, accumulate=accumulate).backward)
        if accumulate:
            self.grads.flat += self._grads_of_micro_batch().flat

    def logits(self, tokens: Array) -> Array:
        """The logits of the token after each position, (B, T, V), without dropout.

        Raises
        ------
        InputError : wrong shape or type, a token out of range.
        """
        tokens = checked_tokens("tokens", tokens, self.config)
        self._begin(tokens, tokens)
        *calls, head = self.calls(tokens.shape).forward
        out = np.empty((*tokens.shape, self.config.vocab_size), self.dtype)
        self._run([*calls, head.without_loss(self.ops, out)])
        return capped(out, self.config.logit_softcap)

    def queries_keys_values(self, tokens: Array) -> list[Array]:
        """What each block's attention reads, (B, T, C + 2 G D), without dropout.

        Views, until the next pass. Raises `InputError` as `logits` does.
        """
        tokens = checked_tokens("tokens", tokens, self.config)
        layout = self._begin(tokens, tokens)
        self._run(self.calls(tokens.shape).forward[:-1])
        name = "ready" if "h.0.attn.ready" in layout.acts else "qkv"
        return [numbers(layout.acts[f"h.{i}.attn.{name}"]) for i in range(self.config.n_layer)]

    def _layout(self, shape: Shape) -> Layout:
        halves = self.products == BFLOAT16 and self.ops.HALVES
        return self._buffers.layout(*shape, halves=halves)

    def _begin(self, tokens: Array, targets: Array) -> Layout:
        """Copy the batch to where the calls read it; no earlier pass can be continued."""
        self._last = None
        layout = self._forwarded = self._layout(tokens.shape)
        layout.inputs["tokens"][...], layout.inputs["targets"][...] = tokens, targets
        return layout

    def _run(self, calls: list[Call]) -> None:
        overrides = self.overrides
        for call in calls:
            override = overrides.get(call.stage.name) if overrides else None
            if override is None:
                call.run()
            else:
                override(call)

    def _grads_of_micro_batch(self) -> NamedArrays:
        if self._micro_grads is None:
            self._micro_grads = NamedArrays(parameter_shapes(self.config), self.dtype)
        return self._micro_grads

    def _workspace(self, name: str, shape: Shape, dtype: DTypeLike) -> Array:
        """An array in the same memory every time: a step allocates none."""
        size = math.prod(shape)
        found = self._workspaces.get(name)
        if found is None or found.size < size:
            found = self._workspaces[name] = np.empty(size, dtype)
        return found[:size].reshape(shape)


def twin_of(model: GPT, keep: tuple[str, ...]) -> GPT:
    """A model with the same parameters, not copied, and with gradients and buffers of its own."""
    twin = GPT(model.config, seed=None, dtype=model.precision, ops=model.ops_name, keep=keep)
    vars(twin)["params"], twin.overrides = model.params, model.overrides
    return twin


def _copied(
    config: GPTConfig, dtype: str, ops: str, keep: tuple[str, ...], params: Array, grads: Array
) -> GPT:
    model = GPT(config, seed=None, dtype=dtype, ops=ops, keep=keep)
    model.params.flat[...], model.grads.flat[...] = params, grads
    return model
