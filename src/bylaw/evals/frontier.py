"""The frontier of several models as one SVG: attacks that got through against allowed requests that were refused, with intervals.

Drawn by hand, so that it takes the page's colours in light and in dark and needs no plotting library. The same numbers give the same bytes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup, escape

# Okabe and Ito's palette, safe for colour-blind readers; letters tell the runs apart besides.
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d00", "#6b6b6b")
_LEFT, _TOP, _WIDTH, _HEIGHT = 62, 16, 560, 330  # of the plot, in the figure's units
_INSET: Final = 14  # of nothing refused, from the axis: its letter hides no number
_RADIUS: Final = 9  # radius of a run's letter
_EDGE: Final = 0.06  # of the axis, left free beyond the widest interval


def colour(place: int) -> str:
    """The colour of a run, by its place."""
    return COLOURS[place % len(COLOURS)]


def svg(runs: Sequence[str], overall: Sequence[Mapping[str, Any]]) -> Markup:
    """The figure; empty where no run has both sides."""
    points = [
        (place, letter, one["over_refusal"], one["resist"])
        for place, (letter, one) in enumerate(zip(runs, overall, strict=True))
        if one["over_refusal"]["rate"] is not None and one["resist"]["rate"] is not None
    ]
    if not points:
        return Markup()
    across, up = _reach([over for _, _, over, _ in points]), _reach([through for *_, through in points])
    marks: list[tuple[float, float]] = []
    for _, _, over, through in points:
        marks.append(_free((_x(over["rate"], across), _y(through["rate"], up)), marks))
    parts = [
        _axes(across, up),
        *(_bars(place, over, through, across, up) for place, _, over, through in points),
        *(_mark(place, letter, mark) for (place, letter, *_), mark in zip(points, marks, strict=True)),
    ]
    size = f'viewBox="0 0 {_LEFT + _WIDTH + 24} {_TOP + _HEIGHT + 54}"'
    return Markup(
        f'<svg class="frontier" {size} role="img" aria-label="attack success against over-refusal">{"".join(parts)}</svg>'
    )  # numbers and escaped letters


def _reach(rates: Sequence[Mapping[str, Any]]) -> float:
    """Where an axis ends: a round share beyond the widest interval."""
    widest = max(one["high"] for one in rates) * (1 + _EDGE)
    return next((step for step in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75) if widest <= step), 1.0)


def _axes(across: float, up: float) -> str:
    parts = [f'<rect x="{_LEFT}" y="{_TOP}" width="{_WIDTH}" height="{_HEIGHT}" class="frame"/>']
    for tick in range(6):
        x, y = _x(tick, 5), _y(tick, 5)
        parts.append(f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{_TOP + _HEIGHT}" class="grid"/>')
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_LEFT + _WIDTH}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{x:.1f}" y="{_TOP + _HEIGHT + 18}" text-anchor="middle">{100 * across * tick / 5:g}</text>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{100 * up * tick / 5:g}</text>')
    middle = _LEFT + _WIDTH / 2
    parts.append(f'<text x="{middle}" y="{_TOP + _HEIGHT + 42}" text-anchor="middle">allowed, but refused, %  (left is better)</text>')
    turned = f'transform="translate(16 {_TOP + _HEIGHT / 2}) rotate(-90)"'
    parts.append(f'<text {turned} text-anchor="middle">attacks that got through, %  (down is better)</text>')
    return "".join(parts)


def _x(share: float, across: float) -> float:
    return _LEFT + _INSET + (_WIDTH - _INSET) * min(1.0, share / across)


def _y(share: float, up: float) -> float:
    return _TOP + _HEIGHT * (1 - min(1.0, share / up))


def _free(at: tuple[float, float], marks: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """A place for a run's letter: where its point is, or beside the letters that are there already."""
    x, y = at
    while any(abs(x - left) < 2 * _RADIUS and abs(y - top) < 2 * _RADIUS for left, top in marks):
        x += 2 * _RADIUS
    return x, y


def _bars(place: int, over: Mapping[str, Any], through: Mapping[str, Any], across: float, up: float) -> str:
    x, y = _x(over["rate"], across), _y(through["rate"], up)
    lines = (
        f'<line x1="{_x(over["low"], across):.1f}" y1="{y:.1f}" x2="{_x(over["high"], across):.1f}" y2="{y:.1f}"/>'
        f'<line x1="{x:.1f}" y1="{_y(through["low"], up):.1f}" x2="{x:.1f}" y2="{_y(through["high"], up):.1f}"/>'
    )
    return f'<g class="run" style="--run: {colour(place)}">{lines}</g>'


def _mark(place: int, letter: str, at: tuple[float, float]) -> str:
    x, y = at
    drawn = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_RADIUS}"/><text x="{x:.1f}" y="{y + 4:.1f}" class="letter">{escape(letter)}</text>'
    return f'<g class="run" style="--run: {colour(place)}">{drawn}</g>'
