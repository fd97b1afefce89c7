"""Buffers that lie between two regions that must stay as they are."""

import weakref

import numpy as np

from gpt_numpy.base import arrays

CANARY = 77
MARGIN = 64 * 64  # bytes on both sides; whole cache lines, so that alignment stays


class Padded:
    """Stands in for `aligned_empty`; `intact` says whether nobody wrote outside of a buffer."""

    def __init__(self):
        self._buffers = {}  # number: the allocation that a buffer is part of, and where it lies

    def __call__(self, size, dtype):
        length = np.dtype(dtype).itemsize * size
        raw = np.empty(length + 2 * MARGIN + arrays.ALIGNMENT, np.uint8)
        start = MARGIN + -raw.ctypes.data % arrays.ALIGNMENT
        raw[:start] = raw[start + length :] = CANARY
        number = id(raw)
        reference = weakref.ref(raw, lambda _: self._buffers.pop(number))
        self._buffers[number] = (reference, start, start + length)
        inside = raw[start : start + length].view(dtype)
        if inside.dtype.kind == "f":
            inside[...] = np.nan  # nothing may be read before it is written
        return inside

    def __len__(self):
        return len(self._buffers)

    def intact(self):
        """Whether all margins of the buffers that still exist are as they were."""
        alive = [(reference(), start, stop) for reference, start, stop in self._buffers.values()]
        return all(
            (raw[:start] == CANARY).all() and (raw[stop:] == CANARY).all()
            for raw, start, stop in alive
        )

    def install(self, setattr=setattr):
        """From now on every buffer of models, optimizers and kernels is one of these."""
        from gpt_numpy.kernels.engine import jit
        from gpt_numpy.model import buffers

        for module in (arrays, buffers, jit):
            setattr(module, "aligned_empty", self)
        setattr(jit, "_rooms", {})
        return self
