"""Bars and meters as SVG, drawn here: no script, no library, no style that a strict browser would refuse."""

from collections.abc import Mapping, Sequence
from typing import Final

from markupsafe import Markup

WIDTH: Final = 480
HEIGHT: Final = 162
LEFT: Final = 44
TOP: Final = 14
BOTTOM: Final = 26
TICKS: Final = (1, 2, 5)


def bars(counts: Sequence[Mapping[str, int]], order: Sequence[str], labels: Sequence[tuple[int, str]], said: str) -> Markup:
    """Stacked bars, one a moment; `labels` stand under the bars they name, `said` is what it shows in words."""
    top = ceiling(max((sum(one.values()) for one in counts), default=0))
    wide, high = (WIDTH - LEFT) / max(len(counts), 1), HEIGHT - TOP - BOTTOM
    pieces = [
        Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, HEIGHT, said),
        Markup('<line class="axis" x1="{0}" y1="{1}" x2="{2}" y2="{1}"/>').format(LEFT, TOP, WIDTH),
        Markup('<line class="axis" x1="{0}" y1="{1}" x2="{2}" y2="{1}"/>').format(LEFT, TOP + high, WIDTH),
        Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(LEFT - 5, TOP + 4, top),
        Markup('<text x="{}" y="{}" text-anchor="end">0</text>').format(LEFT - 5, TOP + high + 3),
    ]
    for at, one in enumerate(counts):
        below = float(TOP + high)
        for name in order:
            if count := one.get(name, 0):
                tall = high * count / top
                below -= tall
                rectangle = Markup('<rect class="bar-{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>')
                pieces.append(rectangle.format(name, LEFT + at * wide + wide * 0.12, below, wide * 0.76, tall))
    for at, text in labels:
        x = LEFT + (at + 0.5) * wide
        anchor = "end" if x > WIDTH - 30 else "middle"
        pieces.append(Markup('<text x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(x, HEIGHT - 5, anchor, text))
    return Markup("").join([*pieces, Markup("</svg>")])


def ceiling(most: int) -> int:
    """The round number at or above a count: 1, 2 or 5 and zeros."""
    size = 1
    while True:
        for tick in TICKS:
            if tick * size >= most:
                return tick * size
        size *= 10


def swatch(name: str) -> Markup:
    """The colour of one effect, for a key."""
    return Markup('<svg viewBox="0 0 10 10" aria-hidden="true"><rect class="bar-{}" width="10" height="10" rx="2"/></svg>').format(name)


def meter(rate: float, low: float, high: float) -> Markup:
    """A share with its interval, as a bar; the numbers stand beside it."""
    shape = (
        '<svg class="meter" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="ground" width="100" height="8" rx="1"/>'
        '<rect class="reach" width="{:.1f}" height="8" rx="1"/><line class="range" x1="{:.1f}" y1="4" x2="{:.1f}" y2="4"/></svg>'
    )
    return Markup(shape).format(100 * rate, 100 * low, 100 * high)
