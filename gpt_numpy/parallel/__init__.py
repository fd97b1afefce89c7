"""One training run computed by several processes, on one machine or many, through MPI.

Every process holds the whole model. The micro-batches of an update are divided among them; their
gradients are added in an order that depends on the micro-batches alone (tree_sum.py), and each
process updates its own part of the parameters (segments.py), whose moments no other process holds.
For a loop of one's own:

    with gn.parallel.start() as world:              # one process, or those that mpiexec started
        model = gn.GPT(config, seed=1)
        optimizer = gn.AdamW(model, world=world)
        gradient = gn.parallel.TreeSum(model.grads.flat, len(world.share(micro_batches)))
        for update in range(updates):
            for k in world.share(micro_batches):    # those of this process
                x, y = batch(update, k)
                model.forward(x, y, divisor=micro_batches * y.size)
                model.backward(accumulate=gradient.accumulate)
                gradient.add()
            optimizer.step()                        # adds up, updates and hands on, in all of them
"""

from gpt_numpy.parallel.launch import start as start
from gpt_numpy.parallel.tree_sum import TreeSum as TreeSum
from gpt_numpy.parallel.world import ONE as ONE
from gpt_numpy.parallel.world import World as World

__all__ = ["ONE", "TreeSum", "World", "start"]
