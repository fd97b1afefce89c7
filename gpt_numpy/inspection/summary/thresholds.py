"""When something counts as unusual. Conventions: the table shows the numbers themselves, too."""

VANISHING = 1e-3  # of the root mean square of the same array's gradient in the last block
EXPLODING = 1e3  # likewise; and of the same array's value in the first block
SILENT = 1e-3  # a neuron is silent if its output stays within this of 0
DEAD = 0.1  # share of silent neurons
SATURATED = 0.99  # of a query's attention on one key, on average over the queries with a choice

EXPLANATION = f"""\
what is marked:
  vanishing  the gradient (root mean square) is below {VANISHING:g} of the same array's in the last
             block, the one next to the loss; "no gradient" if it is all zero
  exploding  the gradient is above {EXPLODING:g} times the same array's in the last block, or the
             value above {EXPLODING:g} times the same array's in the first
  dead       more than {DEAD:.0%} of the MLP's neurons stay within {SILENT:g} of 0 at every position
             of this text: the weights before them cannot learn from it
  saturated  heads whose queries, except the first, give on average more than {SATURATED:.0%} of
             their attention to one key: such a softmax passes hardly any gradient
  not finite a value or a gradient holds an infinity or NaN
update / weight is the norm of the optimizer's next step divided by that of the parameter, with this
text as the batch, and the optimizer's state and learning rate of the checkpoint; with AdamW about
0.001 is usual in training"""
