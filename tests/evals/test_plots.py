"""Figures are SVG data URIs, equal for equal numbers, and empty where nothing was measured."""

import base64
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from tests.evals import sample

from bylaw.evals import plots, scorers

pytestmark = pytest.mark.slow

ROWS = sample.rows(repeat=1)
FOUND = scorers.results(sample.policy(), 0, ROWS)
GROUPS = scorers.wrappers(ROWS["base"])


def _figures(found: dict[str, Any]) -> list[str]:
    return [plots.frontier(found), plots.ablation(found), plots.wrapper_map(found, GROUPS), plots.citations(found)]


def test_every_figure_is_one_svg_that_asks_for_nothing() -> None:
    for figure in _figures(FOUND):
        kind, _, content = figure.partition(",")
        svg = base64.b64decode(content).decode()

        assert kind == "data:image/svg+xml;base64"
        assert ET.fromstring(svg).tag.endswith("svg")
        assert 'href="http' not in svg
        assert "<dc:date>" not in svg


def test_the_same_numbers_draw_the_same_bytes() -> None:
    assert _figures(FOUND) == _figures(FOUND)


@pytest.mark.parametrize("arms", [("base",), ("base", "sft_rl"), ("sft", "sft_rl", "control"), ("stranger",)])
def test_any_subset_of_arms_draws(arms: tuple[str, ...]) -> None:
    found = FOUND | {"arms": {arm: FOUND["arms"].get(arm, FOUND["arms"]["sft"]) for arm in arms}}

    figures = _figures(found)

    assert all(figures[:3])
    assert bool(figures[3]) == ({"sft", "sft_rl"} <= set(arms))


def test_arms_that_share_a_point_still_get_their_own_labels() -> None:
    best = FOUND["arms"]["sft_rl"]
    found = FOUND | {"arms": dict.fromkeys(scorers.ARMS, best) | {"base": FOUND["arms"]["base"]}}

    assert plots.frontier(found).startswith("data:")


def test_nothing_measured_draws_nothing() -> None:
    empty = FOUND | {"arms": {}}

    assert _figures(empty) == ["", "", "", ""]
    assert plots.wrapper_map(FOUND, {"": ""}) == ""
