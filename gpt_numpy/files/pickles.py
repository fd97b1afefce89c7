"""Read and write pickles as data: only plain values, and nothing in a pickle can run.

A pickle is a program for a small stack machine. Python's own reader executes it, and some of its
instructions import and call whatever the file names. This reader has only the instructions that
build plain values, and refuses all others by name. nanoGPT keeps its vocabulary in such a file
(`meta.pkl`), and PyTorch the structure of a model: `interop/torch_reader.py` extends the machine.

Source: the instruction set as the standard library's `pickletools` documents it. Its `genops`
splits the bytes into instructions and executes none.
"""

import pickletools
import struct
from collections.abc import Mapping
from typing import Any

from gpt_numpy.base.errors import InputError

# nanoGPT's tokens have 16 bits: a full vocabulary of words, in both directions, is well below
# these. Every value built or remembered costs an instruction, so memory is bounded, too.
MAX_BYTES = 1 << 22
MAX_INSTRUCTIONS = 1 << 19

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_ARGUMENTS = frozenset(
    "INT LONG BININT BININT1 BININT2 LONG1 LONG4 FLOAT BINFLOAT UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8".split()
)
_EMPTY: dict[str, type] = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUTS = frozenset(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"))
_GETS = frozenset(("GET", "BINGET", "LONG_BINGET"))
_IGNORED = frozenset(("PROTO", "FRAME"))
# No tuples: one that holds another twice, and so on, takes exponential time to hash.
_KEYS = (type(None), bool, int, float, str, bytes)


class PickleMachine:
    """The stack, the marks in it, and the memo of values that the pickle may refer to again."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, name: str, argument: Any) -> None:
        """Execute one instruction; `InputError` if this machine does not have it."""
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _ARGUMENTS:
            self.stack.append(_checked(argument))
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            self.stack.append(tuple(self.pop(_TUPLES[name])))
        elif name in _PUTS:
            if not self.stack:
                raise InputError("there is nothing to remember")
            self.memo[len(self.memo) if argument is None else argument] = self.stack[-1]
        elif name in _GETS:
            if argument not in self.memo:
                raise InputError(f"nothing is remembered under {_checked(argument)}")
            self.stack.append(self.memo[argument])
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name in ("TUPLE", "LIST", "DICT"):
            items = self.pop_marked()
            kinds: dict[str, Any] = {"TUPLE": tuple, "LIST": list, "DICT": _dict}
            self.stack.append(kinds[name](items))
        elif name in ("APPEND", "APPENDS"):
            items = self.pop(1) if name == "APPEND" else self.pop_marked()
            self.top(list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self.pop(2) if name == "SETITEM" else self.pop_marked()
            self.top(dict).update(_dict(items))
        elif name not in _IGNORED:
            raise InputError("only plain values are read, and nothing is executed")

    def pop(self, count: int) -> list[Any]:
        """Remove and return the top `count` values, which must lie above the last mark."""
        start = len(self.stack) - count
        if start < (self.marks[-1] if self.marks else 0):
            raise InputError("the stack does not hold enough values for the instruction")
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def pop_marked(self) -> list[Any]:
        """Remove the last mark; remove and return the values above it."""
        if not self.marks:
            raise InputError("there is no mark")
        return self.pop(len(self.stack) - self.marks.pop())

    def top(self, kind: type) -> Any:
        """The top value, which must be a `kind`; it stays on the stack."""
        if not self.stack or type(self.stack[-1]) is not kind:
            raise InputError(f"there is no {kind.__name__} to add to")
        return self.stack[-1]


def read_pickle(data: bytes, machine: PickleMachine | None = None) -> object:
    """The value of a pickle, made of plain values and of those that `machine` adds.

    Plain are None, bool, int (up to 64 bits), float, str, bytes, tuple, list and dict, nested in
    any way, without tuples as keys. A list may contain itself, as in any pickle.

    Raises `InputError`, naming the instruction and its byte, for anything else: other types,
    damage, bytes after the end, more than MAX_BYTES or MAX_INSTRUCTIONS.
    """
    if len(data) > MAX_BYTES:
        raise InputError(f"pickle of {len(data)} bytes: at most {MAX_BYTES} are read")
    machine = machine or PickleMachine()
    name, position = "", 0
    try:
        for count, (opcode, argument, found) in enumerate(pickletools.genops(data)):
            name, position = opcode.name, found or 0
            if count >= MAX_INSTRUCTIONS:
                raise InputError(f"at most {MAX_INSTRUCTIONS} instructions are read")
            if name == "STOP":
                break
            machine.run(name, argument)
    except InputError as error:
        raise InputError(f"pickle: {name} at byte {position}: {error}") from None
    except ValueError as error:
        raise InputError(f"pickle: damaged after byte {position}: {error}") from None
    if position + 1 != len(data):
        raise InputError(f"pickle: {len(data) - position - 1} bytes after its end")
    if len(machine.stack) != 1 or machine.marks:
        raise InputError(f"pickle: holds {len(machine.stack)} values at its end instead of one")
    result: object = machine.stack[0]
    return result


def pickled(value: object) -> bytes:
    """A pickle (protocol 2) of a value made of None, bool, int, float, str, tuple, list, mapping.

    Bytes in the value are instructions that push something else. Any other type is a `TypeError`.
    """
    return b"\x80\x02" + instructions(value) + b"."


def instructions(value: Any) -> bytes:
    """The instructions that push a value; see `pickled`."""
    if isinstance(value, bytes):
        return value
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, int):
        data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(data)]) + data
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        data = value.encode("utf-8", "surrogatepass")
        return b"X" + struct.pack("<I", len(data)) + data
    if isinstance(value, Mapping):
        return b"}(" + b"".join(instructions(x) for item in value.items() for x in item) + b"u"
    if isinstance(value, list | tuple):
        start, end = (b"](", b"e") if isinstance(value, list) else (b"(", b"t")
        return start + b"".join(map(instructions, value)) + end
    raise TypeError(f"a value of type {type(value).__name__}")


def _checked(value: Any) -> Any:
    # Printing a longer integer takes quadratic time.
    if isinstance(value, int) and value.bit_length() > 64:
        raise InputError(f"an integer of {value.bit_length()} bits: at most 64 are read")
    return value


def _dict(items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise InputError("a key without a value")
    for key in items[::2]:
        if not isinstance(key, _KEYS):
            raise InputError(f"a key of type {type(key).__name__}")
    return dict(zip(items[::2], items[1::2], strict=True))
