"""Example arguments for every pair of layer functions: all that the generic tests need of a pair.

An entry makes the inputs of `<name>_forward` and says the shapes of what it writes. Names are those
of the arguments, or of the fields of the named tuples that they travel in: `flat_names` says which
a function has, and `call` puts the tuples together. Sizes are small, all different, and include
what hides mistakes if left out: repeated tokens, targets that are left out, T > 1, H > 1, dropout.

A pair whose settings choose between ways to compute has several entries: what follows `+` in a name
says which one it is.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from gpt_numpy.reference.dropout import Dropout
from gpt_numpy.reference.rotary import rotation_table

B, T, C, H, F, V = 2, 5, 6, 2, 7, 11
EPS = 0.1  # of norms: large enough to show
DROPOUT = {"rate": 0.4, "key": 0xDEADBEEF12345678, "site": 3}


@dataclass
class Example:
    """Arguments of a forward function, the shapes of what it writes, and extra for backward."""

    inputs: dict[str, Any]
    outputs: dict[str, tuple[int, ...]]
    extra: dict[str, Any] = field(default_factory=dict)


def _norm_params(rng):
    return 1 + 0.5 * rng.standard_normal(C), 0.5 * rng.standard_normal(C)


def _layernorm(rng):
    weight, bias = _norm_params(rng)
    x = 2 + rng.standard_normal((B, T, C))
    inputs = {"x": x, "weight": weight, "bias": bias, "eps": EPS}
    return Example(inputs, {"out": (B, T, C), "mean": (B, T), "rstd": (B, T)})


def _rmsnorm(rng):
    example = _layernorm(rng)
    inputs = {name: example.inputs[name] for name in ("x", "weight", "eps")}
    return Example(inputs, {"out": (B, T, C), "rstd": (B, T)})


def _with_rmsnorm(make):
    """The same example with the other norm, which has no bias and no mean."""

    def example(rng):
        made = make(rng)
        made.inputs = {n: v for n, v in made.inputs.items() if n != "ln_bias"}
        made.inputs["norm_kind"] = "rmsnorm"
        made.inputs["norm_eps"] = EPS
        made.outputs = {n: v for n, v in made.outputs.items() if n != "mean"}
        return made

    return example


def _linear(rng):
    inputs = {
        "x": rng.standard_normal((B, T, C)),
        "weight": rng.standard_normal((C, F)),
        "bias": rng.standard_normal(F),
    }
    return Example(inputs, {"out": (B, T, F)})


def _attention(rng):
    inputs = {"qkv": rng.standard_normal((B, T, 3 * C)), "n_head": H} | DROPOUT
    return Example(inputs, {"out": (B, T, C), "lse": (B, H, T)})


def _grouped(rng):
    """Attention of which several query heads share one of keys and values."""
    D, groups = C // H, 2
    inputs = {
        "qkv": rng.standard_normal((B, T, (3 * groups + 2 * groups) * D)),
        "n_head": 3 * groups,
        "n_kv_head": groups,
    }
    outputs = {"out": (B, T, 3 * groups * D), "lse": (B, 3 * groups, T)}
    return Example(inputs | DROPOUT, outputs)


def _both_ways(make):
    """The same example without the causal mask, the second sequence padded."""

    def example(rng):
        made = make(rng)
        made.inputs["lengths"] = _lengths(T)
        return made

    return example


def _lengths(positions):
    """One sequence without padding, the others with ever more of it."""
    return np.maximum(positions - 2 * np.arange(B), 1)


def _cross_attention(rng):
    S = T + 2
    inputs = {
        "q": rng.standard_normal((B, T, C)),
        "kv": rng.standard_normal((B, S, 2 * C)),
        "lengths": _lengths(S),
        "n_head": H,
    }
    return Example(inputs | DROPOUT, {"out": (B, T, C), "lse": (B, H, T)})


def _queries_keys(rng, normed=True, turned=True):
    heads, groups, D = H + 1, 1, 2 * (C // H)  # of an even number of channels
    inputs = {
        "qkv": rng.standard_normal((B, T, (heads + 2 * groups) * D)),
        "n_head": heads,
        "n_kv_head": groups,
    }
    if normed:
        inputs |= {f"{x}_norm": 1 + 0.5 * rng.standard_normal(D) for x in "qk"} | {"eps": EPS}
    if turned:
        inputs["rotations"] = rotation_table(T + 2, D, 100.0)
    return Example(inputs, {"out": (B, T, (heads + 2 * groups) * D)})


def _elementwise(rng):
    # Away from 0, where ReLU has no derivative, and on both sides of erf's boundaries.
    x = np.concatenate([np.linspace(-7.03, 7.03, 69), [0.3, -0.3, 0.46, 0.47, -3.9, 4.1, 6.5]])
    return Example({"x": x.reshape(4, 19)}, {"out": (4, 19)})


def _dropout(rng):
    return Example({"x": rng.standard_normal((B, T, C))} | DROPOUT, {"out": (B, T, C)})


def _swiglu(rng):
    x = 3 * rng.standard_normal((B, T, 2 * F))
    return Example({"x": x}, {"out": (B, T, F)})


def _tokens(rng):
    tokens = rng.integers(0, V, (B, T))
    tokens[:, -1] = tokens[:, 0]
    return tokens


def _targets(rng):
    targets = rng.integers(0, V, (B, T))
    targets[:, T // 2] = -1
    return targets


def _cross_entropy(rng):
    inputs = {"logits": 3 * rng.standard_normal((B, T, V)), "targets": _targets(rng)}
    return Example(inputs, {"out": (B, T), "lse": (B, T)})


def _capped(make):
    """The same example with a soft cap that bends the logits."""

    def example(rng):
        made = make(rng)
        made.inputs["softcap"] = 2.5
        return made

    return example


def _smoothed(make):
    """The same example with smoothed targets."""

    def example(rng):
        made = make(rng)
        made.inputs["smoothing"] = 0.15
        return made

    return example


def _without_norm(make):
    """The same example with no norm in front, as post-norm has it."""

    def example(rng):
        made = make(rng)
        made.inputs = {n: v for n, v in made.inputs.items() if not n.startswith("ln_")}
        made.inputs["norm_kind"] = "none"
        made.outputs = {n: v for n, v in made.outputs.items() if n not in ("mean", "rstd")}
        return made

    return example


def _norm_layer(rng):
    ln_weight, ln_bias = _norm_params(rng)
    x = 2 + rng.standard_normal((B, T, C))
    inputs = {"x": x, "ln_weight": ln_weight, "ln_bias": ln_bias}
    return Example(inputs, {"out": (B, T, C), "mean": (B, T), "rstd": (B, T)})


def _scaled(make):
    """The same example with the token embeddings multiplied."""

    def example(rng):
        made = make(rng)
        made.inputs["scale"] = 2.5
        return made

    return example


def _without_positions(rng):
    example = _embedding(rng)
    del example.inputs["wpe"]
    return example


def _embedding(rng):
    inputs = {
        "tokens": _tokens(rng),
        "wte": rng.standard_normal((V, C)),
        "wpe": rng.standard_normal((T + 3, C)),
    }
    return Example(inputs | DROPOUT, {"out": (B, T, C)}, {"tied": False})


def _weight(rng, rows, columns):
    # What comes out is as large as what goes in, at any width, as in a model: where it is not,
    # float32 loses digits in differences, whoever computes.
    return 1.2 / np.sqrt(rows) * rng.standard_normal((rows, columns))


def _sublayer_params(rng, first, first_width, second, second_rows):
    ln_weight, ln_bias = _norm_params(rng)
    return {
        "x": rng.standard_normal((B, T, C)),
        "ln_weight": ln_weight,
        "ln_bias": ln_bias,
        f"{first}_weight": _weight(rng, C, first_width),
        f"{first}_bias": 0.5 * rng.standard_normal(first_width),
        f"{second}_weight": _weight(rng, second_rows, C),
        f"{second}_bias": 0.5 * rng.standard_normal(C),
    }


_NORM_OUT = {"out": (B, T, C), "mean": (B, T), "rstd": (B, T), "norm": (B, T, C)}


def _attention_sublayer(rng):
    inputs = _sublayer_params(rng, "qkv", 3 * C, "proj", C) | {"n_head": H} | DROPOUT
    outputs = _NORM_OUT | {"qkv": (B, T, 3 * C), "lse": (B, H, T), "attn": (B, T, C)}
    return Example(inputs, outputs)


def _modern_attention(rng):
    """Grouped heads that are normalised and turn, after RMSNorm."""
    heads, D = 2 * H, 2 * (C // H)
    width, out = (heads + 2 * H) * D, heads * D
    inputs = _sublayer_params(rng, "qkv", width, "proj", out) | DROPOUT
    inputs |= {"n_head": heads, "n_kv_head": H, "rotations": rotation_table(T + 2, D, 100.0)}
    inputs |= {f"{x}_norm": 1 + 0.5 * rng.standard_normal(D) for x in "qk"}
    qkv, attn = (B, T, width), (B, T, out)
    outputs = {"qkv": qkv, "ready": qkv, "lse": (B, heads, T), "attn": attn}
    return Example(inputs, _NORM_OUT | outputs)


def _cross_attention_sublayer(rng):
    S = T + 2
    params = _sublayer_params(rng, "q", C, "proj", C)
    inputs = params | {
        "memory": rng.standard_normal((B, S, C)),
        "lengths": _lengths(S),
        "kv_weight": _weight(rng, C, 2 * C),
        "kv_bias": 0.5 * rng.standard_normal(2 * C),
        "n_head": H,
    }
    outputs = {"q": (B, T, C), "kv": (B, S, 2 * C), "lse": (B, H, T), "attn": (B, T, C)}
    return Example(inputs | DROPOUT, _NORM_OUT | outputs)


def _gated_mlp(rng):
    inputs = _sublayer_params(rng, "fc", 2 * F, "proj", F) | {"activation": "swiglu"} | DROPOUT
    return Example(inputs, _NORM_OUT | {"fc": (B, T, 2 * F), "act": (B, T, F)})


def _mlp_sublayer(rng):
    inputs = _sublayer_params(rng, "fc", 4 * C, "proj", 4 * C) | {"activation": "gelu"} | DROPOUT
    return Example(inputs, _NORM_OUT | {"fc": (B, T, 4 * C), "act": (B, T, 4 * C)})


def _head(rng):
    ln_weight, ln_bias = _norm_params(rng)
    inputs = {
        "x": rng.standard_normal((B, T, C)),
        "ln_weight": ln_weight,
        "ln_bias": ln_bias,
        "weight": _weight(rng, C, V).T.copy(),
    }
    return Example(inputs, _NORM_OUT | {"out": (B, T, V)})


def _head_loss(rng):
    example = _head(rng)
    inputs = example.inputs | {"targets": _targets(rng)}
    shapes = {"out": (B, T), "logits": (B, T, V), "lse": (B, T)}
    return Example(inputs, _NORM_OUT | shapes)


EXAMPLES: dict[str, Callable[[np.random.Generator], Example]] = {
    "layernorm": _layernorm,
    "rmsnorm": _rmsnorm,
    "linear": _linear,
    "attention": _attention,
    "attention+grouped": _grouped,
    "attention+lengths": _both_ways(_attention),
    "cross_attention": _cross_attention,
    "queries_keys": _queries_keys,
    "queries_keys+normed": lambda rng: _queries_keys(rng, turned=False),
    "queries_keys+turned": lambda rng: _queries_keys(rng, normed=False),
    "gelu": _elementwise,
    "gelu_tanh": _elementwise,
    "relu": _elementwise,
    "relu2": _elementwise,
    "swiglu": _swiglu,
    "dropout": _dropout,
    "cross_entropy": _cross_entropy,
    "cross_entropy+capped": _capped(_cross_entropy),
    "cross_entropy+smoothed": _smoothed(_capped(_cross_entropy)),
    "embedding": _embedding,
    "embedding+scaled": _scaled(_embedding),
    "embedding+tokens": _without_positions,
    "attention_sublayer": _attention_sublayer,
    "attention_sublayer+rmsnorm": _with_rmsnorm(_attention_sublayer),
    "attention_sublayer+modern": _with_rmsnorm(_modern_attention),
    "attention_sublayer+lengths": _without_norm(_both_ways(_attention_sublayer)),
    "cross_attention_sublayer": _cross_attention_sublayer,
    "cross_attention_sublayer+none": _without_norm(_cross_attention_sublayer),
    "norm_layer": _norm_layer,
    "mlp_sublayer": _mlp_sublayer,
    "mlp_sublayer+none": _without_norm(_mlp_sublayer),
    "mlp_sublayer+rmsnorm": _with_rmsnorm(_mlp_sublayer),
    "mlp_sublayer+swiglu": _gated_mlp,
    "head": _head,
    "head_loss": _head_loss,
    "head_loss+capped": _with_rmsnorm(_capped(_head_loss)),
    "head_loss+smoothed": _without_norm(_smoothed(_head_loss)),
}


def pair_of(example: str) -> str:
    """The pair that an entry of EXAMPLES is for."""
    return example.partition("+")[0]


def pairs(modules: list[ModuleType]) -> dict[str, tuple[Callable[..., None], Callable[..., None]]]:
    """Every `x_forward` of these modules with its `x_backward`, by `x`."""
    functions = {
        name: function
        for module in modules
        for name, function in vars(module).items()
        if callable(function) and name.endswith(("_forward", "_backward"))
    }
    names = {name.rsplit("_", 1)[0] for name in functions}
    return {name: (functions[name + "_forward"], functions[name + "_backward"]) for name in names}


def is_float(value: Any) -> bool:
    """Whether an argument is an array that has a gradient."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "fc"


def is_setting(value: Any) -> bool:
    """Whether an argument says how a layer computes: a number, or an array of integers."""
    return isinstance(value, int | float) or getattr(value, "dtype", None) == np.int64


def cast(inputs: dict[str, Any], dtype: Any) -> dict[str, Any]:
    """The arguments with their float arrays in another type."""
    return {n: v.astype(dtype) if is_float(v) else v for n, v in inputs.items()}


def _tuple_of(function: Callable[..., None], argument: str) -> Any:
    """The named tuple type of an argument, or None."""
    annotation = function.__annotations__.get(argument)
    return annotation if hasattr(annotation, "_fields") else None


def _flat(function: Callable[..., None], argument: str) -> list[str]:
    """The names under which an argument stands in an example."""
    kind = _tuple_of(function, argument)
    if argument == "tap":
        return []
    if kind is None:
        return [argument]
    if not argument.startswith("d") or argument == "dropout":
        return list(kind._fields)
    return ["d" + field for field in kind._fields if field not in STATISTICS + CONSTANTS]


STATISTICS = ("mean", "rstd", "lse")
CONSTANTS = ("rotations",)  # float arrays without a gradient
# What backward computes again, in the buffer of forward: written in both directions.
RECOMPUTED = {
    "attention_sublayer_backward": ["norm"],
    "cross_attention_sublayer_backward": ["norm"],
    "mlp_sublayer_backward": ["norm", "act"],
}


def flat_names(function: Callable[..., None]) -> list[str]:
    """The names of all arrays and numbers that a function takes: what it reads, what it writes."""
    names = [
        n for argument in inspect.signature(function).parameters for n in _flat(function, argument)
    ]
    again = RECOMPUTED.get(function.__name__, [])
    return [name for name in names if name not in again] + again


def call(function: Callable[..., None], arguments: dict[str, Any]) -> None:
    """Call a layer function with arguments under their flat names."""
    given = {}
    for argument, parameter in inspect.signature(function).parameters.items():
        kind = _tuple_of(function, argument)
        if argument not in arguments and parameter.default is not parameter.empty:
            continue
        if kind is None:
            given[argument] = arguments[argument]
        elif kind is Dropout:
            given[argument] = Dropout.of(arguments["rate"], arguments["key"], arguments["site"])
        else:
            prefix = "d" if argument.startswith("d") else ""
            unset = kind._field_defaults
            given[argument] = kind(
                *[arguments.get(prefix + field, unset.get(field)) for field in kind._fields]
            )
    function(**given)


def read_and_written(
    function: Callable[..., None], available: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    """What a backward function reads, and the shapes of what it writes.

    It reads `dout`, arguments of forward, and what forward wrote. From the first `d<input>` on it
    writes: gradients, and buffers of forward's that it uses again.
    """
    names = [n for n in flat_names(function) if n in available or n[1:] in available]
    first = next(k for k, name in enumerate(names) if name not in available and name[0] == "d")
    read = {name: available[name] for name in names[:first]}
    arrays = {n: available[n if n in available else n[1:]] for n in names[first:]}
    read |= {n: value for n, value in arrays.items() if is_setting(value)}
    return read, {n: np.shape(value) for n, value in arrays.items() if n not in read}


def run_forward(function: Callable[..., None], example: Example, dtype: Any) -> dict[str, Any]:
    """What a forward function writes; it gets read-only inputs and outputs full of NaN."""
    inputs = cast(example.inputs, dtype)
    for value in inputs.values():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
    outputs = {name: np.full(shape, np.nan, dtype) for name, shape in example.outputs.items()}
    call(function, inputs | outputs)
    return outputs


def run_backward(
    function: Callable[..., None],
    example: Example,
    outputs: dict[str, Any],
    dout: np.ndarray,
    dtype: Any,
) -> dict[str, Any]:
    """What a backward function writes, by argument; the signature says what that is."""
    available = cast(example.inputs, dtype) | outputs | cast(example.extra, dtype)
    available["dout"] = dout.astype(dtype)
    read, shapes = read_and_written(function, available)
    for value in read.values():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
    written = {name: np.full(shape, np.nan, dtype) for name, shape in shapes.items()}
    call(function, read | written)
    return written
