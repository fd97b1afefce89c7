"""A table as HTML, for results that a notebook shows (`_repr_html_`)."""

from collections.abc import Iterable, Sequence
from html import escape

_CELL = "padding:2px 10px;text-align:{side};font-variant-numeric:tabular-nums"


def html_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, left: Sequence[int] = (0,)
) -> str:
    """A table of strings; everything is escaped.

    Parameters
    ----------
    left : the columns aligned to the left; all others are numbers.
    """
    styles = [_CELL.format(side="left" if k in left else "right") for k in range(len(header))]

    def line(cells: Sequence[str], tag: str) -> str:
        inside = "".join(
            f'<{tag} style="{style}">{escape(cell)}</{tag}>'
            for cell, style in zip(cells, styles, strict=True)
        )
        return f"<tr>{inside}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(header, 'th')}</thead><tbody>{body}</tbody></table>"


def html_lines(lines: Iterable[str]) -> str:
    """Lines of text, one below the other."""
    return "".join(f"<div>{escape(line)}</div>" for line in lines)
