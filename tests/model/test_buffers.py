"""What kernels do with memory: they write their outputs and nothing else, however arrays lie."""

import numpy as np
import pytest

import gpt_numpy as gn
import gpt_numpy.kernels
import gpt_numpy.reference
from gpt_numpy.gradients.model_check import randomise
from tests.support.guards import Padded
from tests.support.layers import EXAMPLES, call, cast, read_and_written, run_backward, run_forward
from tests.support.twins import function_of, kernel_forward


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        ({}, (2, 7)),
        ({"dropout": 0.0, "bias": False, "tied": False}, (1, 1)),
        ({"n_head": 1, "n_embd": 65, "block_size": 230, "activation": "gelu"}, (1, 230)),
        ({"n_head": 7, "n_embd": 119, "vocab_size": 1031, "block_size": 33}, (3, 33)),
        ({"n_head": 1, "n_embd": 1, "vocab_size": 2, "activation": "relu"}, (2, 3)),
    ],
)
def test_a_step_writes_nothing_outside_of_its_buffers(changes, shape, dtype, monkeypatch):
    # All of them: parameters, gradients, moments, activations, and the kernels' workspaces.
    padded = Padded().install(monkeypatch.setattr)
    settings = {"vocab_size": 11, "block_size": 8, "n_layer": 2, "n_head": 2, "n_embd": 6}
    model = gn.GPT(gn.GPTConfig(**(settings | {"dropout": 0.2} | changes)), dtype=dtype, seed=None)
    randomise(model, 0)
    optimizer = gn.AdamW(model)
    tokens = np.random.default_rng(0).integers(0, model.config.vocab_size, shape)
    tokens[:, -1] = 0
    for accumulate in (False, True):
        model.forward(tokens, tokens, dropout_key=1)
        model.backward(accumulate=accumulate)
    optimizer.step()
    assert np.isfinite(model.logits(tokens)).all()
    assert np.isfinite(model.grads.flat).all() and np.isfinite(model.params.flat).all()
    assert len(padded) > 5
    assert padded.intact()


LAYOUTS = {
    "every second": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "reversed": lambda a: a[..., ::-1].copy()[..., ::-1],
    "columns first": lambda a: np.asfortranarray(a),
    "part of a wider one": lambda a: np.concatenate([a, a], axis=-1)[..., : a.shape[-1]],
}


def arguments_of_backward(package, name, example, outputs, dout):
    """What a backward function reads, and the shapes of what it writes."""
    function = function_of(package, name + "_backward")
    available = example.inputs | outputs | example.extra | {"dout": dout}
    return function, *read_and_written(function, available)


def right_or_refused(function, read, written, expected, layout, refusals):
    """Call once for each array, laid out as nobody expects it."""
    for name in [n for n, v in read.items() if isinstance(v, np.ndarray)] + list(written):
        outputs = {n: np.full(shape, np.nan) for n, shape in written.items()}
        if name in written:
            outputs[name] = layout(outputs[name])
            changed = outputs[name]
        else:
            changed = layout(read[name])
            changed.setflags(write=False)
        if changed.flags.c_contiguous:
            continue
        try:
            call(function, read | ({name: changed} if name in read else {}) | outputs)
        except gn.InputError as error:
            assert "contiguous" in str(error)
            refusals.append(name)
            continue
        for argument, value in expected.items():
            worst = np.abs(outputs[argument] - value).max()
            assert worst <= 1e-12 * np.abs(value).max(), (name, argument)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("package", [gpt_numpy.kernels, gpt_numpy.reference])
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_arrays_that_are_not_contiguous_are_refused_or_right(name, package, layout):
    example = EXAMPLES[name](np.random.default_rng(0))
    example.inputs = cast(example.inputs, np.float64)
    forward = function_of(gpt_numpy.reference, name + "_forward")
    outputs = run_forward(forward, example, np.float64)
    dout = np.random.default_rng(1).standard_normal(outputs["out"].shape)
    backward = function_of(gpt_numpy.reference, name + "_backward")
    expected = run_backward(backward, example, outputs, dout, np.float64)
    refusals = []
    ours = function_of(package, name + "_forward")
    right_or_refused(ours, example.inputs, example.outputs, outputs, LAYOUTS[layout], refusals)
    ours, read, written = arguments_of_backward(package, name, example, outputs, dout)
    right_or_refused(ours, read, written, expected, LAYOUTS[layout], refusals)
    if package is gpt_numpy.reference:
        assert not refusals


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_what_a_kernel_only_reads_stays_as_it_is(name):
    example = EXAMPLES[name](np.random.default_rng(0))
    before = {n: v.copy() for n, v in example.inputs.items() if isinstance(v, np.ndarray)}
    outputs = {n: np.full(shape, np.nan) for n, shape in example.outputs.items()}
    call(function_of(gpt_numpy.kernels, name + "_forward"), example.inputs | outputs)
    dout = np.random.default_rng(1).standard_normal(outputs["out"].shape)
    function, read, written = arguments_of_backward(gpt_numpy.kernels, name, example, outputs, dout)
    before |= {n: v.copy() for n, v in read.items() if isinstance(v, np.ndarray)}
    call(function, read | {n: np.full(shape, np.nan) for n, shape in written.items()})
    for argument, value in before.items():
        now = read.get(argument, example.inputs.get(argument))
        assert np.array_equal(now, value), argument


ALIASES = [
    ("cross_entropy", "dlogits", "logits"),
    ("head_loss", "dlogits", "logits"),
    ("layernorm", "dx", "dout"),
    ("attention_sublayer", "dx", "dout"),
    ("mlp_sublayer", "dx", "dout"),
    ("mlp_sublayer", "dfc", "dact"),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "one", "other"), ALIASES)
def test_what_may_share_memory_gives_what_separate_arrays_give(name, one, other, dtype):
    example = EXAMPLES[name](np.random.default_rng(0))
    example.inputs = cast(example.inputs, dtype)
    outputs = kernel_forward(name, example, dtype)
    dout = np.random.default_rng(1).standard_normal(outputs["out"].shape).astype(dtype)
    results = []
    for shared in (False, True):
        function, read, written = arguments_of_backward(
            gpt_numpy.kernels, name, example, outputs, dout.copy()
        )
        read = {n: v.copy() if isinstance(v, np.ndarray) else v for n, v in read.items()}
        arrays_ = {n: np.full(shape, np.nan, dtype) for n, shape in written.items()}
        if shared:
            arrays_[one] = (read | arrays_)[other]
        call(function, read | arrays_)
        results.append({n: v.copy() for n, v in arrays_.items() if n not in (one, other)})
        results[-1][one] = arrays_[one].copy()
    for argument, value in results[0].items():
        assert np.array_equal(results[1][argument], value), argument
