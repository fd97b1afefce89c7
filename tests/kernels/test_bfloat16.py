"""The bfloat16 products of the kernels, bit for bit against their twin in `reference/`."""

import functools
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gpt_numpy.base.errors import InputError
from gpt_numpy.kernels.activation import NUMBERS
from gpt_numpy.kernels.engine import amx, machine_code, pool
from gpt_numpy.kernels.products import matmul
from gpt_numpy.kernels.products.epilogue import (
    ACTIVATE,
    GRADIENT,
    GRADIENT_IN_PLACE,
    RESIDUAL,
    Epilogue,
)
from gpt_numpy.kernels.products.matmul_bf16 import multiply, multiply_columns
from gpt_numpy.reference import bfloat16
from gpt_numpy.reference.bfloat16 import TDPBF16PS, VDPBF16PS, loaded, rounded, stored
from gpt_numpy.reference.dropout import Dropout
from tests.support.errors import assert_close
from tests.support.guards import Guards
from tests.support.twins import spoil_workspaces

ROOT = Path(__file__).resolve().parents[2]
POOL = pool.threads()
product = functools.partial(bfloat16.product, order=machine_code.bfloat16_order())
NO_AMX = amx.obstacle()
needs_amx = pytest.mark.skipif(bool(NO_AMX), reason=f"AMX: {NO_AMX}")

SMALL = [
    (rows, inner, columns) for rows in (1, 9) for inner in (1, 2, 3, 17) for columns in (1, 31, 33)
]
# (rows, inner, columns) of x @ weight. In the first two a worker packs all of an operand once; then
# there are several blocks and stretches; rows narrower than a vector; even tiles only; many blocks
# of one row or column.
LARGE = [
    (400, 70, 131),
    (340, 129, 65),
    (29, 1701, 430),
    (2101, 150, 171),
    (530, 1001, 40),
    (300, 3, 70),
    (56, 128, 96),
    (3000, 1, 500),
    (3000, 500, 1),
]


def same(ours, exact):
    """Equal bits, but any NaN is as good as any other."""
    assert ours.shape == exact.shape and ours.dtype == exact.dtype
    if ours.dtype == np.uint16:
        ours, exact = loaded(ours), loaded(exact)
    equal = ours.view(np.uint32) == exact.view(np.uint32)
    return bool((equal | (np.isnan(ours) & np.isnan(exact))).all())


def guarded(run, shape, before=None, dtype=np.float32):
    """What `run` writes to an array of this shape, between guards, which hold what was before."""
    guards = Guards()
    start = (
        before if before is not None else np.full(shape, 0x7FC0 if dtype == np.uint16 else np.nan)
    )
    out = guards.array(start, dtype, True)
    spoil_workspaces()
    run(out)
    guards.check()
    return out.copy()


def read_only(array):
    """A copy between guards that nobody may write to."""
    return Guards().array(array, array.dtype, False)


def operands(rows, inner, columns, draw=None):
    """Random x, weight and dout."""
    rng = np.random.default_rng(rows + 3 * inner + 7 * columns)
    draw = draw or (lambda rng, shape: rng.standard_normal(shape).astype(np.float32))
    return [draw(rng, shape) for shape in ((rows, inner), (inner, columns), (rows, columns))]


def assert_three_products(x, weight, dout):
    """The three products of a linear layer are those of the reference, to the bit."""
    x, weight, dout = map(read_only, (x, weight, dout))
    out = guarded(lambda out: multiply(x, weight, out), dout.shape)
    assert same(out, product(x, weight))
    dx = guarded(lambda out: multiply(dout, weight, out, transposed=True), x.shape)
    assert same(dx, product(dout, weight.T))
    dweight = guarded(lambda out: multiply_columns(x, dout, out), weight.shape)
    assert same(dweight, product(x.T, dout))


def test_small_products_and_odd_inner_dimensions():
    for shape in SMALL:
        assert_three_products(*operands(*shape))


@pytest.mark.parametrize("threads", range(1, POOL + 1))
def test_large_products_on_any_number_of_threads(threads):
    pool.set_threads(threads)
    try:
        for shape in LARGE:
            assert_three_products(*operands(*shape))
    finally:
        pool.set_threads(POOL)


def test_stored_operands_and_results():
    for shape in [*SMALL, (400, 70, 131), (29, 1701, 430)]:
        x, weight, dout = operands(*shape)
        short = [stored(a) for a in (x, weight, dout)]
        assert_three_products(*short)
        assert_three_products(short[0], weight, dout)
        assert_three_products(x, short[1], short[2])
        out = guarded(lambda out: multiply(short[0], weight, out), dout.shape, dtype=np.uint16)  # noqa: B023
        assert same(out, stored(product(x, weight)))


def test_products_of_three_dimensions():
    x, weight, dout = operands(6, 5, 4)
    out = guarded(lambda out: multiply(x.reshape(2, 3, 5), weight, out), (2, 3, 4))
    assert same(out, product(x.reshape(2, 3, 5), weight))
    dweight = guarded(
        lambda out: multiply_columns(x.reshape(2, 3, 5), dout.reshape(2, 3, 4), out), (5, 4)
    )
    assert same(dweight, product(x.T, dout))


@pytest.mark.parametrize("shape", [(9, 3, 33), (2101, 30, 171), (2101, 150, 171)])
def test_weight_gradients_are_added_to_what_is_there(shape):
    x, weight, dout = operands(*shape)
    weight[0, 0] = 1e-40  # denormal: counts as 0
    dweight = guarded(lambda out: multiply_columns(x, dout, out, add=True), weight.shape, weight)
    assert same(dweight, product(x.T, dout, weight.copy(), add=True))


# A few of each in every array: sums that are infinite, NaN, denormal, -0, and of odd signs of zero.
SPECIAL = np.float32([1e30, -1e30, np.inf, -np.inf, np.nan, 1e-40, -1e-40, -0.0, 0.0, 3.4e38])
TINY = np.float32([2.0**-75, -(2.0**-76), 2.0**-63, 1e-20, -1e-19, 2.0**-126, -1e-38, 0.0, -0.0])


@pytest.mark.parametrize("values", [SPECIAL, TINY], ids=["special", "tiny"])
@pytest.mark.parametrize("shape", [(9, 17, 33), (29, 65, 96)])
def test_special_values(shape, values):
    def draw(rng, shape):
        few = rng.random(shape) < (0.05 if values is SPECIAL else 2)
        ordinary = rng.standard_normal(shape).astype(np.float32)
        return np.where(few, rng.choice(values, shape), ordinary)

    def denormal(rng, shape):  # bfloat16 numbers that float32 operands never become
        return rng.choice(np.uint16([1, 0x8001, 0x7F, 0x3F80, 0xBF80, 0x100]), shape)

    x, weight, dout = operands(*shape, draw)
    assert_three_products(x, weight, dout)
    assert_three_products(*map(stored, (x, weight, dout)))
    assert_three_products(*operands(*shape, denormal))
    out = guarded(lambda out: multiply(x, weight, out), dout.shape, dtype=np.uint16)
    assert same(out, stored(product(x, weight)))


def test_all_ways_of_rounding_are_that_of_the_reference():
    # The identity times a vector's worth of numbers: each operand, by vectors and one by one.
    rng = np.random.default_rng(0)
    upper = rng.integers(0, 2**16, 5000, np.uint32) << 16
    lower = np.uint32([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF])
    numbers = (upper | rng.choice(lower, 5000)).view(np.float32)
    numbers = numbers[np.isfinite(rounded(numbers))]
    for length in (64, 65):
        x = numbers[: len(numbers) // length * length].reshape(-1, length)
        one = np.eye(length, dtype=np.float32)
        assert_three_products(x, one, x)
        out = guarded(lambda out: multiply(x, one, out), x.shape)  # noqa: B023
        assert np.array_equal(out, rounded(x))
        once = guarded(lambda out: multiply(x, one, out), x.shape, dtype=np.uint16)  # noqa: B023
        assert np.array_equal(loaded(once), rounded(x))


@pytest.mark.parametrize("shape", [(9, 3, 33), (29, 1701, 430), (400, 70, 131)])
def test_epilogues_follow_the_product(shape):
    x, weight, dout = operands(*shape)
    bias = dout[0].copy()
    plain = product(x, weight)
    biased = plain + bias
    for dtype, exact in ((np.float32, biased), (np.uint16, stored(biased))):
        out = guarded(lambda out: multiply(x, weight, out, bias=bias), dout.shape, dtype=dtype)
        assert same(out, exact)
        residual = Epilogue(RESIDUAL, other=dout)
        out = guarded(
            lambda out: multiply(x, weight, out, epilogue=residual),  # noqa: B023
            dout.shape, dtype=dtype,
        )  # fmt: skip
        exact = plain + dout
        assert same(out, stored(exact) if dtype == np.uint16 else exact)
    # The other epilogues are those of float32 products, for operands of so few digits that these
    # are exact.
    x, weight, dout = (np.round(4 * a).clip(-8, 8) / 4 for a in (x, weight, dout))
    for finish in (ACTIVATE, GRADIENT, GRADIENT_IN_PLACE):
        results = []
        for function in (matmul.multiply, multiply):
            out, second, third = (np.full(dout.shape, np.nan, np.float32) for _ in range(3))
            epilogue = Epilogue(finish, NUMBERS["gelu"], dout, second, third)
            function(x, weight, out, bias=bias, epilogue=epilogue)
            results.append([a for a in (out, second, third) if not np.isnan(a).all()])
        assert len(results[0]) == 3 - (finish in (ACTIVATE, GRADIENT_IN_PLACE))
        assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))
    dropped = Epilogue(RESIDUAL, other=dout, dropout=Dropout.of(0.4, 3, 2))
    ours = guarded(lambda out: multiply(x, weight, out, epilogue=dropped), dout.shape)
    theirs = guarded(lambda out: matmul.multiply(x, weight, out, epilogue=dropped), dout.shape)
    assert_close({"out": ours}, {"out": theirs}, "float32")


def test_denormal_results_are_stored_as_0():
    x, weight = np.zeros((3, 2), np.float32), np.zeros((2, 33), np.float32)
    bias = np.where(np.arange(33) % 2, 1e-39, -1e-40).astype(np.float32)
    out = guarded(lambda out: multiply(x, weight, out, bias=bias), (3, 33), dtype=np.uint16)
    assert same(out, stored(np.broadcast_to(bias, out.shape)))
    assert (loaded(out) == 0).all()


DIGEST = """
import numpy as np
import gpt_numpy.kernels.products.tile_bf16 as tile
WIDE
from gpt_numpy.kernels.engine import machine_code
from tests.kernels.test_bfloat16 import by_kernels, digest
tile_name = machine_code.bfloat16_tile()
print(digest(by_kernels), tile_name if tile_name == "amx" else tile.ARITHMETIC.__name__)
"""


def by_kernels(x, weight, dout):
    """The three products of a linear layer."""
    out, dx, dweight = (np.empty(a.shape, np.float32) for a in (dout, x, weight))
    multiply(x, weight, out)
    multiply(dout, weight, dx, transposed=True)
    multiply_columns(x, dout, dweight)
    return out, dx, dweight


def by_reference(order):
    """The same in plain NumPy."""
    twin = functools.partial(bfloat16.product, order=order)

    def products(x, weight, dout):
        return twin(x, weight), twin(dout, weight.T), twin(x.T, dout)

    return products


def digest(products):
    """The bits of products with tiny, ordinary and huge elements, one number for all NaN."""

    def draw(rng, shape):
        numbers = rng.standard_normal(shape) * 2.0 ** rng.choice([-70, -62, 0, 0, 0, 63], shape)
        special = rng.random(shape) < 0.005
        return np.where(special, rng.choice(SPECIAL, shape), numbers).astype(np.float32)

    def tiny(rng, shape):  # so that whole sums are denormal
        return rng.choice(TINY, shape)

    total = hashlib.sha256()
    for shape, kind in (((9, 17, 33), draw), ((30, 65, 96), draw), ((30, 3, 96), tiny)):
        arrays = operands(*shape, kind)
        for written in (*products(*arrays), *products(*map(stored, arrays))):
            total.update(np.where(np.isnan(written), np.float32(np.nan), written).tobytes())
    return total.hexdigest()


def digest_elsewhere(code="", **environment):
    """The digest and the arithmetic of a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GPT_NUMPY_PARALLEL": "0"} | environment
    done = subprocess.run(
        [sys.executable, "-c", DIGEST.replace("WIDE", code)],
        capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()


def test_the_emulated_tile_computes_the_same_bits():
    bits, arithmetic = digest_elsewhere(GPT_NUMPY_TILE="emulated")
    assert arithmetic not in ("DotProduct", "amx")
    assert bits == digest(by_reference(VDPBF16PS)) != digest(by_reference(TDPBF16PS))


@needs_amx
def test_the_tile_of_amx_computes_the_bits_of_its_own_order():
    assert digest_elsewhere(GPT_NUMPY_TILE="amx") == [digest(by_reference(TDPBF16PS)), "amx"]


@pytest.mark.parametrize("width", ["128", "256"])
def test_narrower_vectors_compute_the_same_bits(width):
    bits, arithmetic = digest_elsewhere(GPT_NUMPY_VECTOR_BITS=width, GPT_NUMPY_TILE="")
    assert arithmetic not in ("DotProduct", "amx")
    assert bits == digest(by_reference(VDPBF16PS))


def test_where_no_control_word_helps_float64_computes_the_same_bits(tmp_path):
    # Another process would compile what it imports itself, the usual arithmetic: so without one.
    code = "import sys; sys.executable = ''; tile.ARITHMETIC = tile.WidePair"
    bits, arithmetic = digest_elsewhere(
        code, GPT_NUMPY_TILE="emulated", NUMBA_CACHE_DIR=str(tmp_path)
    )
    assert (bits, arithmetic) == (digest(by_reference(VDPBF16PS)), "WidePair")


def test_the_tile_can_be_chosen_and_a_wrong_choice_is_refused(monkeypatch):
    monkeypatch.setenv("GPT_NUMPY_TILE", "emulated")
    assert machine_code.bfloat16_tile() == "emulated"
    monkeypatch.setenv("GPT_NUMPY_TILE", "amx512")
    with pytest.raises(InputError, match="'amx512': must be amx, avx512_bf16 or emulated"):
        machine_code.bfloat16_tile()
    monkeypatch.setenv("GPT_NUMPY_TILE", "avx512_bf16")
    monkeypatch.setenv("GPT_NUMPY_VECTOR_BITS", "256")
    with pytest.raises(InputError, match="AVX512_BF16, and vectors of 512 bits"):
        machine_code.bfloat16_tile()
    monkeypatch.setenv("GPT_NUMPY_TILE", "amx")
    with pytest.raises(InputError, match="=amx: it needs vectors of 512 bits; unset it"):
        machine_code.bfloat16_tile()
    monkeypatch.setenv("GPT_NUMPY_VECTOR_BITS", "512")
    monkeypatch.setattr(machine_code, "obstacle", lambda: "this processor has no AMX")
    with pytest.raises(InputError, match="=amx: this processor has no AMX; unset it, or use emul"):
        machine_code.bfloat16_tile()


@pytest.mark.parametrize(
    "processor, able, no_amx, chosen",
    [
        ("znver4", True, "not there", "avx512_bf16"),
        ("znver3", False, "not there", "emulated"),
        ("sapphirerapids", True, "not permitted", "emulated"),
        ("emeraldrapids", True, "", "amx"),
    ],
)
def test_the_instruction_is_chosen_on_amds_processors_alone_and_amx_where_it_works(
    monkeypatch, processor, able, no_amx, chosen
):
    monkeypatch.setattr(machine_code, "obstacle", lambda: no_amx)
    binding = machine_code.llvmlite.binding
    features = {"avx512f": True, "avx2": True, "avx512bf16": able}
    monkeypatch.setattr(binding, "get_host_cpu_features", lambda: features)
    monkeypatch.setattr(binding, "get_host_cpu_name", lambda: processor)
    monkeypatch.delenv("GPT_NUMPY_TILE", raising=False)
    monkeypatch.delenv("GPT_NUMPY_VECTOR_BITS", raising=False)
    assert machine_code.bfloat16_tile() == chosen


def test_a_process_says_what_is_wrong_with_the_tile():
    code = "import gpt_numpy.kernels.products.matmul_bf16"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT,
        env=os.environ | {"GPT_NUMPY_TILE": "fastest"},
    )  # fmt: skip
    assert done.returncode != 0
    assert "GPT_NUMPY_TILE='fastest'" in done.stderr


@pytest.fixture
def asked_anew():
    """Whether AMX works is found out again, and forgotten afterwards."""
    amx.obstacle.cache_clear()
    yield
    amx.obstacle.cache_clear()


def test_what_stands_in_the_way_of_amx_is_named(monkeypatch, asked_anew):
    able = {"amx-tile": True, "amx-bf16": True, "avx512f": True}
    for missing in able:
        monkeypatch.setattr(
            amx.llvm, "get_host_cpu_features", lambda missing=missing: able | {missing: False}
        )
        assert amx.obstacle.__wrapped__() == "this processor has no AMX"
    monkeypatch.setattr(amx.llvm, "get_host_cpu_features", lambda: able)
    for permitted, works, reason in (
        (False, True, "the operating system does not permit it"),
        (True, False, "this processor sums in another order than reference/bfloat16.py derives"),
        (True, True, ""),
    ):
        monkeypatch.setattr(amx, "permitted", lambda permitted=permitted: permitted)
        monkeypatch.setattr(amx, "trial", lambda works=works: works)
        assert amx.obstacle.__wrapped__() == reason


@pytest.mark.parametrize("system, machine", [("darwin", "x86_64"), ("linux", "aarch64")])
def test_only_linux_on_x86_is_asked_for_tiles(monkeypatch, system, machine):
    monkeypatch.setattr(amx.sys, "platform", system)
    monkeypatch.setattr(amx.platform, "machine", lambda: machine)
    asked = []

    def library(name):
        asked.append(name)
        raise OSError("no library")

    monkeypatch.setattr(amx.ctypes, "CDLL", library)
    assert not amx.permitted() and not asked


def test_the_trial_of_amx_knows_the_order_of_the_reference():
    zeros, tiles = 0, amx.difficult_tiles()
    for a, b, before in tiles:
        left, right = a.reshape(16, 32), b.transpose(0, 2, 1).reshape(32, 16)
        twin = bfloat16.product(left, right, before.copy(), add=True, order=TDPBF16PS)
        assert same(amx.tile_product(a, b, before), twin)
        other = bfloat16.product(left, right, before.copy(), add=True, order=VDPBF16PS)
        assert not same(twin, other)
        zeros += (twin == 0).sum()
    assert zeros > 0  # some sums are denormal
    assert any((a & 0x7F80 == 0).any() for a, _, _ in tiles)  # and so are some operands
    assert any((np.abs(c) < 2.0**-126).any() for _, _, c in tiles)


@needs_amx
def test_amx_is_refused_where_a_bit_of_the_trial_is_another(monkeypatch):
    assert amx.trial()
    exact = amx.tile_product

    def almost(a, b, before):
        c = exact(a, b, before)
        c[15, 15] = np.nextafter(c[15, 15], np.float32(0))
        return c

    monkeypatch.setattr(amx, "tile_product", almost)
    assert not amx.trial()


THREADS = """
import faulthandler, threading
faulthandler.enable()
go, done = threading.Event(), []
def work():
    go.wait()
    from tests.kernels.test_bfloat16 import by_kernels, digest
    done.append(digest(by_kernels))
early = threading.Thread(target=work)
early.start()
from gpt_numpy.kernels.engine import amx
assert amx.obstacle() == ""
go.set()
early.join()
print(done[0])
"""


@needs_amx
def test_a_thread_that_was_there_before_the_permission_has_it_too():
    done = subprocess.run(
        [sys.executable, "-c", THREADS], capture_output=True, text=True, cwd=ROOT, timeout=300,
        env=os.environ | {"PYTHONPATH": str(ROOT), "GPT_NUMPY_TILE": "amx"},
    )  # fmt: skip
    assert done.stdout.strip() == digest(by_reference(TDPBF16PS)), done.stderr[-2000:]
