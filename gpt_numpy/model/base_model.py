"""What both kinds of model are: parameters, gradients, buffers, and two lists of prepared calls.

A model is a list of stages (stages.py, transformer_stages.py); everything here follows from it. How
a batch is given, and what else a model can do, is the business of gpt.py and encoder_decoder.py.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from gpt_numpy.base.arrays import Array, NamedArrays, Shape, aligned_zeros
from gpt_numpy.base.checks import integer, shown
from gpt_numpy.base.errors import InputError
from gpt_numpy.base.guarded import Guarded
from gpt_numpy.config.choices import IMPLEMENTATIONS
from gpt_numpy.model.buffers import Buffers, Kept, Layout, match_patterns
from gpt_numpy.model.calls import Call, CallBuilder, Calls
from gpt_numpy.model.fixed_tables import fixed_tables
from gpt_numpy.model.implementations import array_type, checked_dtype, load_ops
from gpt_numpy.model.initial_parameters import draw_parameters
from gpt_numpy.model.memory import check_memory
from gpt_numpy.model.stage import SINUSOIDS
from gpt_numpy.model.stages import activations, parameter_shapes, stages_of
from gpt_numpy.reference.linear import BFLOAT16, FULL

MASK64 = 2**64 - 1


class Pass(NamedTuple):
    """What the backward pass needs to know of the forward pass."""

    layout: Layout
    divisor: int
    sizes: Shape
    rate: float  # of dropout
    smoothed: bool  # whether the targets are, if the configuration says so


class Model(Guarded):
    """A model with its parameters, its gradients, and the buffers that both passes work in.

    A subclass says which configuration it takes, and how `forward` is called.

    Attributes
    ----------
    dtype, precision : the type of all arrays, and the name given as `dtype`.
    products : the precision of matrix products, "full" or "bfloat16".
    params, grads : `NamedArrays` with the same names and shapes, one flat buffer each.
    activations, activation_grads : mappings of the names that `keep` asked for.

    Raises
    ------
    InputError : an unknown dtype, implementation or activation name; parameters that this machine
        has no memory for.
    """

    CONFIG: ClassVar[Any]
    config: Any
    CHANGEABLE = ("overrides", "decoding_copies")
    INSTEAD = {
        "params": "write into its arrays, model.params[name][...] = values",
        "grads": "write into its arrays, model.grads[name][...] = values",
        "config": "use model.set_dropout(rate), or make a model of the other shape, KIND(config)",
        "dtype": "make a model of the other type, KIND(config, dtype=...), and copy the parameters",
        "precision": "make a model of the other type, KIND(config, dtype=...); copy the parameters",
        "ops": "make a model with the other layers, KIND(config, ops=...)",
        "activations": "to replace an activation, use gn.replaced(model, {name: value})",
        "activation_grads": "to replace an activation, use gn.replaced(model, {name: value})",
        "dropout": "use model.set_dropout(rate); a pass without dropout_key has none",
        "training": "a pass without dropout_key is one without dropout",
    }

    def __init__(
        self,
        config: Any,
        *,
        seed: int | None = 1337,
        dtype: str = "float32",
        ops: str = IMPLEMENTATIONS[0],
        keep: tuple[str, ...] = (),
    ) -> None:
        if not isinstance(config, self.CONFIG):
            raise InputError(f"config={shown(config)}: must be a {self.CONFIG.__name__}")
        self.config = config
        self.ops_name = ops
        self.ops = load_ops(ops)
        self.precision = checked_dtype(dtype, ops)
        self.dtype = array_type(self.precision)
        check_memory(config, 0, itemsize=self.dtype.itemsize, copies=1)
        self.products = BFLOAT16 if self.precision == BFLOAT16 else FULL
        self._stages = list(stages_of(config))
        self._keep = match_patterns(config, keep)
        self._statistics = frozenset(n for n, a in activations(config).items() if not a.grad)
        shapes = parameter_shapes(config)
        self.params = NamedArrays(shapes, self.dtype)
        zeros = aligned_zeros(self.params.flat.size, self.dtype)
        self.grads = NamedArrays(shapes, self.dtype, zeros)
        self._micro_grads: NamedArrays | None = None  # of one micro-batch, while they accumulate
        # Weights that are no parameters.
        self._fixed = {n: t.astype(self.dtype) for n, t in fixed_tables(config).items()}
        self._buffers = Buffers(config, self.dtype, self._keep, self.ops.LOGITS)
        self._dropout_key = np.zeros(1, np.uint64)
        self._workspaces: dict[str, Array] = {}
        self._forwarded: Layout | None = None  # the layout of the last forward pass
        self._last: Pass | None = None  # a forward pass that backward has not been called for
        self.overrides: dict[str, Callable[[Call], None]] = {}  # by stage; inspection/hooks
        # Memory of generation in bfloat16, which writes the matrices there whenever it starts.
        self.decoding_copies: Array | None = None
        self._complete = True  # from here on Guarded refuses assignments
        if seed is not None:
            self.initialise(seed)

    def __reduce__(self) -> Any:
        """For `copy` and `pickle`: everything but the activations of the last pass."""
        made_with = (self.config, self.precision, self.ops_name, tuple(sorted(self._keep)))
        return _copied, (type(self), *made_with, self.params.flat, self.grads.flat)

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
                + self.instead_of("dtype")
            )
        products = BFLOAT16 if precision == BFLOAT16 else FULL
        vars(self).update(precision=precision, products=products, _last=None)

    @property
    def n_params(self) -> int:
        """The number of parameters."""
        return self.params.flat.size

    @property
    def positions(self) -> Array | None:
        """The vector added at each position, (positions, C): learned, or sinusoids; or None."""
        return self.params.get("wpe.weight", self._fixed.get(SINUSOIDS))

    @property
    def inputs(self) -> dict[str, Array]:
        """The integers that the last pass read: copies of `stages.inputs`; empty before it."""
        arrays = self._forwarded.inputs if self._forwarded else {}
        return {name: array.copy() for name, array in arrays.items()}

    @property
    def activations(self) -> Mapping[str, Array]:
        """The activations of the last forward pass that `keep` names: see `buffers.Kept`."""
        return Kept(self._keep, frozenset(), self._forwarded.acts if self._forwarded else None)

    @property
    def activation_grads(self) -> Mapping[str, Array]:
        """The gradients of the loss with respect to them, from `backward` to the next `forward`."""
        done = self._forwarded if self._last is None else None
        return Kept(self._keep, self._statistics, done.dacts if done else None)

    def calls(
        self, sizes: Shape, *, rate: float = 0.0, accumulate: bool = False, smoothed: bool = True
    ) -> Calls:
        """The calls of both passes over a batch of these sizes, B and T (and S), prepared once.

        rate : of dropout.
        accumulate : whether those of backward write to the gradients of a micro-batch.
        smoothed : False: the targets are not, whatever the configuration says.
        """
        layout, kind = self._layout(sizes), (rate, self.products, smoothed)
        if (accumulate, *kind) not in layout.calls:
            grads = self._grads_of_micro_batch() if accumulate else self.grads
            weights = {**self.params, **self._fixed}
            settings = {"precision": self.products} | ({} if smoothed else {"smoothing": 0.0})
            builder = CallBuilder(layout, weights, grads, rate, self._dropout_key, settings)
            sibling = layout.calls.get((not accumulate, *kind))  # its forward is the same
            if sibling:
                forward = sibling.forward
            else:
                forward = [builder.forward_call(stage, self.ops) for stage in self._stages]
            backward = [builder.backward_call(s, self.ops) for s in reversed(self._stages)]
            layout.calls[accumulate, *kind] = Calls(forward, backward)
        calls: Calls = layout.calls[accumulate, *kind]
        return calls

    def _forward(
        self,
        inputs: Mapping[str, Array],
        sizes: Shape,
        *,
        divisor: int,
        dropout_key: int | None,
        smoothed: bool = True,
    ) -> Any:
        """The sum of the losses of a checked batch over `divisor`; backward may follow."""
        divisor = integer("divisor", divisor, 1, "the number of targets that count, at least 1")
        rate = 0.0 if dropout_key is None else self.config.dropout
        if dropout_key is not None:
            self._dropout_key[0] = integer("dropout_key", dropout_key) & MASK64
        layout = self._begin(inputs, sizes)
        self._run(self.calls(sizes, rate=rate, smoothed=smoothed).forward)
        self._last = Pass(layout, divisor, sizes, rate, smoothed)
        losses = layout.acts["losses"]
        wide = self._workspace("losses", losses.shape, np.result_type(self.dtype, np.float64))
        wide[...] = losses
        return wide.sum().item() / divisor

    def forward(self, given: Array, wanted: Array, /, *, dropout_key: int | None = None) -> Any:
        """The mean loss of predicting `wanted`; a subclass says what both are, and has settings."""
        raise NotImplementedError

    @staticmethod
    def sizes_of(given: Array, wanted: Array, /) -> Shape:
        """The sizes of a batch: B and T, and S where there is a source."""
        raise NotImplementedError

    @staticmethod
    def counted(given: Array, wanted: Array, /) -> int:
        """The number of targets that count, which the mean loss is over."""
        raise NotImplementedError

    def backward(self, *, accumulate: bool = False) -> None:
        """Write the gradient of the last forward pass's loss to `grads`, or add it to them.

        Raises
        ------
        InputError : there was no `forward` since the last `backward` or `logits`.
        """
        if self._last is None:
            raise InputError("backward() has no forward(...) before it: call that first")
        last, self._last = self._last, None
        last.layout.dacts["losses"][...] = 1 / last.divisor
        how: dict[str, Any] = {"rate": last.rate, "smoothed": last.smoothed}
        self._run(self.calls(last.sizes, **how, accumulate=accumulate).backward)
        if accumulate:
            self.grads.flat += self._grads_of_micro_batch().flat

    def _layout(self, sizes: Shape) -> Layout:
        halves = self.products == BFLOAT16 and self.ops.HALVES
        return self._buffers.layout(*sizes, halves=halves)

    def _begin(self, inputs: Mapping[str, Array], sizes: Shape) -> Layout:
        """Copy the batch to where the calls read it; no earlier pass can be continued."""
        self._last = None
        layout = self._forwarded = self._layout(sizes)
        for name, values in inputs.items():
            layout.inputs[name][...] = values
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


def twin_of(model: Any, keep: tuple[str, ...]) -> Any:
    """A model with the same parameters, not copied, and with gradients and buffers of its own."""
    kind = type(model)
    twin = kind(model.config, seed=None, dtype=model.precision, ops=model.ops_name, keep=keep)
    vars(twin)["params"], twin.overrides = model.params, model.overrides
    return twin


def _copied(
    kind: type[Model], config: Any, dtype: str, ops: str, keep: tuple[str, ...],
    params: Array, grads: Array,
) -> Model:  # fmt: skip
    model = kind(config, seed=None, dtype=dtype, ops=ops, keep=keep)
    model.params.flat[...], model.grads.flat[...] = params, grads
    return model
