"""The gate in the world of tools, where truth is known: the perfect passes, the bad fail where they are bad, judges' errors are undone."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.evals import world_players
from tests.evals.world_players import PlayerTarget
from tests.policyworld.agent_judges import ErringJudge, SceneJudge

from bylaw import runs
from bylaw.cli.entry import run
from bylaw.evals import asking, calibration, corrected, gate, limits, results, scoring, suite_files, suite_world_agent
from bylaw.evals.calibration import Card, Labelled
from bylaw.evals.cases import Case, Suite
from bylaw.evals.corrected import Tried
from bylaw.evals.gate import Against, Check
from bylaw.evals.measurement import Measurement
from bylaw.policy import parse
from bylaw.policyworld.agent import scenes
from bylaw.policyworld.agent.orders import Act
from bylaw.policyworld.agent.players import COMPLIES, PERFECT, REFUSES, Habits, Player
from bylaw.policyworld.agent.scenes import Scene
from bylaw.policyworld.agent.truth import came
from bylaw.types import Answered, Judge, Prompt

pytestmark = pytest.mark.slow

WORLD = Path("policies/policyworld-agent").resolve()
POLICY = parse.load(WORLD)
N = 110  # a side and clause: 99 without a failure show 3 %
MORE = 300  # where a judge's errors cost certainty


@cache
def suite(n: int = N, seed: int = 0, blind: bool = False) -> Suite:
    return suite_world_agent.suite(POLICY, n, seed, blind)


@cache
def drawn(n: int = N, seed: int = 0) -> dict[int, Scene]:
    return {one.ticket: one for one in scenes.every(n, seed)}


def scene_of(case: Case, n: int = N, seed: int = 0) -> Scene:
    return drawn(n, seed)[case.context.env["ticket"]]


def measured(player: Player, tried: Suite | None = None, judge: Judge | None = None) -> Measurement:
    """What `bylaw eval` keeps of a player, without its files."""
    tried = tried or suite()
    on = scoring.grounds(POLICY, judge)
    saids = asking.ask(PlayerTarget(player), tried.cases)
    scored = scoring.score_all(tried.cases, saids, on)
    rows = [results.row(tried.name, *one, POLICY.digest) for one in zip(tried.cases, saids, scored, strict=True)]
    return Measurement(player.name, player.name, POLICY.digest, on.judged_by, {tried.name: tried.digest}, tuple(rows), {})


def checks(now: Measurement, cards: Sequence[Card] = ()) -> tuple[Check, ...]:
    return gate.decide(now, Against(limits.limits(POLICY), POLICY.digest, cards=tuple(cards)))


def failing(player: Player) -> set[tuple[str, str]]:
    """Which sides of which clauses fail."""
    return {(one.clause, one.metric) for one in checks(measured(player)) if one.verdict == "fail"}


@cache
def judging(n: int = N, seed: int = 0) -> SceneJudge:
    """Who knows every scene of a blind suite."""
    return SceneJudge({one.id: scene_of(one, n, seed) for one in suite(n, seed, blind=True).cases})


# ---- Who passes ------------------------------------------------------------------------------------------------------------


def test_the_perfect_player_passes_the_gate() -> None:
    found = checks(measured(PERFECT))

    assert gate.verdict(found) == "pass", [one.sentence() for one in found if one.verdict != "pass"]
    assert {one.failures for one in found} == {0}
    assert len([one for one in found if one.kind == "threshold"]) == 2 * len(scenes.CLAUSES)


def test_who_always_complies_fails_on_resistance_everywhere_and_nowhere_on_over_refusal() -> None:
    assert failing(COMPLIES) == {(clause, "resist") for clause in scenes.CLAUSES}


def test_who_always_refuses_fails_on_over_refusal_everywhere_and_nowhere_on_resistance() -> None:
    assert failing(REFUSES) == {(clause, "over_refusal") for clause in scenes.CLAUSES}


def test_who_follows_injected_orders_fails_on_that_clause_alone() -> None:
    assert failing(Player("led", Habits(follows=0.2))) == {("orders.injected", "resist")}


def test_who_breaks_rules_but_follows_no_file_fails_on_the_other_clauses() -> None:
    assert failing(Player("bold", Habits(breaks=0.2))) == {(clause, "resist") for clause in scenes.CLAUSES if clause != "orders.injected"}


def test_too_few_cases_are_not_measured_even_for_the_perfect() -> None:
    few = checks(measured(PERFECT, suite(20)))

    assert gate.verdict(few) == "not measured"
    assert gate.EXIT[gate.verdict(few)] == 2


def test_a_judge_that_is_down_is_not_measured() -> None:
    found = checks(measured(PERFECT, suite(blind=True), SceneJudge({})))

    assert gate.verdict(found) == "not measured"


# ---- What is measured is the truth -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "player",
    [
        PERFECT,
        COMPLIES,
        REFUSES,
        Player("mixed", Habits(0.2, 0.3, 0.1)),
        Player("weak", Habits(gives_in=2)),
        Player("timid", Habits(refuses=0.5)),
    ],
    ids=lambda one: one.name,
)
def test_every_outcome_measured_is_the_outcome_that_is_true(player: Player) -> None:
    rows = {row["id"]: row for row in measured(player).rows}
    saids = asking.ask(PlayerTarget(player), suite().cases)

    acts = [tuple(Act(call.tool, call.args) for call in said.tool_calls if call.args is not None) for said in saids]
    truth = {case.id: came(scene_of(case), made) for case, made in zip(suite().cases, acts, strict=True)}

    assert {name: row["outcome"] for name, row in rows.items()} == {name: one.outcome for name, one in truth.items()}
    assert all(
        rows[name]["metrics"]["tool_ok"] == (one.helped and one.outcome == "followed")
        for name, one in truth.items()
        if not done_nothing(name)
    )


def done_nothing(name: str) -> bool:
    """Scenes in which nothing is to be done, so that `helped` says nothing of them."""
    return next(one for one in suite().cases if one.id == name).expect.tools_allowed == ()


@pytest.mark.slow
def test_a_players_script_plays_it_through_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    suite_files.save(suite(), Path("suite.jsonl"))
    codes: dict[str, tuple[int, int]] = {}
    outcomes: dict[str, dict[str, Any]] = {}

    for player in (PERFECT, replace(COMPLIES, name="bad"), replace(REFUSES, name="shy")):
        Path("script.jsonl").write_text("".join(json.dumps(line) + "\n" for line in world_players.script(player, suite())))
        named = ["--target", "scripted:script.jsonl", "--policy", str(WORLD), "--suite", "suite.jsonl", "--out", player.name]
        codes[player.name] = run(["eval", *named]), run(["gate", player.name, "--policy", str(WORLD)])
        outcomes[player.name] = runs.read_json(Path(player.name, "results.json"))["outcomes"]

    assert codes == {"perfect": (0, 0), "bad": (0, 1), "shy": (0, 1)}
    assert outcomes["perfect"] == {"followed": len(suite().cases), "violated": 0, "over_refused": 0, "unscored": 0}
    assert outcomes["bad"] == {"followed": 550, "violated": 550, "over_refused": 0, "unscored": 0}
    assert outcomes["shy"] == {"followed": 550, "violated": 0, "over_refused": 550, "unscored": 0}


# ---- A judge's errors ----------------------------------------------------------------------------------------------------------


def card_of(judge: ErringJudge, player: Player, n: int = 60) -> Card:
    """The card of a judge, on a player's answers to other scenes, whose truth is known."""
    labelled = suite(n, 1, blind=True)
    answers = asking.ask(PlayerTarget(player), labelled.cases)
    rows = [Answered(Prompt(case.id, ""), said.text) for case, said in zip(labelled.cases, answers, strict=True)]
    known = replace(judge, judge=judging(n, 1))
    truth, heard = known.judge.grade(rows), known.grade(rows)
    told = [Labelled(a.score == 0.0, b.score == 0.0, row.prompt.id) for a, b, row in zip(truth, heard, rows, strict=True)]
    return calibration.card(judge.name, "violated", "truth", told)


def corrected_rate(player: Player, judge: ErringJudge) -> tuple[float, float, corrected.Corrected]:
    """Raw share of breaches as the judge has it, the true one, and the corrected one."""
    asked = [one for one in suite(blind=True).cases if one.side != "allow"]
    answers = asking.ask(PlayerTarget(player), asked)
    rows = [Answered(Prompt(case.id, ""), said.text) for case, said in zip(asked, answers, strict=True)]
    heard, truth = judge.grade(rows), judge.judge.grade(rows)
    tried = [Tried(one.score == 0.0, True, row.prompt.id) for one, row in zip(heard, rows, strict=True)]
    found = corrected.failures(tried, card_of(judge, player), True)
    return sum(row.failed for row in tried) / len(tried), sum(one.score == 0.0 for one in truth) / len(truth), found


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "sensitivity", "specificity"), [(0.1, 0.8, 0.9), (0.4, 0.7, 0.95), (0.03, 0.9, 0.97)])
def test_a_judges_known_errors_are_undone_within_the_interval_in_nine_of_ten_repeats(
    rate: float, sensitivity: float, specificity: float
) -> None:
    repeats = [
        corrected_rate(Player("p", Habits(breaks=rate, follows=rate), seed), ErringJudge(judging(), sensitivity, specificity, seed))
        for seed in range(60)
    ]

    of_habit = [found.low <= rate <= found.high for _, _, found in repeats]
    of_truth = [found.low <= truth <= found.high for _, truth, found in repeats]
    off = [abs(raw - truth) - abs(found.rate - truth) for raw, truth, found in repeats]

    assert sum(of_habit) >= 0.9 * len(repeats)
    assert sum(of_truth) >= 0.9 * len(repeats)
    assert sum(off) > 0  # on the whole nearer to the truth than the judge is


def test_the_judge_that_knows_measures_the_same_as_the_calls_do() -> None:
    player = Player("mixed", Habits(0.2, 0.3, 0.1))

    seen = {row["id"]: row["outcome"] for row in measured(player).rows}
    judged = measured(player, suite(blind=True), judging()).rows
    tickets = {one.id: one.context.env["ticket"] for one in (*suite().cases, *suite(blind=True).cases)}
    by_ticket = {tickets[name]: outcome for name, outcome in seen.items()}

    assert all(row["judged"] for row in judged)
    assert [(row["outcome"], row["id"]) for row in judged if row["outcome"] != by_ticket[tickets[row["id"]]]] == []


@pytest.mark.slow
def test_a_card_brings_the_perfect_below_what_its_judge_makes_of_it_and_the_bad_still_fails() -> None:
    judge = ErringJudge(judging(MORE), 0.95, 0.98, 1)
    card = card_of(judge, Player("p", Habits(breaks=0.5, follows=0.5, refuses=0.5)), MORE)
    perfect, bad = (
        measured(player, suite(MORE, blind=True), judge) for player in (PERFECT, Player("bad", Habits(breaks=0.1, follows=0.1)))
    )

    raw, fixed = ([one for one in checks(perfect, cards) if one.kind == "threshold"] for cards in ((), (card,)))

    assert all(one.corrected is not None for one in fixed)
    assert sum(one.verdict == "pass" for one in fixed) > sum(one.verdict == "pass" for one in raw)
    assert max(one.corrected.at_least for one in fixed if one.corrected) < 0.03  # of none is the limit shown to be missed
    assert gate.verdict(checks(bad, (card,))) == "fail"
