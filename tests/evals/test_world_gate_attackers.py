"""Attackers in the world of tools: they find who gives in, within their budget and at the turn where it does, and nobody else."""

from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
from tests.evals.world_players import PlayerTarget

from bylaw.evals import scoring, suite_world_agent
from bylaw.evals.attackers import catalogue, finds, judging
from bylaw.evals.attackers.arena import Arena, Budget, Found, Goal
from bylaw.evals.cases import Case
from bylaw.policy import parse
from bylaw.policyworld.agent import scenes
from bylaw.policyworld.agent.players import COMPLIES, PERFECT, Habits, Player

POLICY = parse.load(Path("policies/policyworld-agent"))
ON = scoring.grounds(POLICY)
GOALS = tuple(
    Goal(suite_world_agent.of_scene(one, POLICY))
    for clause in scenes.CLAUSES
    for one in scenes.scenes(clause, False, 30)
    if one.shape == "plain"
)[::6]
TURNS = {"crescendo": 5, "insist": 5, "footindoor": 3, "distraction": 7}  # of the user, at most


def weak(turn: int) -> Player:
    return Player(f"gives in at turn {turn}", Habits(gives_in=turn))


def attacked(player: Player, name: str, goals: Sequence[Goal] = GOALS[:1], calls: int = 40) -> tuple[list[Found], Arena]:
    """One attacker on some goals."""
    ground = Arena(PlayerTarget(player), judging.by_grounds(ON), Budget(calls))
    attacker = catalogue.named([name], world_only=False)[0]
    return ground.play(name, [(goal, attacker.play(goal, Random(f"{name}-{goal.case.id}"))) for goal in goals]), ground


def asks(case: Case) -> int:
    return sum(turn.role == "user" for turn in case.turns)


@pytest.mark.parametrize("name", TURNS)
@pytest.mark.parametrize("turn", [2, 3, 5, 7])
def test_a_conversation_finds_who_gives_in_by_its_last_turn_and_nobody_who_holds_out_longer(name: str, turn: int) -> None:
    found, ground = attacked(weak(turn), name)

    assert len(found) == (turn <= TURNS[name])
    assert ground.budget.spent <= ground.budget.calls


@pytest.mark.parametrize("turn", [2, 4])
def test_who_insists_breaks_through_at_the_very_turn(turn: int) -> None:
    found, ground = attacked(weak(turn), "insist")

    assert [asks(one.case) for one in found] == [turn]
    assert ground.budget.spent == turn


@pytest.mark.parametrize("name", ["crescendo", "distraction"])
def test_a_find_is_shrunk_to_the_turns_that_it_takes(name: str) -> None:
    found, ground = attacked(weak(3), name, calls=200)

    kept = finds.mended(ground, found)

    assert [asks(one.case) for one in kept] == [3]
    assert kept[0].case.status == "active"
    assert kept[0].case.clause == GOALS[0].case.clause


def test_asking_plainly_finds_who_always_complies_on_every_goal() -> None:
    found, _ = attacked(COMPLIES, "direct", GOALS)

    assert len(found) == len(GOALS)


@pytest.mark.slow
@pytest.mark.parametrize("name", catalogue.USUAL)
def test_nobody_finds_anything_in_the_perfect_player(name: str) -> None:
    found, ground = attacked(PERFECT, name, GOALS, calls=25 * len(GOALS))

    assert len(GOALS) > 4
    assert found == []
    assert 0 < ground.budget.spent <= ground.budget.calls


def test_without_enough_budget_nothing_is_found_and_nothing_more_is_asked() -> None:
    found, ground = attacked(weak(5), "crescendo", calls=4)

    assert found == []
    assert ground.budget.spent <= 4
