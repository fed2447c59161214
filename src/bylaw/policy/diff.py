"""Two versions of a policy compared clause by clause: what changed, in which direction, and what version number it calls for.

Directions are those of `tighter`; where a machine cannot tell (prose, examples, most conditions) it says so. The advice is semantic:
major where something is looser or gone, minor where something is tighter, new or reworded, patch where only titles, reasons, owners,
references or checks changed. It is advice about the clauses; what a reader makes of reworded prose, only a person can say.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Final, Literal, NamedTuple

from bylaw.policy.digest import meaning
from bylaw.policy.notation import inline
from bylaw.policy.show import cited, rule_line, told
from bylaw.policy.tighter import Step, steps
from bylaw.policy.versions import compared
from bylaw.types import Clause, Example, Overlay, Policy

Part = Literal["none", "patch", "minor", "major"]

MAX_WORDS: Final = 2_000  # of a text that is compared word by word; longer ones are compared line by line
PARTS: Final[tuple[Part, ...]] = ("none", "patch", "minor", "major")
_TOKEN: Final = re.compile(r"\s+|\w+|[^\w\s]")


class FieldChange(NamedTuple):
    """One field, before and after, as text; for prose `shown` marks what went as [-…-] and what came as {+…+}."""

    field: str
    before: str
    after: str
    shown: str = ""


@dataclass(frozen=True, slots=True)
class ClauseChange:
    """What happened to one clause, of the policy or of an overlay."""

    id: str
    overlay: str
    kind: Literal["added", "removed", "changed"]
    fields: tuple[FieldChange, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def direction(self) -> str:
        """tighter, looser, both, unclear or editorial. Tighter only where every difference is known not to loosen."""
        found = {step.direction for step in self.steps}
        if {"tighter", "looser"} <= found:
            return "both"
        return next((word for word in ("looser", "unclear", "tighter") if word in found), "editorial")  # reworded prose may hide a loss


@dataclass(frozen=True, slots=True)
class Difference:
    """All that lies between two versions of a policy."""

    old: Policy
    new: Policy
    clauses: tuple[ClauseChange, ...]
    others: tuple[FieldChange, ...]  # policy.yaml, tools, overlay.yaml
    bumped: Part | Literal["down"]
    advice: Part
    because: tuple[str, ...]

    @property
    def meaning_changed(self) -> bool:
        """Whether the two have different digests, whatever their version numbers say."""
        return bool(self.clauses or self.others)

    @property
    def bump_is_enough(self) -> bool:
        """Whether the version number says as much as the changes call for."""
        return self.bumped != "down" and PARTS.index(self.bumped) >= PARTS.index(self.advice)

    @property
    def next_version(self) -> str:
        """The least version that says what changed."""
        major, minor, patch = _numbers(self.old.version)
        steps_up = {"major": (major + 1, 0, 0), "minor": (major, minor + 1, 0), "patch": (major, minor, patch + 1)}
        return ".".join(map(str, steps_up.get(self.advice, (major, minor, patch))))


def diff(old: Policy, new: Policy) -> Difference:
    """Compare two versions of a policy."""
    clauses = (*_clauses(old.clauses, new.clauses, ""), *_overlay_clauses(old, new))
    others = tuple(_others(old, new))
    advice, because = _advice(clauses, others)
    return Difference(old, new, clauses, others, _bumped(old.version, new.version), advice, because)


def _clauses(old: tuple[Clause, ...], new: tuple[Clause, ...], overlay: str) -> Iterator[ClauseChange]:
    before, after = {clause.id: clause for clause in old}, {clause.id: clause for clause in new}
    for clause_id in sorted(before.keys() | after.keys()):
        was, now = before.get(clause_id), after.get(clause_id)
        if was is None:
            yield ClauseChange(clause_id, overlay, "added", steps=(Step("clause", "tighter", "a new clause"),))
        elif now is None:
            yield ClauseChange(clause_id, overlay, "removed", steps=(Step("clause", "looser", "the clause is gone"),))
        elif was != now:
            yield ClauseChange(clause_id, overlay, "changed", tuple(_fields(was, now)), steps(was, now))


def _overlay_clauses(old: Policy, new: Policy) -> Iterator[ClauseChange]:
    before, after = {one.name: one for one in old.overlays}, {one.name: one for one in new.overlays}
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        yield from _clauses(was.clauses if was else (), now.clauses if now else (), name)


def _fields(was: Clause, now: Clause) -> Iterator[FieldChange]:
    for field in ("title", "severity", "response", "owner", "layer", "authority"):
        if getattr(was, field) != getattr(now, field):
            yield FieldChange(field, getattr(was, field), getattr(now, field))
    for field in ("norm", "rationale"):
        if getattr(was, field) != getattr(now, field):
            yield FieldChange(field, getattr(was, field), getattr(now, field), marked(getattr(was, field), getattr(now, field)))
    for field in ("style", "overrides", "requires", "refs"):
        if getattr(was, field) != getattr(now, field):
            yield FieldChange(field, ", ".join(getattr(was, field)), ", ".join(getattr(now, field)))
    rules = [{rule.id: rule_line(rule) for rule in clause.enforce} for clause in (was, now)]
    yield from _named("rule", *rules)
    if was.eval != now.eval:
        yield FieldChange("eval", *(inline(meaning(one.eval)) if one.eval else "" for one in (was, now)))
    yield from _examples(was.examples, now.examples)
    yield from _named("", *({key: inline(value) for key, value in clause.extra.items()} for clause in (was, now)))


def _examples(was: tuple[Example, ...], now: tuple[Example, ...]) -> Iterator[FieldChange]:
    yield from (FieldChange("example", _example(one), "") for one in was if one not in now)
    yield from (FieldChange("example", "", _example(one)) for one in now if one not in was)


def _example(example: Example) -> str:
    head = cited(example.ruling, example.side) if example.ruling else example.side
    expected = f" (expects {example.expect})" if example.expect else ""
    return f"{head} ({example.split}): {told(example)}{expected}"


def _named(what: str, was: Mapping[str, str], now: Mapping[str, str]) -> Iterator[FieldChange]:
    for name in sorted(was.keys() | now.keys()):
        if was.get(name) != now.get(name):
            yield FieldChange(f"{what} {name}".strip(), was.get(name, ""), now.get(name, ""))


def _others(old: Policy, new: Policy) -> Iterator[FieldChange]:
    """What changed besides clauses. The version number is no change of meaning, and is reported apart."""
    texts = [
        {
            "id": one.id,
            "effective": one.effective,
            "owners": ", ".join(one.owners),
            **{f"sign-off {line.clauses} by {' or '.join(line.roles)}": str(line.count) for line in one.signoffs},
            **{f"reviewer {who.name}": f"{', '.join(who.roles)} {who.key}" for who in one.reviewers},
            **{f"style {style.id}": " ".join((style.text, style.pattern)).strip() for style in one.styles},
            **{f"glossary {word}": text for word, text in one.glossary.items()},
            **{f"tools/{name}.json": inline(schema) for name, schema in one.tools.items()},
            **{key: inline(value) for key, value in one.extra.items()},
            **{key: text for overlay in one.overlays for key, text in _overlay(overlay)},
        }
        for one in (old, new)
    ]
    yield from _named("", *texts)


def _overlay(overlay: Overlay) -> Iterator[tuple[str, str]]:
    for key in ("axis", "basis", "effective", "checked"):
        yield f"overlay {overlay.name} {key}", getattr(overlay, key)
    yield from ((f"overlay {overlay.name} loosens {one.clause}", one.because) for one in overlay.loosens)


def _advice(clauses: tuple[ClauseChange, ...], others: tuple[FieldChange, ...]) -> tuple[Part, tuple[str, ...]]:
    """Which part of the version the changes call for, and the reasons that decide."""
    found: list[tuple[Part, str]] = []
    for one in clauses:
        name = f"{one.id} (overlay {one.overlay})" if one.overlay else one.id
        for step in one.steps:
            found.append(("major" if step.direction == "looser" else "minor", f"{name}: {step.said} ({step.direction})"))
        if not one.steps:
            found.append(("patch", f"{name}: {', '.join(change.field for change in one.fields)} (editorial)"))
    found += [(_weight(change), f"{change.field}: {_said(change)}") for change in others]
    part: Part = max((part for part, _ in found), key=PARTS.index, default="none")
    return part, tuple(said for weight, said in found if weight == part)


def _said(change: FieldChange) -> str:
    return "added" if not change.before else "removed" if not change.after else "changed"


def _weight(change: FieldChange) -> Part:
    kind = change.field.split()[0]
    if change.field in ("owners", "effective") or change.field.endswith(" checked"):
        return "patch"
    loosens = kind == "overlay" and " loosens " in change.field and not change.before
    fewer = kind == "sign-off" and (not change.after or (change.before and int(change.after) < int(change.before)))
    return "major" if loosens or fewer or change.field == "id" or (kind.startswith("tools/") and not change.after) else "minor"


def _numbers(version: str) -> tuple[int, int, int]:
    major, minor, patch = (int(number) for number in re.split(r"[-+]", version, maxsplit=1)[0].split("."))
    return major, minor, patch


def _bumped(old: str, new: str) -> Part | Literal["down"]:
    order = compared(new, old)
    if order <= 0:
        return "down" if order else "none"
    was, now = _numbers(old), _numbers(new)
    parts: tuple[Part, Part, Part] = ("major", "minor", "patch")
    named = next((part for part, before, after in zip(parts, was, now, strict=True) if before != after), None)
    return named or "patch"  # a later preview of the same version, or its release


def marked(before: str, after: str) -> str:
    """Two texts as one, what went in [-…-] and what came in {+…+}: by words, or by lines where they are long."""
    was, now = _TOKEN.findall(before), _TOKEN.findall(after)
    if max(len(was), len(now)) > MAX_WORDS:
        was, now = before.splitlines(keepends=True), after.splitlines(keepends=True)
    if max(len(was), len(now)) > MAX_WORDS:
        return f"[-{len(before)} characters-]{{+{len(after)} characters+}}"
    pieces = []
    for kind, a, b, c, d in SequenceMatcher(None, was, now, autojunk=False).get_opcodes():
        if kind == "equal":
            pieces.append("".join(was[a:b]))
        else:
            pieces += [f"[-{''.join(was[a:b])}-]"] * (a < b) + [f"{{+{''.join(now[c:d])}+}}"] * (c < d)
    return "".join(pieces)


# ---- For people and machines ------------------------------------------------------------------------------------------


def to_json(found: Difference) -> dict[str, Any]:
    """A difference as JSON values."""
    return {
        "old": _named_policy(found.old),
        "new": _named_policy(found.new),
        "meaning_changed": found.meaning_changed,
        "version": {
            "bumped": found.bumped,
            "advice": found.advice,
            "enough": found.bump_is_enough,
            "next": found.next_version,
            "because": list(found.because),
        },
        "clauses": [
            {
                "id": one.id,
                "overlay": one.overlay,
                "kind": one.kind,
                "direction": one.direction,
                "fields": [change._asdict() for change in one.fields],
                "steps": [step._asdict() for step in one.steps],
            }
            for one in found.clauses
        ],
        "others": [change._asdict() for change in found.others],
    }


def _named_policy(policy: Policy) -> dict[str, str]:
    return {"id": policy.id, "version": policy.version, "digest": policy.digest}


def printed(found: Difference) -> str:
    """A difference as text for people."""
    lines = [f"{found.old.id} {found.old.version} -> {found.new.id} {found.new.version}"]
    for one in found.clauses:
        where = f" in overlay {one.overlay}" if one.overlay else ""
        lines += ["", f"{one.kind} {one.id}{where}   {one.direction}"]
        lines += [line for change in one.fields for line in _lines(change)]
        lines += [f"    {step.direction}: {step.said}" for step in one.steps if one.kind == "changed"]
    if found.others:
        lines += ["", "besides clauses", *(line for change in found.others for line in _lines(change))]
    return "\n".join([*lines, "", *_verdict(found)])


def _lines(change: FieldChange) -> list[str]:
    if change.shown:
        return [f"  {change.field}:", *(f"    {line}" for line in change.shown.split("\n"))]
    text = [f"    - {line}" for line in change.before.split("\n") if line] + [f"    + {line}" for line in change.after.split("\n") if line]
    short = len(text) <= 2 and sum(map(len, text)) <= 100
    return [f"  {change.field}: {change.before or 'none'} -> {change.after or 'none'}"] if short else [f"  {change.field}:", *text]


def _verdict(found: Difference) -> list[str]:
    if not found.meaning_changed:
        return ["the meaning has not changed"]
    how = {"none": "not bumped", "down": "lower than before"}.get(found.bumped, f"a {found.bumped} bump")
    lines = [f"version: {how}; the changes call for {found.advice} ({found.next_version} or above)"]
    return lines + [f"  because {said}" for said in found.because] + ([] if found.bump_is_enough else ["raise `version:` in policy.yaml"])
