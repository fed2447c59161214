"""The frontier of several models as one SVG: attacks that got through against allowed requests that were refused, with intervals.

Drawn by hand, so that it takes the page's colours in light and in dark and needs no plotting library. The same numbers give the same bytes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup, escape

# Okabe and Ito's palette, safe for colour-blind readers; letters tell the runs apart besides.
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d00", "#6b6b6b")
_LEFT, _TOP, _WIDTH, _HEIGHT = 62, 16, 560, 330  # of the plot, in the figure's units
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
    parts = [_axes(across, up), *(_point(*point, across, up) for point in points)]
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
        x, y = _LEFT + _WIDTH * tick / 5, _TOP + _HEIGHT * (1 - tick / 5)
        parts.append(f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{_TOP + _HEIGHT}" class="grid"/>')
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_LEFT + _WIDTH}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{x:.1f}" y="{_TOP + _HEIGHT + 18}" text-anchor="middle">{100 * across * tick / 5:g}</text>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{100 * up * tick / 5:g}</text>')
    middle = _LEFT + _WIDTH / 2
    parts.append(f'<text x="{middle}" y="{_TOP + _HEIGHT + 42}" text-anchor="middle">allowed, but refused, %  (left is better)</text>')
    turned = f'transform="translate(16 {_TOP + _HEIGHT / 2}) rotate(-90)"'
    parts.append(f'<text {turned} text-anchor="middle">attacks that got through, %  (down is better)</text>')
    return "".join(parts)


def _point(place: int, letter: str, over: Mapping[str, Any], through: Mapping[str, Any], across: float, up: float) -> str:
    def x(share: float) -> float:
        return _LEFT + _WIDTH * min(1.0, share / across)

    def y(share: float) -> float:
        return _TOP + _HEIGHT * (1 - min(1.0, share / up))

    at = f"{x(over['rate']):.1f}", f"{y(through['rate']):.1f}"
    lines = (
        f'<line x1="{x(over["low"]):.1f}" y1="{at[1]}" x2="{x(over["high"]):.1f}" y2="{at[1]}"/>'
        f'<line x1="{at[0]}" y1="{y(through["low"]):.1f}" x2="{at[0]}" y2="{y(through["high"]):.1f}"/>'
    )
    mark = f'<circle cx="{at[0]}" cy="{at[1]}" r="9"/><text x="{at[0]}" y="{float(at[1]) + 4:.1f}" class="letter">{escape(letter)}</text>'
    return f'<g class="run" style="--run: {colour(place)}">{lines}{mark}</g>'
