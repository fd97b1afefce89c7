"""How a process finds out that mpiexec started it, and with how many others.

Every starter sets variables of its own, which tell a process its number before MPI is imported. So
one process by itself imports no MPI, and several without mpi4py do not become independent runs that
overwrite each other's folder. NumPy is not imported here: threads are counted before it is.
"""

import hashlib
import os
import socket
import sys
from typing import Any

from gpt_numpy.base.errors import InputError
from gpt_numpy.base.threads import physical_cores

# Number and count of processes: MPICH, Intel MPI and Slurm with PMI2; Open MPI; MVAPICH.
_VARIABLES = (
    ("PMI_RANK", "PMI_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
)
INSTALL = "pip install mpi4py mpich, or mpi4py alone for the MPI of this machine"


def launched() -> tuple[int, int]:
    """Number of this process and count of all, as mpiexec's variables say; (0, 1) without."""
    for rank, size in _VARIABLES:
        if os.environ.get(rank, "").isdecimal() and os.environ.get(size, "").isdecimal():
            return int(os.environ[rank]), int(os.environ[size])
    return 0, 1


def load_mpi() -> Any:
    """The module mpi4py.MPI, in a process that mpiexec started with others.

    Raises
    ------
    InputError : it cannot be loaded, or sees other processes (in process 0; the others end).
    """
    rank, size = launched()
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        if rank:
            sys.exit(2)  # process 0 says why
        raise InputError(
            f"mpiexec started {size} processes, which need mpi4py and MPI to work on one run "
            f"({error}): {INSTALL}"
        ) from None
    found = MPI.COMM_WORLD.Get_size()
    if found != size:
        if rank:
            sys.exit(2)
        version = MPI.Get_library_version().splitlines()[0].strip()
        raise InputError(
            f"mpiexec started {size} processes, but mpi4py, which uses {version}, sees {found}: "
            "start them with the mpiexec of that MPI"
        )
    return MPI


def sharing() -> int:
    """How many processes, this one included, share the cores that this one may use."""
    if launched()[1] == 1:
        return 1
    communicator = load_mpi().COMM_WORLD
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    mine = hashlib.sha256(f"{socket.gethostname()} {cores}".encode()).digest()
    everyone = bytearray(len(mine) * communicator.Get_size())
    communicator.Allgather(bytearray(mine), everyone)
    return sum(everyone[i : i + len(mine)] == mine for i in range(0, len(everyone), len(mine)))


def share_of_threads() -> int:
    """The threads that each of the processes which share cores should have."""
    return max(1, physical_cores() // sharing())
