"""The handbook: one HTML page a clause and an index, for the people who own, sign and live by a policy.

Each page stands alone: its style is inside, there is no script, and it asks nobody for anything (no images, no fonts; a content security
policy says so to the browser). Whatever a policy says is escaped; Markdown is read with HTML off and images off.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bylaw import runs
from bylaw.canonical import digest
from bylaw.errors import PolicyError
from bylaw.policy.compile import RESPONSES, SEVERITIES
from bylaw.policy.digest import meaning
from bylaw.policy.fields import duration
from bylaw.types import Clause, Effect, Policy, Rule, Surface

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

MARK: Final = '<meta name="generator" content="bylaw handbook">'  # how a page of an older handbook is known
INDEX: Final = "index.html"
_TEMPLATE: Final = Path(__file__).parent / "handbook.html.j2"
_NORMATIVE: Final = re.compile(r"\b((?:MUST|SHOULD|MAY)(?: NOT)?)\b")
_LINKS: Final = ("http://", "https://", "mailto:")

WHEN: Final[dict[Surface, str]] = {
    "input": "a person writes to the assistant",
    "thinking": "the assistant thinks",
    "document": "the assistant reads a document",
    "tool_call": "the assistant is about to use {tool}",
    "tool_result": "{tool} answers",
    "output": "the assistant answers",
}
THEN: Final[dict[Effect, str]] = {
    "allow": "it passes",
    "redact": "what was found is blacked out",
    "revise": "the answer is written anew",
    "require_approval": "a person must approve it first",
    "block": "it is stopped",
}


@dataclass(frozen=True, slots=True)
class Leaf:
    """One page of the handbook: a clause, and the overlay it belongs to, if any."""

    clause: Clause
    file: str
    overlay: str = ""


def handbook(policy: Policy) -> dict[str, str]:
    """Every page of a policy's handbook, by its file name."""
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415  # 40 ms that linting need not pay
    from markdown_it import MarkdownIt  # noqa: PLC0415  # as above

    leaves = _leaves(policy)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_TEMPLATE.read_text("utf-8"))
    prose = _Prose(MarkdownIt("commonmark", {"html": False}).enable("table").disable("image"), _links(leaves))
    shared: dict[str, Any] = {"policy": policy, "prose": prose.html, "responses": RESPONSES, "severities": SEVERITIES, "mark": MARK}
    groups: dict[str, list[Leaf]] = {}
    for leaf in leaves:
        groups.setdefault(f"overlay {leaf.overlay}" if leaf.overlay else leaf.clause.id.partition(".")[0], []).append(leaf)
    pages = {INDEX: template.render(shared, leaf=None, groups=groups, signs=_signs(policy), **_beside(policy))}
    for number, leaf in enumerate(leaves):
        around = {"before": leaves[number - 1] if number else None, "after": leaves[number + 1] if number + 1 < len(leaves) else None}
        pages[leaf.file] = template.render(shared, leaf=leaf, **around, **_facts(policy, leaf, leaves))
    return pages


def write_handbook(policy: Policy, folder: Path) -> int:
    """Write the handbook into a new folder, or over an older handbook; returns the number of pages.

    Raises PolicyError where the folder holds anything else.
    """
    pages = handbook(policy)
    old = list(folder.iterdir()) if folder.is_dir() else []
    if folder.exists() and not folder.is_dir():
        raise PolicyError(f"{folder}: not a folder", "Give --out the name of a new folder.")
    if any(path.suffix != ".html" or not path.is_file() or MARK not in path.read_text("utf-8", "replace")[:2_000] for path in old):
        raise PolicyError(f"{folder}: this folder holds more than a handbook", "Give --out the name of a new folder; nothing was written.")
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in pages.items():
        runs.write_text(folder / file, text)  # whole or not at all: on a full disk the old page stays
    for path in old:
        if path.name not in pages:
            path.unlink()
    return len(pages)


def _leaves(policy: Policy) -> list[Leaf]:
    own = [Leaf(clause, f"{clause.id}.html") for clause in policy.clauses]
    more = (
        Leaf(clause, f"overlay-{number}-{clause.id}.html", overlay.name)
        for number, overlay in enumerate(policy.overlays, 1)
        for clause in overlay.clauses
    )
    return [*own, *more]


def _links(leaves: Sequence[Leaf]) -> dict[str, Leaf]:
    """Where a link to an id leads: the clause's own id, and the id it had in the spec it was imported from."""
    found: dict[str, Leaf] = {}
    for leaf in leaves:
        imported = leaf.clause.extra.get("x-model-spec")
        for name in (leaf.clause.id, imported.get("id") if isinstance(imported, dict) else None):
            if isinstance(name, str):
                found.setdefault(name, leaf)
    return found


def _facts(policy: Policy, leaf: Leaf, leaves: Sequence[Leaf]) -> dict[str, Any]:
    """What a clause's page says besides the clause's own words."""
    clause = leaf.clause
    by_id = {one.clause.id: one for one in leaves if not one.overlay}
    styles = {style.id: style.text for style in policy.styles}
    return {
        "digest": digest(meaning(clause)),
        "rules": [(rule, rule_in_words(rule)) for rule in clause.enforce],
        "overrides": [(name, by_id.get(name)) for name in clause.overrides],
        "overridden": [one for one in leaves if clause.id in one.clause.overrides],
        "styles": [(name, styles.get(name, "")) for name in clause.style],
        "owners": [clause.owner] if clause.owner else list(policy.owners),
        "signers": [one for one in policy.signoffs if fnmatchcase(clause.id, one.clauses)],
        "events": {index: list(_event(one.event)) for index, one in enumerate(clause.examples) if one.event is not None},
        "then": THEN,
        "extra": _json(clause.extra) if clause.extra else "",
    }


def _beside(policy: Policy) -> dict[str, Any]:
    """What holds besides the clauses and is no text: the tools' schemas and the policy's own keys."""
    return {
        "tools": [(name, _json(schema)) for name, schema in sorted(policy.tools.items())],
        "extra": _json(policy.extra) if policy.extra else "",
    }


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), indent=2, ensure_ascii=False)


def _signs(policy: Policy) -> list[tuple[str, str, int]]:
    return [(one.clauses, ", ".join(one.roles), one.count) for one in policy.signoffs]


def rule_in_words(rule: Rule) -> str:
    """A run-time rule as a sentence for people who do not read conditions; the condition itself stands beside it."""
    tool = " or ".join(rule.tools) or "a tool"
    when = " or ".join(WHEN[surface].format(tool=tool) for surface in rule.on)
    found = f" and {' or '.join(rule.detect)} is found in it" if rule.detect else ""
    condition = " and the condition below holds" if rule.when != "true" else ""
    then = THEN[rule.effect]
    if rule.effect == "require_approval":
        who = " or ".join(rule.approvers)
        then += f" ({f'{rule.quorum} of them: ' if rule.quorum > 1 else ''}{who})" if who else ""
        then += f", within {duration(rule.ttl_s)}" if rule.ttl_s else ""
    return f"When {when}{found}{condition}, {then}."


def _event(event: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """An event as rows of a name and a value; what a map holds stands in rows of its own."""
    for key, value in event.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{name}", _shown(inner)) for name, inner in value.items())
        elif value != []:
            yield key, _shown(value)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class _Prose:
    """Markdown to HTML that may stand in a page: no HTML of its own, no images, links only where they are safe."""

    def __init__(self, reader: "MarkdownIt", links: Mapping[str, Leaf]) -> None:
        self.reader = reader
        self.links = links

    def html(self, text: str) -> Any:
        """The HTML of a norm or a rationale."""
        from markupsafe import Markup  # noqa: PLC0415  # comes with jinja2, and loads with it

        tokens = self.reader.parse(text)
        for token in tokens:
            if token.children:
                token.children = list(self._inline(token.children))
        return Markup(self.reader.renderer.render(tokens, self.reader.options, {}))  # the renderer escapes all text

    def _inline(self, tokens: Sequence["Token"]) -> Iterator["Token"]:
        from markdown_it.token import Token  # noqa: PLC0415  # as above

        named: Leaf | None = None
        heading = ""  # the words for a link to a heading that is no clause
        for token in tokens:
            if token.type == "link_open":
                href = str(token.attrGet("href") or "")
                named = self.links.get(href.removeprefix("#")) if href.startswith("#") else None
                heading = href.removeprefix("#").replace("_", " ") if href.startswith("#") else ""
                outside = href.startswith(_LINKS)
                token.attrs = {"href": named.file if named else href if outside else INDEX}
                token.attrs |= {"rel": "noreferrer noopener"} if outside else {}
            if token.type != "text":
                yield token
                continue
            content = (named.clause.title if named else heading or "?") if token.content == "?" else token.content
            for index, piece in enumerate(_NORMATIVE.split(content)):
                if index % 2:
                    yield Token("html_inline", "", 0, content=f"<b>{piece}</b>")
                elif piece:
                    yield Token("text", "", 0, content=piece)
