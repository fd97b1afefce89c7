"""Join the processes that mpiexec started."""

from gpt_numpy.base.mpiexec import launched, load_mpi, share_of_threads
from gpt_numpy.base.threads import take_share
from gpt_numpy.parallel.world import ONE, World

_world: World | None = None


def start() -> World:
    """The processes that mpiexec started, or this one alone; a context manager.

    Within `with`, only process 0 prints, and an exception in one process ends all. The processes of
    a machine share its cores: each has its part of them as threads, or OMP_NUM_THREADS.

    Raises
    ------
    InputError : mpiexec started several, and mpi4py or MPI cannot be loaded.
    """
    global _world
    if launched()[1] == 1:
        return ONE
    if _world is None:
        take_share(share_of_threads())
        _world = World(load_mpi().COMM_WORLD)
    return _world
