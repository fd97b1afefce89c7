"""Damaged checkpoints: every one is refused, with one kind of error and one line."""

import random

import gpt_numpy as gn
from tests.durability.subject import Subject

KINDS = ("flip", "truncate", "overwrite", "swap", "insert", "append", "remove", "mix")


def campaign(folder, count, seed):
    """Damage the last checkpoint of a run in `count` ways, a kind after the other."""
    Subject(folder, iterations=10)
    rng = random.Random(seed)
    path = folder / "whole" / "run" / "ckpt.npz"
    original, other = path.read_bytes(), (path.parent / "ckpt-00000010.npz").read_bytes()
    result = {"trials": 0, "missed": 0, "faults": []}
    result |= {f"refused, {kind}": 0 for kind in KINDS}
    target = folder / "damaged.npz"
    while result["trials"] < count:
        kind = KINDS[result["trials"] % len(KINDS)]
        data = damaged(original, other, kind, rng)
        if data == original:
            continue
        target.write_bytes(data)
        fault = _fault(target)
        result["trials"] += 1
        result["missed"] += bool(fault)
        result[f"refused, {kind}"] += not fault
        if fault:
            result["faults"].append(f"{kind}: {fault}")
    return result


def damaged(data, other, kind, rng):
    """`data` after one accident; `other` is another file of the same run."""
    data, size = bytearray(data), len(data)
    start = rng.randrange(size)
    length = min(rng.choice([1, 8, 64, 512, 4096]), size - start)
    stop = start + length
    if kind == "flip":
        for _ in range(rng.choice([1, 1, 1, 2, 8])):
            data[rng.randrange(size)] ^= 1 << rng.randrange(8)
    elif kind == "truncate":
        del data[start:]
    elif kind == "overwrite":
        data[start:stop] = rng.choice([bytes(length), b"\xff" * length, rng.randbytes(length)])
    elif kind == "swap":
        there = rng.randrange(size - length + 1)
        piece, data[start:stop] = data[start:stop], data[there : there + length]
        data[there : there + length] = piece
    elif kind == "insert":
        data[start:start] = rng.choice([bytes(length), data[start:stop]])
    elif kind == "append":
        data += rng.choice([bytes(length), data[:length], data[-length:]])
    elif kind == "remove":
        del data[start:stop]
    elif kind == "mix":  # blocks of a file that was there before, as after a crash of the disk
        data[start:stop] = other[start:stop]
    return bytes(data)


def _fault(path):
    try:
        gn.load(path, ops="reference")
    except gn.InputError as error:
        return "" if str(path) in str(error) and "\n" not in str(error) else f"unclear: {error}"
    except Exception as error:  # that there is no other kind is what is being tried
        return f"another kind of error: {error!r}"
    return "read without an error"
