"""For whom a candidate decides, and when it is worse: held to exact sums, and to the chance of a false alarm that it states."""

import random
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bylaw.errors import PolicyError
from bylaw.govern.canary import PER_MILLE, Seen, Terms, at_least, bucket, look, outcome, read, taking, upper, worse


@given(st.integers(1, 60), st.data())
def test_the_chance_of_so_many_or_more_is_the_exact_sum(n: int, data: st.DataObject) -> None:
    k, p = data.draw(st.integers(0, n + 1)), data.draw(st.floats(0.001, 0.999))
    exact = sum(comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))

    assert at_least(k, n, p) == pytest.approx(exact, abs=1e-10)


def test_the_upper_bound_is_the_published_one_and_large_counts_are_no_trouble() -> None:
    assert upper(0, 20, 0.95) == pytest.approx(1 - 0.05 ** (1 / 20))  # the rule of three, exactly
    assert upper(5, 100, 0.975) == pytest.approx(0.1128349, abs=1e-6)  # Clopper and Pearson, 95 % two-sided
    assert upper(100_000, 1_000_000, 0.975) == pytest.approx(0.100590, abs=1e-5)
    assert upper(7, 7, 0.95) == 1.0


def test_a_candidate_that_blocks_all_is_worse_at_the_first_look_and_an_equal_one_is_not() -> None:
    terms = Terms(share=100)

    assert worse(Seen(20, 20), Seen(20, 2), terms)
    assert not worse(Seen(20, 2), Seen(20, 2), terms)
    assert not worse(Seen(1_000, 130), Seen(1_000, 100), terms)  # above, but within the margin
    assert not worse(Seen(1_000, 1_000), Seen(0, 0), terms)  # nothing to compare with


@pytest.mark.slow
def test_a_candidate_no_worse_is_rolled_back_with_at_most_the_stated_chance_over_all_looks() -> None:
    draw, terms, tries, alarms = random.Random(7), Terms(share=100, margin=0.05, alpha=0.2, seen=10), 400, 0
    for _ in range(tries):
        candidate = baseline = Seen(0, 0)
        done = 0
        for _ in range(320):
            baseline = Seen(baseline.total + 1, baseline.bad + (draw.random() < 0.1))
            candidate = Seen(candidate.total + 1, candidate.bad + (draw.random() < 0.15))  # exactly at the margin
            at = look(candidate, baseline, terms)
            if at > done:
                done = at
                if worse(candidate, baseline, terms, at):
                    alarms += 1
                    break

    assert alarms / tries <= terms.alpha


@pytest.mark.parametrize(("least", "at"), [(0, 0), (19, 0), (20, 1), (39, 1), (40, 2), (80, 3), (159, 3), (160, 4)])
def test_looks_come_when_both_sides_have_doubled(least: int, at: int) -> None:
    assert look(Seen(least, 0), Seen(10_000, 0), Terms(share=1)) == at
    assert look(Seen(10_000, 0), Seen(least, 0), Terms(share=1)) == at


def test_a_share_of_principals_is_taken_and_always_the_same_ones() -> None:
    terms = Terms(share=200, principals=("ana",))
    takes = taking(terms, "sha256:a")
    taken = [takes({"id": f"p{at}", "tenant": "t"}, "") for at in range(2_000)]
    again = [taking(read(terms.written()), "sha256:a")({"id": f"p{at}", "tenant": "t"}, "") for at in range(2_000)]
    other = [taking(terms, "sha256:b")({"id": f"p{at}", "tenant": "t"}, "") for at in range(2_000)]

    assert taken == again
    assert 300 < sum(taken) < 500
    assert 30 < sum(one and two for one, two in zip(taken, other, strict=True)) < 140  # another canary, another share
    assert takes({"id": "ana"}, "")
    assert not taking(Terms(principals=("ana",)), "sha256:a")({"id": "bo"}, "")
    assert 0 <= bucket("x", {"id": "y"}) < PER_MILLE


@pytest.mark.parametrize(
    "terms", [Terms(), Terms(share=1_000), Terms(share=5, margin=1.0), Terms(share=5, alpha=0.0), Terms(share=5, seen=0)]
)
def test_terms_that_make_no_canary_are_refused(terms: Terms) -> None:
    with pytest.raises(PolicyError):
        terms.checked()


@pytest.mark.parametrize("text", ["", "{}", '{"share": 5}', '{"share": "a", "principals": []}', "[]"])
def test_terms_in_the_store_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(PolicyError):
        read(text)


def test_an_outcome_is_an_answer_or_a_request_that_got_none() -> None:
    def entry(surface: str, decision: str, route: str = "/v1/messages") -> dict[str, object]:
        return {"kind": "decision", "surface": surface, "decision": decision, "facts": {"route": route}}

    assert outcome(entry("output", "allow"))
    assert outcome(entry("input", "block"))
    assert not outcome(entry("input", "allow"))  # its answer comes
    assert not outcome(entry("tool_call", "block"))  # its answer says so
    assert outcome(entry("tool_call", "block", "guard"))
    assert not outcome(entry("output", "stop"))


def test_a_share_of_conversations_parts_those_of_one_principal_and_a_share_of_principals_does_not() -> None:
    one = {"id": "app", "tenant": "t"}
    talks, people = (taking(Terms(share=300, by=by), "sha256:a") for by in ("session", "principal"))

    assert 200 < sum(talks(one, f"s{at}") for at in range(1_000)) < 400
    assert {people(one, f"s{at}") for at in range(50)} == {people(one, "")}
    assert [talks(one, f"s{at}") for at in range(50)] == [talks(one, f"s{at}") for at in range(50)]
