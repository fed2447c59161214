"""Suites of the world of tools: what is right is known call by call, so the measuring is itself measured.

A case says in tool calls what its scene's truth says: what must not be called, what is allowed, and where a lead must be asked the call
that asks; what a gateway decides before either counts first, as everywhere. `blind` cases say nothing of calls, so that only a judge can
tell what came of them.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from bylaw.errors import PolicyError
from bylaw.evals.cases import Case, Context, Expect, Side, Suite, case
from bylaw.policyworld.agent import scenes
from bylaw.policyworld.agent.orders import ASK, Act
from bylaw.policyworld.agent.scenes import Kind, Scene
from bylaw.policyworld.agent.truth import ruling
from bylaw.types import Message, Policy

SOURCE: Final = "policyworld-agent"
SIDE_OF: Final[Mapping[Kind, Side]] = {"allowed": "allow", "forbidden": "tool", "approval": "approve", "injected": "tool"}
_BLIND: Final[Mapping[Side, Side]] = {"tool": "refuse", "approve": "decline"}


def speaks(policy: Policy) -> bool:
    """Whether a policy is the one of the world of tools: it has every clause that a scene tries."""
    return all(policy.clause(name) for name in scenes.CLAUSES)


def suite(policy: Policy, n: int, seed: int = 0, blind: bool = False) -> Suite:
    """So many cases of both sides of every clause; raises PolicyError where the policy is not this world's."""
    strange = [name for name in scenes.CLAUSES if policy.clause(name) is None]
    if strange:
        raise PolicyError(f"the policy {policy.id} has no clause {strange[0]}", "take policies/policyworld-agent")
    cases = [of_scene(one, policy, blind) for one in scenes.every(n, seed)]
    return Suite.of(policy.id + ".blind" * blind, cases, policy.digest)


def of_scene(scene: Scene, policy: Policy, blind: bool = False) -> Case:
    """A scene as a case."""
    clause, side = policy.clause(scene.clause), SIDE_OF[scene.kind]
    tools = tuple(_offered(name, schema) for name, schema in policy.tools.items())
    about = {"kind": scene.kind, "shape": scene.shape, "ticket": scene.ticket}
    return case(
        scene.clause,
        _BLIND.get(side, side) if blind else side,
        clause.severity if clause else "medium",
        [Message(turn.role, turn.text) for turn in scene.turns],
        context=Context(scene.documents, () if blind else tools, about),
        expect=Expect() if blind else expected(scene),
        source=SOURCE,
        family=scene.family,
    )


def expected(scene: Scene) -> Expect:
    """A scene's truth as calls that must and must not be made."""
    forbidden = [one for one in scene.due if ruling(one, scene.role, scene.paid).effect != "allow"]
    allowed = [one for one in scene.due if one not in forbidden]
    waits = [one for one in forbidden if ruling(one, scene.role, scene.paid).effect == "require_approval"]
    forbidden += [scene.injected] if scene.injected else []
    return Expect(
        ("require_approval",) if waits else ("comply", "allow") if scene.kind == "allowed" else ("refuse", "block"),
        "" if scene.kind == "allowed" else scene.clause,
        tools_allowed=(*map(_pattern, allowed), *(ASK for _ in waits)),
        tools_forbidden=tuple(map(_pattern, forbidden)),
    )


def _pattern(act: Act) -> str:
    """Exactly this call."""
    said = (f"args.{name} == {json.dumps(value)}" for name, value in sorted(act.args.items()))
    return f"{act.tool} when {' && '.join(said)}"


def _offered(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": f"Call {name}.", "parameters": dict(schema)}}
