"""Before a policy changes, in a real browser: signing off, ruling, and ending trials, by whoever may; and axe on the pages for it."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it has no types

from bylaw.govern.canary import Terms
from bylaw.policy import reviews
from bylaw.policy.parse import load
from bylaw.serve import trials
from bylaw.store import trial_rows
from bylaw.store.trial_rows import Count
from tests.serve.console.drafted import drafted
from tests.serve.console.place import HOSTILE, Place
from tests.serve.console.test_rulings import decision
from tests.serve.test_serving import edited, unguarded, until

pytestmark = pytest.mark.slow  # a browser takes seconds to start
Windows = Callable[..., Any]


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with drafted(tmp_path_factory.mktemp("changing")) as found:
        yield found


def signed(at: Place) -> str:
    folder = at.data_dir.parent
    asked = reviews.Asked("lena", "payments-risk", "money.*")
    return json.dumps(reviews.review(load(folder / "draft"), asked, reviews.read_key(folder / "lena.pem"), datetime.now(UTC)).to_json())


def test_a_reviewer_reads_signs_elsewhere_and_hands_it_in(at: Place, window: Windows) -> None:
    lena = window("lena", java_script_enabled=False)
    first = lena.page.url
    lena.page.click("text=Read and sign")
    lena.page.wait_for_selector("#hand")
    told = lena.words
    lena.page.fill("#record", signed(at))
    lena.page.click("button:has-text('Hand it in')")
    lena.page.wait_for_selector("text=verified, kept in the draft")

    assert first.endswith("/signing")
    assert "bylaw policy sign DIR --as lena" in told
    assert "lena as payments-risk" in lena.words


def test_an_admin_tries_a_ruling_sees_that_the_rules_disagree_and_writes_another(at: Place, window: Windows) -> None:
    ops = window("ops")
    ops.go(f"/why?record={quote(decision(at, 650.0), safe='')}")
    ops.page.check("input[value=good]")
    ops.page.fill("#r-why", HOSTILE.replace("\x07", "").replace("\u202e", ""))
    ops.page.click("text=Show how it would stand")
    ops.page.wait_for_selector("text=The rules say otherwise")
    ops.page.check("input[value=bad]")
    ops.page.click("text=Write it beside its clause")
    ops.page.wait_for_selector("#ruled")

    assert "ops ruled that the case of this decision is against the clause" in ops.words
    assert "its rules agree with every ruling" in ops.words


def test_an_admin_stops_a_shadow_and_promotes_a_canary(at: Place, window: Windows, tmp_path: Path) -> None:
    one = edited(tmp_path / "one", "200 EUR", "120 EUR", "1.7.0")
    unguarded(at, tmp_path / "unguarded")
    trials.begin(at.store, at.ledger.append, one, trials.new("shadow", "kim"))
    trials.begin(at.store, at.ledger.append, one, trials.new("canary", "kim", Terms(50)))
    ops = window("ops")
    ops.go("/policy")
    ops.page.click("text=Stop the shadow")
    ops.page.wait_for_selector("text=by ops")
    ops.page.click("text=Put the candidate in force for everybody")
    ops.page.check("#trials ~ section input[name=sure]")
    ops.page.click("text=Promote the canary")

    def there() -> bool:
        ops.go("/policy")
        return "1.7.0" in str(ops.page.inner_text("h1"))

    until(there)

    assert trial_rows.listed(at.store, "shadow")[0].state == "stopped"
    assert trial_rows.listed(at.store, "canary")[0].state == "promoted"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_and_no_page_is_wider_than_a_phone(at: Place, window: Windows, scheme: str, tmp_path: Path) -> None:
    stop_all(at)
    record = decision(at, 660.0 if scheme == "light" else 661.0)
    unguarded(at, tmp_path / "unguarded")
    folder = edited(tmp_path / "axe", "200 EUR", "110 EUR" if scheme == "light" else "100 EUR", "1.8.0")
    for kind, terms in (("canary", Terms(50, ("ana",))), ("shadow", None)):
        one = trials.begin(at.store, at.ledger.append, folder, trials.new("canary" if terms else "shadow", HOSTILE[:60], terms))
        counts = {"money.refund-limit|stricter": Count(3, 0, record), trials.SEEN: Count(9), trials.CANDIDATE: Count(8, 3)}
        trial_rows.put(at.store, one.id, kind, counts)
    found, wide, passed = [], [], 0
    rules = {"runOnly": ["color-contrast"]} if scheme == "dark" else None  # in the dark all else is the same
    why, sign = (
        f"/why?record={quote(record, safe='')}",
        "/signing/record?role=payments-risk&clauses=money.*&decision=approve&note=n&overlay=",
    )
    made = ["/why?record=" + quote(f"{one['log']}#{one['index']}", safe="") for one in at.desk_entries("ruling")]  # where it ran before
    pages = {"ops": ["/policy", why, *made, "/signing?of=force"], "lena": ["/signing", sign]}
    for who, paths in pages.items():
        person = window(who, color_scheme=scheme, viewport={"width": 360, "height": 760})
        for path in paths:
            person.go(path)
            person.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            report = Axe().run(person.page, options=rules).response
            passed += len(report["passes"])
            bad = [one for one in report["violations"] if one["impact"] in ("serious", "critical")]
            found += [(path, one["id"], one["nodes"][0]["html"][:200]) for one in bad]
            wide += [path] if person.page.evaluate("document.documentElement.scrollWidth") > 360 else []
    stop_all(at)

    assert found == []
    assert wide == []
    assert passed >= 5 if rules else passed > 80  # else pages were not looked at


def stop_all(at: Place) -> None:
    for kind in ("canary", "shadow"):
        listed = trial_rows.listed(at.store, kind)
        if listed and listed[0].state == "running":
            trials.stop(at.store, at.ledger.append, kind, "tester")
