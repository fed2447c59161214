"""The console over HTTP: who comes in, who may do what, what a form must carry, and what every page tells a browser."""

from contextlib import closing

import pytest
from markupsafe import escape
from sqlalchemy import select, update

from bylaw.govern import keys
from bylaw.govern.approvals import Approvals
from bylaw.serve.console import showing
from bylaw.serve.console.logins import ABSOLUTE_MS, IDLE_MS, MAX_TRIES, Tries
from bylaw.serve.console.page import safe_next
from bylaw.serve.door import NotIn
from bylaw.store.approval_rows import Approval
from bylaw.store.console_tables import LOGINS, SHOWN
from bylaw.types import Decision, Need
from tests.figures import stands
from tests.serve.console.place import HOSTILE, Client, Place, known, signed_in
from tests.serve.test_serving import WITHIN_S, best, refunding, saying, until

PAGES = ("/approvals", "/decisions", "/rates", "/ledger", "/policy", "/debt", "/stop")


@pytest.mark.slow
def test_nobody_sees_a_page_without_signing_in(at: Place) -> None:
    client = Client(at.url)

    for path in ("/", *PAGES, "/why?record=x"):
        found = client.get(path)
        assert (found.status, found.headers["location"].startswith("/console/login?next=")) == (303, True)


@pytest.mark.slow
def test_the_address_without_its_last_stroke_leads_there(at: Place) -> None:
    assert b"Sign in" in at.get("/console").body


@pytest.mark.slow
def test_a_wrong_key_and_one_without_a_role_stay_outside(at: Place) -> None:
    client = Client(at.url)
    wrong, known = client.enter("bylaw_000000000000_" + "x" * 43), client.enter(at.people["nina"])

    assert (wrong.status, known.status) == (401, 403)
    assert "none of the roles" in known.words
    assert "set-cookie" not in {**wrong.headers, **known.headers}


@pytest.mark.slow
def test_the_cookie_is_not_for_scripts_nor_for_other_sites_and_the_store_has_only_its_hash(at: Place) -> None:
    client = Client(at.url)
    cookie = client.enter(at.people["lead"]).headers["set-cookie"]
    value = client.cookie.partition("=")[2]
    with at.store.reading() as connection:
        kept = str(connection.execute(select(LOGINS)).all())

    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Secure" not in cookie
    assert value not in kept


@pytest.mark.slow
def test_behind_https_the_cookie_is_secure_and_this_hosts_alone(at: Place) -> None:
    client = Client(at.url)
    found = client.post("/login", {"key": at.people["lead"]}, origin=at.url.replace("http:", "https:"))

    assert found.headers["set-cookie"].startswith("__Host-bylaw_console=")
    assert found.headers["set-cookie"].endswith("; Secure")


def test_every_answer_keeps_browsers_strict(at: Place) -> None:
    client = signed_in(at, "ada")

    for path in (*PAGES, "/login", "/nowhere", "/static/console.css", "/why?record=x"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
    assert client.get("/approvals").headers["cache-control"] == "no-store"


def test_a_page_has_no_script_or_style_of_its_own_and_names_no_other_host(at: Place) -> None:
    client = signed_in(at, "ada")

    for path in PAGES:
        text = client.get(path).text
        assert "<style" not in text
        assert " style=" not in text
        assert " on" + "click" not in text
        assert "http://" not in text.replace("http://www.w3.org", "")
        assert text.count("<script") == 1


@pytest.mark.parametrize(("name", "path", "status"), [
    ("vera", "/decisions", 200), ("vera", "/approvals", 403), ("lead", "/approvals", 200), ("lead", "/decisions", 403),
    ("ops", "/decisions", 200), ("ops", "/approvals", 200),
])  # fmt: skip
def test_a_role_opens_its_pages_and_no_others(at: Place, name: str, path: str, status: int) -> None:
    client = signed_in(at, name)
    found = client.get(path)

    assert found.status == status
    if status == 403:
        assert f"{name}'s has none" in found.words


def test_a_viewer_of_one_tenant_does_not_read_what_all_of_them_do(at: Place) -> None:
    _, secret = keys.create(at.store, at.ledger.append, keys.Grant("tess", ("viewer",), tenant="shop"))
    found = known(at, secret).enter(secret)

    assert found.status == 403


def test_a_form_from_elsewhere_or_without_its_token_changes_nothing(at: Place) -> None:
    waits, client = at.waiting(order=11), signed_in(at, "lead")
    client.get(f"/approvals/{waits}")
    form = {"answer": "approve", "reason": "r"}
    found = [
        client.post(f"/approvals/{waits}", form, origin="https://evil.example"),
        client.post(f"/approvals/{waits}", form, origin="null"),
        client.post(f"/approvals/{waits}", {**form, "csrf": "forged"}),
        client.post(f"/approvals/{waits}", {**form, "csrf": signed_in(at, "lead").csrf}),
    ]

    assert [one.status for one in found] == [403] * 4
    assert all("nothing was done" in one.words for one in found)
    assert "pending" in client.get(f"/approvals/{waits}").words


def test_a_form_without_an_origin_is_refused(at: Place) -> None:
    client = signed_in(at, "lead")
    found = client.ask("POST", "/logout", f"csrf={client.csrf}", {"content-type": "application/x-www-form-urlencoded"})

    assert found.status == 403


@pytest.mark.parametrize(("column", "length"), [("used_at", IDLE_MS), ("made_at", ABSOLUTE_MS)])
def test_a_login_ends_by_itself(at: Place, column: str, length: int) -> None:
    client = signed_in(at, "lead")
    before = client.get("/approvals").status
    with at.store.writing() as connection:
        connection.execute(update(LOGINS).values({column: LOGINS.c[column] - length}))
    found, polled = client.get("/approvals"), client.get("/approvals", **{"x-bylaw-poll": "1"})

    assert (before, found.status, polled.status) == (200, 303, 401)


def test_a_page_that_asks_by_itself_keeps_nobody_signed_in(at: Place) -> None:
    client = signed_in(at, "lead")
    with at.store.writing() as connection:
        connection.execute(update(LOGINS).values(used_at=LOGINS.c.used_at - IDLE_MS // 2))
    with at.store.reading() as connection:
        before = connection.execute(select(LOGINS.c.used_at)).scalars().all()
    client.get("/approvals", **{"x-bylaw-poll": "1"})
    with at.store.reading() as connection:
        polled = connection.execute(select(LOGINS.c.used_at)).scalars().all()
    client.get("/approvals")
    with at.store.reading() as connection:
        after = connection.execute(select(LOGINS.c.used_at)).scalars().all()

    assert sorted(polled) == sorted(before)
    assert max(after) > max(before)


def test_a_revoked_key_is_out_within_a_second(at: Place) -> None:
    statuses = set()

    def trial() -> tuple[float]:
        key, secret = keys.create(at.store, at.ledger.append, keys.Grant("gone", ("viewer",)))
        client = known(at, secret)
        before = client.get("/decisions").status
        keys.revoke(at.store, at.ledger.append, key.id)
        took = until(lambda: client.get("/decisions").status != 200)
        statuses.add((before, client.get("/decisions").status))
        return (took,)

    assert best(trial) < WITHIN_S
    assert statuses == {(200, 303)}


def test_leaving_ends_the_login_in_the_store(at: Place) -> None:
    client = signed_in(at, "lead")
    kept = client.cookie
    client.post("/logout")

    assert Client(at.url, kept).get("/approvals").status == 303


def test_wrong_keys_are_counted() -> None:
    now = [0.0]
    tries = Tries(lambda: now[0])
    for _ in range(MAX_TRIES):
        tries.check("a")
        tries.wrong("a")
    with pytest.raises(NotIn) as refused:
        tries.check("a")
    tries.check("b")
    now[0] = 61.0
    tries.check("a")

    assert (refused.value.status, refused.value.retry_after_s) == (429, 60)


@pytest.mark.parametrize("wanted", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nset-cookie: x", "", "/ü"])
def test_signing_in_leads_nowhere_else(wanted: str) -> None:
    assert safe_next(wanted) == "/"


def test_how_long_somebody_looked_is_kept_with_the_answer(at: Place) -> None:
    waits, client = at.waiting(order=12), signed_in(at, "lead")
    client.get(f"/approvals/{waits}")
    with at.store.writing() as connection:
        connection.execute(update(SHOWN).where(SHOWN.c.approval == waits).values(at=SHOWN.c.at - 42_000))
    client.get(f"/approvals/{waits}")  # the first time counts
    client.post(f"/approvals/{waits}", {"answer": "approve", "reason": "fine"})
    page = client.get(f"/approvals/{waits}").words
    entry = next(
        one for one in at.desk_entries("approval") if one["approval"] == waits and one["facts"]["step"] == "approved"
    )  # fmt: skip

    assert "after 42 s" in page
    assert entry["facts"]["seconds"] == 42


@pytest.mark.slow
def test_the_list_says_what_is_not_for_whoever_looks_to_answer(at: Place) -> None:
    at.waiting(order=31, session="list")

    assert "waits for 1 of support-lead" in signed_in(at, "ops").get("/approvals").words
    assert "waits for" not in signed_in(at, "lead").get("/approvals").words


def test_the_list_says_what_each_request_is_about(at: Place) -> None:
    at.waiting(order=21, amount=2100.0)
    page = signed_in(at, "lead").get("/approvals").words

    assert "payments.refund amount 2100, order 21 money.refund-limit agent" in page


def test_nobody_answers_what_they_were_not_shown(at: Place) -> None:
    waits, client = at.waiting(order=13), signed_in(at, "lead")
    found = client.post(f"/approvals/{waits}", {"answer": "approve", "reason": "blind"})

    assert (found.status, "open the request first" in found.words) == (409, True)


@pytest.mark.parametrize(("form", "said"), [
    ({"answer": "approve"}, "say why"),
    ({"answer": "approve", "reason": "x" * 2001}, "say why"),
    ({"answer": "perhaps", "reason": "r"}, "approve or deny"),
])  # fmt: skip
def test_an_answer_needs_a_reason_and_is_yes_or_no(at: Place, form: dict[str, str], said: str) -> None:
    waits, client = at.waiting(order=14), signed_in(at, "lead")
    client.get(f"/approvals/{waits}")
    found = client.post(f"/approvals/{waits}", form)

    assert (found.status, said in found.words) == (400, True)


@pytest.mark.slow
def test_the_engine_refuses_who_may_not_answer_in_one_clear_line(at: Place) -> None:
    waits = at.waiting(order=15)
    ops, lead = signed_in(at, "ops"), signed_in(at, "lead")
    page, found = ops.get(f"/approvals/{waits}"), ops.post(f"/approvals/{waits}", {"answer": "approve", "reason": "r"})
    lead.get(f"/approvals/{waits}")
    first = lead.post(f"/approvals/{waits}", {"answer": "deny", "reason": "no"})
    again = lead.post(f"/approvals/{waits}", {"answer": "approve", "reason": "yes"})

    assert "You cannot answer this: ops has none of the roles asked for: support-lead" in page.words
    assert (found.status, "Not done: ops has none of the roles" in found.words) == (403, True)
    assert (first.status, again.status) == (303, 409)
    assert "Not done: the request is denied" in again.words


def test_who_asked_cannot_answer(at: Place) -> None:
    _, secret = keys.create(at.store, at.ledger.append, keys.Grant("agent", ("support-lead",)))
    waits, client = at.waiting(order=16), known(at, secret)
    client.get(f"/approvals/{waits}")
    found = client.post(f"/approvals/{waits}", {"answer": "approve", "reason": "mine"})

    assert (found.status, "agent asked for this; somebody else must answer" in found.words) == (403, True)


def test_a_call_is_edited_and_somebody_else_must_answer_then(at: Place) -> None:
    waits, client = at.waiting(order=17), signed_in(at, "lead")
    client.get(f"/approvals/{waits}")
    made = client.post(f"/approvals/{waits}/edit", {"args": '{"order": 17, "amount": 300}', "reason": "half", "call": "0"})
    new = made.headers["location"].removeprefix("/console")
    page = client.get(new)
    old = client.get(f"/approvals/{waits}").words

    assert made.status == 303
    assert "superseded" in old
    assert '"amount":300' in page.text.replace("&#34;", '"')
    assert "You cannot answer this: lead asked for this" in page.words


@pytest.mark.slow
@pytest.mark.parametrize("args", ["[1]", "{", "{'a': 1}", '{"order": 17}'])
def test_an_edit_that_is_no_call_changes_nothing(at: Place, args: str) -> None:
    waits, client = at.waiting(order=18), signed_in(at, "lead")
    client.get(f"/approvals/{waits}")
    found = client.post(f"/approvals/{waits}/edit", {"args": args, "reason": "half", "call": "0"})

    assert found.status in (400, 409)
    assert found.status == 409 or (
        str(escape(args)) in found.text and 'name="reason" value="half"' in found.text
    )  # it need not be typed again
    assert "pending" in client.get(f"/approvals/{waits}").words


def test_why_shows_clause_rule_and_values_and_a_viewer_sees_no_contents(at: Place) -> None:
    at.waiting(order=19, amount=777.0, words=HOSTILE, session="why")
    record = next(
        f"{one['log']}#{one['index']}" for one in at.desk_entries("decision") if one["surface"] == "tool_call" and one["session"] == "why"
    )
    path = f"/why?record={record.replace('#', '%23')}"
    ops, vera = signed_in(at, "ops").get(path), signed_in(at, "vera").get(path)

    assert "money.refund-limit/over-limit" in ops.words
    assert "args.amount 777" in ops.words
    assert "Refunds above 200 EUR" in vera.words
    assert not stands(777, vera.words)
    assert "Contents are for keys with the role admin" in vera.words


def test_why_says_what_was_in_the_way_of_a_rule_that_could_not_be_decided(at: Place) -> None:
    call = refunding(45.0)
    call["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] = '{"order": "A-1001", "amount": 45.0}'
    at.speaker.replies.append(call)
    at.ask("Refund it", authorization=f"Bearer {at.people['agent']}", **{"x-bylaw-session": "odd"})
    one = next(one for one in at.desk_entries("decision") if one["surface"] == "tool_call" and one["session"] == "odd")
    shown = signed_in(at, "ops").get(f"/why?record={one['log']}%23{one['index']}").words

    assert one["facts"]["because"] == "could not be decided: args.order cannot be read"
    assert "could not be decided: args.order cannot be read" in shown
    assert "money.refund-limit/over-limit could not be decided" in shown
    assert "matched" not in shown
    assert f"hour {one['facts']['hour']} (in UTC, as conditions saw it)" in shown


def test_hostile_text_is_escaped_and_what_is_hidden_in_it_is_shown(at: Place) -> None:
    waits = at.waiting(order=20, words=HOSTILE, session="escaped")
    text = signed_in(at, "lead").get(f"/approvals/{waits}").text

    assert "<script>alert" not in text
    assert "<img" not in text
    assert "\u202e" not in text
    assert '<i class="ctl">⟨U+202E⟩</i>' in text


def test_every_hidden_character_is_shown_and_the_rest_stays() -> None:
    shown = showing.visible("a\u202eb\u200b\ufeff\u3164\u00a0\x00\ud800ü\n<b>")

    assert showing.hidden_in("a\u202eb\u200b\ufeff\u3164\u00a0\x00\ud800ü\n<b>") == 7
    assert 'ü<i class="ctl">↵</i>\n&lt;b&gt;' in shown
    assert all(f"⟨U+{number}⟩" in shown for number in ("202E", "200B", "FEFF", "3164", "00A0", "0000", "D800"))


def test_a_long_text_is_cut_and_that_is_said() -> None:
    assert showing.visible("x" * 50, 20) == "x" * 20 + '<span class="cut">… 30 characters more</span>'
    assert str(showing.plain("y" * 5_000)).endswith("(3000 characters more)")


@pytest.mark.parametrize("body", ["a=%ff&b=%00", "a" * 300_000, "&" * 100, "key=%ED%A0%80"])
def test_a_form_that_cannot_be_read_is_a_client_error(at: Place, body: str) -> None:
    found = Client(at.url).ask("POST", "/login", body, {"origin": at.url, "content-type": "application/x-www-form-urlencoded"})

    assert 400 <= found.status < 500


@pytest.mark.parametrize(
    "path", ["/approvals/x", "/approvals/" + "0" * 32, "/why?record=%00", "/why", "/decisions?clause=" + "x" * 400, "/nowhere"]
)
def test_a_page_that_is_not_there_says_so(at: Place, path: str) -> None:
    found = signed_in(at, "ada").get(path)

    assert 400 <= found.status < 500
    assert "Sign out" in found.words


# ---- Requests that do not come from a model route ------------------------------------------------------------------------


def asked_for(at: Place, args: dict[str, object]) -> str:
    """A call that waits at a guard or an MCP server, as these ask for it."""
    with closing(Approvals(at.store, at.ledger.append)) as approvals:
        need = Need("money.refund-limit", "over-limit", ("support-lead",), 1, 600)
        decision = Decision(
            "require_approval", ("money.refund-limit",), ("money.refund-limit/over-limit",), "sha256:" + "1" * 64, needs=(need,)
        )
        made = approvals.request({"tool": "files.delete", "args": args}, {"id": "robot", "tenant": "", "jurisdiction": ""}, decision, "run")
    assert isinstance(made, Approval)
    return made.id


def test_a_call_that_waits_at_a_guard_is_shown_byte_for_byte_and_answered(at: Place) -> None:
    waits, lead = asked_for(at, {"path": "/srv/\u202etxt.exe", "force": True}), signed_in(at, "lead")
    page = lead.get(f"/approvals/{waits}")
    done = lead.post(f"/approvals/{waits}", {"answer": "deny", "reason": "no"})

    assert "files.delete for robot" in page.words
    assert "1 invisible character in it" in page.words
    assert '{&#34;force&#34;:true,&#34;path&#34;:&#34;/srv/<i class="ctl">⟨U+202E⟩</i>txt.exe&#34;}' in page.text
    assert "The policy has changed since this was asked for" in page.words
    assert done.status == 303


def test_what_is_too_long_to_be_shown_whole_is_not_answered_here(at: Place) -> None:
    waits, lead = asked_for(at, {"path": "x" * (showing.MAX_VISIBLE + 1)}), signed_in(at, "lead")
    page = lead.get(f"/approvals/{waits}")
    done = lead.post(f"/approvals/{waits}", {"answer": "approve", "reason": "blind"})

    assert "too long to be shown whole; answer with `bylaw approvals`" in page.words
    assert "Approve exactly this" not in page.words
    assert done.status == 409


def test_the_session_of_a_namesake_in_another_tenant_is_not_shown(at: Place) -> None:
    _, theirs = keys.create(at.store, at.ledger.append, keys.Grant("agent", ("agent",), tenant="rival"))
    words = "the rival's secret"
    at.speaker.replies += [saying("Fine.")]
    until(lambda: at.ask(words, authorization=f"Bearer {theirs}", x_bylaw_session="twin").status == 200)
    waits = at.waiting(order=30, words="our own words", session="twin")
    page = signed_in(at, "lead").get(f"/approvals/{waits}").words

    assert "our own words" in page
    assert words not in page


def test_a_request_of_another_tenant_is_not_there(at: Place) -> None:
    _, secret = keys.create(at.store, at.ledger.append, keys.Grant("lena", ("support-lead",), tenant="shop"))
    waits, client = asked_for(at, {"path": "tenants"}), known(at, secret)
    found, posted = client.get(f"/approvals/{waits}"), client.post(f"/approvals/{waits}", {"answer": "deny", "reason": "no"})

    assert (found.status, posted.status) == (404, 404)
    assert "files.delete" not in client.get("/approvals?state=all").words
