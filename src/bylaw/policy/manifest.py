"""policy.yaml and overlay.yaml: who owns a policy, its version, who signs what, its words and styles."""

import re
from dataclasses import dataclass
from typing import Any, Final, get_args

from bylaw.policy.fields import Fields, as_list, as_text, shown
from bylaw.policy.notation import Node, read_yaml, wrong
from bylaw.types import Axis, Overlay, Place, Policy, SignOff, StyleRule

SEMVER: Final = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})(-[0-9A-Za-z.-]{1,64})?(\+[0-9A-Za-z.-]{1,64})?")
POLICY_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
PATTERN: Final = re.compile(r"[a-z0-9*][a-z0-9_.*-]{0,99}")
MAX_SIGNERS: Final = 20


def read_manifest(text: str, file: str) -> Policy:
    """The policy that a policy.yaml describes, still without clauses."""
    fields = Fields(read_yaml(text, Place(file, 1)), "policy.yaml")
    policy_id = fields.need("id", "Write `id: my-policy`.")
    version = fields.need("version", "Write `version: 1.0.0`.")
    if not POLICY_ID.fullmatch(as_text(policy_id, "id")):
        raise wrong(policy_id.place, f"{shown(policy_id)!r} is not a policy id", "Use lower-case words and hyphens.")
    if not isinstance(version.value, str) or not SEMVER.fullmatch(version.value):
        raise wrong(version.place, f"version {shown(version)!r} is not semantic", "Write three numbers: `version: 1.0.0`.")
    policy = Policy(
        id=as_text(policy_id, "id"),
        version=version.value,
        clauses=(),
        effective=fields.day("effective"),
        owners=fields.names("owners"),
        signoffs=_signoffs(fields.node("signoffs")),
        glossary=_glossary(fields.node("glossary")),
        styles=_styles(fields.node("styles")),
        extra=fields.extra(),
    )
    fields.done()
    return policy


def read_overlay(text: str, file: str, name: str) -> Overlay:
    """The overlay that an overlay.yaml describes, still without clauses."""
    fields = Fields(read_yaml(text, Place(file, 1)), "overlay.yaml")
    fields.need("axis", f"Write `axis: jurisdiction`; one of {', '.join(get_args(Axis))}.")
    for key, hint in (("basis", "Name the law or decision it rests on."), ("effective", "Write a date."), ("checked", "Write a date.")):
        fields.need(key, hint)
    axis: Axis = fields.choice("axis", Axis, "jurisdiction")
    overlay = Overlay(name, axis, fields.text("basis"), fields.day("effective"), fields.day("checked"))
    fields.done()
    return overlay


def _signoffs(node: Node | None) -> tuple[SignOff, ...]:
    found = []
    for item in as_list(node) if node else []:
        fields = Fields(item, "a sign-off")
        clauses = fields.need("clauses", "Write `clauses: money.*`.")
        if not PATTERN.fullmatch(as_text(clauses, "clauses")):
            raise wrong(clauses.place, f"{shown(clauses)!r} is not a pattern over clause ids", 'Write `clauses: money.*`, or "*" for all.')
        roles = fields.need("roles", "Write `roles: [legal]`.")
        count = fields.whole("count", 1, MAX_SIGNERS) or 1
        fields.done()
        found.append(SignOff(as_text(clauses, "clauses"), tuple(as_text(role, "roles") for role in as_list(roles)), count))
    return tuple(found)


def _glossary(node: Node | None) -> dict[str, str]:
    if node is None:
        return {}
    return {word: as_text(meaning, word) for word, meaning in Fields(node, "glossary").nodes.items()}


def _styles(node: Node | None) -> tuple[StyleRule, ...]:
    found: dict[str, StyleRule] = {}
    for item in as_list(node) if node else []:
        fields = Fields(item, "a style rule")
        style = StyleRule(
            as_text(fields.need("id", "Write `id: names-the-limit`."), "id"),
            as_text(fields.need("text", "Say what the answer must keep."), "text"),
            _pattern(fields.node("pattern")),
        )
        fields.done()
        if style.id in found:
            raise wrong(item.place, f"two style rules are called {style.id!r}", "Rename one.")
        found[style.id] = style
    return tuple(found[key] for key in sorted(found))


def _pattern(node: Node | None) -> str:
    if node is None:
        return ""
    text = as_text(node, "pattern")
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise wrong(node.place, f"not a pattern: {error}", "Write an RE2 expression.") from error
    return text


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool's name and the JSON Schema of its arguments."""

    name: str
    schema: dict[str, Any]


def read_tool(value: Any, file: str, name: str) -> Tool:
    """The tool that a tools/NAME.json describes."""
    if not isinstance(value, dict) or value.get("type") != "object" or not isinstance(value.get("properties", {}), dict):
        hint = 'Write {"type": "object", "properties": {...}}.'
        raise wrong(Place(file, 1), "a tool's schema must describe a JSON object", hint)
    return Tool(name, value)
