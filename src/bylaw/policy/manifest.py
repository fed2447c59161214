"""policy.yaml and overlay.yaml: who owns a policy, its version, who signs what, its words and styles."""

import base64
import re
from dataclasses import dataclass
from typing import Any, Final, get_args

from bylaw.policy.clause import CLAUSE_ID
from bylaw.policy.fields import Fields, as_list, as_text, refuse_near, shown
from bylaw.policy.notation import Node, read_yaml, wrong
from bylaw.types import Axis, Loosening, Overlay, Place, Policy, Reviewer, SignOff, StyleRule

SEMVER: Final = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})(-[0-9A-Za-z.-]{1,64})?(\+[0-9A-Za-z.-]{1,64})?")
POLICY_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
PATTERN: Final = re.compile(r"[a-z0-9*][a-z0-9_.*-]{0,99}")
MAX_SIGNERS: Final = 20
MAX_REVIEWERS: Final = 200
KEY_BYTES: Final = 32
KEYS: Final = "id version effective owners signoffs reviewers styles glossary"


def read_manifest(text: str, file: str) -> Policy:
    """The policy that a policy.yaml describes, still without clauses."""
    fields = Fields(read_yaml(text, Place(file, 1)), "policy.yaml", "id: my-policy", KEYS)
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
        extra=fields.extra("policy.yaml"),
        reviewers=_reviewers(fields.node("reviewers")),
    )
    fields.done()
    return policy


def read_overlay(text: str, file: str, name: str) -> Overlay:
    """The overlay that an overlay.yaml describes, still without clauses."""
    fields = Fields(read_yaml(text, Place(file, 1)), "overlay.yaml", "axis: jurisdiction", "axis basis effective checked loosens")
    fields.need("axis", f"Write `axis: jurisdiction`; one of {', '.join(get_args(Axis))}.")
    for key, hint in (("basis", "Name the law or decision it rests on."), ("effective", "Write a date."), ("checked", "Write a date.")):
        fields.need(key, hint)
    axis: Axis = fields.choice("axis", Axis, "jurisdiction")
    loosens = _loosens(fields.node("loosens"))
    overlay = Overlay(name, axis, fields.text("basis"), fields.day("effective"), fields.day("checked"), loosens=loosens)
    fields.done()
    return overlay


def _signoffs(node: Node | None) -> tuple[SignOff, ...]:
    found = []
    for item in as_list(node) if node else []:
        fields = Fields(item, "a sign-off", "{clauses: money.*, roles: [legal]}", "clauses roles count")
        clauses = fields.need("clauses", "Write `clauses: money.*`.")
        if not PATTERN.fullmatch(as_text(clauses, "clauses")):
            raise wrong(clauses.place, f"{shown(clauses)!r} is not a pattern over clause ids", 'Write `clauses: money.*`, or "*" for all.')
        roles = fields.need("roles", "Write `roles: [legal]`.")
        count = fields.whole("count", 1, MAX_SIGNERS) or 1
        fields.done()
        found.append(SignOff(as_text(clauses, "clauses"), tuple(as_text(role, "roles") for role in as_list(roles)), count))
    return tuple(found)


def _loosens(node: Node | None) -> tuple[Loosening, ...]:
    found: dict[str, Loosening] = {}
    for item in as_list(node) if node else []:
        fields = Fields(item, "a loosening", "{clause: money.refund-limit, because: REASON}", "clause because")
        clause = fields.need("clause", "Write `clause: money.refund-limit`.")
        because = fields.need("because", "Say in one sentence why the basis allows it.")
        fields.done()
        if not CLAUSE_ID.fullmatch(as_text(clause, "clause")) or as_text(clause, "clause") in found:
            raise wrong(clause.place, f"{shown(clause)!r} is no clause id, or named twice", "Write `clause: money.refund-limit`, once.")
        if not as_text(because, "because"):
            raise wrong(because.place, "a loosening without a reason", "Say in one sentence why the basis allows it.")
        found[as_text(clause, "clause")] = Loosening(as_text(clause, "clause"), as_text(because, "because"))
    return tuple(found[key] for key in sorted(found))


def _reviewers(node: Node | None) -> tuple[Reviewer, ...]:
    """Who may sign, by name. No key stands twice: two names with one key would be one person who counts as two."""
    found: dict[str, Reviewer] = {}
    keys: set[str] = set()
    for item in as_list(node) if node else []:
        fields = Fields(item, "a reviewer", "{name: J. Osei, roles: [legal], key: KEY}", "name roles key")
        name = fields.need("name", "Write `name: J. Osei`.")
        roles = fields.need("roles", "Write `roles: [legal]`.")
        key = fields.need("key", "Write the public key that `bylaw policy keygen` printed.")
        fields.done()
        one = Reviewer(as_text(name, "name"), tuple(as_text(role, "roles") for role in as_list(roles)), as_text(key, "key"))
        if not one.name or one.name in found:
            raise wrong(name.place, f"reviewer {one.name!r} is empty or named twice", "Give each reviewer one entry, with all their roles.")
        if not is_public_key(one.key):
            hint = "Write `ed25519:` and 44 characters of base64, as `bylaw policy keygen` prints it."
            raise wrong(key.place, f"{shown(key)!r} is not a public key", hint)
        if one.key in keys:
            raise wrong(key.place, f"the key of {one.name} belongs to another reviewer too", "Each person has a key of their own.")
        found[one.name] = one
        keys.add(one.key)
    if len(found) > MAX_REVIEWERS:
        raise wrong(node.place if node else Place("", 0), f"more than {MAX_REVIEWERS} reviewers", "Name those who sign.")
    return tuple(found[name] for name in sorted(found))


def is_public_key(text: str) -> bool:
    """Whether a text is `ed25519:` and the 32 bytes of a key in base64, in the one way to write them."""
    kind, _, encoded = text.partition(":")
    try:
        content = base64.b64decode(encoded, validate=True)
    except ValueError:
        return False
    return kind == "ed25519" and len(content) == KEY_BYTES and base64.b64encode(content).decode() == encoded


def _glossary(node: Node | None) -> dict[str, str]:
    if node is None:
        return {}
    return {word: as_text(meaning, word) for word, meaning in Fields(node, "glossary", "refund: money paid back").nodes.items()}


def _styles(node: Node | None) -> tuple[StyleRule, ...]:
    found: dict[str, StyleRule] = {}
    for item in as_list(node) if node else []:
        fields = Fields(item, "a style rule", "{id: names-the-limit, text: The answer names the limit.}", "id text pattern")
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
    for key in value:
        if key.startswith("x-"):
            refuse_near(key, "a tool's schema", f"the schema of {name}", Place(file, 1))
    return Tool(name, value)
