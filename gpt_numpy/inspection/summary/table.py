"""The statistics of a trace as a table for the terminal, layer by layer."""

from itertools import groupby

import numpy as np

from gpt_numpy.config.model import GPTConfig
from gpt_numpy.inspection.summary.statistics import ArrayStatistics, Summary
from gpt_numpy.inspection.trace.diagram import layer_title
from gpt_numpy.inspection.trace.trace import Trace
from gpt_numpy.model.stage import within_stack

NUMBERS = ("mean", "spread", "norm", "zeros")


def table(trace: Trace, listed: list[ArrayStatistics]) -> list[str]:
    """The lines of a table with a section for each layer, and a list of all remarks."""
    width = max(len(_within(row.name)) for row in listed) + 1
    above = f"{'':{width}}{'value':^40}{'gradient':^40}"
    heads = "".join(f"{number:>10}" for number in NUMBERS)
    lines = [above.rstrip(), f"{'':{width}}{heads}{heads}{'update':>10}"]
    for layer, members in groupby(listed, key=lambda row: layer_title(row.name)):
        lines += ["", layer]
        lines += [_line(row, width) for row in members]
    loss = "no loss" if trace.loss is None else f"loss {trace.loss:.4f} nats a token"
    lines += ["", f"{loss}; {_sizes(trace)}, {trace.ops}"]
    if any(row.recomputed for row in listed):
        lines.append("~ no layer stores it: computed again with the reference")
    marked = [row for row in listed if row.remarks]
    lines.append(f"unusual: {len(marked)} of {len(listed)}" if marked else "nothing unusual")
    lines += [f"  {row.name}: {'; '.join(row.remarks)}" for row in marked]
    return lines


def _line(row: ArrayStatistics, width: int) -> str:
    name = _within(row.name) + ("~" if row.recomputed else "")
    update = "" if row.update is None else f"{row.update:10.1e}"
    cells = f"{_cells(row.value)}{_cells(row.grad)}{update:>10}"
    return f"{name:<{width}}{cells}  {'; '.join(row.remarks)}".rstrip()


def _cells(numbers: Summary | None) -> str:
    if numbers is None:
        return " " * 40
    mean, spread, norm = numbers.mean, numbers.spread, numbers.norm
    return f"{mean:10.1e}{spread:10.1e}{norm:10.2e}{numbers.zeros:10.1%}"


def _sizes(trace: Trace) -> str:
    """The shape of what was read: tokens, or source and target."""
    given = {"tokens": trace.tokens}
    if not isinstance(trace.config, GPTConfig):
        given = {"source": trace.tokens, "target": np.asarray(trace.targets)}
    return ", ".join(f"{name} {' x '.join(map(str, x.shape))}" for name, x in given.items())


def _within(name: str) -> str:
    _, rest = within_stack(name)
    return rest.split(".", 2)[2] if rest.startswith("h.") else name
