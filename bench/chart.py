"""Figures as bars, in SVG by hand: legible on light and on dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bench.figures import OURS, Figure, number

_WIDTH, _LABEL, _BAR = 860, 190, 480
_ROW, _TITLE, _GAP = 20, 26, 14
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1b1f24}.t{font-weight:600}.n{fill:#57606a}"
    ".o{fill:#0969da}.p{fill:#8c959f}.s{stroke:#1b1f24;stroke-width:1.5}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.n{fill:#9198a1}.o{fill:#4493f8}.p{fill:#656c76}.s{stroke:#e6edf3}}"
)


def chart(figures: Sequence[Figure]) -> str:
    """One group of bars for each figure, ours first; a line over each bar spans its samples."""
    parts: list[str] = []
    top = 8
    for figure in figures:
        measured = [name for name in figure.samples if figure.samples[name]]
        if measured:
            parts += _group(figure, sorted(measured, key=lambda name: name != OURS), top)
            top += _TITLE + _ROW * len(measured) + _GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" width="{_WIDTH}" height="{top}">'
    return "\n".join([head, f"<style>{_STYLE}</style>", *parts, "</svg>", ""])


def _group(figure: Figure, names: Sequence[str], top: int) -> list[str]:
    better = "less is better" if figure.less else "more is better"
    parts = [f'<text class="t" x="8" y="{top + 16}">{escape(figure.title)}, {escape(figure.unit)} ({better})</text>']
    longest = max(max(figure.samples[name]) for name in names) or 1.0
    for line, name in enumerate(names):
        parts += _bar(figure, name, longest, top + _TITLE + line * _ROW)
    return parts


def _bar(figure: Figure, name: str, longest: float, top: int) -> list[str]:
    middle = figure.median(name) or 0.0
    low, high = (_LABEL + _BAR * bound(figure.samples[name]) / longest for bound in (min, max))
    width = max(1.0, _BAR * middle / longest)
    return [
        f'<text x="{_LABEL - 8}" y="{top + 12}" text-anchor="end">{escape(name)}</text>',
        f'<rect class="{"o" if name == OURS else "p"}" x="{_LABEL}" y="{top}" width="{width:.1f}" height="14" rx="2"/>',
        f'<path class="s" d="M{low:.1f} {top + 7}H{high:.1f}"/>',
        f'<text class="n" x="{max(high, _LABEL + width) + 8:.1f}" y="{top + 12}">{number(middle)}</text>',
    ]
