"""A pickle is read as data: plain values as pickle wrote them, and nothing else."""

import os
import pickle
import pickletools
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt_numpy.base.errors import InputError
from gpt_numpy.files import pickles

INTEGERS = st.integers(-(2**64) + 1, 2**64 - 1)
KEYS = st.none() | st.booleans() | INTEGERS | st.text(st.characters())
PLAIN = st.recursive(
    KEYS | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(KEYS, inner),
)


@given(PLAIN, st.integers(0, pickle.HIGHEST_PROTOCOL))
@settings(derandomize=True, deadline=None, max_examples=80)
def test_plain_values_are_read_as_pickle_wrote_them(value, protocol):
    result = pickles.read_pickle(pickle.dumps(value, protocol))
    assert result == value and repr(result) == repr(value)  # 1, 1.0 and True differ


@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("size", [0, 1, 255, 256, 70_000])
def test_bytes_are_read_as_pickle_wrote_them(size, protocol):
    value = bytes(i % 256 for i in range(size))
    assert pickles.read_pickle(pickle.dumps([value, value], protocol)) == [value, value]


def test_a_shared_value_stays_shared():
    inner = [1]
    first, second = pickles.read_pickle(pickle.dumps((inner, inner)))
    assert first is second


def test_the_memo_keeps_a_value_under_its_number():
    two = b"K\x02p5\n"  # PUT 5
    three = b"K\x03\x94"  # MEMOIZE: under the number of values so far
    data = b"](K\x01r\x00\x01\x00\x00" + two + three + b"g5\nj\x00\x01\x00\x00h\x02e."
    assert pickles.read_pickle(data) == [1, 2, 3, 2, 1, 3]


def evil(call, *arguments):
    class Evil:
        def __reduce__(self):
            return call, arguments

    return Evil()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("call", [os.system, os.mkdir, eval])
def test_a_call_is_refused_and_does_not_happen(call, protocol, tmp_path):
    mark = tmp_path / "mark"
    argument = {
        os.system: f"mkdir {mark}",
        os.mkdir: str(mark),
        eval: f"__import__('os').mkdir({str(mark)!r})",
    }[call]
    data = pickle.dumps({"vocab_size": evil(call, argument)}, protocol)
    with pytest.raises(InputError, match="GLOBAL at byte .*nothing is executed"):
        pickles.read_pickle(data)
    assert not mark.exists()
    pickle.loads(data)
    assert mark.exists()  # it would have happened


HOSTILE = {
    "GLOBAL": b"cos\nsystem\n.",
    "STACK_GLOBAL": b"\x8c\x02os\x8c\x06system\x93.",
    "INST": b"(\x8c\x02lsios\nsystem\n.",
    "OBJ": b"(\x8c\x02osNo.",
    "REDUCE": b"\x8c\x02os)R.",
    "NEWOBJ": b"\x8c\x02os)\x81.",
    "NEWOBJ_EX": b"\x8c\x02os)}\x92.",
    "BUILD": b"}}b.",
    "EXT1": b"\x82\x01.",
    "EXT2": b"\x83\x01\x00.",
    "EXT4": b"\x84\x01\x00\x00\x00.",
    "PERSID": b"Pfile\n.",
    "BINPERSID": b"\x8c\x04fileQ.",
    "NEXT_BUFFER": b"\x97.",
    "READONLY_BUFFER": b"\x8c\x01a\x98.",
    "BYTEARRAY8": b"\x96" + (3).to_bytes(8, "little") + b"abc.",
    "EMPTY_SET": b"\x8f.",
    "ADDITEMS": b"](K\x01\x90.",
    "FROZENSET": b"(K\x01\x91.",
    "DUP": b"N2.",
    "POP": b"NN0.",
    "POP_MARK": b"N(N1.",
    "STRING": b"S'abc'\n.",
    "BINSTRING": b"T\x03\x00\x00\x00abc.",
    "SHORT_BINSTRING": b"U\x03abc.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_instruction_that_builds_no_plain_value_is_refused_by_name(name):
    with pytest.raises(InputError, match=f"pickle: {name} at byte .*only plain values are read"):
        pickles.read_pickle(HOSTILE[name])


def test_every_instruction_is_either_understood_or_tested_to_be_refused():
    understood = {*pickles._CONSTANTS, *pickles._ARGUMENTS, *pickles._EMPTY, *pickles._TUPLES}
    understood |= pickles._PUTS | pickles._GETS | pickles._IGNORED
    understood |= set("MARK STOP TUPLE LIST DICT APPEND APPENDS SETITEM SETITEMS".split())
    assert not understood & set(HOSTILE)
    assert understood | set(HOSTILE) == {op.name for op in pickletools.opcodes}


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "STOP"),
        (b"N", "STOP"),
        (b".", "0 values"),
        (b"NN.", "2 values"),
        (b"(N.", "instead of one"),
        (b"N.N", "1 bytes after its end"),
        (b"\xff.", "opcode"),
        (b"X\x09\x00\x00\x00abc.", "expected 9 bytes"),
        (b"\x8d" + b"\xff" * 8 + b"abc.", "byte count"),
        (b"X\x01\x00\x00\x00\xff.", "utf-8"),
        (b"Iabc\n.", "damaged"),
        (b"e.", "no mark"),
        (b"a.", "stack"),
        (b"Na.", "no list|stack"),
        (b"}Na.", "no list"),
        (b"]NNs.", "no dict"),
        (b"](NNu.", "no dict"),
        (b"}(Nu.", "without a value"),
        (b"](a.", "stack"),
        (b"K\x01\x87.", "stack"),
        (b"q\x00.", "nothing to remember"),
        (b"h\x00.", "nothing is remembered under 0"),
        (b"}]Ns.", "key of type list"),
        (b"})Ns.", "key of type tuple"),
    ],
)
def test_a_damaged_pickle_is_refused_with_the_reason(data, named):
    with pytest.raises(InputError, match=named):
        pickles.read_pickle(data)


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(2**64),
        pickle.dumps(-(10**4000), 0),
        b"L" + b"9" * 100_000 + b"L\n.",
        b"\x8b" + (1 << 20).to_bytes(4, "little") + b"\x7f" * (1 << 20) + b".",
        b"g" + b"9" * 4000 + b"\n.",
    ],
)
def test_huge_integers_are_refused_quickly(data):
    start = time.process_time()
    with pytest.raises(InputError):
        pickles.read_pickle(data)
    assert time.process_time() - start < 1


def test_nested_tuples_that_take_forever_to_hash_are_refused_at_once():
    tuples = b")\x94" + b"".join(b"h%ch%c\x86\x94" % (i, i) for i in range(100))
    with pytest.raises(InputError, match="key of type tuple"):
        pickles.read_pickle(tuples + b"}h\x64Ns.")


def test_deep_nesting_is_harmless():
    assert pickles.read_pickle(b"]" * 1000 + b"a" * 999 + b".")
    pickles.read_pickle(b"]" * 200_000 + b"a" * 199_999 + b".")


def test_more_bytes_or_instructions_than_a_vocabulary_needs_are_refused():
    with pytest.raises(InputError, match="at most 4194304 are read"):
        pickles.read_pickle(pickle.dumps(bytes(pickles.MAX_BYTES)))
    with pytest.raises(InputError, match="at most 524288 instructions"):
        pickles.read_pickle(b"(" + b"}" * (pickles.MAX_INSTRUCTIONS + 1) + b"l.")


def test_a_vocabulary_as_large_as_nanogpts_tokens_allow_is_read():
    itos = {i: chr(i + 100_000) for i in range(1 << 16)}
    meta = {"vocab_size": 1 << 16, "itos": itos, "stoi": {c: i for i, c in itos.items()}}
    assert pickles.read_pickle(pickle.dumps(meta)) == meta


def test_damaged_pickles_raise_nothing_but_input_errors():
    rng = random.Random(0)
    meta = {"vocab_size": 3, "itos": {0: "a", 1: "b"}, "x": [1.5, None, (True, b"z"), -(2**40)]}
    originals = [bytearray(pickle.dumps(meta, p)) for p in range(3, pickle.HIGHEST_PROTOCOL + 1)]
    originals.append(bytearray(pickle.dumps({0: "a", "b": [True, (1, 2, 3, 4)]}, 0)))
    for _ in range(5000):
        data = bytearray(rng.choice(originals))
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        cut = rng.choice([len(data), rng.randrange(len(data))])
        try:
            pickles.read_pickle(bytes(data[:cut]))
        except InputError:
            pass


@pytest.mark.parametrize("data", [b"N(NNe.", b"](NNu.", b"}(NNe.", b"(NNe.", b"Na."])
def test_a_value_is_added_to_what_takes_it(data):
    with pytest.raises(InputError, match="to add to|no mark|enough values"):
        pickles.read_pickle(data)


def test_a_tuple_is_no_key():
    with pytest.raises(InputError, match="a key of type tuple"):
        pickles.read_pickle(pickle.dumps({(1, 2): 3}))
