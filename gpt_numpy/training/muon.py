"""Muon on the matrices inside the blocks, AdamW on everything else.

The update of one matrix is derived in `reference/muon.py`.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array, NamedArrays, Shape
from gpt_numpy.base.checks import real
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.model.base_model import Model
from gpt_numpy.model.stage import ModelConfig, within_stack
from gpt_numpy.model.stages import parameter_shapes
from gpt_numpy.parallel.world import ONE, World
from gpt_numpy.reference.muon import MuonSettings, Place, muon_updates
from gpt_numpy.training.optimizer import AdamW

MOMENTUM = "muon.momentum"
ATTENTION = ".attn.c_attn.weight"  # queries, keys and values next to each other
CROSS = ".cross.c_kv.weight"  # keys and values of the encoder's output
GATED = ".mlp.c_fc.weight"  # with SwiGLU gates and values next to each other


class Muon(AdamW):
    """Muon on the matrices inside the blocks; AdamW on embeddings, head, norms and biases.

    The weights of queries, keys and values that lie next to each other are cut into one matrix for
    each head of each: as good as three (benchmarks/records), and cheaper, for the cost grows with
    the cube of the shorter side. The blocks of a Transformer are the encoder's and the decoder's.

    Parameters
    ----------
    muon_learning_rate : for the next step of the matrices inside the blocks; set the attribute to
        change it.
    muon_momentum : decay rate of the running mean of their gradients, in [0, 1).
    weight_decay : of all tensors of two or more dimensions, each times its own learning rate.
    grad_clip : largest norm of the gradient over all parameters, of both kinds; 0 turns clipping
        off.

    All others are AdamW's.

    Attributes
    ----------
    momentum : `NamedArrays`, the running mean of the gradients of the matrices inside the blocks.
    m, v : as in AdamW, of the other parameters.
    steps : number of steps taken.

    Raises
    ------
    InputError : a value out of range.
    """

    KIND = "muon"
    CHANGEABLE = (*AdamW.CHANGEABLE, "muon_learning_rate", "muon_momentum")
    SETTINGS = (*AdamW.SETTINGS, "muon_learning_rate", "muon_momentum")
    INSTEAD = AdamW.INSTEAD | {
        "momentum": "write into its arrays, optimizer.momentum[name][...] = values; its decay rate "
        "is muon_momentum",
        "model": "make an optimizer for the other model, Muon(model)",
    }

    def __init__(
        self,
        model: Model,
        *,
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.1,
        grad_clip: float = 1.0,
        eps: float = 1e-8,
        muon_learning_rate: float = 0.02,
        muon_momentum: float = 0.95,
        world: World = ONE,
    ) -> None:
        self.muon_learning_rate = muon_learning_rate
        self.muon_momentum = muon_momentum
        super().__init__(
            model,
            learning_rate=learning_rate,
            betas=betas,
            weight_decay=weight_decay,
            grad_clip=grad_clip,
            eps=eps,
            world=world,
        )

    def _begin(self) -> None:
        self.momentum = self._state[MOMENTUM]
        self._places: dict[str, list[int]] = {name: [] for name in self.momentum}
        found = list(_places(self.model, self.momentum))
        # The largest first, so that at the end no thread has much to do when the others are idle.
        found.sort(key=lambda named: _operations(named[1]), reverse=True)
        for number, (name, _) in enumerate(found):
            self._places[name].append(number)
        self._table = np.array([place for _, place in found], np.int64).reshape(-1, 6)
        self._changes = np.zeros((len(found), 2))

    @classmethod
    def state_shapes(cls, config: ModelConfig) -> dict[str, dict[str, Shape]]:
        """The shapes of what is kept from step to step, by kind and by the parameters' names."""
        matrices: dict[str, Shape] = {}
        others: dict[str, Shape] = {}
        for name, shape in parameter_shapes(config).items():
            (matrices if is_matrix_of_block(name, shape) else others)[name] = shape
        return {"adamw.m": others, "adamw.v": others, MOMENTUM: matrices}

    def _checked_setting(self, name: str, value: Any) -> Any:
        if name == "muon_momentum":
            return real(name, value, lambda x: 0 <= x < 1, "at least 0 and less than 1")
        return super()._checked_setting(name, value)

    def own_shapes(self) -> dict[str, dict[str, Shape]]:
        """The part of `state_shapes` that this process keeps: of matrices, whole ones."""
        matrices = self.state_shapes(self.model.config)[MOMENTUM]
        self._owners = _owners(matrices, self.world.size, self.model.config)
        own = {name: s for name, s in matrices.items() if self._owners[name] == self.world.rank}
        return super().own_shapes() | {MOMENTUM: own}

    def _owner(self, kind: str, name: str) -> int | None:
        return self._owners[name] if kind == MOMENTUM else None

    def _update(self, clip: float) -> None:
        super()._update(clip)
        if self.world.size > 1:  # a matrix is made orthogonal as a whole
            self.world.hand_on(self.model.grads.flat)
        if len(self._table):
            self._muon(clip)
        for name, owner in self._owners.items():
            self.world.broadcast(self.model.params[name], owner)

    def _muon(self, clip: float) -> None:
        self.model.ops.muon_updates(
            self.model.params.flat,
            self.model.grads.flat,
            self.momentum.flat,
            self._table,
            self._changes,
            grad_scale=clip,
            settings=self._muon_settings(),
        )

    def _muon_settings(self) -> MuonSettings:
        return MuonSettings(self.muon_learning_rate, self.muon_momentum, self.weight_decay)

    def predicted(self, name: str, grad: Array, clip: float) -> Array:
        """What the next step would make of a parameter; nothing is changed."""
        if name not in self.momentum:
            return super().predicted(name, grad, clip)
        new, momentum = self.model.params[name].copy(), self.momentum[name].copy()
        numbers = self._places[name]
        places = [Place(*self._table[k])._replace(start=0, state=0) for k in numbers]
        muon_updates(
            new.reshape(-1), np.ascontiguousarray(grad).reshape(-1), momentum.reshape(-1),
            places, np.zeros((len(places), 2)), grad_scale=clip, settings=self._muon_settings(),
        )  # fmt: skip
        return new

    def last_change(self, name: str) -> tuple[float, float]:
        """Squared norms of the last change of a parameter, and of the parameter before it."""
        if name not in self._owners:
            return super().last_change(name)
        if name not in self._places:  # another process has it
            return 0.0, 0.0
        change, before = self._changes[self._places[name]].sum(axis=0)
        return float(change), float(before)


def is_matrix_of_block(name: str, shape: Shape) -> bool:
    """Whether a parameter is Muon's: a weight inside a block, which is no vector."""
    _, within = within_stack(name)
    return within.startswith("h.") and len(shape) == 2


def _places(model: Model, momentum: NamedArrays) -> Iterator[tuple[str, Place]]:
    """Every matrix with a momentum here, with the name of the parameter that it is a part of."""
    for name, state in momentum.starts.items():
        start, first = model.params.starts[name], 0
        rows, width = model.params[name].shape
        for columns in _split(name, rows, width, model.config):
            yield name, Place(start, state, rows, width, first, columns)
            first += columns


def _split(name: str, rows: int, width: int, config: ModelConfig) -> list[int]:
    """How many columns each matrix of a parameter has."""
    gated = isinstance(config, GPTConfig) and config.activation == "swiglu"
    if gated and name.endswith(GATED):
        return [width // 2, width // 2]
    if not name.endswith((ATTENTION, CROSS)):
        return [width]
    return [config.head_size] * (width // config.head_size)


def _owners(shapes: dict[str, Shape], processes: int, config: ModelConfig) -> dict[str, int]:
    """Which process updates which parameter: the costliest first, to who has least to do."""
    costs: dict[str, int] = {}
    for name, (rows, width) in shapes.items():
        parts = _split(name, rows, width, config)
        costs[name] = sum(_operations(Place(0, 0, rows, width, 0, part)) for part in parts)
    busy, owners = [0] * processes, dict.fromkeys(shapes, 0)
    for name in sorted(costs, key=lambda name: -costs[name]):
        owners[name] = busy.index(min(busy))
        busy[owners[name]] += costs[name]
    return owners


def _operations(place: Place) -> int:
    """What the cost of a matrix is proportional to."""
    short, long = sorted((place.rows, place.columns))
    return short * short * (2 * long + short)
