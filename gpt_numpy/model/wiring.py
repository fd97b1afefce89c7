"""Which array each argument of the layers is: the tables between `reference/` and `model.py`.

A sublayer's functions name their arguments after what they are to them (`qkv`, `ln_weight`); the
model's arrays have GPT-2's names (`h.2.attn.qkv`, `h.2.ln_1.weight`). `Sublayer` is the table from
the one to the other, and `Buffers` holds the arrays for a batch of one shape and hands out the
keyword arguments of every call.

An activation that backward reads has a buffer of its own. All others of one kind (every layer
norm's output, say) share one, unless somebody asked to keep them; the last layer norm's stays there
until backward, which begins with it. Everything lies in one flat buffer, which grows with the
largest batch.
"""

import fnmatch
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array, NamedArrays, Shape, aligned_empty
from gpt_numpy.base.checks import shown
from gpt_numpy.base.errors import InputError, did_you_mean
from gpt_numpy.config.gpt import GPTConfig
from gpt_numpy.model.shapes import activation_shapes


@dataclass(frozen=True)
class Sublayer:
    """The array behind each argument of a pair of functions; `{i}` is the number of the block.

    Three names depend on the model: `resid_pre`, `resid_last` and `head` (`Buffers._name`).
    """

    source: str  # the residual stream that it reads, `x`
    target: str  # what it writes, `out`
    params: dict[str, str]
    kept: dict[str, str] = field(default_factory=dict)  # written by forward, read by backward
    scratch: dict[str, str] = field(default_factory=dict)  # written by both
    gradients: tuple[str, ...] = ()  # the arguments among these whose gradient backward writes
    setting: str = ""  # the field of GPTConfig that its functions take
    site: int = 0  # of its first dropout in block 0 (reference/dropout.py)


ATTENTION = Sublayer(
    source="resid_pre",
    target="h.{i}.resid_mid",
    params={
        "ln_weight": "h.{i}.ln_1.weight",
        "ln_bias": "h.{i}.ln_1.bias",
        "qkv_weight": "h.{i}.attn.c_attn.weight",
        "qkv_bias": "h.{i}.attn.c_attn.bias",
        "proj_weight": "h.{i}.attn.c_proj.weight",
        "proj_bias": "h.{i}.attn.c_proj.bias",
    },
    kept={
        "mean": "h.{i}.ln_1.mean",
        "rstd": "h.{i}.ln_1.rstd",
        "qkv": "h.{i}.attn.qkv",
        "lse": "h.{i}.attn.lse",
        "attn": "h.{i}.attn.out",
    },
    scratch={"norm": "h.{i}.ln_1.out"},
    gradients=("norm", "qkv", "attn"),
    setting="n_head",
    site=1,
)

MLP = Sublayer(
    source="h.{i}.resid_mid",
    target="h.{i}.resid_post",
    params={
        "ln_weight": "h.{i}.ln_2.weight",
        "ln_bias": "h.{i}.ln_2.bias",
        "fc_weight": "h.{i}.mlp.c_fc.weight",
        "fc_bias": "h.{i}.mlp.c_fc.bias",
        "proj_weight": "h.{i}.mlp.c_proj.weight",
        "proj_bias": "h.{i}.mlp.c_proj.bias",
    },
    kept={"mean": "h.{i}.ln_2.mean", "rstd": "h.{i}.ln_2.rstd", "fc": "h.{i}.mlp.fc"},
    scratch={"norm": "h.{i}.ln_2.out", "act": "h.{i}.mlp.act"},
    gradients=("norm", "fc", "act"),
    setting="activation",
    site=3,
)

LOGITS = Sublayer(
    source="resid_last",
    target="logits",
    params={"ln_weight": "ln_f.weight", "ln_bias": "ln_f.bias", "weight": "head"},
    kept={"mean": "ln_f.mean", "rstd": "ln_f.rstd"},
    scratch={"norm": "ln_f.out"},
)

HEAD = Sublayer(
    source="resid_last",
    target="losses",
    params=LOGITS.params,
    kept=LOGITS.kept | LOGITS.scratch | {"logits": "logits", "lse": "lse"},
    gradients=("norm", "logits"),
)

# Activations that share a buffer, by the end of their name, and gradients that do. The gradient of
# the residual stream is one buffer, handed from sublayer to sublayer.
SHARED = {"ln_1.out": "norm", "ln_2.out": "norm", "ln_f.out": "norm", "mlp.act": "act"}
SHARED_GRADIENTS = {
    "embedding.out": "resid",
    "resid_mid": "resid",
    "resid_post": "resid",
    "ln_1.out": "norm",
    "ln_2.out": "norm",
    "ln_f.out": "norm",
    "attn.qkv": "hidden",  # done with before, or begun after, an MLP sublayer
    "attn.out": "attn",
    "mlp.fc": "hidden",
    "mlp.act": "hidden",
}
BLOCKS_ALONE = ("act", "d hidden", "d attn")  # nothing lies there while there are logits
WITHOUT_GRADIENT = ("mean", "rstd", "lse")  # the layer's own backward accounts for them


@dataclass(frozen=True)
class Layout:
    """The arrays of a batch of one shape by name, and the arguments of the calls made with them.

    The arguments are put together once: that takes longer than a kernel of a small model.
    """

    acts: dict[str, Array]
    dacts: dict[str, Array]
    calls: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)
    launches: dict[tuple[Any, ...], Any] = field(default_factory=dict)


class Buffers:
    """The activations of one batch shape and their gradients, and the arguments of every call.

    `prepare` must come first. `acts` and `dacts` are then dictionaries of name to array. Of the
    logits, unless they are kept, at most `logits` elements exist at once, or one position's.
    """

    def __init__(
        self,
        config: GPTConfig,
        dtype: np.dtype[Any],
        keep: frozenset[str],
        logits: float,
    ) -> None:
        self._config, self._dtype, self._keep = config, dtype, keep
        self._most_logits = logits
        self._store = aligned_empty(0, dtype)
        self._layouts: dict[tuple[int, int], Layout] = {}
        self._layout = Layout({}, {})
        self.acts, self.dacts = self._layout.acts, self._layout.dacts

    def prepare(self, batch: int, length: int) -> None:
        """Make `acts` and `dacts` those of a batch of this shape."""
        shape = (batch, length)
        if shape not in self._layouts:
            self._layouts[shape] = self._lay_out(batch, length)
        self._layout = self._layouts[shape]
        self.acts, self.dacts = self._layout.acts, self._layout.dacts

    def _lay_out(self, batch: int, length: int) -> "Layout":
        shapes = self._shapes(batch, length)
        graded = {n: s for n, s in shapes.items() if n.split(".")[-1] not in WITHOUT_GRADIENT}
        places = {n: self._place(n, SHARED) for n in shapes}
        dplaces = {n: "d " + self._place(n, SHARED_GRADIENTS) for n in graded}
        if "logits" not in self._keep:
            dplaces["logits"] = "logits"  # overwritten by its own gradient
        sizes: dict[str, Shape] = {}
        for name, place in [*places.items(), *dplaces.items()]:
            size = max(math.prod(shapes[name]), *sizes.get(place, (0,)))
            sizes[place] = (size,)
        idle: dict[str, Shape] = {}
        if "logits" not in self._keep:
            idle = {place: sizes.pop(place) for place in BLOCKS_ALONE if place in sizes}
            sizes["logits"] = (max(*sizes["logits"], sum(size for (size,) in idle.values())),)
        total = sum(size for (size,) in sizes.values())
        if total > self._store.size:
            self._layouts.clear()
            self._store = aligned_empty(total, self._dtype)
        room: dict[str, Array] = dict(NamedArrays(sizes, self._dtype, buffer=self._store))
        room |= NamedArrays(idle, self._dtype, buffer=room["logits"])

        def view(name: str, place: str) -> Array:
            return room[place][: math.prod(shapes[name])].reshape(shapes[name])

        acts = {name: view(name, place) for name, place in places.items()}
        return Layout(acts, {name: view(name, place) for name, place in dplaces.items()})

    def _shapes(self, batch: int, length: int) -> dict[str, Shape]:
        """Those of all activations; of the logits, what of them exists at once."""
        shapes = activation_shapes(self._config, batch, length)
        if "logits" not in self._keep and math.prod(shapes["logits"]) > self._most_logits:
            V = self._config.vocab_size
            shapes["logits"] = (max(1, int(self._most_logits) // V), V)
        return shapes

    def _place(self, name: str, shared: Mapping[str, str]) -> str:
        ending = name.split(".", 2)[-1] if name.startswith("h.") else name
        return name if name in self._keep else shared.get(ending, name)

    def forward_arguments(
        self, table: Sublayer, params: Mapping[str, Array], i: int = 0
    ) -> dict[str, Any]:
        """Every array argument of a forward call; `params` is the same in every call."""
        call = (table.target, i)
        arguments = self._layout.calls.get(call)
        if arguments is None:
            arguments = self._layout.calls[call] = self._forward_arguments(table, params, i)
        return arguments

    def backward_arguments(
        self, table: Sublayer, params: Mapping[str, Array], grads: Mapping[str, Array], i: int = 0
    ) -> dict[str, Any]:
        """Every array argument of a backward call; `grads` is one of the model's own."""
        call = (table.target, i, id(grads))
        arguments = self._layout.calls.get(call)
        if arguments is None:
            arguments = self._forward_arguments(table, params, i)
            arguments |= self._gradient_arguments(table, grads, i)
            del arguments["out"]
            self._layout.calls[call] = arguments
        return arguments

    def launches_of(self, function: Any, i: int, grads: Mapping[str, Array] | None) -> Any:
        """Where `function`, which can repeat itself, notes what it launches for these arrays."""
        call = (function, i, id(grads))
        launches = self._layout.launches.get(call)
        if launches is None:
            launches = self._layout.launches[call] = function.launches()
        return launches

    def _forward_arguments(
        self, table: Sublayer, params: Mapping[str, Array], i: int
    ) -> dict[str, Any]:
        arguments: dict[str, Any] = {"x": self.acts[self._name(table.source, i)]}
        arguments |= self._parameters(table, params, i)
        arguments["out"] = self.acts[self._name(table.target, i)]
        for argument, name in (table.kept | table.scratch).items():
            arguments[argument] = self.acts[self._name(name, i)]
        return arguments

    def _gradient_arguments(
        self, table: Sublayer, grads: Mapping[str, Array], i: int
    ) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "dout": self.dacts[self._name(table.target, i)],
            "dx": self.dacts[self._name(table.source, i)],
        }
        for argument, grad in self._parameters(table, grads, i).items():
            arguments["d" + argument] = grad
        for argument in table.gradients:
            name = (table.kept | table.scratch)[argument]
            arguments["d" + argument] = self.dacts[self._name(name, i)]
        return arguments

    def _parameters(
        self, table: Sublayer, params: Mapping[str, Array], i: int
    ) -> dict[str, Array | None]:
        # A bias that the model does not have is None.
        return {arg: params.get(self._name(name, i)) for arg, name in table.params.items()}

    def _name(self, name: str, i: int) -> str:
        if name == "head":
            return "wte.weight" if self._config.tied else "lm_head.weight"
        if name == "resid_last":
            return f"h.{self._config.n_layer - 1}.resid_post"
        if name == "resid_pre":
            return f"h.{i - 1}.resid_post" if i else "embedding.out"
        return name.format(i=i)


class Kept(Mapping[str, Array]):
    """Those of `arrays` whose names are in `names`; views, which the next pass overwrites."""

    def __init__(self, names: frozenset[str], arrays: Mapping[str, Array]) -> None:
        self._names = names
        self._arrays = {name: array for name, array in arrays.items() if name in names}

    def __getitem__(self, name: str) -> Array:
        if name in self._arrays:
            return self._arrays[name]
        if name not in self._names:
            why = "it is not kept; name it, or a pattern such as 'h.*.attn.out', in GPT(..., keep=)"
        elif name.split(".")[-1] in WITHOUT_GRADIENT and self._arrays:
            why = "it is a statistic, without a gradient of its own"
        else:
            why = "there was no pass yet"
        raise KeyError(f"{name!r}: {why}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def match_patterns(config: GPTConfig, patterns: tuple[str, ...]) -> frozenset[str]:
    """The names of the activations that any of the patterns matches, as a shell matches files.

    Raises
    ------
    InputError : a pattern matches nothing.
    """
    names = list(activation_shapes(config, 1, 1))
    matched: set[str] = set()
    if not isinstance(patterns, tuple | list | set | frozenset):
        raise InputError(f"keep={shown(patterns)}: must be a tuple of texts, ('h.*.attn.out',)")
    for pattern in patterns:
        found = fnmatch.filter(names, pattern) if isinstance(pattern, str) else []
        if not found:
            hint = did_you_mean(str(pattern), names)
            raise InputError(f"keep={shown(pattern)} matches no activation: {hint}")
        matched.update(found)
    return frozenset(matched)
