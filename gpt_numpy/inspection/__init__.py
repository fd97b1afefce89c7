"""Look inside a model: every activation and gradient, where each comes from, what it does.

trace/     one pass with everything kept, each array with its equation: `gn.trace`
hooks/     activations replaced by name: `gn.replaced`, `gn.ablate`
summary/   statistics of each array as a table: `gpt-numpy inspect`
curves/    loss curves of runs, and measured curves of the presets: `gpt-numpy plot`
page/      a trace as one HTML page, which computes small models: `gpt-numpy inspect --html=FILE`
"""
