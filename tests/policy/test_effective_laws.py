"""Laws of resolving overlays, on random policies: never weaker than the base unsigned, whatever the order, the same when done twice."""

from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.policy import lint_overlays, reviews
from bylaw.policy.effective import Scope, resolve
from bylaw.policy.reviews import Asked, Review, public_half
from bylaw.policy.tighter import AUTHORITIES, LAYERS, RESPONSES, SEVERITIES
from bylaw.types import Clause, EvalPlan, Loosening, Overlay, Policy, Reviewer, Rule

pytestmark = pytest.mark.slow

few = settings(deadline=None, max_examples=150)
TODAY = date(2026, 11, 21)
NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
KEY = bytes(range(32))
LEGAL = Reviewer("J. Osei", ("legal",), public_half(KEY))
PAY = {"type": "object", "properties": {"amount": {"type": "number"}}}

NAMES = st.lists(st.sampled_from(["lead", "audit", "risk"]), max_size=3, unique=True).map(tuple)
CONDITION = st.sampled_from(["true", "args.amount > 100.0", "args.amount > 200.0", "false"])
RULE = st.one_of(
    st.builds(
        Rule,
        id=st.sampled_from(["a", "b"]),
        on=st.just(("tool_call",)),
        effect=st.sampled_from(["allow", "redact", "block"]),
        when=CONDITION,
    ),
    st.builds(
        Rule,
        id=st.sampled_from(["a", "b"]),
        on=st.just(("tool_call",)),
        effect=st.just("require_approval"),
        tools=st.sampled_from([(), ("pay",)]),
        when=CONDITION,
        approvers=NAMES,
        quorum=st.integers(1, 3),
        ttl_s=st.sampled_from([None, 60, 600]),
    ),
)
SHARE = st.sampled_from([None, 0.5, 0.9])
CLAUSE = st.builds(
    Clause,
    id=st.sampled_from(["a.a", "b.b"]),
    title=st.just("T"),
    severity=st.sampled_from(SEVERITIES),
    response=st.sampled_from(RESPONSES),
    norm=st.sampled_from(["", "It MUST.", "It MUST NOT.", "It MAY."]),
    layer=st.sampled_from(LAYERS),
    authority=st.sampled_from(AUTHORITIES),
    style=NAMES,
    overrides=st.sampled_from([(), ("a.a",), ("b.b",)]),
    requires=NAMES,
    enforce=st.lists(RULE, max_size=2, unique_by=lambda rule: rule.id).map(tuple),
    eval=st.one_of(st.none(), st.builds(EvalPlan, SHARE, SHARE, st.sampled_from([None, 10, 20]))),
)
CLAUSES = st.lists(CLAUSE, max_size=2, unique_by=lambda one: one.id).map(lambda found: tuple(sorted(found, key=lambda one: one.id)))
LOOSENS = st.lists(st.sampled_from(["a.a", "b.b"]), unique=True).map(lambda ids: tuple(Loosening(one, "so") for one in sorted(ids)))
OVERLAYS = st.tuples(
    *(
        st.builds(
            Overlay,
            st.just(name),
            st.sampled_from(["jurisdiction", "product"]),
            st.just("law"),
            st.just("2026-01-01"),
            st.just("2026-01-01"),
            CLAUSES,
            LOOSENS,
        )
        for name in ("eu", "uk", "us")
    )
)
POLICIES = st.builds(
    Policy, st.just("p"), st.just("1.0.0"), CLAUSES, overlays=OVERLAYS, tools=st.just({"pay": PAY}), reviewers=st.just((LEGAL,))
)
SOME = st.lists(st.sampled_from(["eu", "uk", "us"]), unique=True).map(tuple)


def all_signed(one: Policy) -> tuple[Review, ...]:
    asked = [Asked(LEGAL.name, "legal", "*", each.name) for each in one.overlays if each.clauses]
    return reviews.verified(one, [reviews.review(one, each, KEY, NOW) for each in asked]).reviews


def covers(new: Clause, old: Rule) -> bool:
    """A literal reading of `as strict as`: some rule about the same events does at least as much, and is as hard to approve."""
    order = ("allow", "redact", "revise", "require_approval", "block")
    for rule in new.enforce:
        same = (set(rule.on), set(rule.tools), rule.when, set(rule.detect)) == (set(old.on), set(old.tools), old.when, set(old.detect))
        harder = order.index(rule.effect) > order.index(old.effect)
        forever = 10**9
        equal = (
            rule.effect == old.effect
            and set(rule.approvers) <= set(old.approvers)
            and rule.quorum >= old.quorum
            and (rule.ttl_s or forever) <= (old.ttl_s or forever)
        )
        if same and (harder or equal):
            return True
    return False


@few
@given(POLICIES, SOME)
def test_nothing_is_weaker_than_the_base_without_a_signature(one: Policy, names: tuple[str, ...]) -> None:
    found = resolve(one, Scope(overlays=names), TODAY).policy

    for old in one.clauses:
        new = found.clause(old.id)
        assert new is not None
        assert RESPONSES.index(new.response) >= RESPONSES.index(old.response)
        assert SEVERITIES.index(new.severity) >= SEVERITIES.index(old.severity)
        assert AUTHORITIES.index(new.authority) >= AUTHORITIES.index(old.authority)
        assert LAYERS.index(new.layer) >= LAYERS.index(old.layer)
        assert set(old.style) <= set(new.style)
        assert set(old.requires) <= set(new.requires)
        assert all(other in old.overrides or one.clause(other) is None for other in new.overrides)  # an overlay orders its own clauses
        assert old.norm in new.norm
        assert all(covers(new, rule) for rule in old.enforce)
        was, now = old.eval or EvalPlan(), new.eval or EvalPlan()
        assert was.min_resist is None or (now.min_resist is not None and now.min_resist >= was.min_resist)
        assert was.max_over_refusal is None or (now.max_over_refusal is not None and now.max_over_refusal <= was.max_over_refusal)


@few
@given(POLICIES, SOME)
def test_a_signature_frees_only_where_every_place_of_an_axis_declares_it(one: Policy, names: tuple[str, ...]) -> None:
    found = resolve(one, Scope(overlays=names), TODAY, all_signed(one)).policy
    named = [overlay for overlay in one.overlays if overlay.name in names]

    for old in one.clauses:
        new = found.clause(old.id)
        by_axis = [[overlay for overlay in named if overlay.axis == axis] for axis in ("jurisdiction", "product")]
        declared = [bool(places) and all(old.id in {each.clause for each in place.loosens} for place in places) for places in by_axis]
        assert new is not None
        assert LAYERS.index(new.layer) >= LAYERS.index(old.layer)
        assert any(declared) or RESPONSES.index(new.response) >= RESPONSES.index(old.response)
        assert any(declared) or all(covers(new, rule) for rule in old.enforce)
        assert any(declared) or old.norm in new.norm


@few
@given(POLICIES, SOME, st.booleans())
def test_the_order_of_overlays_does_not_count(one: Policy, names: tuple[str, ...], are_signed: bool) -> None:
    found = all_signed(one) if are_signed else ()
    digests = set()
    for order in permutations(one.overlays):
        for asked in (names, names[::-1]):
            digests.add(resolve(replace(one, overlays=order), Scope(overlays=asked), TODAY, found).policy.digest)

    assert len(digests) == 1


@few
@given(POLICIES, SOME, st.booleans())
def test_resolving_twice_is_resolving_once(one: Policy, names: tuple[str, ...], are_signed: bool) -> None:
    once = resolve(one, Scope(overlays=names), TODAY, all_signed(one) if are_signed else ()).policy
    twice = resolve(once, Scope(), TODAY).policy

    assert twice == once
    assert twice.digest == once.digest


@few
@given(POLICIES, SOME)
def test_one_more_overlay_never_weakens(one: Policy, names: tuple[str, ...]) -> None:
    some = resolve(one, Scope(overlays=names[:-1]), TODAY)
    more = resolve(one, Scope(overlays=names), TODAY)

    for clause in () if more.conflicts else some.policy.clauses:
        new = more.policy.clause(clause.id)
        assert new is not None
        assert RESPONSES.index(new.response) >= RESPONSES.index(clause.response)
        assert all(covers(new, rule) for rule in clause.enforce)


@few
@given(POLICIES)
def test_what_lint_is_silent_about_was_not_left_out(one: Policy) -> None:
    """A policy without BL106 and BL107 loses nothing that an overlay says: whatever is ignored somewhere was found before."""
    found = {finding.clause for finding in lint_overlays.findings(one)}
    seen = {
        (clause_id, reason.said)
        for names in ((), ("eu",), ("uk",), ("us",), ("eu", "uk", "us"))
        for clause_id, reasons in resolve(one, Scope(overlays=names), TODAY).reasons.items()
        for reason in reasons
        if reason.kind in ("ignored", "conflict")
        and reason.source != "policy"
        and "goes" not in reason.said
        and "go before" not in reason.said
    }

    assert {clause_id for clause_id, _ in seen} <= found


@few
@given(POLICIES, st.booleans())
def test_a_precedence_that_is_left_out_where_one_overlay_holds_was_found(one: Policy, are_signed: bool) -> None:
    found = all_signed(one) if are_signed else ()
    said = {(finding.clause, finding.message.partition(";")[0]) for finding in lint_overlays.findings(one, found)}
    lost = set()
    for overlay in one.overlays:
        there = resolve(one, Scope(overlays=(overlay.name,)), TODAY, found).policy
        for clause in overlay.clauses:
            kept = there.clause(clause.id)
            assert kept is not None
            for other in clause.overrides:
                if other not in kept.overrides and there.clause(other):
                    lost.add((clause.id, f"goes before {other!r} in overlay {overlay.name}"))

    assert lost <= said


@few
@given(POLICIES, SOME)
def test_a_precedence_before_the_base_holds_only_where_every_place_of_an_axis_declares_it(one: Policy, names: tuple[str, ...]) -> None:
    found = resolve(one, Scope(overlays=names), TODAY, all_signed(one)).policy
    named = [overlay for overlay in one.overlays if overlay.name in names]

    for clause in found.clauses:
        old = one.clause(clause.id)
        for other in clause.overrides:
            by_axis = [[overlay for overlay in named if overlay.axis == axis] for axis in ("jurisdiction", "product")]
            free = any(places and all(other in {each.clause for each in place.loosens} for place in places) for places in by_axis)
            assert free or one.clause(other) is None or (old is not None and other in old.overrides)
