"""Where a gateway says that it is to be found."""

import pytest

from bylaw.serve.start import address, reached


@pytest.mark.parametrize(
    ("host", "link"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("gateway.example", "http://gateway.example:8000"),
    ],
)
def test_the_link_to_the_console_leads_somewhere(host: str, link: str) -> None:
    assert address(reached(host), 8000) == link
