"""The loss curves of runs, drawn by matplotlib to a PNG or an SVG file.

Of each run: the loss of every logged batch (thin), the loss over batches of the training split at
each evaluation (dashed) and over the validation split (with marks). A run has one colour; the
colours are Okabe and Ito's, which the colour-blind can tell apart.
"""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt_numpy.base.errors import InputError
from gpt_numpy.files.durable import written_durably
from gpt_numpy.inspection.curves.history import Curve, History

if TYPE_CHECKING:
    from gpt_numpy.inspection.curves.normal import Normal

FORMATS = (".png", ".svg")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MOST_RUNS = len(COLOURS)
INCHES, DOTS_PER_INCH = (8.0, 5.0), 150

STYLES: dict[str, dict[str, Any]] = {  # of a history's three curves
    "single batches": {"linewidth": 0.7, "alpha": 0.35},
    "training split": {"linewidth": 1.3, "linestyle": "--"},
    "validation split": {"linewidth": 1.8, "marker": "o", "markersize": 3.5},
}

NORMAL = "normal"  # the name of the measured line within a figure


def draw(histories: list[History], out: str, normal: "Normal | None" = None) -> None:
    """Write the curves to the file `out`, a PNG or an SVG by its ending; `normal` lies under them.

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
            f"{len(histories)} runs: at most {MOST_RUNS} can be told apart in one figure"
        )
    try:
        import matplotlib
        from matplotlib.figure import Figure  # without pyplot: no window, no global state
    except ImportError:
        raise InputError(
            "plot needs matplotlib, which is not installed: pip install 'gpt_numpy[plot]'"
        ) from None
    # Text as text, dollars as dollars, and fixed names: the same log gives the same SVG.
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "gpt_numpy", "text.parse_math": False}
    with warnings.catch_warnings(), matplotlib.rc_context(style):
        warnings.simplefilter("ignore")  # a name in letters that the font does not have
        figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH, layout="constrained")
        axes = figure.add_subplot()
        if normal:
            _draw_normal(axes, normal)
        _draw_axes(axes, histories)
        try:
            with written_durably(path) as file:
                metadata = {"Date": None} if kind == ".svg" else {}
                figure.savefig(file, format=kind[1:], metadata=metadata)
        except OSError as error:
            raise InputError(f"out={out!r}: cannot write it: {error.strerror or error}") from error


def _draw_axes(axes: Any, histories: list[History]) -> None:
    one = len(histories) == 1
    for history, colour in zip(histories, COLOURS, strict=False):
        for curve, style in zip(_curves(history), STYLES.values(), strict=True):
            if curve:
                axes.plot(*zip(*curve, strict=True), color=colour, **style)
    if one and histories[0].val:
        _mark_lowest(axes, histories[0].val, COLOURS[0])
    title = _plain(histories[0].name) if one else f"{len(histories)} runs"
    axes.set_title(f"Loss of {title}")
    axes.set_xlabel("iteration (updates of the parameters)")
    axes.set_ylabel("cross-entropy loss (nats a token)")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    _explain(axes, histories)


def _draw_normal(axes: Any, normal: "Normal") -> None:
    """The mean of the measured validation losses, in a band from the lowest to the highest."""
    losses = normal.losses["val"]
    if len(normal.seeds) > 1:
        axes.fill_between(normal.iterations, losses["low"], losses["high"], color="0.8", zorder=0)
    style = {"color": "0.45", "linewidth": 1.2, "linestyle": ":", "zorder": 1}
    axes.plot(normal.iterations, losses["mean"], label=normal.label, gid=NORMAL, **style)


def _curves(history: History) -> tuple[Curve, Curve, Curve]:
    return history.batches, history.train, history.val


def _explain(axes: Any, histories: list[History]) -> None:
    """A legend of the colours, where there are several, and of the kinds of lines."""
    from matplotlib.lines import Line2D

    one = len(histories) == 1
    lines = [] if one else [Line2D([], [], color=colour, linewidth=3) for colour in COLOURS]
    lines = lines[: len(histories)]
    labels = [] if one else [_plain(history.name) for history in histories]
    for number, (label, style) in enumerate(STYLES.items()):
        if any(_curves(history)[number] for history in histories):
            lines.append(Line2D([], [], color=COLOURS[0] if one else "0.4", **style))
            labels.append(label)
    lines += [line for line in axes.get_lines() if line.get_gid() == NORMAL]
    labels += [str(line.get_label()) for line in lines[len(labels) :]]
    axes.legend(lines, labels, frameon=False, fontsize="small")


def _mark_lowest(axes: Any, curve: Curve, colour: str) -> None:
    iteration, loss = min(curve, key=lambda point: point[1])
    axes.annotate(
        f"{loss:.4f} at {iteration}",
        (iteration, loss),
        xytext=(0, -14),
        textcoords="offset points",
        ha="right",
        color=colour,
        fontsize="small",
    )


def _plain(name: str) -> str:
    """A name that can be printed; matplotlib would hide a label that begins with an underscore."""
    shown = "".join(c if c.isprintable() else "?" for c in name)
    return f"./{shown}" if shown.startswith("_") else shown
