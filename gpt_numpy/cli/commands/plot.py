"""`gpt-numpy plot`: draws the loss curves of one or several runs."""

from gpt_numpy.base.errors import InputError
from gpt_numpy.cli.options import PlotConfig
from gpt_numpy.cli.settings import Types, split
from gpt_numpy.inspection.curves.drawing import draw
from gpt_numpy.inspection.curves.history import incomparable, read_history
from gpt_numpy.inspection.curves.measured import compare_with_measured, read_measured


def run(words: list[str], types: Types) -> int:
    """`gpt-numpy plot`."""
    runs, flags = split(words, types)
    config = PlotConfig(**flags)
    if not runs:
        raise InputError("plot needs the folder of at least one run: gpt-numpy plot out-tiny")
    histories = [read_history(run) for run in dict.fromkeys(runs)]
    measured = read_measured(config.reference) if config.reference else None
    draw(histories, config.out, measured)
    if measured:
        for history in histories:
            print(compare_with_measured(history, measured))
        if measured.iterations[-1] < measured.max_iters:
            print(f"(measured up to {measured.iterations[-1]} of {measured.max_iters} iterations)")
        print(f"measured {measured.date}, gpt_numpy {measured.version}, {measured.machine}")
    if why := incomparable(histories):
        print(why)
    print(f"loss curves in {config.out}")
    return 0
