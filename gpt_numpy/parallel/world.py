"""The processes that compute a run together, and what they exchange.

With one process every function returns what it was given, and MPI is not imported. Texts travel as
UTF-8 and arrays as they are: nothing is pickled.
"""

import contextlib
import functools
import itertools
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, TypeVar, cast

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.checks import integer
from gpt_numpy.base.errors import InputError, NotFiniteError
from gpt_numpy.base.mpiexec import load_mpi
from gpt_numpy.parallel.segments import bounds_of
from gpt_numpy.parallel.tree_sum import sum_rows

ROUND = 2**18  # elements that two processes exchange at a time: the memory for it is small
BAD_INPUT, NOT_FINITE, INTERRUPTED, FAILED = 2, 3, 130, 1  # exit statuses, as in cli/

Exchange = TypeVar("Exchange", bound=Callable[..., Any])


def _timed(exchange: Exchange) -> Exchange:
    """Add the time of an exchange to `World.waited`."""

    @functools.wraps(exchange)
    def timed(self: "World", *args: Any) -> Any:
        start = time.perf_counter()
        try:
            return exchange(self, *args)
        finally:
            self.waited += time.perf_counter() - start

    return cast(Exchange, timed)


class World:
    """One process among all that compute a run.

    Parameters
    ----------
    communicator : an MPI communicator of mpi4py; None: there is only this process.

    Attributes
    ----------
    rank, size : number of this process, from 0, and of all processes.
    first : whether this is process 0, which prints and saves.
    waited, sent : seconds spent in exchanges, and bytes of arrays sent to others, until now.
    """

    def __init__(self, communicator: Any = None) -> None:
        self._comm = communicator
        self.rank: int = communicator.Get_rank() if communicator else 0
        self.size: int = communicator.Get_size() if communicator else 1
        self.first = self.rank == 0
        self.waited, self.sent = 0.0, 0
        self._received = np.empty(0, np.uint8)  # for `add_up`
        self._agreed = False  # whether all processes know of the error that ends them

    def __deepcopy__(self, memo: dict[int, Any]) -> "World":
        return self  # of a copied optimizer

    def __reduce__(self) -> Any:
        if self._comm:
            raise TypeError("an optimizer of several processes cannot be pickled: use gn.save")
        return "ONE"

    def share(self, count: int) -> range:
        """The indices below `count` that this process computes: consecutive, in order of rank.

        Raises
        ------
        InputError : `count` is not divisible by the number of processes.
        """
        count = integer("micro_batches", count, 1)
        if count % self.size:
            raise InputError(
                f"gradient_accumulation_steps={count}: {self.size} processes divide the "
                f"micro-batches of an update among them; use a multiple of {self.size}"
            )
        each = count // self.size
        return range(self.rank * each, (self.rank + 1) * each)

    @_timed
    def agree(self, flags: int) -> int:
        """The bits that are set in any process's `flags`."""
        if not self._comm:
            return flags
        found = np.array([flags], np.int64)
        self._comm.Allreduce(self._in_place(), found, op=self._mpi().BOR)
        return int(found[0])

    def texts(self, text: str) -> list[str]:
        """The texts of all processes, in order of rank."""
        if not self._comm:
            return [text]
        data = np.frombuffer(text.encode(), np.uint8)
        sizes = np.empty(self.size, np.int64)
        self._comm.Allgather(np.array([data.size], np.int64), sizes)
        everything = np.empty(int(sizes.sum()), np.uint8)
        self._comm.Allgatherv(data, [everything, sizes.tolist()])
        ends = np.cumsum(sizes)
        return [
            everything[end - n : end].tobytes().decode() for n, end in zip(sizes, ends, strict=True)
        ]

    @_timed
    def numbers(self, values: Array) -> Array:
        """The float64 numbers of all processes, one after the other, in order of rank."""
        if not self._comm:
            return values
        counts = np.empty(self.size, np.int64)
        self._comm.Allgather(np.array([values.size], np.int64), counts)
        everything = np.empty(int(counts.sum()))
        self._comm.Allgatherv(np.ascontiguousarray(values), [everything, counts.tolist()])
        return everything

    def segment(self, size: int) -> tuple[int, int]:
        """The first element, and the one after the last, that this process updates."""
        bounds = bounds_of(size, self.size)
        return bounds[self.rank], bounds[self.rank + 1]

    @_timed
    def add_up(self, vector: Array) -> None:
        """Write the sum over all processes to this process's segment of `vector`.

        The other elements keep this process's own values. Each process sends every other one its
        part of the other's segment: (size - 1) / size of the vector in all.
        """
        if not self._comm:
            return
        bounds = bounds_of(vector.size, self.size)
        start, stop = bounds[self.rank], bounds[self.rank + 1]
        longest = max(b - a for a, b in itertools.pairwise(bounds))
        received = self._rows_to_receive(min(ROUND, longest), vector.dtype)
        self.sent += vector.itemsize * (vector.size - (stop - start))
        for offset in range(0, longest, ROUND):
            here = vector[start + offset : min(start + offset + ROUND, stop)]
            requests = []
            for other in (self.rank + k for k in range(1, self.size)):
                other %= self.size
                first = bounds[other] + offset
                theirs = vector[first : max(first, min(first + ROUND, bounds[other + 1]))]
                requests.append(self._comm.Irecv(received[other, : here.size], other))
                requests.append(self._comm.Isend(theirs, other))
            self._mpi().Request.Waitall(requests)
            received[self.rank, : here.size] = here
            here[...] = sum_rows(received[:, : here.size])

    def _rows_to_receive(self, length: int, dtype: np.dtype[Any]) -> Array:
        """Memory for `length` elements of each process, the same in every call."""
        size = self.size * length * dtype.itemsize
        if self._received.size < size:
            self._received = np.empty(size, np.uint8)
        return self._received[:size].view(dtype).reshape(self.size, length)

    @_timed
    def hand_on(self, vector: Array) -> None:
        """Write every process's segment of `vector` to that of all others."""
        if self._comm:
            bounds = np.array(bounds_of(vector.size, self.size))
            start, stop = self.segment(vector.size)
            self.sent += vector.itemsize * (stop - start) * (self.size - 1)
            places = [vector, np.diff(bounds).tolist(), bounds[:-1].tolist()]
            self._comm.Allgatherv(self._in_place(), [*places, self._mpi_type(vector)])

    def collect(self, piece: Array, place: tuple[int, int], size: int, whole: Array | None) -> None:
        """Bring the pieces of a tensor together in `whole`, which process 0 gives.

        piece : what of the tensor lies in this process's segment, perhaps nothing; place : where
        the tensor begins and ends in the flat vector of `size` elements.
        """
        if not self._comm:
            assert whole is not None
            whole.reshape(-1)[...] = piece
            return
        bounds = bounds_of(size, self.size)
        if not self.first:
            if piece.size:
                self._comm.Send(piece, 0)
            return
        assert whole is not None
        flat = whole.reshape(-1)
        for rank in range(self.size):
            first, last = max(place[0], bounds[rank]), min(place[1], bounds[rank + 1])
            if first < last:
                target = flat[first - place[0] : last - place[0]]
                if rank:
                    self._comm.Recv(target, rank)
                else:
                    target[...] = piece

    def send_first(self, array: Array, owner: int, whole: Array | None) -> None:
        """Bring an array of process `owner` to process 0, which gives `whole` for it."""
        if owner == self.rank and whole is not None:
            whole[...] = array
        elif owner == self.rank:
            self._comm.Send(array, 0)
        elif whole is not None:
            self._comm.Recv(whole, owner)

    @_timed
    def broadcast(self, array: Array, owner: int) -> None:
        """Write the array of process `owner` to that of all others."""
        if self._comm:
            self.sent += array.nbytes * (self.size - 1) * (owner == self.rank)
            self._comm.Bcast(array, owner)

    def check_same(self, values: Mapping[str, str]) -> None:
        """Raise `InputError`, in all processes, if they do not all have the same values."""
        for name, value in values.items():
            found = self.texts(value)
            for rank, theirs in enumerate(found):
                if theirs != found[0]:
                    self._agreed = True
                    raise InputError(
                        f"{name} of process {rank} is {theirs[:200]}, of process 0 "
                        f"{found[0][:200]}: all processes must have the same"
                    )

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """An error of one process within the block is raised in all, as that of the first."""
        error: BaseException | None = None
        try:
            yield
        except (InputError, NotFiniteError, MemoryError, KeyboardInterrupt, OSError) as raised:
            if self.size == 1 or self._agreed:
                raise
            error = raised
        if self.size == 1:
            return
        texts = self.texts(f"{_status(error)}:{error}" if error else "")
        found = [(rank, text) for rank, text in enumerate(texts) if text]
        if found:
            self._agreed = True
            rank, (status, _, message) = found[0][0], found[0][1].partition(":")
            raise _error(int(status), message if not rank else f"process {rank}: {message}")

    def __enter__(self) -> "World":
        self._errors = sys.stderr
        if not self.first:  # process 0 speaks for all
            nowhere = open(os.devnull, "w", encoding="utf-8")
            sys.stdout, sys.stderr = nowhere, nowhere
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all processes if one fails alone: the others would wait for it for ever."""
        if error is None or not self._comm or self._agreed or isinstance(error, NotFiniteError):
            return  # a loss that is not finite is that of all
        if isinstance(error, SystemExit) and not error.code:
            return
        status = _status(error)
        if status == FAILED and not isinstance(error, SystemExit):
            traceback.print_exception(error, file=self._errors)
        print(f"gpt-numpy: process {self.rank}: {error}", file=self._errors, flush=True)
        self._comm.Abort(status)

    def _mpi(self) -> Any:
        return load_mpi()

    def _in_place(self) -> Any:
        return self._mpi().IN_PLACE

    def _mpi_type(self, vector: Array) -> Any:
        return {4: self._mpi().FLOAT, 8: self._mpi().DOUBLE}[vector.itemsize]


ONE = World()


def _status(error: BaseException | None) -> int:
    if isinstance(error, NotFiniteError):
        return NOT_FINITE
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return BAD_INPUT if isinstance(error, InputError | MemoryError | OSError) else FAILED


def _error(status: int, message: str) -> BaseException:
    """The exception that ends a process with this exit status."""
    if status == NOT_FINITE:
        return NotFiniteError(message)
    return KeyboardInterrupt() if status == INTERRUPTED else InputError(message)
