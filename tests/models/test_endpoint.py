"""An endpoint's URL holds no secret, and a key goes only where it belongs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.errors import ModelError
from bylaw.models import endpoint, remote, targets
from bylaw.types import Message, Sampling


@pytest.mark.parametrize(
    "url", ["https://api.example.com/v1", "https://api.example.com/v1/", "https://api.example.com/v1/chat/completions"]
)
def test_an_endpoint_is_named_by_its_base(url: str) -> None:
    assert endpoint.checked(url) == "https://api.example.com/v1"


@pytest.mark.parametrize(
    "url",
    [
        "https://me:hunter2@host/v1",
        "https://hunter2@host/v1",
        "https://host/v1?key=hunter2",
        "https://host/v1#hunter2",
        "https://host:hunter2/v1",
        "https:///hunter2",
        "https://[hunter2/v1",
        "https://host/v1 hunter2",
        "https://host/v1\nhunter2",
        "https://hunter2..host/v1",
        f"https://hunter2{'a' * 300}.com/v1",
    ],
)
def test_a_url_that_may_hold_a_secret_or_is_none_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ModelError) as caught:
        targets.parse(f"openai:m@{url}")

    assert "hunter2" not in caught.value.what + caught.value.hint
    assert caught.value.hint


@pytest.mark.parametrize("text", ["openai:m@ftp://host/v1", "openai:m@file:///etc/passwd", "openai:m", "openai:@http://host"])
def test_only_http_and_https_are_endpoints(text: str) -> None:
    with pytest.raises(ModelError):
        targets.parse(text)


@pytest.mark.parametrize(
    ("url", "environ", "key"),
    [
        ("http://host/v1", {}, ""),
        ("http://host/v1", {"BYLAW_API_KEY": " a "}, "a"),
        ("https://api.my-host.ai/v1", {"BYLAW_API_KEY": "a", "BYLAW_API_KEY_API_MY_HOST_AI": "b"}, "b"),
        ("https://api.openai.com/v1", {"OPENAI_API_KEY": "c"}, "c"),
        ("https://api.openai.com/v1", {"OPENAI_API_KEY": "c", "BYLAW_API_KEY": "a"}, "a"),
        ("http://api.openai.com/v1", {"OPENAI_API_KEY": "c"}, ""),
        ("https://api.openai.com.evil.example/v1", {"OPENAI_API_KEY": "c"}, ""),
        ("https://evil.example/v1", {"OPENAI_API_KEY": "c"}, ""),
    ],
)
def test_a_key_goes_only_where_it_belongs(url: str, environ: dict[str, str], key: str) -> None:
    assert endpoint.key_for(url, environ) == key


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://far.example/v1", "http://proxy:1"),
        ("https://far.example/v1", "http://proxy:2"),
        ("https://near.example/v1", None),
        ("http://localhost:8000/v1", None),
        ("http://127.0.0.1:8000/v1", None),
        ("http://[::1]:8000/v1", None),
    ],
)
def test_the_machines_proxy_is_used_but_not_for_the_machine_itself(monkeypatch: pytest.MonkeyPatch, url: str, proxy: str | None) -> None:
    for name, value in (("http_proxy", "http://proxy:1"), ("https_proxy", "http://proxy:2"), ("no_proxy", "near.example")):
        monkeypatch.setenv(name, value)

    assert remote.proxy_for(url) == proxy


@pytest.mark.parametrize("key", ["hunter2\nX-Evil: 1", "hünter2", "hunter2\x00"])
def test_a_key_that_is_none_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(ModelError) as caught:
        endpoint.key_for("http://host/v1", {"BYLAW_API_KEY": key})

    assert "nter2" not in caught.value.what + caught.value.hint


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_whatever_bytes_come_they_are_a_reply_or_are_not(raw: bytes) -> None:
    try:
        found: object = endpoint.read(raw)
    except endpoint.NotAReplyError as error:
        found = str(error)

    assert found
    assert isinstance(endpoint.error_of(raw), dict)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["content", "role", "x"]), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(json_values, json_values, json_values, json_values)
def test_whatever_shape_a_reply_has_reading_it_never_crashes(message: object, finish: object, usage: object, error: object) -> None:
    import json

    raw = json.dumps({"choices": [{"message": message, "finish_reason": finish}], "usage": usage, "error": error}).encode()
    try:
        found = endpoint.completion(endpoint.read(raw), thinking=True).finish
    except endpoint.NotAReplyError:
        found = "error"

    assert found in ("stop", "length", "refused", "error")
    assert isinstance(endpoint.error_of(raw), dict)


@given(st.integers(-(10**12), 10**12))
def test_the_repetitions_of_a_seed_all_differ_and_fit_every_server(seed: int) -> None:
    drawn = [endpoint.seed_of(seed, n) for n in range(100)]

    assert len(set(drawn)) == 100
    assert all(0 <= one < 2**31 for one in drawn)


@given(st.text())
def test_whatever_is_asked_can_be_sent(text: str) -> None:
    asked = endpoint.body("m", [Message("user", text)], Sampling())

    assert len(str(asked["messages"][0]["content"]).encode()) >= len(text)
