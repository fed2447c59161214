"""Overlays resolved to one policy: the strictest wins, loosening needs a signed review, and laws that contradict each other are found."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from bylaw.errors import PolicyError
from bylaw.policy import lint_overlays, reviews
from bylaw.policy.compile import excerpt, rules_by
from bylaw.policy.effective import Effective, Scope, resolve
from bylaw.policy.parse import load
from bylaw.policy.reviews import Asked, Review, public_half
from bylaw.policy.tighter import looser
from bylaw.types import Axis, Clause, EvalPlan, Example, Loosening, Overlay, Policy, Reviewer, Rule, SignOff, Turn

few = settings(deadline=None, max_examples=150)
TODAY = date(2026, 11, 21)
NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
KEY = bytes(range(32))
LEGAL = Reviewer("J. Osei", ("legal",), public_half(KEY))
LIMIT = Rule("over-limit", ("tool_call",), "require_approval", ("pay",), "args.amount > 200.0", approvers=("lead",), ttl_s=1800)
PAY = {"type": "object", "properties": {"amount": {"type": "number"}}}
BASE = Clause(
    "money.limit", "Limit", "high", "refuse", "It MUST NOT pay more than 200 EUR.", enforce=(LIMIT,), eval=EvalPlan(0.99, 0.02, 300)
)


def overlay(
    name: str, *clauses: Clause, axis: Axis = "jurisdiction", loosens: Iterable[str] = (), effective: str = "2026-01-01"
) -> Overlay:
    named = tuple(Loosening(one, "the statute says so") for one in loosens)
    return Overlay(name, axis, f"law of {name}", effective, "2026-11-01", clauses, named)


def policy(*overlays: Overlay, clauses: Sequence[Clause] = (BASE,), **more: Any) -> Policy:
    return Policy("p", "1.0.0", tuple(clauses), overlays=overlays, tools={"pay": PAY}, reviewers=(LEGAL,), **more)


def signed(one: Policy, overlay_name: str, key: bytes = KEY) -> tuple[Review, ...]:
    record = reviews.review(one, Asked(LEGAL.name, "legal", "*", overlay_name), key, NOW)
    return reviews.verified(one, [record]).reviews


def in_force(one: Policy, *names: str, found: Sequence[Review] = ()) -> Effective:
    return resolve(one, Scope(overlays=names), TODAY, found)


def held(one: Policy, *names: str, found: Sequence[Review] = ()) -> Clause:
    clause = in_force(one, *names, found=found).policy.clause("money.limit")
    assert clause is not None
    return clause


def codes(one: Policy, found: Sequence[Review] = ()) -> list[str]:
    return [finding.code for finding in lint_overlays.findings(one, found)]


def test_a_policy_without_overlays_in_force_is_itself() -> None:
    found = in_force(policy(overlay("eu", replace(BASE, severity="critical"))))

    assert found.policy.clauses == (BASE,)
    assert found.reasons["money.limit"][0].said == "in the policy"
    assert (found.overlays, found.policy.overlays) == ((), ())


def test_an_overlay_tightens_and_the_reason_says_how_and_why() -> None:
    stricter = replace(BASE, severity="critical", enforce=(replace(LIMIT, ttl_s=600),), norm="It MUST say who decides.")
    one = policy(overlay("eu", stricter))
    clause = held(one, "eu")
    reason = in_force(one, "eu").reasons["money.limit"][1]

    assert (clause.severity, clause.enforce[0].ttl_s) == ("critical", 600)
    assert clause.norm == f"{BASE.norm}\n\nIt MUST say who decides."
    assert (reason.source, reason.kind, reason.basis) == ("eu", "tightened", "law of eu")
    assert "severity high -> critical" in reason.said
    assert codes(one) == []


def test_what_an_overlay_leaves_out_it_leaves_alone() -> None:
    bare = Clause("money.limit", "Limit", "critical", "refuse")
    rooted = replace(BASE, authority="root", layer="law", owner="risk", style=("short",), requires=("grounded",), refs=("x:1",))
    clause = held(policy(overlay("eu", bare), clauses=[rooted]), "eu")

    assert clause == replace(rooted, severity="critical")
    assert codes(policy(overlay("eu", bare), clauses=[rooted])) == []


def test_of_several_overlays_the_strictest_value_wins_in_each_field() -> None:
    one = policy(
        overlay("eu", replace(BASE, eval=EvalPlan(0.999, 0.05, 100), enforce=(replace(LIMIT, quorum=2),))),
        overlay("us", replace(BASE, eval=EvalPlan(0.9, 0.01, 900), enforce=(replace(LIMIT, effect="block", approvers=(), ttl_s=None),))),
    )
    clause = held(one, "eu", "us")

    assert clause.eval == EvalPlan(0.999, 0.01, 900)
    assert [rule.effect for rule in clause.enforce] == ["block"]


def test_approvals_that_nobody_can_give_all_of_are_a_block() -> None:
    one = policy(overlay("eu", replace(BASE, enforce=(replace(LIMIT, approvers=("auditor",)),))))

    assert held(one, "eu").enforce[0].effect == "block"


def test_a_rule_that_cannot_be_compared_stands_beside_the_base() -> None:
    other = replace(LIMIT, when="args.amount > 100.0 && args.amount < 150.0")
    rules = held(policy(overlay("eu", replace(BASE, enforce=(other,)))), "eu").enforce

    assert [(rule.id, rule.when) for rule in rules] == [("over-limit", LIMIT.when), ("over-limit-eu", other.when)]


def test_an_overlay_holds_from_its_day_on() -> None:
    one = policy(overlay("eu", replace(BASE, severity="critical"), effective="2026-11-22"))
    before, after = in_force(one, "eu"), resolve(one, Scope(jurisdiction=("eu",)), date(2026, 11, 22))

    assert (before.policy.clauses[0].severity, before.waiting, before.overlays) == ("high", ("eu",), ())
    assert (after.policy.clauses[0].severity, after.waiting, after.overlays) == ("critical", (), ("eu",))


@pytest.mark.parametrize(
    ("scope", "hint"),
    [(Scope(jurisdiction=("EU",)), "Did you mean `eu`?"), (Scope(product=("eu",)), "Known: none."), (Scope(overlays=("uk",)), "has: eu.")],
)
def test_a_name_that_leads_nowhere_is_an_error_and_not_the_base(scope: Scope, hint: str) -> None:
    with pytest.raises(PolicyError, match="no overlay") as caught:
        resolve(policy(overlay("eu", BASE)), scope, TODAY)

    assert hint in caught.value.hint


def test_a_clause_of_the_overlay_alone_joins_the_policy() -> None:
    new = Clause("privacy.notice", "Notice", "high", "comply", "It MUST give notice.")
    found = in_force(policy(overlay("eu", new)), "eu")

    assert [clause.id for clause in found.policy.clauses] == ["money.limit", "privacy.notice"]
    assert found.reasons["privacy.notice"][0].kind == "stated"


def test_an_effective_policy_is_a_policy(tmp_path: Path) -> None:
    found = in_force(policy(overlay("eu", replace(BASE, severity="critical", enforce=(replace(LIMIT, id="again", when="true"),)))), "eu")

    assert "Severity: critical" in excerpt(found.policy, ["money.limit"], 500)
    assert [one.name for one in rules_by(found.policy)["tool_call", "pay"]] == ["money.limit/over-limit", "money.limit/again"]
    assert found.policy.digest != found.of
    assert found.policy.digest.startswith("sha256:")


# ---- Loosening ------------------------------------------------------------------------------------------------------------

WEAK = Clause(
    "money.limit",
    "Limit",
    "medium",
    "comply",
    "It MUST name the limit.",
    enforce=(replace(LIMIT, effect="allow", approvers=(), ttl_s=None),),
)


def test_a_signed_loosening_replaces_the_base() -> None:
    one = policy(overlay("eu", WEAK, loosens=["money.limit"]))
    clause = held(one, "eu", found=signed(one, "eu"))
    reasons = in_force(one, "eu", found=signed(one, "eu")).reasons["money.limit"]

    assert (clause.severity, clause.response, clause.norm) == ("medium", "comply", "It MUST name the limit.")
    assert [rule.effect for rule in clause.enforce] == ["allow"]
    assert reasons[1].kind == "loosened"
    assert "because the statute says so" in reasons[1].said
    assert codes(one, signed(one, "eu")) == []


def refused(one: Policy, *names: str, found: Sequence[Review] = ()) -> bool:
    """Whether nothing of the base was lost."""
    return not looser(BASE, held(one, *(names or ("eu",)), found=found)) and held(one, *(names or ("eu",)), found=found).norm.startswith(
        BASE.norm
    )


def test_way_1_a_loosening_that_is_declared_and_not_signed_has_no_effect() -> None:
    one = policy(overlay("eu", WEAK, loosens=["money.limit"]))

    assert refused(one)
    assert codes(one) == ["BL106"]


def test_way_2_a_loosening_that_is_signed_and_not_declared_has_no_effect() -> None:
    one = policy(overlay("eu", WEAK))

    assert refused(one, found=signed(one, "eu"))
    assert codes(one, signed(one, "eu")) == ["BL106"]


def test_way_3_a_signature_of_an_earlier_text_does_not_carry_a_weaker_one() -> None:
    before = policy(overlay("eu", replace(BASE, severity="critical"), loosens=["money.limit"]))
    after = policy(overlay("eu", WEAK, loosens=["money.limit"]))
    basis_moved = replace(after, overlays=(replace(after.overlays[0], basis="a blog"),))
    base_tightened = replace(after, clauses=(replace(BASE, severity="critical"),))

    assert refused(after, found=signed(before, "eu"))
    assert refused(basis_moved, found=signed(after, "eu"))
    assert held(base_tightened, "eu", found=signed(after, "eu")).severity == "critical"


def test_way_4_a_weaker_layer_never_loosens_a_stronger_one() -> None:
    law = replace(BASE, layer="law")
    one = policy(overlay("eu", WEAK, loosens=["money.limit"]), clauses=[law])

    assert held(one, "eu", found=signed(one, "eu")).response == "refuse"
    assert codes(one, signed(one, "eu")) == ["BL106"]


def test_way_5_a_loosening_in_one_place_does_not_hold_where_another_place_applies_too() -> None:
    one = policy(overlay("eu", WEAK, loosens=["money.limit"]), overlay("us", Clause("a.b", "A", "low", "comply")))
    found = signed(one, "eu")
    later = policy(overlay("eu", WEAK, loosens=["money.limit"]), overlay("us", effective="2030-01-01"))

    assert refused(one, "eu", "us", found=found)
    assert refused(later, "eu", "us", found=signed(later, "eu"))
    assert resolve(one, Scope(jurisdiction=("eu", "elsewhere")), TODAY, found).policy.clause("money.limit") == BASE
    assert held(one, "eu", found=found).response == "comply"


def test_way_6_a_clause_that_goes_before_another_needs_leave_too() -> None:
    before = Clause("chat.free", "Free", "low", "comply", overrides=("money.limit",))
    one = policy(overlay("eu", before))
    declared = policy(overlay("eu", before, loosens=["money.limit"]))
    by_base = policy(clauses=[BASE, replace(before, layer="deployment")])

    assert in_force(one, "eu", found=signed(one, "eu")).policy.clause("chat.free") == replace(before, overrides=())
    assert in_force(by_base).policy.clause("chat.free") == replace(before, layer="deployment", overrides=())
    assert in_force(declared, "eu", found=signed(declared, "eu")).policy.clause("chat.free") == before
    assert codes(one, signed(one, "eu")) == ["BL106"]


FIRST = Clause("chat.free", "Free", "low", "comply", layer="law", overrides=("money.limit",))


@pytest.mark.parametrize(
    ("clauses", "mine"),
    [
        ([replace(FIRST, layer="organisation", overrides=(), owner="risk", authority="root"), BASE], FIRST),
        ([replace(FIRST, layer="organisation", overrides=()), BASE], replace(FIRST, norm="It MAY chat.")),
        ([replace(FIRST, layer="organisation"), replace(BASE, layer="provider")], FIRST),
        ([replace(FIRST, layer="organisation"), replace(BASE, layer="law")], FIRST),
    ],
)
def test_a_signed_law_keeps_its_precedence_whatever_the_policy_says_of_the_same_clause(clauses: list[Clause], mine: Clause) -> None:
    one = policy(overlay("eu", mine, loosens=["money.limit"]), clauses=clauses)
    clause = in_force(one, "eu", found=signed(one, "eu")).policy.clause("chat.free")

    assert clause is not None
    assert (clause.layer, clause.overrides) == ("law", ("money.limit",))
    assert "BL106" in codes(one)


def test_a_precedence_that_one_place_gives_does_not_hold_where_another_applies_too() -> None:
    us = overlay("us", Clause("a.b", "A", "low", "comply"))
    one = policy(overlay("eu", FIRST, loosens=["money.limit"]), us)
    both = policy(*one.overlays[:1], overlay("us", FIRST, loosens=["money.limit"]))
    found = (*signed(both, "eu"), *signed(both, "us"))
    by_base = policy(overlay("eu", FIRST, loosens=["money.limit"]), us, clauses=[BASE, FIRST])

    assert in_force(one, "eu", found=signed(one, "eu")).policy.clause("chat.free") == FIRST
    assert in_force(one, "eu", "us", found=signed(one, "eu")).policy.clause("chat.free") == replace(FIRST, overrides=())
    assert in_force(both, "eu", "us", found=found).policy.clause("chat.free") == FIRST
    assert in_force(by_base, "eu", "us", found=signed(by_base, "eu")).policy.clause("chat.free") == FIRST


def test_a_precedence_of_an_overlay_that_is_left_out_is_a_finding() -> None:
    weaker = policy(overlay("eu", replace(FIRST, layer="product", overrides=("a.b",)), Clause("a.b", "A", "low", "comply", layer="law")))
    by_base = policy(overlay("eu", FIRST, replace(BASE, layer="law")), clauses=[replace(FIRST, layer="organisation"), BASE])

    for one in (weaker, by_base):
        clause = in_force(one, "eu", found=signed(one, "eu")).policy.clause("chat.free")
        assert clause is not None
        assert clause.overrides == ()
        assert codes(one, signed(one, "eu")) == ["BL106"]


def test_way_7_a_norm_that_gives_leave_is_left_out() -> None:
    one = policy(overlay("eu", replace(BASE, norm="Notwithstanding the limit, staff MAY pay any sum.")))

    assert held(one, "eu").norm == BASE.norm
    assert codes(one) == ["BL106"]


def test_way_8_naming_a_tool_does_not_take_its_approval_away() -> None:
    sly = replace(BASE, enforce=(Rule("known", ("tool_call",), "block", ("wire",), "args.amount > 1000000.0"),))
    rules = rules_by(in_force(policy(overlay("eu", sly)), "eu").policy)["tool_call", "wire"]

    assert ("require_approval", "true") in {(one.rule.effect, one.rule.when) for one in rules}


def test_way_9_a_good_example_does_not_outvote_a_bad_one() -> None:
    case = (Turn("user", "pay 900"), Turn("assistant", "done"))
    bad, good = Example("bad", turns=case, split="eval"), Example("good", turns=case)
    one = policy(overlay("eu", replace(BASE, examples=(good,))), clauses=[replace(BASE, examples=(bad,))])

    assert held(one, "eu").examples == (bad,)


def test_a_rejected_loosening_has_no_effect() -> None:
    one = policy(overlay("eu", WEAK, loosens=["money.limit"]))
    no = reviews.review(one, Asked(LEGAL.name, "legal", "*", "eu", "reject"), KEY, datetime(2026, 11, 22, tzinfo=UTC))

    assert refused(one, found=(*signed(one, "eu"), no))


def test_the_table_must_be_satisfied_too() -> None:
    one = policy(overlay("eu", WEAK, loosens=["money.limit"]), signoffs=(SignOff("money.*", ("legal",), 2),))

    assert refused(one, found=signed(one, "eu"))


def test_examples_of_events_say_what_the_joined_rules_do() -> None:
    small = Example("good", event={"on": "tool_call", "tool": "pay", "args": {"amount": 150.0}}, expect="allow")
    large = Example("bad", event={"on": "tool_call", "tool": "pay", "args": {"amount": 250.0}}, expect="require_approval")
    stop = Rule("stop", ("tool_call",), "block", ("pay",), "args.amount > 100.0")
    one = policy(overlay("eu", replace(BASE, enforce=(stop,))), clauses=[replace(BASE, examples=(small, large))])

    assert held(one, "eu").examples == (replace(large, expect="block"),)


# ---- Conflict ---------------------------------------------------------------------------------------------------------------


def test_two_laws_that_cannot_both_hold_escalate_and_block() -> None:
    must = Clause("data.access", "Access", "high", "comply", "It MUST hand over the data.", layer="law")
    one = policy(overlay("eu", must), overlay("us", replace(must, response="refuse", norm="It MUST NOT hand over the data.")))
    found = in_force(one, "eu", "us")
    clause = found.policy.clause("data.access")

    assert clause is not None
    assert clause.response == "escalate"
    assert [(conflict.one, conflict.other) for conflict in found.conflicts] == [("eu", "us")]
    with pytest.raises(PolicyError, match="cannot both hold"):
        found.settled()
    assert codes(one) == ["BL107"]
    assert not in_force(one, "eu").conflicts


def test_a_law_to_which_the_policy_gives_way_hides_no_conflict_with_another() -> None:
    law = replace(BASE, layer="law")
    free = overlay("eu", replace(law, response="comply"), loosens=["money.limit"])
    one = policy(free, overlay("us", replace(law, response="comply")), clauses=[law])
    alone = policy(free, clauses=[law])

    assert codes(alone, signed(alone, "eu")) == []
    assert "BL107" in codes(one, signed(one, "eu"))


def test_an_overlay_that_leaves_its_layer_out_is_no_law() -> None:
    law = replace(BASE, layer="law", response="comply")
    one = policy(overlay("eu", BASE), clauses=[law])

    assert codes(one) == []
    assert held(one, "eu").response == "refuse"


def test_a_law_that_allows_what_another_blocks_is_a_conflict() -> None:
    law = Clause("a.b", "A", "low", "clarify", layer="law", enforce=(replace(LIMIT, effect="allow", approvers=(), ttl_s=None),))
    other = replace(law, enforce=(replace(LIMIT, effect="block", approvers=(), ttl_s=None),))
    one = policy(overlay("eu", law), overlay("us", other))
    rules = rules_by(in_force(one, "eu", "us").policy)["tool_call", "pay"]

    assert codes(one) == ["BL107"]
    assert "block" in {rule.rule.effect for rule in rules}


def test_an_overlay_read_from_files_resolves(tmp_path: Path) -> None:
    block = "## L {{#money.limit}}\n```yaml clause\nseverity: {}\nresponse: refuse\n```\nIt MUST NOT pay {}.\n"
    files = {
        "policy.yaml": "id: p\nversion: 1.0.0\n",
        "a.md": block.format("high", "much"),
        "overlays/eu/overlay.yaml": "axis: jurisdiction\nbasis: Act 7\neffective: 2026-01-01\nchecked: 2026-11-01\n"
        "loosens:\n  - {clause: money.limit, because: Act 7 allows it}\n",
        "overlays/eu/a.md": block.format("low", "anything"),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    one = load(tmp_path)
    clause = resolve(one, Scope(jurisdiction=("eu",)), TODAY).policy.clauses[0]

    assert one.overlays[0].loosens == (Loosening("money.limit", "Act 7 allows it"),)
    assert (clause.severity, clause.norm) == ("high", "It MUST NOT pay much.")


@pytest.mark.slow
def test_resolving_a_big_policy_is_quick() -> None:
    clauses = tuple(replace(BASE, id=f"a.c{number}", enforce=()) for number in range(400))
    one = policy(overlay("eu", *clauses), overlay("us", *clauses), clauses=clauses)
    found = in_force(one, "eu", "us")

    assert len(found.policy.clauses) == 400
