"""What a reply says besides its answer: that an AI speaks (`x-notice`), and how to appeal a refusal (`x-appeal`), as policy.yaml has it.

    x-notice:
      text: You are talking to an AI system.
      show: text                 # in front of the first answer; `beside`: only in the `bylaw` object
      clause: transparency.ai    # the clause that asks for it, if one does
      in: {eu: {text: Sie sprechen mit einem KI-System.}}     # by jurisdiction
    x-appeal:
      text: If you think this is wrong, tell us and a person will look at it.
      in: {us: {text: ...}}

A policy in which one of them cannot be read is not loaded. Whoever names no place gets the notice as text if any place wants it so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bylaw.canonical import digest_bytes
from bylaw.errors import PolicyError
from bylaw.types import Policy

NOTICE: Final = "x-notice"
APPEAL: Final = "x-appeal"
SHOWS: Final = ("text", "beside")
KEYS: Final[Mapping[str, frozenset[str]]] = {NOTICE: frozenset({"text", "show", "clause"}), APPEAL: frozenset({"text"})}
MAX_CHARS: Final = 1_000
MAX_PLACES: Final = 200
ROUTE: Final = "/api/appeals"
APPEALED: Final = ("block", "revise")  # decisions that can be appealed: refusals by a clause, or because something could not be checked


@dataclass(frozen=True, slots=True)
class Notice:
    """That an AI speaks, in the words of one place."""

    text: str
    show: str = "text"
    clause: str = ""

    @property
    def wording(self) -> str:
        """The digest of its words: what a record says was shown."""
        return digest_bytes(self.text.encode())

    @property
    def front(self) -> str:
        """What stands before the model's own text."""
        return f"{self.text}\n\n"

    def told(self, spoken: bool) -> dict[str, str]:
        """For machines."""
        said = {"text": self.text, "wording": self.wording, "shown": "text" if spoken else "beside"}
        return {**said, "clause": self.clause} if self.clause else said


@dataclass(frozen=True, slots=True)
class Sayings:
    """What a policy wants said, by place; the empty place is everywhere else."""

    notices: Mapping[str, Notice]
    appeals: Mapping[str, str]

    def notice(self, place: object) -> Notice | None:
        """The notice for a jurisdiction, if there is one."""
        return self.notices.get(place if isinstance(place, str) else "") or self.notices.get("")

    def appeal(self, place: object) -> str:
        """How to appeal, for people; empty where refusals cannot be appealed."""
        return self.appeals.get(place if isinstance(place, str) else "") or self.appeals.get("", "")


def sayings(policy: Policy) -> Sayings:
    """What a policy wants said; raises PolicyError."""
    notices = {place: Notice(one["text"], one.get("show", "text"), one.get("clause", "")) for place, one in _places(policy, NOTICE)}
    for place, notice in notices.items():
        if notice.show not in SHOWS:
            raise _wrong(policy, NOTICE, f"show is {notice.show!r}", f"Write one of {', '.join(SHOWS)}.")
        if notice.clause and policy.clause(notice.clause) is None:
            raise _wrong(policy, NOTICE, f"there is no clause {notice.clause!r}", f"Name one of the policy's clauses{_at(place)}.")
    if "" in notices and any(one.show == "text" for one in notices.values()):
        notices[""] = Notice(notices[""].text, "text", notices[""].clause)
    return Sayings(notices, {place: one["text"] for place, one in _places(policy, APPEAL)})


def _places(policy: Policy, key: str) -> list[tuple[str, dict[str, str]]]:
    """The setting under a key for everywhere, and for each place that says something else."""
    said = policy.extra.get(key)
    if said is None:
        return []
    if not isinstance(said, Mapping):
        raise _wrong(policy, key, "it is no map", f"Write `{key}: {{text: ...}}`.")
    whole = {name: value for name, value in said.items() if name != "in"}
    places = said.get("in", {})
    if not isinstance(places, Mapping) or len(places) > MAX_PLACES:
        raise _wrong(policy, key, "`in` is no map of jurisdictions", "Write `in: {eu: {text: ...}}`.")
    found = [("", _checked(policy, key, whole, ""))]
    for place, more in places.items():
        if not isinstance(place, str) or not place or not isinstance(more, Mapping):
            raise _wrong(policy, key, f"`in` names {place!r} with no map", "Write `in: {eu: {text: ...}}`.")
        found.append((place, _checked(policy, key, {**whole, **more}, place)))
    return found


def _checked(policy: Policy, key: str, one: Mapping[str, Any], place: str) -> dict[str, str]:
    for name, value in one.items():
        if name not in KEYS[key]:
            raise _wrong(policy, key, f"unknown key {str(name)[:60]!r}{_at(place)}", f"Known keys: {', '.join(sorted(KEYS[key]))}, in.")
        if not isinstance(value, str):
            raise _wrong(policy, key, f"{name} is no text{_at(place)}", "Put it in quotes.")
    text = str(one.get("text", "")).strip()
    if not text or len(text) > MAX_CHARS or not text.replace("\n", " ").isprintable():
        raise _wrong(policy, key, f"no text of at most {MAX_CHARS} characters{_at(place)}", "Write what people are told: `text: ...`.")
    return {**one, "text": text}


def _at(place: str) -> str:
    return f" in {place}" if place else ""


def _wrong(policy: Policy, key: str, what: str, hint: str) -> PolicyError:
    return PolicyError(f"policy.yaml of {policy.id}: {key}: {what}", hint)
