"""One gateway and one browser for all tests of a module."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bylaw.serve.wiring import Wiring
from tests.serve.console.place import Place, place, results

CHROMIUM = Path("/usr/bin/chromium")
# A window's address bar is two pages of its own, which cost more than ours; the rest is what Playwright leaves out, which this replaces.
WITHOUT = (
    "WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup,AimEnabled,AvoidUnnecessaryBeforeUnloadCheckSync,"
    "DestroyProfileOnBrowserClose,HttpsFirstBalancedModeAutoEnable,HttpsUpgrades,LensOverlay,MediaRouter,NetworkTimeServiceQuerying,"
    "OptimizationHints,PaintHolding,PreconnectToSearch,ThirdPartyStoragePartitioning"
)


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("console")
    with place(folder / "data", wiring=Wiring(run=results(folder / "run", "sha256:" + "0" * 64))) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed: the console is not tried in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playing:
        opened = playing.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu", f"--disable-features={WITHOUT}"]
        )
        yield opened
        opened.close()


@pytest.fixture
def window(browser: Any, at: Place) -> Iterator[Callable[..., "Window"]]:
    opened: list[Window] = []

    def make(name: str = "", **how: Any) -> Window:
        found = Window(at, browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **how}))
        opened.append(found)
        if name:
            found.enter(name)
        return found

    yield make
    for one in opened:
        one.context.close()
    assert [one.troubles for one in opened if one.troubles] == []


class Window:
    """A browser's window, which notes whatever should not happen: dialogs, errors, and requests that leave the gateway."""

    def __init__(self, at: Place, context: Any) -> None:
        self.at, self.context, self.page = at, context, context.new_page()
        self.troubles: list[str] = []
        self.page.on("dialog", self._asked_by_a_script)
        self.page.on("pageerror", lambda error: self.troubles.append(f"error {error}"))
        self.page.on("console", self._said)
        self.page.on("request", lambda request: self._asked(request.url))

    def _asked_by_a_script(self, dialog: Any) -> None:
        self.troubles.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def _said(self, said: Any) -> None:
        if said.type in ("error", "warning") and "status of" not in said.text:  # an answer of 403 or 409 is told there, too
            self.troubles.append(f"{said.type} {said.text}")

    def _asked(self, url: str) -> None:
        if not url.startswith(f"{self.at.url}/console/"):
            self.troubles.append(f"request {url}")

    def go(self, path: str) -> None:
        self.page.goto(f"{self.at.url}/console{path}")

    def enter(self, name: str) -> None:
        self.go("/login")
        self.page.fill("#key", self.at.people[name])
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector(".me")

    @property
    def words(self) -> str:
        return " ".join(str(self.page.inner_text("body")).split())
