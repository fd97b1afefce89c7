"""Looking inside a model: every activation, every gradient, where each comes from, what they do.

operations.py   the equations of every layer, and the functions that compute them
diagram.py      which operation reads and writes which arrays, in the order of the computation
recomputed.py   what no layer stores, computed again with the reference
trace.py        one forward and backward pass with everything kept: `gn.trace`
sources.py      where the numbers of a name come from
norms.py        gradient norms of single tokens and single sequences, without another pass
statistics.py   each array in a few numbers, what is unusual in words (thresholds.py)
hooks.py        activations replaced by name: `gn.replaced`, `gn.ablate`; through opened.py
table.py        these for the terminal: `gpt-numpy inspect`
curves.py       the loss curves of runs: `gpt-numpy plot`
normal.py       measured curves of the presets, to lay under them (reference/*.json)
"""
