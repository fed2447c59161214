"""Without a rightful signature nothing that the table in force protects is other than it was, whatever else somebody changes."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.policy import frame, reviews, succession
from bylaw.policy.digest import digest_of
from bylaw.policy.frame import FRAME
from bylaw.policy.reviews import Asked, Review, public_half, review, signed_digest
from bylaw.types import Clause, Overlay, Policy, Reviewer, SignOff

KEYS = {"Ann": b"a" * 32, "Bob": b"b" * 32, "Eve": b"e" * 32}
EVE = Reviewer("Eve", ("risk", "legal"), public_half(KEYS["Eve"]))
LIMIT = Clause("money.limit", "Limit", "high", "refuse", "A large sum MUST NOT be paid.")
SHARE = Clause("data.share", "Share", "high", "refuse", "Data MUST NOT be shared.")
TONE = Clause("tone.kind", "Kind", "low", "comply", "An answer SHOULD be kind.")
EU = Overlay("eu", "jurisdiction", "Act 7", "2026-01-01", "2026-01-01", (replace(LIMIT, norm="A sum MUST NOT be paid."),))
POLICY = Policy(
    "p",
    "1.0.0",
    (SHARE, LIMIT, TONE),
    signoffs=(SignOff("money.*", ("risk",)), SignOff("data.*", ("legal",))),
    reviewers=(Reviewer("Ann", ("risk",), public_half(KEYS["Ann"])), Reviewer("Bob", ("legal",), public_half(KEYS["Bob"]))),
    tools={"refund": {"type": "object"}},
    overlays=(EU,),
)
NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
BEFORE = (
    review(POLICY, Asked("Ann", "risk", "money.*"), KEYS["Ann"], NOW),
    review(POLICY, Asked("Ann", "risk", "money.*", overlay="eu"), KEYS["Ann"], NOW),
    review(POLICY, Asked("Bob", "legal", "data.*"), KEYS["Bob"], NOW),
)
Edit = Callable[[Policy], Policy]


def each(policy: Policy, name: str, change: Callable[[Clause], Clause | None]) -> Policy:
    found = tuple(now for one in policy.clauses if (now := change(one) if one.id == name else one))
    return replace(policy, clauses=found)


NAMES = st.sampled_from([LIMIT.id, SHARE.id, TONE.id])
EDITS: st.SearchStrategy[Edit] = st.one_of(
    NAMES.map(lambda name: lambda policy: each(policy, name, lambda one: None)),
    NAMES.map(lambda name: lambda policy: each(policy, name, lambda one: replace(one, norm="Anything MAY be done."))),
    NAMES.map(lambda name: lambda policy: each(policy, name, lambda one: replace(one, id=f"funds.{one.id.partition('.')[2]}"))),
    st.sampled_from(["1.0.1", "0.0.1", "9.0.0"]).map(lambda version: lambda policy: replace(policy, version=version)),
    st.sampled_from([(), POLICY.signoffs[:1], POLICY.signoffs[1:], (SignOff("*", ("risk",)),)]).map(
        lambda table: lambda policy: replace(policy, signoffs=table)
    ),
    st.sampled_from([(), (*POLICY.reviewers, EVE), (EVE,), (replace(POLICY.reviewers[0], key=EVE.key),)]).map(
        lambda people: lambda policy: replace(policy, reviewers=people)
    ),
    st.sampled_from([{}, {"refund": {}}, {**POLICY.tools, "wire": {}}]).map(lambda tools: lambda policy: replace(policy, tools=tools)),
    st.sampled_from([(), (replace(EU, effective="2099-01-01"),), (EU, replace(EU, name="uk"))]).map(
        lambda overlays: lambda policy: replace(policy, overlays=overlays)
    ),
    st.just(lambda policy: replace(policy, id="other")),
    st.just(lambda policy: replace(policy, owners=("eve",))),
)


def protected(policy: Policy) -> dict[tuple[str, str], str]:
    """What the table in force protects, as it says now."""
    every = [("", one, None) for one in policy.clauses] + [(held.name, one, held) for held in policy.overlays for one in held.clauses]
    lines = [line.clauses for line in POLICY.signoffs]
    return {(where, one.id): signed_digest(policy, one, held) for where, one, held in every if any(fnmatchcase(one.id, to) for to in lines)}


def found(policy: Policy, *more: Review) -> tuple[str, ...]:
    records = reviews.verified(succession.under(policy, POLICY), (*BEFORE, *more)).reviews
    return succession.missing(policy, POLICY, records, BEFORE)


@pytest.mark.slow
@settings(max_examples=300)
@given(st.lists(EDITS, min_size=1, max_size=4))
def test_without_a_rightful_signature_nothing_protected_changes(edits: list[Edit]) -> None:
    changed = POLICY
    for edit in edits:
        changed = edit(changed)
    eves = [review(replace(changed, reviewers=(EVE,)), Asked("Eve", role, FRAME), KEYS["Eve"], NOW) for role in EVE.roles]
    same = (protected(changed), frame.parts(changed)) == (protected(POLICY), frame.parts(POLICY))

    assert (found(changed, *eves) == ()) == same


LOOSE = each(POLICY, LIMIT.id, lambda one: replace(one, norm="A large sum MAY be paid."))
RUDE = each(POLICY, TONE.id, lambda one: replace(one, norm="An answer MAY be rude."))
SHORT = each(POLICY, SHARE.id, lambda one: None)
EARLIER = (
    *BEFORE,
    review(LOOSE, Asked("Ann", "risk", "money.*"), KEYS["Ann"], NOW + timedelta(days=1)),
    review(POLICY, Asked("Bob", "legal", "data.*"), KEYS["Bob"], NOW + timedelta(days=1)),
    review(RUDE, Asked("Bob", "legal", "tone.*", decision="reject"), KEYS["Bob"], NOW + timedelta(days=2)),
    *(review(POLICY, Asked(who, role, FRAME), KEYS[who], NOW + timedelta(days=3)) for who, role in (("Ann", "risk"), ("Bob", "legal"))),
    review(POLICY, Asked("Ann", "risk", "money.*"), KEYS["Ann"], NOW + timedelta(days=4)),
)
OTHERS = st.sampled_from([LOOSE, RUDE, SHORT, POLICY, replace(POLICY, overlays=()), replace(POLICY, owners=("eve",))])


@pytest.mark.slow
@settings(max_examples=300)
@given(st.lists(st.tuples(OTHERS, st.sampled_from(["1.0.0", "1.0.1"]), st.lists(st.sampled_from(EARLIER), max_size=3)), max_size=4))
def test_records_taken_out_and_put_back_bring_nothing_back(steps: list[tuple[Policy, str, list[Review]]]) -> None:
    """With nothing but old texts and old records, over several activations: what was signed last stays, and so does a rejection."""
    now, before = POLICY, EARLIER
    newest = [one for one in EARLIER if one.decision == "reject" or one.at > EARLIER[-2].at]
    for text, version, out in [*steps, (LOOSE, "1.0.0", newest), (RUDE, "1.0.0", newest)]:
        made = replace(text, version=version, digest=digest_of(replace(text, version=version)))
        records = reviews.verified(succession.under(made, now), [one for one in EARLIER if one not in out]).reviews
        if succession.missing(made, now, records, before) == ():
            now, before = made, reviews.verified(made, records).reviews

    assert (protected(now), now.clause(TONE.id)) == (protected(POLICY), TONE)


def test_a_line_that_asks_for_nothing_new_is_not_asked() -> None:
    assert found(replace(POLICY, clauses=(*POLICY.clauses, replace(TONE, id="tone.short")), owners=("desk",))) == ()


def test_the_frame_says_which_clauses_there_are_and_not_what_they_say() -> None:
    reworded = replace(POLICY, clauses=(replace(SHARE, norm="Data MAY be shared."), LIMIT, TONE), version="2.0.0")
    gone = replace(POLICY, clauses=(LIMIT, TONE))

    assert frame.frame_digest(reworded) == frame.frame_digest(POLICY)
    assert frame.frame_digest(gone) != frame.frame_digest(POLICY)


def test_a_policy_without_a_table_asks_the_next_one_for_nothing() -> None:
    free = replace(POLICY, signoffs=())

    assert succession.missing(replace(POLICY, clauses=()), free, (), ()) == ()
