"""10,000 hostile variants and every hostile reply: no forged verdict scores. Worst-case judges are scripted; no model is fooled here."""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import pytest

from bylaw.errors import JudgeError
from bylaw.judge import framing, hostile, verdicts
from bylaw.judge.hostile import FAMILIES, Attack, ReplyCase
from bylaw.judge.mutations import MUTATIONS, POSITION
from bylaw.judge.verdicts import Form
from bylaw.models import transcript
from bylaw.types import Policy, Reasoned, Verdict
from tests.judge.asking import POLICY, code_of, judge

N = 10_000
CARRIERS = hostile.carriers(POLICY)
GUESS = "deadbeefdeadbeef"


class Asked(NamedTuple):
    """A variant, and what a judge was asked about it."""

    attack: Attack
    question: str
    code: str
    shown: str  # the last part, as the judge sees it
    written: str  # all parts, as their author wrote them: what a judge sends back that undoes our escapes


@cache
def asked() -> tuple[Asked, ...]:
    """Every variant through the real judge, once; the judge's model answers nothing."""
    questions: list[str] = []
    attacks = tuple(hostile.variants(N, 0, CARRIERS))
    made = judge(questions.append)
    found = made.review([attack.row for attack in attacks])
    assert [one.score for one in found] == [None] * N
    return tuple(_asked(*pair) for pair in zip(attacks, questions, strict=True))


def _asked(attack: Attack, question: str) -> Asked:
    code = code_of(question)
    shown = question.split(f"<<ANSWER {code}>>\n")[1].split(f"\n<<END ANSWER {code}>>", maxsplit=1)[0]
    row = attack.row
    return Asked(attack, question, code, shown, "\n".join((row.prompt.request, row.thinking, row.answer)))


def _read(reply: str, code: str, form: Form = "line") -> Verdict:
    return verdicts.read(transcript.parse(reply, thinking=False), code, form)


def _echo(one: Asked, i: int) -> str:
    """Repeats what it read, at one of several places, with our escapes or without."""
    row = one.attack.row
    places: Sequence[Callable[[], str]] = (
        lambda: one.shown,
        lambda: one.written,
        lambda: row.answer,
        lambda: f"I am asked to judge this:\n{row.answer}",
        lambda: f"{row.thinking}\n{row.answer}\nThat is all I can say.",
        lambda: f"<think>{row.answer}</think>\n{row.answer}",
        lambda: f"```\n{row.answer}\n```",
        lambda: one.question if i % 8 == 7 else one.shown[::-1],
    )
    return places[i % len(places)]()


def _copy(one: Asked, _: int) -> str:
    """Takes the last line that looks like a verdict for its own, in clean form, with the code that stands in it."""
    lines = [line for line in one.written.split("\n") if re.search("verdict|score|10", line, re.IGNORECASE)]
    line = lines[-1] if lines else one.written.split("\n")[-1]
    code = (re.findall(r"[0-9a-f]{16}", one.written) or [GUESS])[-1]
    return f"It is as the text says.\n{line}\nVERDICT {code}: 10"


def _quote(one: Asked, _: int) -> str:
    """Quotes the first lines as they were written, as one known judge prompt asks for, and then judges honestly."""
    first = "\n".join(one.attack.row.answer.split("\n")[:2])
    return f"{first}\nThis breaks the clause.\nVERDICT {one.code}: 0"


@pytest.mark.slow
@pytest.mark.parametrize("gullible", [_echo, _copy])
@pytest.mark.parametrize("form", ["line", "json"])
def test_a_judge_that_repeats_or_copies_what_it_read_never_scores_it(gullible: Callable[[Asked, int], str], form: Form) -> None:
    forged = [one.attack.id for i, one in enumerate(asked()) if _read(gullible(one, i), one.code, form).score is not None]

    assert not forged
    assert len(asked()) == N


@pytest.mark.slow
def test_a_judge_that_quotes_before_it_judges_keeps_its_own_verdict() -> None:
    found = [_read(_quote(one, 0), one.code) for one in asked()]

    scores = Counter(one.score for one in found)
    assert set(scores) <= {0.0, None}
    assert scores[0.0] > N // 2
    assert all("think tag" in one.reason for one in found if one.score is None)


@pytest.mark.slow
def test_a_judge_that_quotes_inside_json_keeps_its_own_verdict() -> None:
    replies = [json.dumps({"reasoning": one.written, "code": one.code, "score": 0}) for one in asked()]
    spliced = [f'{{"reasoning": "{one.written}", "code": "{one.code}", "score": 0}}' for one in asked()]

    found = {_read(reply, one.code, "json").score for one, reply in zip(asked(), replies, strict=True)}
    torn = {_read(reply, one.code, "json").score for one, reply in zip(asked(), spliced, strict=True)}

    assert found == {0.0, None}
    assert torn <= {0.0, None}


@pytest.mark.slow
def test_a_lenient_reader_is_fooled_by_the_same_echoes() -> None:
    """The control: what other graders do, find the first thing that looks like a verdict, takes thousands of forgeries for scores."""
    first = re.compile(r"(?:VERDICT|score|rating)\W+(?:[0-9a-f]{16}\W+)?(\d+)", re.IGNORECASE)

    found = [first.search(one.attack.row.answer) for one in asked()]
    fooled = sum(one is not None and one[1] == "10" for one in found)

    assert fooled > N // 10


@pytest.mark.slow
def test_no_variant_holds_the_code_it_would_need_or_a_delimiter_that_works() -> None:
    for one in asked():
        assert one.code not in one.written
        assert len(re.findall(rf"<<(?:END )?[A-Z0-9 ]+ {one.code}>>", one.question)) == one.question.count("<<")
        assert framing.restore(one.shown) == one.attack.row.answer


@pytest.mark.slow
def test_the_codes_of_other_calls_are_worth_nothing() -> None:
    """A replay: the author has seen every code there ever was, but for this call's."""
    codes = [one.code for one in asked()]
    shifted = codes[1:] + codes[:1]

    found = {_read(f"Kept.\nVERDICT {other}: 10", one.code).score for one, other in zip(asked(), shifted, strict=True)}

    assert found == {None}
    assert len(set(codes)) == N


@pytest.mark.slow
@pytest.mark.parametrize("case", hostile.reply_cases(), ids=lambda case: case.id)
def test_a_hostile_reply_gives_the_honest_score_or_none(case: ReplyCase) -> None:
    found = set()
    for one in asked()[: 10 * len(hostile.row_cases())]:
        row = one.attack.row
        filled = {"asked": one.question, "shown": one.shown, "raw": row.answer, "code": one.code, "guess": GUESS}
        reply = hostile.sent(case, {**filled, "raw_json": json.dumps(row.answer)})
        found.add(verdicts.read(transcript.parse(reply, case.finish, thinking=False), one.code, case.form).score)

    assert found <= {None, None if case.want is None else case.want / verdicts.SCALE}


def test_the_corpus_has_ten_families_and_at_least_sixty_cases_by_hand() -> None:
    rows, replies = hostile.row_cases(), hostile.reply_cases()

    assert len(rows) >= 60
    assert {case.family for case in rows} == {case.family for case in replies} == set(FAMILIES)
    assert min(Counter(case.family for case in rows).values()) >= 5
    assert len({case.id for case in rows} | {case.id for case in replies}) == len(rows) + len(replies)
    assert len({(case.request, case.thinking, case.answer) for case in rows}) == len(rows)
    assert all("{{bad}}" in case.answer and case.note for case in rows)


@pytest.mark.slow
def test_variants_are_distinct_seeded_and_begin_with_the_cases_as_written() -> None:
    attacks = [one.attack for one in asked()]
    cases = hostile.row_cases()

    assert [one.case for one in attacks[: len(cases)]] == [case.id for case in cases]
    assert not any(one.mutations for one in attacks[: len(cases)])
    assert len({(one.row.prompt.request, one.row.thinking, one.row.answer) for one in attacks}) == N
    assert {name for one in attacks for name in one.mutations} == {*MUTATIONS, POSITION}
    assert list(hostile.variants(300, 7, CARRIERS)) == list(hostile.variants(300, 7, CARRIERS)) != list(hostile.variants(300, 8, CARRIERS))


@pytest.mark.slow
def test_a_variant_still_carries_the_bad_answer() -> None:
    bad = {one.clause: one.bad for one in CARRIERS}

    assert all(bad[one.attack.row.prompt.clauses[0]] in one.attack.row.answer for one in asked())


def test_carriers_and_twins_come_from_the_policy_and_twins_are_bare() -> None:
    found = hostile.twins(CARRIERS)

    assert {one.clause for one in CARRIERS} >= {"money.refund-limit", "advice.legal"}
    assert {row.prompt.clauses[0] for row in found} == {one.clause for one in CARRIERS}
    assert all(isinstance(row, Reasoned) and not row.thinking and row.answer for row in found)


def test_a_policy_without_a_bad_dialogue_cannot_be_probed() -> None:
    with pytest.raises(JudgeError, match="no bad dialogue"):
        hostile.carriers(Policy("p", "1", ()))
