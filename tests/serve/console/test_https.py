"""`console: https` in gateway.yaml: the cookie is always a secure one, and a form that came over plain http is told why it is refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bylaw.errors import PolicyError
from bylaw.serve import wiring
from bylaw.serve.console.logins import HOST_COOKIE, PLAIN_COOKIE
from bylaw.serve.wiring import Wiring
from tests.serve.console.place import Client, Place, place


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("https") / "data", wiring=Wiring(console="https")) as found:
        yield found


def origin(at: Place) -> str:
    """Where the browser says that a form comes from, when a proxy ends TLS in front of the gateway."""
    return at.url.replace("http:", "https:")


def test_the_file_says_that_the_console_is_behind_https(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("console: https\n")
    (tmp_path / "wrong.yaml").write_text("console: tls\n")
    with pytest.raises(PolicyError, match=r"wrong\.yaml:1.*console"):
        wiring.read(tmp_path / "wrong.yaml")

    assert (wiring.found(tmp_path).console, Wiring().console) == ("https", "either")


@pytest.mark.slow
def test_a_key_that_came_over_plain_http_gets_no_cookie_and_one_line_says_why(behind: Place) -> None:
    found = Client(behind.url).post("/login", {"key": behind.people["lead"]})

    assert (found.status, "set-cookie" in found.headers) == (403, False)
    assert "open the console at its https address" in found.words


@pytest.mark.slow
def test_the_cookie_is_secure_and_a_plain_one_of_the_same_login_opens_nothing(behind: Place) -> None:
    client = Client(behind.url)
    held = client.post("/login", {"key": behind.people["vera"]}, origin=origin(behind)).headers["set-cookie"]
    value = held.partition(";")[0].partition("=")[2]
    opened = [Client(behind.url, f"{name}={value}").get("/policy").status for name in (HOST_COOKIE, PLAIN_COOKIE)]
    signed_in = Client(behind.url, f"{HOST_COOKIE}={value}")
    left = signed_in.post("/logout", {"csrf": signed_in.get("/policy").csrf}, origin=origin(behind)).headers["set-cookie"]

    assert held.startswith(f"{HOST_COOKIE}=")
    assert held.endswith("; Secure")
    assert opened == [200, 303]
    assert left.startswith(f"{HOST_COOKIE}=; Path=/; Max-Age=0; ")
    assert left.endswith("; Secure")
