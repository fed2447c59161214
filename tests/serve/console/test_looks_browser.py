"""How pages look in a real browser: nothing is cut, runs into its neighbour, or out of the window, on a phone, a tablet and a desk."""

import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bylaw.govern import keys
from bylaw.govern.keys import Grant
from bylaw.serve import live
from tests.serve.console.place import Place, known
from tests.serve.test_serving import edited, unguarded, until

pytestmark = pytest.mark.slow  # a browser takes seconds to start
Windows = Callable[..., Any]

LONG = "katharina.obermeier-lindqvist@refunds.example"
CLAUSE = "privacy.other-customers.addresses-and-orders"
WIDTHS = (320, 360, 721, 768, 1024, 1440)
APART = 20  # in CIELAB; two colours that are nearer are taken for one in a small plot

# Elements whose text needs more room than they have, and how much wider than the window the page is.
SPILLS = """() => [...document.querySelectorAll('tbody td, tbody th, .who, figcaption')]
  .filter(one => one.clientWidth > 1 && one.scrollWidth > one.clientWidth + 1).map(one => one.textContent.trim())"""
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
BOXES = """all => all.map(one => { const box = one.getBoundingClientRect();
  return {text: one.textContent.trim(), left: box.left, top: box.top, right: box.right, bottom: box.bottom, high: box.height}; })"""


def boxes(page: Any, which: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.eval_on_selector_all(which, BOXES)
    return found


def meet(one: dict[str, Any], other: dict[str, Any]) -> bool:
    across = one["left"] < other["right"] and other["left"] < one["right"]
    return bool(across and one["top"] < other["bottom"] and other["top"] < one["bottom"])


def test_a_long_name_stands_whole_in_the_bar_beside_the_way_out(at: Place, window: Windows) -> None:
    _, at.people[LONG] = keys.create(at.store, at.ledger.append, Grant(LONG, ("admin", "support-lead")))
    known(at, at.people[LONG])
    one = window(LONG)
    cut, wide, hidden, overlaps = [], [], [], []
    for width in WIDTHS:
        one.page.set_viewport_size({"width": width, "height": 800})
        cut += [(width, text) for text in one.page.evaluate(SPILLS)]
        wide += [width] if one.page.evaluate(WIDER) else []
        parts = boxes(one.page, ".brand, .bar nav li, .who, .me button")
        name = next(part for part in parts if part["text"] == LONG)
        hidden += [width] if name["left"] < 0 or name["right"] > width else []
        overlaps += [(width, a["text"], b["text"]) for a, b in itertools.combinations(parts, 2) if meet(a, b)]

    assert one.page.inner_text(".who") == LONG
    assert (cut, wide, hidden, overlaps) == ([], [], [], [])


def test_the_list_of_decisions_keeps_every_text_in_its_place(at: Place, window: Windows) -> None:
    for principal, clauses in ((LONG, [CLAUSE, "money.refund-limit"]), ("agent", [])):
        entry = {"kind": "decision", "decision": "require_approval", "surface": "tool_call", "tool": "payments.refund"}
        at.ledger.append({**entry, "principal": principal, "clauses": clauses})
    vera = window("vera")
    spills, wide, broken = [], [], []
    for width in WIDTHS:
        vera.page.set_viewport_size({"width": width, "height": 800})
        vera.go("/decisions?tool=payments.refund")
        spills += [(width, text) for text in vera.page.evaluate(SPILLS)]
        wide += [width] if vera.page.evaluate(WIDER) else []
        tools = boxes(vera.page, "td[data-label=Surface] code")
        broken += [width] if width in (360, 1440) and max(one["high"] for one in tools) > 24 else []

    assert (spills, wide) == ([], [])
    assert broken == []  # `payments.refund` is on one line where there is room for it
    assert LONG in vera.page.inner_text("tbody")


@pytest.mark.parametrize("over", ["hour", "day", "week"])
def test_labels_under_a_plot_stand_apart_and_plots_in_a_row_stand_level(at: Place, window: Windows, over: str) -> None:
    for clauses in (["a.b"], [CLAUSE], []):
        at.ledger.append({"kind": "decision", "decision": "block", "surface": "output", "principal": "p", "clauses": clauses})
    vera = window("vera", viewport={"width": 360, "height": 760})
    vera.go(f"/rates?over={over}")
    labels = [one for one in boxes(vera.page, "figure:first-of-type svg text") if re.search("[a-z:]", one["text"])]
    gaps = [after["left"] - before["right"] for before, after in itertools.pairwise(labels)]
    vera.page.set_viewport_size({"width": 1440, "height": 900})
    figures, plots = boxes(vera.page, "figure"), boxes(vera.page, "figure svg")
    rows = [
        {round(plot["top"]) for plot, one in zip(plots, figures, strict=True) if one["top"] == top} for top in {f["top"] for f in figures}
    ]

    assert len(labels) >= 4
    assert min(gaps) > 4
    assert len(figures) >= 3
    assert [len(tops) for tops in rows] == [1] * len(rows)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_kind_of_decision_has_a_colour_of_its_own(at: Place, window: Windows, scheme: str) -> None:
    vera = window("vera", color_scheme=scheme)
    vera.go("/rates")
    fills = vera.page.eval_on_selector_all(".key rect", "all => all.map(one => getComputedStyle(one).fill)")
    colours = [lab(*(int(part) for part in re.findall(r"\d+", fill)[:3])) for fill in fills]

    assert len(colours) == 6
    assert min(math.dist(*pair) for pair in itertools.combinations(colours, 2)) > APART


def lab(*rgb: int) -> tuple[float, float, float]:
    """CIELAB of an sRGB colour under D65 (IEC 61966-2-1, CIE 15)."""
    red, green, blue = (one / 3294.6 if one <= 10 else ((one / 255 + 0.055) / 1.055) ** 2.4 for one in rgb)
    xyz = (
        (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505,
        0.2126 * red + 0.7152 * green + 0.0722 * blue,
        (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089,
    )
    x, y, z = (one ** (1 / 3) if one > 0.008856 else 7.787 * one + 16 / 116 for one in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def test_a_digest_is_not_broken_when_a_roll_back_is_open(at: Place, window: Windows, tmp_path: Path) -> None:
    unguarded(at, tmp_path / "unguarded")
    made = edited(tmp_path / "next", "200 EUR", "150 EUR")
    live.activate(at.store, at.ledger.append, made, LONG, "")
    ops = window("ops")

    def there() -> bool:
        ops.go("/policy")
        return "1.4.0" in str(ops.page.inner_text("h1"))

    until(there)
    ops.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    digests = boxes(ops.page, "td[data-label=Digest] code")

    assert len(digests) >= 3
    assert max(one["high"] for one in digests) < 24


def test_why_a_key_was_not_taken_stands_over_the_form(at: Place, window: Windows) -> None:
    nobody = window()
    nobody.go("/login")
    nobody.page.fill("#key", "bylaw_wrong")
    nobody.page.keyboard.press("Enter")
    nobody.page.wait_for_selector(".alert")
    said, form = boxes(nobody.page, ".alert")[0], boxes(nobody.page, "main form")[0]

    assert (said["left"], said["right"]) == (form["left"], form["right"])
    assert 0 < form["top"] - said["bottom"] < 120


def test_what_follows_a_box_of_bytes_does_not_touch_it(at: Place, window: Windows) -> None:
    waits = at.waiting(order=70)
    lead = window("lead")
    lead.go(f"/approvals/{waits}")
    lead.page.click("text=Everything that the digest covers")
    covered, digest = boxes(lead.page, "details pre.bytes")[0], boxes(lead.page, "pre.bytes + p")[0]

    assert digest["text"].startswith("sha256:")
    assert digest["top"] - covered["bottom"] >= 8


def test_how_many_cases_a_rate_rests_on_stands_on_one_line(at: Place, window: Windows) -> None:
    vera = window("vera", viewport={"width": 360, "height": 760})
    vera.go("/debt")
    counts = [one for one in boxes(vera.page, "td[data-label=Learnt] .num") if one["text"] == "n = 60"]

    assert len(counts) >= 4
    assert max(one["high"] for one in counts) < 30
