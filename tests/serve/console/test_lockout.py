"""Whoever has no key keeps nobody out who has one."""

from contextlib import closing
from pathlib import Path

import pytest

from bylaw.govern import keys
from bylaw.govern.keys import Grant, KeyRing
from bylaw.serve.console.logins import MAX_ALL, Logins
from bylaw.serve.door import NotIn
from bylaw.store import database
from bylaw.store.watching import Watch


def test_a_good_key_comes_in_however_many_wrong_ones_others_have_shown(tmp_path: Path) -> None:
    with closing(database.open(tmp_path / "store.sqlite")) as store:
        _, secret = keys.create(store, lambda entry: None, Grant("ops", ("admin",)))
        watch = Watch(store)
        logins = Logins(store, KeyRing(watch), lambda: ())
        watch.look()
        for number in range(MAX_ALL):
            logins.tries.wrong(f"10.0.0.{number}")
        with pytest.raises(NotIn) as refused:
            logins.enter("bylaw_000000000000_" + "x" * 43, "10.0.0.7")
        cookie = logins.enter(secret, "10.0.0.7")
        visitor = logins.visitor(cookie)

    assert refused.value.status == 429
    assert visitor is not None
    assert visitor.name == "ops"
