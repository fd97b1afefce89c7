"""One training run computed by several processes, on one machine or many, through MPI.

Every process holds the whole model. The micro-batches of an update are divided among them; their
gradients are added in an order that depends on the micro-batches alone (tree_sum.py), and each
process updates its own part of the parameters (segments.py), whose moments no other process holds.
`gpt-numpy train` does this by itself under mpiexec. For a loop of one's own:

    with gn.parallel.start() as world:              # one process, or those that mpiexec started
        model = gn.GPT(config, seed=1)              # the same in all
        optimizer = gn.AdamW(model, world=world)
        mine = world.share(micro_batches)           # the micro-batches of this process
        gradient = gn.parallel.TreeSum(model.grads.flat, len(mine))
        for update in range(updates):
            for k in mine:
                x, y = batch(update, k)             # a function of its numbers
                model.forward(x, y, divisor=micro_batches * y.size)
                model.backward(accumulate=gradient.accumulate)
                gradient.add()
            optimizer.step()                        # adds up, updates and hands on, in all of them
        gn.save("model.npz", model, optimizer=optimizer)    # all must call it; process 0 writes

    mpiexec -n 4 python loop.py                     # after pip install -e ".[mpi]"

The parameters are the same to the bit for 1, 2, 4, ... processes, as long as the number divides
`micro_batches`; any other number that divides it gives its own last bits, the same in every run.
Within `with`, only process 0 prints, and an error in one process ends all. `examples/` has such a
program.

start    the processes that mpiexec started, as a `World`
World    rank, size and first; share, numbers, texts and agree, which all processes must call
TreeSum  the sum of the gradients of micro-batches, in its fixed order
ONE      the world of one process, the default of optimizers
"""

from gpt_numpy.parallel.launch import start as start
from gpt_numpy.parallel.tree_sum import TreeSum as TreeSum
from gpt_numpy.parallel.world import ONE as ONE
from gpt_numpy.parallel.world import World as World

__all__ = ["ONE", "TreeSum", "World", "start"]
