"""Without a key comes in who is on this machine, and no page that a browser on it shows."""

from typing import Any

import pytest

from bylaw.serve.door import Door, NotIn

NO_KEYS: Any = None  # nobody looks for one here


def enters(**headers: str) -> bool:
    try:
        return Door(NO_KEYS, local=True).key({name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}) is None
    except NotIn:
        return False


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8000", "127.0.0.1", "127.0.0.1:8000", "[::1]:8000", "[::1]"])
def test_whoever_is_on_this_machine_comes_in(host: str) -> None:
    assert enters(host=host)
    assert enters(host=host, sec_fetch_site="none")
    assert enters(host=host, sec_fetch_site="same-origin")


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.com",
        "localhost.evil.com",
        "localhost:80@evil.com",
        "[::1].evil.com",
        "[::1]evil.com:80",
        "127.0.0.1.evil.com",
        "localhost:x",
    ],
)
def test_another_host_is_not_this_machine(host: str) -> None:
    assert not enters(host=host)


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "none, none"])
def test_what_a_page_of_another_site_loads_needs_a_key_though_it_has_no_origin(site: str) -> None:
    assert not enters(host="localhost:8000", sec_fetch_site=site)
    assert not enters(host="localhost:8000", origin="http://localhost:8000")


def test_a_key_that_is_not_known_is_told_so_and_not_asked_for_again() -> None:
    class Ring:
        def holder(self, shown: str) -> None:
            return None

        def known(self) -> bool:
            return True

    ring: Any = Ring()
    with pytest.raises(NotIn) as unknown:
        Door(ring, local=True).key({b"authorization": b"Bearer bylaw_x"})
    with pytest.raises(NotIn) as none:
        Door(ring, local=False).key({})

    assert (unknown.value.status, none.value.status) == (401, 401)
    assert unknown.value.what.startswith("this key is not known here")
    assert none.value.what.startswith("this needs a key of this gateway")
