"""Check a layer that you wrote: its backward against the derivative of its forward.

`check_layer` differentiates `out` with respect to every element of every float input of forward,
and compares the result with what backward wrote. The derivative is exact (complex step) if forward
accepts complex numbers; otherwise it is the best of a sweep of finite differences (derivatives.py).
Whether forward keeps the imaginary part is measured, because `abs` and comparisons drop it without
an error.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.checks import instance, integer, real, shown
from gpt_numpy.base.errors import InputError
from gpt_numpy.gradients.derivatives import STEP, SWEEP, best_slope
from gpt_numpy.gradients.diagnosis.clues import layer_clues
from gpt_numpy.gradients.diagnosis.diagnose import diagnose
from gpt_numpy.gradients.diagnosis.wrong_gradient import Clues
from gpt_numpy.gradients.layer_protocol import Function, Layer, unwritten
from gpt_numpy.gradients.report import Report, TensorCheck, scale_of

TOLERANCE = 1e-10
TOLERANCE_OF_DIFFERENCES = 1e-7
LONGEST_SECONDS = 300.0
LARGEST_JACOBIAN = 4_000_000  # elements; larger ones are not kept, only the gradient

Jacobian = tuple[Array, Array | None]  # the gradient, and what each element of out adds to it
KnownMistake = tuple[str, str, Array]  # a gradient such as "dx", a sentence, the wrong numbers
Mistakes = Mapping[str, Function] | Callable[[Mapping[str, Any]], Iterable[KnownMistake]]


def check_layer(
    forward: Function,
    backward: Function,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
    *,
    extra: Mapping[str, Any] | None = None,
    constants: Sequence[str] = (),
    mistakes: Mistakes | None = None,
    tolerance: float | None = None,
    seed: int = 0,
) -> Report:
    """Check that `backward` is the derivative of `forward`, for every float input, in float64.

    An input or an output may be a named tuple. Its fields are then listed as `weights.bias`, and
    backward writes their gradients to the tuple `dweights`, in which a field without a gradient is
    None.

    Parameters
    ----------
    forward : writes its results to the arguments named in `outputs`: `out`, and what it keeps for
        backward.
    backward : takes `dout` and anything that forward read or wrote, under the same names, and
        writes `d<input>` of each float input. It writes all arguments from its first `d<input>` on.
    inputs : the arguments of forward, by name. Choose values that hide no mistake: sizes that
        differ, repeated tokens, weights other than 1.
    outputs : the shapes of what forward writes, by name; in a named tuple, None for a field that it
        does not write.
    extra : arguments that only backward has.
    constants : float inputs without a gradient, such as "mask", "weights" or "weights.bias".
    mistakes : known mistakes to compare a wrong gradient with; one that gives the same numbers is
        reported. Either wrong backward functions, by a sentence that describes the mistake; or a
        function that takes a dictionary of all arguments of forward and `dout`, and yields triples:
        a gradient such as "dx", the sentence, the wrong gradient.
    tolerance : largest error of a right gradient; by default 1e-10, or 1e-7 with differences.
    seed : seed of `dout`.

    Raises
    ------
    InputError : the functions and arguments do not fit together, forward leaves an output
        unwritten, or the example is so large that the check would take more than five minutes.
    """
    start = time.perf_counter()
    seed = integer("seed", seed)
    if tolerance is not None:
        tolerance = real("tolerance", tolerance, lambda x: x > 0, "a finite number greater than 0")
    names = isinstance(constants, list | tuple | set) and all(isinstance(n, str) for n in constants)
    if not names:
        raise InputError(
            f"constants={shown(constants)}: must be names of inputs, such as ('mask',)"
        )
    if mistakes is not None and not callable(mistakes):
        instance("mistakes", mistakes, Mapping, "functions by sentence, or a function")
    layer = Layer(forward, backward, inputs, outputs, extra or {}, tuple(constants))
    kept = layer.run_forward()
    for name, value in kept.items():
        if not np.isfinite(value).all():
            raise InputError(f"forward's {name} is not finite everywhere: give other inputs")
    # A stream of its own: inputs drawn from default_rng(seed) would be equal to dout.
    dout = np.random.default_rng([seed, 2]).standard_normal(kept["out"].shape)
    reason = _why_not_complex(layer, seed)
    if tolerance is None:
        tolerance = TOLERANCE_OF_DIFFERENCES if reason else TOLERANCE
    written = _written_gradients(layer, kept, dout)
    exact = _derivatives(layer, dout, exactly=not reason)
    clues = layer_clues({**layer.flat_inputs, **kept, "dout": dout})
    wrong = _wrong_gradients(mistakes or {}, layer, kept, dout)
    largest = max(float(np.abs(gradient).max(initial=0)) for gradient, _ in exact.values())
    rows = []
    for name, (hand, remarks) in written.items():
        named = {sentence: array for of, sentence, array in wrong if of == "d" + name}
        gradient, contributions = exact[name]
        heads = clues.n_head if "qkv" in name else 0
        own = replace(clues, named=named, contributions=contributions, n_head=heads)
        rows.append(_row(name, hand, gradient, remarks, own, largest, tolerance))
    count = sum(gradient.size for gradient, _ in exact.values())
    how = f"central differences, for {reason}" if reason else "complex step"
    method = f"{how}, in each of {count:,} elements, float64"
    return Report(tuple(rows), method, tolerance, time.perf_counter() - start)


def _wrong_gradients(
    mistakes: Mistakes, layer: Layer, kept: Mapping[str, Any], dout: Array
) -> list[KnownMistake]:
    """The gradients that the caller's known mistakes give: names, sentences, arrays."""
    if callable(mistakes):
        return list(mistakes({**layer.flat_inputs, **kept, "dout": dout}))
    found = []
    for sentence, function in mistakes.items():
        for name, array in layer.run_backward(kept, dout, function=function)[0].items():
            left = unwritten(array)
            if not left.all():  # otherwise the mistake is in another gradient
                found.append((name, sentence, np.where(left, 0, array)))
    return found


def _row(
    name: str,
    hand: Array,
    exact: Array,
    remarks: list[str],
    clues: Clues,
    largest: float,
    tolerance: float,
) -> TensorCheck:
    scale = scale_of(float(np.abs(exact).max(initial=0)), largest)
    error = float(np.abs(hand - exact).max(initial=0)) / scale
    ok = error <= tolerance and not remarks
    if error > tolerance or not np.isfinite(hand).all() and not remarks:
        remarks = remarks + diagnose(hand, exact, scale, tolerance, clues)
    norm = float(np.linalg.norm(hand))
    return TensorCheck("d" + name, exact.shape, norm, error, ok, tuple(remarks))


def _written_gradients(
    layer: Layer, kept: Mapping[str, Any], dout: Array
) -> dict[str, tuple[Array, list[str]]]:
    """Each input's gradient as backward wrote it, and remarks on how it was written."""
    written, returned = layer.run_backward(kept, dout)
    found = {}
    for name in layer.graded:
        hand, remarks = written["d" + name], []
        left = unwritten(hand)
        if left.any():
            onto = [layer.run_backward(kept, dout, fill=n)[0]["d" + name] for n in (0.0, 1.0)]
            hand, remark = _incomplete("d" + name, hand, left, *onto)
            if returned and left.all():
                remark += "; backward returned something instead"
            remarks.append(remark)
        found[name] = hand, remarks
    return found


def _incomplete(
    name: str, hand: Array, left: Array, onto_zeros: Array, onto_ones: Array
) -> tuple[Array, str]:
    """The gradient, and whether its elements were left alone or added to.

    onto_zeros, onto_ones : what backward wrote to an array that held 0 or 1 beforehand.
    """
    if (left & (np.abs(onto_ones - onto_zeros - 1) < 1e-6) & (onto_zeros != 0)).any():
        remark = (
            f"{name} += ... adds to what was in the array before, which may be anything: "
            f"layers assign, {name}[...] = ..."
        )
        return onto_zeros, remark
    if not left.all():
        return hand, f"{int(left.sum()):,} of {left.size:,} elements of {name} were not written"
    remark = (
        f"nothing was written to {name}: write into the array, {name}[...] = ...; "
        f"{name} = ... only rebinds the name"
    )
    return hand, remark


def _why_not_complex(layer: Layer, seed: int) -> str:
    """Why the complex step cannot be used, or "": measured along one random direction."""
    rng = np.random.default_rng([seed, 1])
    values = {name: np.asarray(layer.flat_inputs[name], "float64") for name in layer.graded}
    directions = {name: rng.standard_normal(value.shape) for name, value in values.items()}

    def moved(step: Any) -> dict[str, Array]:
        return {name: value + step * directions[name] for name, value in values.items()}

    try:
        out = layer.run_forward(moved(1j * STEP), "complex128")["out"]
    except (InputError, np.exceptions.ComplexWarning, TypeError) as error:
        reason = str(error.__cause__ or error).partition("\n")[0][:80]
        return f"forward does not take complex numbers ({reason})"
    except Exception as error:  # a compiler's own errors, such as Numba's
        return f"forward does not take complex numbers ({type(error).__name__})"
    steps = [0.05 * step for step in SWEEP]
    slope = best_slope(lambda step: layer.run_forward(moved(step))["out"], steps).value
    # A function such as ReLU may have a kink right here, where every difference is wrong.
    before, here, after = (layer.run_forward(moved(step))["out"] for step in (-1e-6, 0.0, 1e-6))
    largest = np.abs(slope).max(initial=0)
    smooth = np.abs(after - 2 * here + before) <= 1e-6 * 1e-3 * largest
    if (smooth & ~(np.abs(out.imag / STEP - slope) <= 1e-4 * largest)).any():
        return "forward drops the imaginary part of complex numbers"
    return ""


def _derivatives(layer: Layer, dout: Array, *, exactly: bool) -> dict[str, Jacobian]:
    """The gradient of sum(dout * out) with respect to every input."""
    sizes = {name: layer.flat_inputs[name].size for name in layer.graded}
    total = sum(sizes.values())
    if not sizes:
        raise InputError(
            "inputs: there is no array of floats, so there is no gradient to check; give one"
        )
    if total:
        start = time.perf_counter()
        _change_of_out(layer, max(sizes, key=lambda name: sizes[name]), 0, exactly)
        seconds = (time.perf_counter() - start) * total
        if seconds > LONGEST_SECONDS:
            raise InputError(
                f"inputs: {total:,} elements take about {seconds / 60:.0f} minutes: "
                "give a smaller example"
            )
    return {name: _derivative(layer, name, dout, exactly) for name in layer.graded}


def _derivative(layer: Layer, name: str, dout: Array, exactly: bool) -> Jacobian:
    value = layer.flat_inputs[name]
    whole = dout.size * value.size <= LARGEST_JACOBIAN
    contributions = np.empty((*dout.shape, value.size)) if whole else None
    gradient = np.empty(value.shape)
    for j in range(value.size):
        column = dout * _change_of_out(layer, name, j, exactly)
        gradient.flat[j] = column.sum()
        if contributions is not None:
            contributions[..., j] = column
    return gradient, contributions


def _change_of_out(layer: Layer, name: str, j: int, exactly: bool) -> Array:
    """The derivative of `out` with respect to element j of an input."""
    value = np.asarray(layer.flat_inputs[name], "float64")

    def out(step: complex, dtype: str = "float64") -> Any:
        moved = value.astype(dtype)
        moved.flat[j] += step
        return layer.run_forward({name: moved}, dtype)["out"]

    if exactly:
        return np.asarray(out(1j * STEP, "complex128").imag / STEP)
    size = max(abs(float(value.flat[j])), float(value.std())) or 1.0
    return np.asarray(best_slope(out, [size * step for step in SWEEP]).value)
