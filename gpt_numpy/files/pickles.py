"""Read and write a pickle as data: plain values come out, and nothing in it can run.

A pickle is a program for a small stack machine. Python's own reader executes it, and some of its
instructions import and call whatever the file names. This reader has only the instructions that
build plain values, and refuses every other by name before it does anything. nanoGPT keeps a
vocabulary in such a file (`meta.pkl`). PyTorch keeps a model in one, beside the numbers: what that
takes in addition, `interop/torch_files.py` gives to a machine of its own.

Source: the instruction set as the standard library's `pickletools` documents it. `genops` there
takes the bytes apart into instructions and executes none.
"""

import pickletools
import struct
from collections.abc import Callable, Mapping
from typing import Any

from gpt_numpy.base.errors import InputError

# nanoGPT's tokens are 16 bits wide: a full vocabulary of words, to and fro, stays well below these.
# Every value built and every value remembered costs an instruction, so memory has a bound too.
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
# A tuple that holds another twice, and so on, takes exponential time to hash: none as a key.
_KEYS = (type(None), bool, int, float, str, bytes)


class Machine:
    """The stack, the marks in it, and the values to which the pickle may refer again."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, name: str, argument: Any) -> bool:
        """Execute one instruction; False when this machine has none of that name."""
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _ARGUMENTS:
            self.stack.append(_checked(argument))
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            self.stack.append(tuple(self.pop(_TUPLES[name])))
        elif name in _PUTS:
            self.remember(argument)
        elif name in _GETS:
            self.recall(argument)
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name in ("TUPLE", "LIST", "DICT"):
            self.collect(name)
        elif name in ("APPEND", "APPENDS"):
            items = self.pop(1) if name == "APPEND" else self.pop_marked()
            self.top(list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self.pop(2) if name == "SETITEM" else self.pop_marked()
            self.top(dict).update(_pairs(items))
        else:
            return name in _IGNORED
        return True

    def pop(self, count: int) -> list[Any]:
        """Take the uppermost `count` values, down to the last mark at most."""
        start = len(self.stack) - count
        if start < (self.marks[-1] if self.marks else 0):
            raise InputError("the stack does not hold what the instruction takes")
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def pop_marked(self) -> list[Any]:
        """Take the last mark and the values above it."""
        if not self.marks:
            raise InputError("there is no mark")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def top(self, kind: type) -> Any:
        """The uppermost value, which stays and has to be a `kind`."""
        if not self.stack or type(self.stack[-1]) is not kind:
            raise InputError(f"there is no {kind.__name__} to add to")
        return self.stack[-1]

    def collect(self, name: str) -> None:
        """Make one value of those above the last mark."""
        items = self.pop_marked()
        self.stack.append(
            tuple(items) if name == "TUPLE" else items if name == "LIST" else dict(_pairs(items))
        )

    def remember(self, index: int | None) -> None:
        """Keep the uppermost value for `recall`."""
        if not self.stack:
            raise InputError("there is nothing to remember")
        self.memo[len(self.memo) if index is None else index] = self.stack[-1]

    def recall(self, index: int) -> None:
        """Put a value that is remembered on the stack again."""
        if index not in self.memo:
            raise InputError(f"nothing is remembered under {_checked(index)}")
        self.stack.append(self.memo[index])


def read(data: bytes, machine: Machine | None = None) -> object:
    """The value that a pickle holds, if it is made of plain values, and what `machine` adds.

    None, bool, int (up to 64 bits), float, str, bytes, tuple, list and dict, nested in any way;
    keys of a dict are not tuples. A list may hold itself, as in any pickle: walk with care.

    Raises `InputError`, naming the instruction and its byte, for anything else: other types,
    damage, bytes after the end, more than MAX_BYTES or MAX_INSTRUCTIONS.
    """
    if len(data) > MAX_BYTES:
        raise InputError(f"pickle of {len(data)} bytes: at most {MAX_BYTES} are read")
    machine = machine or Machine()
    name, position = "", 0
    try:
        for count, (opcode, argument, found) in enumerate(pickletools.genops(data)):
            name, position = opcode.name, found or 0
            if count >= MAX_INSTRUCTIONS:
                raise InputError(f"at most {MAX_INSTRUCTIONS} instructions are read")
            if name == "STOP":
                break
            if not machine.run(name, argument):
                raise InputError("only plain values are read, and nothing is executed")
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


def write(value: object, other: Callable[[object], bytes] | None = None) -> bytes:
    """A pickle, protocol 2, of None, bool, int, float, str, tuple, list and mapping.

    `other(part)` gives the instructions for any value of another kind; without it there is a
    `TypeError`.
    """
    return b"\x80\x02" + instructions(value, other) + b"."


def instructions(value: Any, other: Callable[[object], bytes] | None = None) -> bytes:
    """The instructions that put a value on the stack; see `write`."""
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, int):
        if -(2**31) <= value < 2**31:
            return b"J" + struct.pack("<i", value)
        data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(data)]) + data
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        return b"X" + struct.pack("<I", len(text)) + text
    if isinstance(value, Mapping):
        return b"}(" + b"".join(instructions(x, other) for kv in value.items() for x in kv) + b"u"
    if isinstance(value, list | tuple):
        start, end = (b"](", b"e") if isinstance(value, list) else (b"(", b"t")
        return start + b"".join(instructions(part, other) for part in value) + end
    if other is None:
        raise TypeError(f"a value of type {type(value).__name__}")
    return other(value)


def _checked(value: Any) -> Any:
    # Longer ones take quadratic time to print.
    if isinstance(value, int) and value.bit_length() > 64:
        raise InputError(f"an integer of {value.bit_length()} bits: at most 64 are read")
    return value


def _pairs(items: list[Any]) -> list[tuple[Any, Any]]:
    if len(items) % 2:
        raise InputError("a key without a value")
    for key in items[::2]:
        if not isinstance(key, _KEYS):
            raise InputError(f"a key of type {type(key).__name__}")
    return list(zip(items[::2], items[1::2], strict=True))
