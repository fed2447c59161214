"""How pages look in a real browser: nothing is cut, runs into its neighbour, or out of the window, on a phone, a tablet and a desk."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from bylaw.govern import keys
from bylaw.govern.keys import Grant
from tests.serve.console.place import Place, known

pytestmark = pytest.mark.slow  # a browser takes seconds to start
Windows = Callable[..., Any]

LONG = "katharina.obermeier-lindqvist@refunds.example"
WIDTHS = (320, 360, 721, 768, 1024, 1440)

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
