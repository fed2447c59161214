"""One effective policy for a place, a product, a deployment and a day, with a reason for every clause.

Overlays that apply at once are joined so that the strictest wins; what an overlay leaves out it leaves alone, and what cannot be compared
holds as well. The base gives way only where an overlay says openly that it loosens a clause, names its basis, is written by no weaker
layer, and carries a signed review. Everything else that would loosen is left out, and is a finding. The rules, with their reasons, are
in docs/decisions/overlays.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from difflib import get_close_matches
from typing import Final, Literal, NamedTuple

from bylaw.errors import PolicyError
from bylaw.policy.digest import digest_of
from bylaw.policy.joining import Voice, inherited, joined, permits, selects
from bylaw.policy.reviews import Review
from bylaw.policy.signoffs import status_of
from bylaw.policy.strictest import ORDER as EFFECTS
from bylaw.policy.tighter import LAYERS, RESPONSES, Step, steps
from bylaw.types import Axis, Clause, Effect, Example, Layer, Overlay, Policy, Rule

ELSEWHERE: Final = "elsewhere"  # a jurisdiction, product or deployment that has no overlay of its own
BASE: Final = "policy"  # the source of what the policy itself says

Kind = Literal["stated", "tightened", "restated", "loosened", "ignored", "conflict", "fitted"]


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a policy is to hold. Several names on one axis hold at once; overlays may also be named directly."""

    jurisdiction: tuple[str, ...] = ()
    product: tuple[str, ...] = ()
    deployment: tuple[str, ...] = ()
    overlays: tuple[str, ...] = ()


class Reason(NamedTuple):
    """What one source did to a clause, and on what it rests."""

    source: str  # `policy`, or the overlay's name
    kind: Kind
    said: str
    basis: str = ""
    layer: str = ""  # who wrote it
    authority: str = ""  # who may override it in a conversation


class Conflict(NamedTuple):
    """Two statements of law about one clause that cannot both hold. A person must decide; until then the clause escalates."""

    clause: str
    one: str
    other: str
    said: str


@dataclass(frozen=True, slots=True)
class Effective:
    """A policy without overlays, and how each of its clauses came about."""

    policy: Policy
    of: str  # digest of the policy it was resolved from
    on: date
    overlays: tuple[str, ...]  # in force
    waiting: tuple[str, ...]  # named, and not yet in force on that day
    reasons: Mapping[str, tuple[Reason, ...]] = field(default_factory=dict)
    conflicts: tuple[Conflict, ...] = ()

    def settled(self) -> Policy:
        """The policy; raises PolicyError while two laws contradict each other."""
        if self.conflicts:
            one = self.conflicts[0]
            what = f"{one.clause}: {one.one} and {one.other} cannot both hold: {one.said}"
            raise PolicyError(
                what, "Have the legal owner decide which holds, and change or sign the overlay; until then nothing is released."
            )
        return self.policy


def resolve(policy: Policy, scope: Scope, on: date, reviews: Sequence[Review] = ()) -> Effective:
    """The one policy that holds there on that day. `reviews` are verified records; without them nothing is loosened.

    Raises PolicyError where a name of the scope is not an overlay of its axis.
    """
    places = _places(policy, scope)
    named = [overlay for overlay in policy.overlays if any(overlay.name in names for names in places.values())]
    live = [overlay for overlay in named if overlay.effective <= on.isoformat()]
    ids = sorted({clause.id for clause in policy.clauses} | {clause.id for overlay in live for clause in overlay.clauses})
    merged = [_clause(policy, live, places, clause_id, reviews) for clause_id in ids]
    known = {one.clause.id: one.clause for one in merged}
    settled = [_precedence(policy, one, known, _Scene(live, places, reviews)) for one in merged]
    reasons = {one.clause.id: one.reasons for one in settled}
    clauses = tuple(one.clause for one in settled)
    if any(clause.enforce for overlay in live for clause in overlay.clauses):
        clauses = _guard_unlisted(policy, clauses, reasons)
        clauses = _fit_examples(replace(policy, clauses=clauses, overlays=()), reasons)
    result = replace(policy, clauses=clauses, overlays=())
    return Effective(
        policy=replace(result, digest=digest_of(result)),
        of=policy.digest,
        on=on,
        overlays=tuple(sorted(overlay.name for overlay in live)),
        waiting=tuple(sorted(overlay.name for overlay in named if overlay not in live)),
        reasons=reasons,
        conflicts=tuple(conflict for one in settled for conflict in one.conflicts),
    )


def _places(policy: Policy, scope: Scope) -> dict[Axis, tuple[str, ...]]:
    """The names on each axis, overlays named directly sorted to theirs."""
    axes = {overlay.name: overlay.axis for overlay in policy.overlays}
    places: dict[Axis, tuple[str, ...]] = {
        "jurisdiction": scope.jurisdiction,
        "product": scope.product,
        "deployment": scope.deployment,
    }
    for axis, names in places.items():
        for name in names:
            if name != ELSEWHERE and axes.get(name) != axis:
                known = sorted(one for one, other in axes.items() if other == axis)
                near = [one for one in known if one.casefold() == name.casefold()] or get_close_matches(name, known, n=1)
                hint = f"Did you mean `{near[0]}`? " if near else f"Known: {', '.join(known) or 'none'}. "
                raise PolicyError(f"no overlay for the {axis} {name!r}", hint + f"Write `{ELSEWHERE}` where none is written for it.")
    for name in scope.overlays:
        if name not in axes:
            raise PolicyError(f"no overlay {name!r}", f"This policy has: {', '.join(sorted(axes)) or 'none'}.")
        places[axes[name]] = (*places[axes[name]], name)
    return places


# ---- One clause -------------------------------------------------------------------------------------------------------


class _Merged(NamedTuple):
    clause: Clause
    voices: tuple[Voice, ...]
    reasons: tuple[Reason, ...]
    conflicts: tuple[Conflict, ...]


def _clause(
    policy: Policy, live: Sequence[Overlay], places: Mapping[Axis, tuple[str, ...]], clause_id: str, reviews: Sequence[Review]
) -> _Merged:
    base = policy.clause(clause_id)
    stating = {overlay.name: (overlay, clause) for overlay in live for clause in overlay.clauses if clause.id == clause_id}
    why = {name: "" if base is None else refusal(policy, *stating[name], clause_id, reviews) for name in stating}
    free = {name for name in stating if base is not None and declares(stating[name][0], clause_id) and not why[name]}
    gives_way = [axis for axis, names in places.items() if names and set(names) <= free]
    reasons = [_stated(base, bool(gives_way))] if base else []
    voices = [Voice(BASE, base)] if base and not gives_way else []
    for name in sorted(stating):
        overlay, clause = stating[name]
        if base is None:
            voices.append(Voice(name, clause, overlay))
            reasons.append(_reason(overlay, clause, "stated", "here alone; the policy itself has no such clause"))
        elif name in free and gives_way:
            voices.append(Voice(name, inherited(clause, base, replacing=True), overlay))
            said = "; ".join(losses(clause, base)) or "replaced by its own words"
            because = next(one.because for one in overlay.loosens if one.clause == clause_id)
            reasons.append(_reason(overlay, clause, "loosened", f"{said}, because {because}"))
        else:
            kept, ignored = _tightening(clause, base, declared=declares(overlay, clause_id))
            voices.append(Voice(name, kept, overlay))
            if name in free:
                ignored = ["it may loosen this clause, and another that applies here does not"]
            elif why[name] and declares(overlay, clause_id):
                ignored = [*ignored, f"it may not loosen this clause: {why[name]}"]
            reasons.append(_reason(overlay, clause, *_did(base, voices[-1])))
            reasons += [_reason(overlay, clause, "ignored", said) for said in ignored]
    conflicts = tuple(contradictions(clause_id, voices))
    result = joined(voices)
    if conflicts:
        others = [one.clause.response for one in voices if one.clause.layer != "law"]
        held = [base.response] if base else []
        result = replace(result, response=max([*others, *held, "escalate"], key=RESPONSES.index))
        reasons += [Reason(f"{one.one}, {one.other}", "conflict", f"{one.said}; escalates until a person decides") for one in conflicts]
    return _Merged(result, tuple(voices), tuple(reasons), conflicts)


def _stated(base: Clause, gave_way: bool) -> Reason:
    where = f"at {base.place}" if base.place.file else "in the policy"
    return Reason(BASE, "stated", where + ", and gave way" * gave_way, "", base.layer, base.authority)


def _reason(overlay: Overlay, clause: Clause, kind: Kind, said: str) -> Reason:
    return Reason(overlay.name, kind, said, overlay.basis, clause.layer, clause.authority)


def _tightening(clause: Clause, base: Clause, declared: bool) -> tuple[Clause, list[str]]:
    """An overlay's clause as it joins the base, and what of it is left out because it would loosen.

    The words of a clause that is declared a loosening were written to stand alone; where it does not hold they are left out.
    """
    kept = inherited(clause, base, replacing=False)
    ignored = [f"left out, since the stricter holds: {said}" for said in losses(clause, base)]
    if permits(clause.norm) and clause.norm != base.norm:
        kept = replace(kept, norm="")
    if declared:
        kept = replace(kept, norm="", rationale="", examples=())
    return kept, ignored


def losses(clause: Clause, base: Clause) -> list[str]:
    """In what an overlay's clause would loosen the base, as sentences. What it goes before is looked at apart."""
    weaker = [step.said for step in steps(base, inherited(clause, base, replacing=True)) if _loses(step)]
    return weaker + ["its norm gives a permission"] * (permits(clause.norm) and clause.norm != base.norm)


def _loses(step: Step) -> bool:
    return step.direction == "looser" and step.field != "overrides"


def _did(base: Clause, voice: Voice) -> tuple[Kind, str]:
    both = joined([Voice(BASE, base), voice])
    said = [step.said for step in steps(base, both) if step.direction == "tighter"]
    said += ["adds to the norm"] if base.norm != both.norm else []
    return ("tightened", "; ".join(said)) if said else ("restated", "asks for nothing stricter")


def declares(overlay: Overlay, clause_id: str) -> bool:
    """Whether an overlay names a clause under `loosens`."""
    return any(one.clause == clause_id for one in overlay.loosens)


def refusal(policy: Policy, overlay: Overlay, clause: Clause, target: str, reviews: Sequence[Review]) -> str:
    """Why an overlay may not loosen the clause `target` with this clause of its own; empty where it may."""
    base = policy.clause(target)
    if not declares(overlay, target):
        return f"overlay.yaml does not name it under `loosens` ({target})"
    if not overlay.basis.strip() or not overlay.effective:
        return "the overlay has no basis or no date from which it holds"
    if base is not None and LAYERS.index(clause.layer) < LAYERS.index(base.layer):
        return f"a clause of layer {clause.layer} never loosens one of {base.layer}"
    standing = status_of(policy, clause, overlay, reviews)
    if standing.missing:
        return f"sign-off missing: {'; '.join(standing.missing)}"
    return "" if standing.given else "nobody has signed it"


def contradictions(clause_id: str, voices: Sequence[Voice]) -> Iterator[Conflict]:
    """Statements of law that cannot both hold: one obliges to comply, or allows; the other forbids, or blocks."""
    laws = [one for one in voices if one.clause.layer == "law"]
    for one in laws:
        for other in laws:
            if one.clause.response == "comply" and other.clause.response in ("refuse", "abstain"):
                yield Conflict(clause_id, one.source, other.source, f"one says comply, the other {other.clause.response}")
            for rule, against in ((a, b) for a in one.clause.enforce for b in other.clause.enforce):
                if rule.effect == "allow" and against.effect == "block" and selects(rule) == selects(against) and one is not other:
                    yield Conflict(clause_id, one.source, other.source, f"rule {rule.id} allows what rule {against.id} blocks")


# ---- All clauses together ---------------------------------------------------------------------------------------------


class _Scene(NamedTuple):
    """Where and when a policy is resolved, and what was signed."""

    live: Sequence[Overlay]
    places: Mapping[Axis, tuple[str, ...]]
    reviews: Sequence[Review]


def _precedence(policy: Policy, one: _Merged, known: Mapping[str, Clause], scene: _Scene) -> _Merged:
    """Keep only the `overrides` that whoever wrote them may write: going before a clause can loosen it."""
    kept, reasons = [], list(one.reasons)
    for other in one.clause.overrides:
        writers = [voice for voice in one.voices if other in voice.clause.overrides]
        why = [refusal_to_go_before(policy, voice, other, known, scene.reviews) or _bound(policy, voice, other, scene) for voice in writers]
        if "" in why:
            kept.append(other)
        else:
            reasons.append(Reason(writers[0].source, "ignored", f"does not go before {other}: {why[0]}"))
    return one._replace(clause=replace(one.clause, overrides=tuple(kept)), reasons=tuple(reasons))


def refusal_to_go_before(policy: Policy, voice: Voice, other: str, known: Mapping[str, Clause], reviews: Sequence[Review]) -> str:
    """Why a voice may not put its clause before another; empty where it may: as the base's order, or with leave of its own."""
    if other not in known:
        return "it does not hold here"
    ways, layer = [], known[other].layer
    if voice.overlay is not None:
        written = next(one for one in voice.overlay.clauses if one.id == voice.clause.id)  # what was signed, not what was made of it
        why = "" if _own(policy, voice.overlay, other) else refusal(policy, voice.overlay, written, other, reviews)
        ways.append(why or _outranked(written, layer))
    base = policy.clause(voice.clause.id)
    if base is not None and other in base.overrides:
        ways.append(_outranked(base, layer))
    return "" if "" in ways else ways[0]


def _bound(policy: Policy, voice: Voice, other: str, scene: _Scene) -> str:
    """Why a leave to go before another clause does not hold here: somebody who is in two places is bound by both."""
    base = policy.clause(voice.clause.id)
    if voice.overlay is None or _own(policy, voice.overlay, other) or (base is not None and other in base.overrides):
        return ""
    for name in scene.places[voice.overlay.axis]:
        saying = [
            (one, clause) for one in scene.live for clause in one.clauses if one.name == name and other in (clause.id, *clause.overrides)
        ]
        if all(refusal(policy, one, clause, other, scene.reviews) for one, clause in saying):
            return f"{name} applies here too, and does not loosen it"
    return ""


def _outranked(clause: Clause, layer: Layer) -> str:
    return f"a clause of layer {clause.layer} never goes before one of {layer}" if LAYERS.index(clause.layer) < LAYERS.index(layer) else ""


def _own(policy: Policy, overlay: Overlay, clause_id: str) -> bool:
    """Whether a clause is stated in this overlay alone."""
    saying = {one.name for one in policy.overlays for clause in one.clauses if clause.id == clause_id}
    return policy.clause(clause_id) is None and saying == {overlay.name}


def _guard_unlisted(policy: Policy, clauses: tuple[Clause, ...], reasons: dict[str, tuple[Reason, ...]]) -> tuple[Clause, ...]:
    """A tool that nothing names needs an approval; an overlay that merely names it must not take that away."""
    listed = set(policy.tools) | {tool for clause in policy.clauses for rule in clause.enforce for tool in rule.tools}
    found = []
    for clause in clauses:
        new = sorted({tool for rule in clause.enforce for tool in rule.tools} - listed)
        if new:
            taken = {rule.id for rule in clause.enforce}
            name = next(name for name in (f"unlisted-{number}" for number in range(len(taken) + 1)) if name not in taken)
            guard = Rule(name, ("tool_call",), "require_approval", tools=tuple(new))
            clause = replace(clause, enforce=(*clause.enforce, guard))  # noqa: PLW2901  # the same clause, one rule longer
            said = f"{', '.join(new)} has no schema in this policy, so that its calls still need an approval"
            reasons[clause.id] = (*reasons[clause.id], Reason(BASE, "fitted", said))
        found.append(clause)
    return tuple(found)


def _fit_examples(policy: Policy, reasons: dict[str, tuple[Reason, ...]]) -> tuple[Clause, ...]:
    """Examples of events say what happens now: an event that is treated otherwise is corrected or left out."""
    if not any(example.event is not None for clause in policy.clauses for example in clause.examples):
        return policy.clauses
    from bylaw.policy.trial import Trial  # noqa: PLC0415  # the CEL engine; most policies are resolved without trying an event

    trial = Trial(policy)
    clauses = []
    for clause in policy.clauses:
        examples = [_fitted(example, trial.effect(example)) if example.event is not None else example for example in clause.examples]
        fitted = tuple(example for example in examples if example is not None)
        if fitted != clause.examples:
            said = "examples of events were made to say what the joined rules do"
            reasons[clause.id] = (*reasons[clause.id], Reason(BASE, "fitted", said))
        clauses.append(replace(clause, examples=fitted))
    return tuple(clauses)


def _fitted(example: Example, effect: Effect) -> Example | None:
    expected = example.expect or ("allow" if example.side == "good" else "")
    if not expected or expected == effect:
        return example if expected or effect != "allow" else None
    if example.side == "bad" and EFFECTS.index(effect) > EFFECTS.index(expected):
        return replace(example, expect=effect)
    return None
