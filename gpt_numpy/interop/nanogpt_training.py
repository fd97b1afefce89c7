"""What nanoGPT's ckpt.pt holds next to the model: its optimizer, its progress and its settings.

`optimizer` is the state of torch's AdamW, with the two groups that nanoGPT's configure_optimizers
makes: first the tensors of two or more dimensions, which decay, then the others, each in the order
of the model's parameters. `state` maps the number of a tensor in that order to `step`, `exp_avg`
and `exp_avg_sq`, the running mean and mean square of its gradient.
"""

import dataclasses
import itertools
import math
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import InputError
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.interop.torch_reader import StoredTensor, tensors_of, torch_turns
from gpt_numpy.interop.weights import Tensor
from gpt_numpy.model.stages import parameter_shapes
from gpt_numpy.training.optimizer import AdamW

_MOMENTS = ("exp_avg", "exp_avg_sq")
# Settings that say where nanoGPT computed, or name what this project does not have.
_NOT_OURS = ("out_dir", "init_from", "device", "dtype", "compile", "backend", "ops")
_SPELT_OUT: dict[str, Any] = dict.fromkeys(
    ("amsgrad", "maximize", "capturable", "differentiable"), False
)
_SPELT_OUT |= {"foreach": None, "fused": None, "decoupled_weight_decay": True}


class StoredTraining(NamedTuple):
    """A run of nanoGPT that is still in its file."""

    settings: TrainConfig
    iteration: int  # the next one
    best_val_loss: float  # infinite if unknown
    steps: int  # of the optimizer
    moments: tuple[dict[str, Tensor], dict[str, Tensor]] | None  # None: not taken a step yet
    unusable: str  # why the optimizer's state cannot be read; "" if it can


def groups(config: GPTConfig) -> list[list[str]]:
    """The names of the parameters in nanoGPT's two groups: those that decay, and the others."""
    shapes = parameter_shapes(config)
    return [
        [name for name, shape in shapes.items() if len(shape) >= 2],
        [name for name, shape in shapes.items() if len(shape) < 2],
    ]


def read_training(
    archive: zipfile.ZipFile, content: Mapping[Any, Any], config: GPTConfig
) -> StoredTraining:
    """All but the model in the content of a ckpt.pt; what is missing has its default."""
    iteration = content.get("iter_num", 0)
    if type(iteration) is not int or not 0 <= iteration < 2**48:
        raise InputError("iter_num is not an integer of at least 0")
    best = _number(archive, content.get("best_val_loss", math.inf))
    steps, moments, unusable = 0, None, ""
    try:
        steps, moments = _moments(archive, content.get("optimizer"), config)
    except InputError as error:
        unusable = str(error)
    settings = _settings(content.get("config"))
    return StoredTraining(settings, iteration, best, steps, moments, unusable)


def _number(archive: zipfile.ZipFile, value: object) -> float:
    """A number that may be a tensor without dimensions; infinite if it is something else."""
    if isinstance(value, StoredTensor) and not value.shape:
        out = np.empty((), np.float64)
        next(iter(tensors_of(archive, {"number": value})))[1].read_into(out)
        return float(out)
    return float(value) if isinstance(value, int | float) else math.inf


def _moments(
    archive: zipfile.ZipFile, optimizer: object, config: GPTConfig
) -> tuple[int, tuple[dict[str, Tensor], dict[str, Tensor]] | None]:
    """The steps that the optimizer took, and its moments under the parameters' names."""
    if not isinstance(optimizer, dict):
        raise InputError("there is no optimizer")
    state, stored = optimizer.get("state"), optimizer.get("param_groups")
    if not isinstance(state, dict) or not isinstance(stored, list):
        raise InputError("the optimizer has no state and param_groups")
    if not state:
        return 0, None
    listed = [group.get("params") if isinstance(group, dict) else None for group in stored]
    numbers = [each for each in listed if isinstance(each, list)]
    names = groups(config)
    if [*map(len, numbers)] != [*map(len, names)] or len(listed) != len(numbers):
        raise InputError("the optimizer's groups are not those of nanoGPT: matrices, then the rest")
    tables: tuple[dict[str, Any], dict[str, Any]] = {}, {}
    steps = set()
    for number, name in zip(itertools.chain(*numbers), itertools.chain(*names), strict=True):
        entry = state.get(number) if isinstance(number, int) else None
        if not isinstance(entry, dict) or not entry.keys() >= {"step", *_MOMENTS}:
            raise InputError(f"the optimizer lacks the moments of {name}")
        steps.add(_number(archive, entry["step"]))
        for table, key in zip(tables, _MOMENTS, strict=True):
            table[name] = entry[key]
    step = steps.pop()
    if steps or step != int(step if math.isfinite(step) else 0) or not 0 <= step < 2**48:
        raise InputError("the optimizer's tensors have not all taken the same number of steps")
    means, squares = (dict(tensors_of(archive, table, torch_turns)) for table in tables)
    for name, shape in parameter_shapes(config).items():
        for tensor in (means[name], squares[name]):
            if tensor.shape != shape:
                raise InputError(f"the moments of {name} have shape {tensor.shape}, not {shape}")
    return int(step), (means, squares)


def _settings(config: object) -> TrainConfig:
    """Those of nanoGPT's settings that there are here; the data set may be unknown, ""."""
    given = config if isinstance(config, dict) else {}
    kept: dict[str, Any] = {"dataset": ""}
    for item in dataclasses.fields(TrainConfig):
        value = given.get(item.name)
        kinds = (float, int) if item.type is float else (item.type,)
        if type(value) in kinds and item.name not in _NOT_OURS:
            kept[item.name] = value
    try:
        return TrainConfig(**kept)
    except InputError:  # a value that nanoGPT, too, would not survive
        return TrainConfig(dataset=str(kept["dataset"]))


def load_moments(optimizer: AdamW, stored: StoredTraining) -> None:
    """Read the moments into an optimizer, and set its steps."""
    optimizer.steps = stored.steps
    for arrays, table in zip((optimizer.m, optimizer.v), stored.moments or (), strict=False):
        for name, array in arrays.items():
            table[name].read_into(array)


def optimizer_state(
    config: GPTConfig, settings: TrainConfig, optimizer: AdamW | None
) -> dict[str, Any]:
    """The state of torch's AdamW from which nanoGPT goes on; without moments where there are none.

    Torch takes the settings of its groups from the file, so all of them are written. nanoGPT has no
    Muon: a run trained with it leaves no moments, and nanoGPT's AdamW starts anew.
    """
    if optimizer is not None and optimizer.KIND != AdamW.KIND:
        optimizer = None
    names = groups(config)
    counts = [len(group) for group in names]
    numbers = [list(range(counts[0])), list(range(counts[0], sum(counts)))]
    common = {"lr": settings.learning_rate, "betas": (settings.beta1, settings.beta2), "eps": 1e-8}
    if optimizer is not None:
        common |= {"lr": optimizer.learning_rate, "betas": optimizer.betas, "eps": optimizer.eps}
    decays = (settings.weight_decay, 0.0)
    state = {}
    if optimizer is not None and optimizer.steps:
        step = np.array(optimizer.steps, np.float32)
        for number, name in enumerate(itertools.chain(*names)):
            moments = (optimizer.m[name], optimizer.v[name])
            pairs = zip(_MOMENTS, (as_torch(name, array) for array in moments), strict=True)
            # Each tensor has a step of its own, which torch counts up in place.
            state[number] = {"step": step.copy(), **dict(pairs)}
    return {
        "state": state,
        "param_groups": [
            common | _SPELT_OUT | {"weight_decay": decay, "params": params}
            for decay, params in zip(decays, numbers, strict=True)
        ],
    }


def as_torch(name: str, array: Array) -> Array:
    """A parameter, or an array of its shape, as PyTorch's linear layers have it: float32."""
    return np.ascontiguousarray(array.T if torch_turns(name) else array, np.float32)
