"""The loss curves of runs, drawn by matplotlib to a PNG or an SVG file.

For each run: the loss of every logged batch (thin line), and at each evaluation the loss on the
training split (dashed) and on the validation split (with markers). Each run has one colour, from
Okabe and Ito's palette for colour-blind readers.
"""

import warnings
from pathlib import Path
from typing import Any

from gpt_numpy.base.errors import InputError
from gpt_numpy.files.durable import written_durably
from gpt_numpy.inspection.curves.history import History, incomparable
from gpt_numpy.inspection.curves.measured import MeasuredCurves

FORMATS = (".png", ".svg")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MOST_RUNS = len(COLOURS)
INCHES, DOTS_PER_INCH = (8.0, 5.0), 150

STYLES: dict[str, dict[str, Any]] = {  # of the curves of a History
    "batches": {"label": "single batches", "linewidth": 0.7, "alpha": 0.35},
    "train": {"label": "training split", "linewidth": 1.3, "linestyle": "--"},
    "val": {"label": "validation split", "linewidth": 1.8, "marker": "o", "markersize": 3.5},
}


def draw(histories: list[History], out: str, measured: MeasuredCurves | None = None) -> None:
    """Write the curves to `out`, a PNG or an SVG by its ending, with `measured` in grey.

    Raises
    ------
    InputError : another ending, too many runs, no matplotlib, a file that cannot be written.
    """
    path = Path(out)
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise InputError(f"out={out!r}: must end in {' or '.join(FORMATS)}")
    if len(histories) > MOST_RUNS:
        raise InputError(
            f"{len(histories)} runs: one figure has distinct colours for at most {MOST_RUNS}"
        )
    try:
        import matplotlib
        from matplotlib.figure import Figure  # without pyplot: no window, no global state
    except ImportError:
        raise InputError(
            "plot needs matplotlib, which is not installed: pip install 'gpt_numpy[plot]'"
        ) from None
    # Text as text, dollars as dollars, and fixed ids: the same log gives the same SVG.
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "gpt_numpy", "text.parse_math": False}
    with warnings.catch_warnings(), matplotlib.rc_context(style):
        warnings.simplefilter("ignore")  # a name in letters that the font does not have
        figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH, layout="constrained")
        _draw_axes(figure.add_subplot(), histories, measured)
        try:
            with written_durably(path) as file:
                metadata = {"Date": None} if kind == ".svg" else {}
                figure.savefig(file, format=kind[1:], metadata=metadata)
        except OSError as error:
            reason = f"{error.strerror or error}; free disk space, or name another file"
            raise InputError(f"out={out!r}: cannot write it: {reason}") from error


def _draw_axes(axes: Any, histories: list[History], measured: MeasuredCurves | None) -> None:
    one = len(histories) == 1
    for history, colour in zip(histories, COLOURS, strict=False):
        if not one:  # empty lines: entries of the legend
            axes.plot([], [], color=colour, linewidth=3, label=_printable(history.name))
    for name, style in STYLES.items():
        curves = [getattr(history, name) for history in histories]
        if any(curves) and not one:
            axes.plot([], [], color="0.4", **style)
        for curve, colour in zip(curves, COLOURS, strict=False):
            if curve:
                label = style["label"] if one else None
                axes.plot(*zip(*curve, strict=True), color=colour, **style | {"label": label})
    if measured:
        _draw_measured(axes, measured)
    if one and histories[0].val:
        lowest = min(histories[0].val, key=lambda point: point[1])
        where = {"xytext": (0, -14), "textcoords": "offset points", "ha": "right"}
        text = f"{lowest[1]:.4f} at {lowest[0]}"
        axes.annotate(text, lowest, color=COLOURS[0], fontsize="small", **where)
    if not one:
        _name_the_ends(axes, histories)
    title = _printable(histories[0].name) if one else f"{len(histories)} runs"
    note = ": other texts or vocabularies, not comparable" if incomparable(histories) else ""
    axes.set_title(f"Loss of {title}{note}")
    axes.set_xlabel("iteration (updates of the parameters)")
    axes.set_ylabel("cross-entropy loss (nats a token)")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")


def _name_the_ends(axes: Any, histories: list[History]) -> None:
    """The name and the last loss of each run, at the right, none over another."""
    low, high = axes.get_ylim()
    ends = []
    for history, colour in zip(histories, COLOURS, strict=False):
        point = (history.val or history.train or history.batches)[-1]
        ends.append(((point[1] - low) / (high - low), point, _printable(history.name), colour))
    above = -1.0
    for height, point, name, colour in sorted(ends):
        above = max(height, above + 0.045)
        text = f"{name}  {point[1]:.4f}"
        where = {"xytext": (1.01, above), "textcoords": "axes fraction", "va": "center"}
        axes.annotate(text, point, color=colour, fontsize="small", **where)


def _draw_measured(axes: Any, measured: MeasuredCurves) -> None:
    """The measured validation losses: mean, lowest and highest, where they were measured.

    No line joins them: losses fall along a curve, so a straight line between two evaluations lies
    above every run.
    """
    losses = measured.val
    pairs = [(losses["mean"], losses["low"]), (losses["high"], losses["mean"])]
    bars = [[a - b for a, b in zip(*pair, strict=True)] for pair in pairs]
    style = {"color": "0.45", "fmt": "D", "markersize": 3.5, "linewidth": 1.2, "capsize": 3}
    axes.errorbar(
        measured.iterations, losses["mean"], yerr=bars, label=measured.label, zorder=4, **style
    )


def _printable(name: str) -> str:
    """The name as a label; matplotlib hides labels that begin with an underscore."""
    shown = "".join(c if c.isprintable() else "?" for c in name)
    return f"./{shown}" if shown.startswith("_") else shown
