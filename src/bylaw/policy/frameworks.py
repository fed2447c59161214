"""The frameworks that a clause's `refs:` may name, as data: which ids exist, in which version, and how complete our list is.

A reference says what a clause is meant for, never that a duty is met. Loaded only when a policy has references.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Final, Literal, NamedTuple

from bylaw.policy.notation import plain, read_yaml
from bylaw.types import Place

_DATA: Final = Path(__file__).with_suffix(".yaml")
_NEAREST: Final = 3


@dataclass(frozen=True, slots=True)
class Framework:
    """One framework at one version: its ids with titles of our own, and whether these are all of them."""

    name: str
    title: str
    version: str
    source: str
    complete: bool
    form: str  # a pattern that every id of the framework fits
    ids: Mapping[str, str]
    aliases: tuple[str, ...] = ()  # what people write by mistake
    unlisted: Literal["accept", "warn"] = "accept"  # an id that fits the form and is not listed


class Doubt(NamedTuple):
    """What is wrong with a reference: certain where the framework's ids are all known, else only a doubt."""

    level: Literal["error", "warning"]
    what: str
    fix: str


@cache
def frameworks() -> Mapping[str, Framework]:
    """All frameworks by name."""
    rows = plain(read_yaml(_DATA.read_text("utf-8"), Place(_DATA.name, 1)))
    return {
        name: Framework(name, **{**row, "ids": row["ids"] or {}, "aliases": tuple(row.get("aliases", ()))}) for name, row in rows.items()
    }


def doubt(ref: str) -> Doubt | None:
    """What is wrong with a reference; None where its framework has this row, or where a listed row stands below it."""
    name, _, row = ref.partition(":")
    framework = frameworks().get(name)
    if framework is None:
        return Doubt("error", f"there is no framework {name!r}", _meant(name))
    if row in framework.ids or any(known.startswith(f"{row}.") for known in framework.ids):
        return None
    near = get_close_matches(row, list(framework.ids), n=_NEAREST, cutoff=0.5)
    fix = f"Did you mean {' or '.join(f'`{name}:{one}`' for one in near)}?" if near else f"Look the id up in {framework.source}."
    if framework.complete or not re.fullmatch(framework.form, row):
        return Doubt("error", f"{framework.title}, version {framework.version}, has no {row!r}", fix)
    above = row.rpartition(".")[0]
    if framework.unlisted == "accept" and not (above and any(known.rpartition(".")[0] == above for known in framework.ids)):
        return None
    what = f"{row!r} is not among the rows of {framework.title} that bylaw knows, which are not all"
    return Doubt("warning", what, f"Check it against the text, or name the row above it. {fix if near else ''}".rstrip())


def _meant(name: str) -> str:
    known = frameworks()
    alias = next((one.name for one in known.values() if name in one.aliases), None)
    near = [alias] if alias else get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"Did you mean `{near[0]}`?" if near else f"Known frameworks: {', '.join(known)}."
