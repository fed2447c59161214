"""The public's form in a real browser: sent, refused and tried again, light and dark, on a phone; it runs nothing and asks nobody else."""

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it has no types

from bylaw.serve.lookout import FindingsFrom, Lookout
from bylaw.serve.wiring import Wiring
from bylaw.store import finding_rows
from tests.serve.console.place import HOSTILE, Place, place

pytestmark = pytest.mark.slow  # a browser takes seconds to start


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    wired = Wiring(lookout=Lookout(findings=FindingsFrom(open=True, an_hour=2)))
    with place(tmp_path_factory.mktemp("report") / "data", wiring=wired) as found:
        yield found


def serious(page: Any) -> list[tuple[str, str]]:
    report = Axe().run(page).response
    assert len(report["passes"]) > 10
    return [(one["id"], one["nodes"][0]["html"][:200]) for one in report["violations"] if one["impact"] in ("serious", "critical")]


def test_the_public_reports_is_thanked_and_what_was_not_taken_is_not_lost(at: Place, browser: Any) -> None:
    found, wide, troubles, words = [], [], list[str](), list[str]()
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme, viewport={"width": 360, "height": 760})
        page = context.new_page()
        page.on("console", lambda said: troubles.append(said.text) if "status of" not in said.text else None)
        page.on("dialog", lambda dialog: troubles.append(dialog.message))
        page.on("request", lambda request: troubles.append(request.url) if request.url != f"{at.url}/report" else None)
        for _ in range(2):  # the last one of four is one too many within the hour
            page.goto(f"{at.url}/report")
            found += serious(page)
            page.fill("#said", HOSTILE.replace("\x07", ""))
            page.fill("#contact", "kim@example.com")
            page.click("button")
            page.wait_for_selector("[role=status], [role=alert]")
            found += serious(page)
            wide += [page.evaluate("document.documentElement.scrollWidth")]
            words.append(page.inner_text("main"))
        kept = [page.input_value(name) for name in ("#said", "#contact")] if scheme == "dark" else []
        coloured = page.evaluate("getComputedStyle(document.body).backgroundColor")
        context.close()
    with at.store.reading() as connection:
        reported = finding_rows.listed(connection, ("new",)).found

    assert (found, troubles, max(wide)) == ([], [], 360)
    assert ["Thank you" in one for one in words] == [True, True, False, False]
    assert "It was not sent: 2 reports came within an hour" in words[-1]
    assert kept == [HOSTILE.replace("\x07", ""), "kim@example.com"]
    assert coloured == "rgb(20, 24, 27)"  # it is dark where people have it dark
    assert [one.contact for one in reported] == ["kim@example.com"] * 2
