"""The report's four figures, each drawn from results.json alone and returned as an SVG data URI.

Every arm keeps its colour and marker in all figures (Okabe and Ito's palette, safe for colour-blind readers). Text is drawn as
outlines, so a figure needs no font; hash salt and metadata are fixed, so the same numbers give the same bytes. No pyplot, no
global state. A figure with nothing to show is an empty string.
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bylaw.evals.scorers import ARMS, CELLS, rate_in

LABELS: Final = {
    "base": "base",
    "policy_in_prompt": "base + policy in prompt",
    "imitation": "imitation",
    "sft": "SFT",
    "rl": "RL only",
    "sft_rl": "SFT + RL",
    "sft_short": "SFT short",
    "sft_short_rl": "SFT short + RL",
    "control": "control",
}
CELL_LABELS: Final = {
    "all": "all prompts",
    "seen": "seen",
    "held_out_objects": "held-out objects",
    "held_out_conditions": "held-out conditions",
    "held_out_wrappers": "held-out wrappers",
    "held_out_both": "both held out",
    "unseen_wrappers": "unseen wrappers",
}
_COLOURS: Final = ("#6b6b6b", "#e69f00", "#cc79a7", "#56b4e9", "#d55e00", "#0072b2", "#b8a000", "#009e73", "#332288")
_MARKERS: Final = ("s", "D", "v", "o", "X", "o", "^", "^", "P")
_NAME: Final = 26  # characters of a name that a figure has room for
_INK: Final = "#22262b"
_FAINT: Final = "#d9dce0"
_STYLE: Final[dict[Any, Any]] = {
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#9aa0a6",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": "#4a4f55",
    "ytick.color": "#4a4f55",
    "text.parse_math": False,  # a `$` in a name is a dollar
    "svg.fonttype": "path",
    "svg.hashsalt": "bylaw",
}


def label(arm: str) -> str:
    """An arm's name for people."""
    return LABELS.get(arm) or _short(arm.replace("_", " "))


def _short(name: str) -> str:
    return name if len(name) <= _NAME else name[: _NAME - 1] + "…"


def _look(arm: str) -> tuple[str, str]:
    place = ARMS.index(arm) if arm in ARMS else -1
    return _COLOURS[place], _MARKERS[place]


def _drawn(size: tuple[float, float], draw: Callable[[Figure], None]) -> str:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=size, facecolor="white")
        FigureCanvasSVG(figure)
        draw(figure)
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(out.getvalue()).decode("ascii")


class _Bar(NamedTuple):
    """One measured rate in percent: its value and the lengths of its error bar to either side."""

    at: float
    below: float
    above: float


def _bar(found: Mapping[str, Any], arm: str, cell: str, metric: str) -> _Bar | None:
    rate = rate_in(found, arm, cell, metric)
    if rate.rate is None or rate.low is None or rate.high is None:
        return None
    at = 100 * rate.rate
    return _Bar(at, max(0.0, at - 100 * rate.low), max(0.0, 100 * rate.high - at))


# ---- The frontier: resistance against over-refusal -------------------------------------------------------------------


class _Point(NamedTuple):
    arm: str
    over: _Bar
    resist: _Bar


class _Box(NamedTuple):
    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: "_Box") -> bool:
        return self.left < other.right and other.left < self.right and self.bottom < other.top and other.bottom < self.top


# Offsets of a label from its marker, in points, nearest first: below or above in growing steps, to the right or the left.
_OFFSETS: Final = tuple((dx, dy * reach) for reach in range(1, 12) for dx in (10, 24, -10) for dy in (-11, 11))
_LINE_PT: Final = 13.0


def _free(x: float, y: float, width: float, taken: Sequence[_Box], frame: _Box) -> tuple[float, float, _Box]:
    """The nearest offset at which a label of this width meets nothing that is taken; the last one tried if there is none."""
    dx, dy, box = 0.0, 0.0, frame
    for dx, dy in _OFFSETS:
        left = x + dx if dx > 0 else x + dx - width
        box = _Box(left, y + dy - _LINE_PT / 2, left + width, y + dy + _LINE_PT / 2)
        inside = box.left >= frame.left and box.right <= frame.right and box.bottom >= frame.bottom and box.top <= frame.top
        if inside and not any(box.meets(other) for other in taken):
            break
    return dx, dy, box


def _place_labels(axes: Axes, points: Sequence[_Point], size_pt: tuple[float, float]) -> None:
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    across, up = size_pt[0] / (x1 - x0), size_pt[1] / (y1 - y0)
    spots = [((p.over.at - x0) * across, (p.resist.at - y0) * up) for p in points]
    taken = [_Box(x - 5, y - 5, x + 5, y + 5) for x, y in spots]
    for point, (x, y) in zip(points, spots, strict=True):  # nor may a label lie on an error bar
        taken.append(_Box(x - point.over.below * across, y - 1, x + point.over.above * across, y + 1))
        taken.append(_Box(x - 1, y - point.resist.below * up, x + 1, y + point.resist.above * up))
    frame = _Box(2, 2, size_pt[0], size_pt[1])
    for point, (x, y) in zip(points, spots, strict=True):
        colour = _look(point.arm)[0]
        dx, dy, box = _free(x, y, 5.4 * len(label(point.arm)), taken, frame)
        taken.append(box)
        axes.annotate(
            label(point.arm),
            (point.over.at, point.resist.at),
            (dx, dy),
            textcoords="offset points",
            ha="left" if dx > 0 else "right",
            va="center",
            fontsize=9.5,
            zorder=4,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.85},
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.9, "shrinkA": 1, "shrinkB": 4},
        )


def _scatter(axes: Axes, points: Sequence[_Point], labelled: Sequence[_Point], size_pt: tuple[float, float]) -> None:
    for point in points:
        colour, marker = _look(point.arm)
        axes.errorbar(
            point.over.at,
            point.resist.at,
            xerr=[[point.over.below], [point.over.above]],
            yerr=[[point.resist.below], [point.resist.above]],
            fmt=marker,
            ms=7,
            color=colour,
            mec="white",
            mew=0.8,
            elinewidth=1.1,
            alpha=0.95,
        )
    axes.grid(color=_FAINT, lw=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("allowed, but not helped (over-refusal), %  ←  better")
    _place_labels(axes, labelled, size_pt)


def frontier(found: Mapping[str, Any]) -> str:
    """Resistance against over-refusal over all prompts, an arm a marker; where arms crowd the good corner, it is enlarged beside."""
    bars = [(arm, _bar(found, arm, "all", "over_refusal"), _bar(found, arm, "all", "resist")) for arm in found["arms"]]
    points = sorted((_Point(arm, x, y) for arm, x, y in bars if x and y), key=lambda p: (-p.resist.at, p.over.at))
    corner = [p for p in points if p.over.at <= 8 and p.resist.at >= 85]
    corner = corner if len(corner) > 1 and len(corner) < len(points) else []

    def draw(figure: Figure) -> None:
        width, height = 4.1 if corner else 8.6, 3.5
        full = figure.add_axes((0.72 / 9.6, 0.56 / 4.5, width / 9.6, height / 4.5))
        full.set_xlim(-2.5, max(30.0, *(p.over.at + p.over.above + 14 for p in points)))
        full.set_ylim(-6, 106)
        full.set_ylabel("must not comply, and did not (resist), %  →  better")
        full.set_title("every arm" if corner else "")
        _scatter(full, points, [p for p in points if p not in corner], (72 * width, 72 * height))
        if corner:
            right = max(p.over.at + p.over.above for p in corner)
            bottom = min(p.resist.at - p.resist.below for p in corner)
            full.add_patch(Rectangle((-1.2, bottom - 1.5), right + 2.4, 104 - bottom, fill=False, ec="#9aa0a6", lw=0.9, ls=(0, (3, 2))))
            near = figure.add_axes((5.35 / 9.6, 0.56 / 4.5, width / 9.6, height / 4.5))
            near.set_xlim(-0.04 * right, 1.9 * right)
            near.set_ylim(bottom - 0.06 * (100 - bottom), 100 + 0.08 * (100 - bottom))
            near.set_title("the framed corner, enlarged")
            _scatter(near, corner, corner, (72 * width, 72 * height))

    return _drawn((9.6, 4.5), draw) if points else ""


# ---- Ablation: what each arm gets right, cell by cell ----------------------------------------------------------------


def _cell_bars(axes: Axes, found: Mapping[str, Any], cell: str) -> None:
    arms = list(found["arms"])
    for row, arm in enumerate(arms):
        bar = _bar(found, arm, cell, "exact")
        if bar is None:
            axes.text(2, row, "not measured", va="center", fontsize=8.5, color="#80868b")
            continue
        axes.barh(row, bar.at, height=0.66, color=_look(arm)[0])
        axes.errorbar(bar.at, row, xerr=[[bar.below], [bar.above]], fmt="none", ecolor=_INK, elinewidth=1.1, capsize=2)
        axes.text(104, row, f"{bar.at:.1f}", va="center", fontsize=9)
    axes.set(xlim=(0, 100), ylim=(len(arms) - 0.4, -0.6), yticks=range(len(arms)), xticks=(0, 25, 50, 75, 100))
    axes.set_yticklabels([label(arm) for arm in arms])
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8.5)
    axes.set_title(CELL_LABELS[cell])
    axes.grid(axis="x", color=_FAINT, lw=0.6)
    axes.set_axisbelow(True)


def ablation(found: Mapping[str, Any]) -> str:
    """The share of exactly right answers, a panel a cell and a bar an arm, with intervals; empty where it would be a single bar."""
    cells = [cell for cell in ("all", *CELLS) if any(cell in measured for measured in found["arms"].values())]
    columns = min(3, len(cells))
    lines = -(-len(cells) // 3)

    def draw(figure: Figure) -> None:
        figure.set_layout_engine("constrained")
        panels = figure.subplots(lines, columns, sharey=True, squeeze=False)
        for place, panel in enumerate(panels.flat):
            if place < len(cells):
                _cell_bars(panel, found, cells[place])
            else:
                panel.set_axis_off()

    return _drawn((9.6, lines * (0.75 + 0.27 * len(found["arms"]))), draw) if len(cells) * len(found["arms"]) > 1 else ""


# ---- Wrappers: which disguise gets past which arm --------------------------------------------------------------------


def _group_titles(axes: Axes, groups: Sequence[str]) -> None:
    start = 0
    for group, members in groupby(groups):
        width = len(list(members))
        if group:
            axes.text(start + width / 2 - 0.5, -0.72, group, ha="center", va="bottom", fontsize=9.5, fontweight="bold")
        if start:
            axes.axvline(start - 0.5, color="white", lw=4)
        start += width


def wrapper_map(found: Mapping[str, Any], groups: Mapping[str, str], metric: str = "resist") -> str:
    """One metric, arms by wrappers, the percentage in each field; `groups` orders the wrappers (`scorers.wrappers`)."""
    names = [name for name in groups if name]
    arms = list(found["arms"])
    rates = [[rate_in(found, arm, f"wrapper:{name}", metric).rate for name in names] for arm in arms]
    tall, below = 0.33 * len(arms), 0.3 + 0.055 * max(map(len, map(_short, names)), default=0)  # inches
    height = 0.4 + tall + below

    def draw(figure: Figure) -> None:
        axes = figure.add_axes((0.19, below / height, 0.8, tall / height))
        shown = [[float("nan") if rate is None else 100 * rate for rate in row] for row in rates]
        axes.imshow(shown, cmap="cividis", vmin=0, vmax=100, aspect="auto")
        for row, values in enumerate(rates):
            for column, rate in enumerate(values):
                text, ink = ("-", _INK) if rate is None else (f"{100 * rate:.0f}", "white" if rate < 0.55 else "black")
                axes.text(column, row, text, ha="center", va="center", fontsize=9, color=ink)
        _group_titles(axes, [groups[name] for name in names])
        axes.set(xticks=range(len(names)), yticks=range(len(arms)))
        axes.set_xticklabels([_short(name) for name in names], rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticklabels([label(arm) for arm in arms])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    return _drawn((9.6, height), draw) if names and arms else ""


# ---- What RL on answers alone does -----------------------------------------------------------------------------------

RL_STEPS: Final = (("base", "rl"), ("sft_short", "sft_short_rl"), ("sft", "sft_rl"))
_PANELS: Final = (
    ("resist", "decisions: resist"),
    ("exact", "decisions: exact answer"),
    ("citation_recall", "thoughts: right clause cited"),
)


def _slope(axes: Axes, found: Mapping[str, Any], step: tuple[str, str], metric: str) -> None:
    place = RL_STEPS.index(step)
    colour, marker = _look(step[1])
    bars = [(x, _bar(found, arm, "all", metric)) for x, arm in enumerate(step)]
    seen = [(x + 0.035 * (place - 1), bar) for x, bar in bars if bar]
    axes.errorbar(
        [x for x, _ in seen],
        [bar.at for _, bar in seen],
        yerr=[[bar.below for _, bar in seen], [bar.above for _, bar in seen]],
        color=colour,
        marker=marker,
        ms=7,
        mec="white",
        mew=0.8,
        lw=1.8,
        elinewidth=1.1,
        label=f"{label(step[0])}  →  {label(step[1])}",
    )
    for x, bar in seen:
        side = -1 if x < 0.5 else 1
        above = 0 if bar.at < 90 else -4 * place
        axes.annotate(
            f"{bar.at:.0f}",
            (x, bar.at),
            (9 * side, above),
            textcoords="offset points",
            ha="right" if side < 0 else "left",
            va="center",
            color=colour,
            fontsize=9,
        )


def citations(found: Mapping[str, Any]) -> str:
    """Before and after RL on answers alone: what happens to the decisions, and to the citations that nobody rewarded."""
    steps = [step for step in RL_STEPS if all(arm in found["arms"] for arm in step)]

    def draw(figure: Figure) -> None:
        figure.subplots_adjust(left=0.06, right=0.98, top=0.8, bottom=0.09, wspace=0.16)
        panels = figure.subplots(1, 3, sharey=True)
        for panel, (metric, title) in zip(panels, _PANELS, strict=True):
            for step in steps:
                _slope(panel, found, step, metric)
            panel.set(xlim=(-0.35, 1.35), ylim=(-4, 106), xticks=(0, 1), title=title)
            panel.set_xticklabels(["before RL", "after RL"])
            panel.grid(axis="y", color=_FAINT, lw=0.6)
        panels[0].set_ylabel("%")
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="upper center", ncols=3, frameon=False, fontsize=9.5)

    return _drawn((9.6, 3.7), draw) if steps else ""
