"""Buffers between two guard regions, which must stay as they are; or next to a forbidden page."""

import ctypes
import mmap
import sys
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
        setattr(jit, "_workspaces", {})
        return self


class Guards:
    """Arrays with a region on both sides that must stay as it is; for single calls of kernels."""

    SIZE = 67  # elements; odd, so that nothing is aligned by luck
    CANARY = 12345.0

    def __init__(self):
        self.buffers = []

    def array(self, value, dtype, writeable):
        buffer = np.full(np.size(value) + 2 * self.SIZE, self.CANARY, dtype)
        self.buffers.append(buffer)
        view = buffer[self.SIZE : -self.SIZE].reshape(np.shape(value))
        view[...] = value
        view.setflags(write=writeable)
        return view

    def check(self):
        for buffer in self.buffers:
            assert (buffer[: self.SIZE] == self.CANARY).all()
            assert (buffer[-self.SIZE :] == self.CANARY).all()


class Pages:
    """Arrays next to a page that nobody may read; otherwise like `Guards`. For Linux.

    At the end of its pages, an array ends where the forbidden page begins; else it begins where one
    ends. Who reads or writes beyond the array ends the process (SIGSEGV): no test result, but
    Python's fault handler names the test and the line.
    """

    AVAILABLE = sys.platform == "linux"
    at_end = True

    def array(self, value, dtype, writeable):
        value = np.asarray(value, dtype)
        page = mmap.PAGESIZE
        room = -(-max(value.nbytes, 1) // page) * page
        memory = np.frombuffer(mmap.mmap(-1, room + 2 * page), np.uint8)
        for start in (0, page + room):
            forbid = ctypes.CDLL(None, use_errno=True).mprotect
            if forbid(ctypes.c_void_p(memory.ctypes.data + start), ctypes.c_size_t(page), 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        at = page + room - value.nbytes if self.at_end else page
        view = memory[at : at + value.nbytes].view(value.dtype).reshape(value.shape)
        view[...] = value
        view.setflags(write=writeable)
        return view

    def check(self):
        """Nothing: whoever was wrong is gone."""


class PagesBefore(Pages):
    """Arrays that begin where a page ends that nobody may read."""

    at_end = False
