"""From where on something counts as unusual. These are conventions; the numbers stand beside."""

VANISHING = 1e-3  # of the same array's gradient in the last block, root mean square
EXPLODING = 1e3  # likewise; and of the same array's value in the first block
SILENT = 1e-3  # a neuron whose output never leaves this range about 0 says nothing
DEAD = 0.1  # share of neurons that say nothing
SATURATED = 0.99  # of a query's attention on one key, on average over the queries with a choice

EXPLANATION = f"""\
what is marked:
  vanishing  the gradient (root mean square) is below {VANISHING:g} of the same array's in the last
             block, the one next to the loss; "no gradient" where it is zero throughout
  exploding  the gradient is above {EXPLODING:g} times the same array's in the last block, or the
             value above {EXPLODING:g} times the same array's in the first
  dead       more than {DEAD:.0%} of the MLP's neurons stay within {SILENT:g} of 0 at every position
             of this text: what they read cannot learn from it
  saturated  heads whose queries, after the first, give on average more than {SATURATED:.0%} of
             their attention to one key: hardly any gradient passes such a softmax
  not finite a value or a gradient holds an infinity or something that is no number
update / weight is the norm of AdamW's next step over that of the parameter, with this text as the
batch and the moments and the learning rate in the checkpoint; about 0.001 is usual in training"""
