"""A page that shows how the words of a target are aligned with those of its source.

Cross-attention as a picture between two sentences: a line for each pair of a target's word, as it
is predicted, and a source's word that it attends to, as strong as the weight; below it the weights
of every block and head as maps. The page is one file without scripts.
"""

import html
from collections.abc import Iterable, Sequence

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.base.errors import InputError
from gpt_numpy.model.encoder_decoder import Transformer

WEAKEST = 0.03  # weights below are no lines
CELL, GAP, LETTER = 14, 26, 7.5  # pixels: of a map's cell, between lines of text, of a letter
COLOUR = "#1f5fa8"
STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; color: #222 }
svg { display: block; max-width: 100%; height: auto } text { font: 13px ui-monospace, monospace }
.maps { display: flex; flex-wrap: wrap; gap: 1.2rem } figure { margin: 0 }
figcaption { color: #555 } @media (prefers-color-scheme: dark) {
body { background: #16181c; color: #ddd } text { fill: #ddd } figcaption { color: #aaa } }
"""


def alignment_page(
    model: Transformer,
    source: Array,
    target: Array,
    source_words: Sequence[str],
    target_words: Sequence[str],
) -> str:
    """The page of one pair, HTML.

    Parameters
    ----------
    source, target : the ids of one source, (S,), and of its target, BEGIN first, (T + 1,).
    source_words, target_words : what to show for each source id, and for each target id but BEGIN.

    Raises
    ------
    InputError : ids that the model refuses, or another number of words.
    """
    weights = model.alignments(np.asarray(source)[None], np.asarray(target)[None])[:, 0]
    for name, words, count in (
        ("source_words", source_words, weights.shape[-1]),
        ("target_words", target_words, weights.shape[-2]),
    ):
        if len(words) != count:
            raise InputError(f"{name} has {len(words)} words: must be {count}, one for each id")
    last = weights[-1].mean(axis=0)
    maps = "".join(
        _figure(f"block {i}, head {h}", heat_map(weights[i, h], source_words, target_words))
        for i in range(weights.shape[0])
        for h in range(weights.shape[1])
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Alignment</title>'
        f"<style>{STYLE}</style><h1>Which words of the source a target attends to</h1>"
        "<p>Each word of the target, in the lower line, is predicted from the words before it and "
        "from the source, above. A line is as strong as the weight of cross-attention, here the "
        "mean over the heads of the last block.</p>"
        f"{lines_between(last, source_words, target_words)}"
        "<h2>Every block and head</h2><p>A row for each word of the target, a column for each word "
        f'of the source; a row sums to 1.</p><div class="maps">{maps}</div></html>\n'
    )


def lines_between(weights: Array, above: Sequence[str], below: Sequence[str]) -> str:
    """Two sentences, one over the other, with a line for each weight (T, S)."""
    tops, bottoms = _centres(above), _centres(below)
    width = max(_width(above), _width(below))
    drawn = [
        f'<line x1="{bottoms[t]:.1f}" y1="150" x2="{tops[s]:.1f}" y2="30" stroke="{COLOUR}" '
        f'stroke-width="{1 + 4 * weights[t, s]:.1f}" opacity="{weights[t, s]:.2f}">'
        f"<title>{_safe(below[t])} attends to {_safe(above[s])}: {weights[t, s]:.2f}</title></line>"
        for t, s in zip(*np.nonzero(weights >= WEAKEST), strict=True)
    ]
    words = [*_words(above, tops, 20), *_words(below, bottoms, 168)]
    return _svg(width, 180, [*drawn, *words])


def heat_map(weights: Array, above: Sequence[str], names: Sequence[str]) -> str:
    """The weights (T, S) as a map of cells."""
    T, S = weights.shape
    left = max(len(word) for word in names) * LETTER + 8
    top = max(len(word) for word in above) * LETTER + 8
    cells = [
        f'<rect x="{left + s * CELL:.0f}" y="{top + t * CELL:.0f}" width="{CELL}" height="{CELL}" '
        f'fill="{COLOUR}" fill-opacity="{weights[t, s]:.3f}"><title>{_safe(names[t])}, '
        f"{_safe(above[s])}: {weights[t, s]:.3f}</title></rect>"
        for t in range(T)
        for s in range(S)
    ]
    texts = [
        f'<text x="{left - 4:.0f}" y="{top + (t + 0.8) * CELL:.0f}" text-anchor="end">'
        f"{_safe(word)}</text>"
        for t, word in enumerate(names)
    ]
    texts += [
        f'<text transform="translate({left + (s + 0.8) * CELL:.0f} {top - 4:.0f}) rotate(-90)">'
        f"{_safe(word)}</text>"
        for s, word in enumerate(above)
    ]
    return _svg(left + S * CELL + 2, top + T * CELL + 2, [*cells, *texts])


def _figure(caption: str, drawing: str) -> str:
    return f"<figure>{drawing}<figcaption>{caption}</figcaption></figure>"


def _svg(width: float, height: float, parts: Iterable[str]) -> str:
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(parts)}</svg>'


def _words(words: Sequence[str], centres: Sequence[float], y: int) -> list[str]:
    return [
        f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{_safe(word)}</text>'
        for word, x in zip(words, centres, strict=True)
    ]


def _centres(words: Sequence[str]) -> list[float]:
    """The middle of each word of a line, in pixels."""
    centres, x = [], GAP / 2
    for word in words:
        centres.append(x + len(word) * LETTER / 2)
        x += len(word) * LETTER + GAP
    return centres


def _width(words: Sequence[str]) -> float:
    return sum(len(word) * LETTER + GAP for word in words)


def _safe(word: str) -> str:
    return html.escape(word)
