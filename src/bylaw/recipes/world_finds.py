"""Finds of attackers as lessons: a suite of PolicyWorld cases that broke a model, half to learn from and the other half to measure with.

`bylaw align deliberative --policy policies/policyworld --prompts finds.jsonl` takes a suite as `bylaw attack` writes it. Families stand on
one side, the same as `bylaw attack --half` has them (`attackers.goals.half_of`): the first half may be learnt, the second is only measured.
Of the first half these are left out, and counted: retired cases; cases with documents, or with turns that ask for nothing of PolicyWorld;
objects that alignment never meets and prompts of the fixed test set, so that its cells stay what they say; words of the policy; and
whatever is asked in the second half too. A family of which nothing is learnt is measured. Of a conversation the last request is learnt;
earlier ones stand before it with the answers that are right.

What is learnt is made again with other seeds, under its own chain or in its own words, a conversation with other turns. Of three, one asks
for the same thing, one for what another clause decides, and one for something that is allowed; all of families of the first half. Without
the second kind a clause with no find to learn from stays open to what broke its neighbours; without the third a model could learn to refuse
whatever looks like an attack. The run keeps both sides as suites:

    RUN/finds/learnt.jsonl   what the lessons were made from
    RUN/finds/unseen.jsonl   what `bylaw eval --suite` measures the aligned model with
    RUN/finds/counts.json    how many there are, and why others were left out

A wrapper that a find brings along is learnt: who learns finds reads the cells of held-out and unseen wrappers as such no longer.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

from bylaw import runs
from bylaw.align import strip
from bylaw.canonical import digest
from bylaw.errors import RunError
from bylaw.evals import suite_files
from bylaw.evals.attackers.goals import half_of, half_of_family
from bylaw.evals.attacks import catalogue
from bylaw.evals.attacks.world import pair_of
from bylaw.evals.cases import Case, Suite
from bylaw.policyworld import dialect as world
from bylaw.policyworld import scenarios
from bylaw.policyworld.dialect import WorldDialect, scenario_of
from bylaw.policyworld.language import LABELS, SYNONYMS, answer_to
from bylaw.policyworld.level2 import dialect as world2
from bylaw.policyworld.scenarios import TOPICS, USERS, Scenario, topic_of
from bylaw.policyworld.truth import ExactJudge
from bylaw.policyworld.wrappers import QUESTIONS
from bylaw.types import EMPTY, Policy, Prompt, Turn

EVERY: Final = 4  # one prompt in four is a find, as far as they go
AGAIN: Final = 15  # a find is made again so often, with other seeds
LEAST: Final = 120  # or more often, until all together are made again so often: a few finds meet every clause too
SOURCE: Final = "policyworld"
COUNTS: Final = "counts.json"
HINT: Final = "give a suite of PolicyWorld finds, as `bylaw attack --policy policies/policyworld` writes it"


class Parted(NamedTuple):
    """Finds to learn from as prompts (then those made again) and as cases, those to measure with, and why others are neither."""

    prompts: tuple[Prompt, ...]
    learnt: tuple[Case, ...]
    unseen: tuple[Case, ...]
    left_out: Counter[str]


NOTHING: Final = Parted((), (), (), Counter())


def part(files: Sequence[Path], policy: Policy) -> Parted:
    """Read suites of finds and part them; raises RunError where there is nothing to learn from."""
    named = ", ".join(map(str, files))
    if world2.level_of(policy) == 2:
        raise RunError(f"{named}: level 2 of PolicyWorld does not learn from finds", "leave --prompts out, or take policies/policyworld")
    words = world.dialect(policy)
    cases = tuple({one.id: one for file in files for one in suite_files.load(file, policy).cases}.values())
    second = {_request(one) for one in cases if half_of(one) == "second"}
    tests = {(one.user, one.request) for one in scenarios.test_set()}
    prompts: dict[str, tuple[Prompt, Case]] = {}
    left_out: Counter[str] = Counter()
    for one in cases:
        if half_of(one) == "second":
            continue
        found = _prompt(one, words)
        if isinstance(found, Prompt) and found.request in second:
            found = "asked in the other half too"
        why = found if isinstance(found, str) else _barred(found, policy, words, tests)
        if why or isinstance(found, str):
            left_out[why] += 1
        elif found.id in prompts:
            left_out["the same twice"] += 1
        else:
            prompts[found.id] = found, one
    if not prompts:
        told = ", ".join(f"{n} {why}" for why, n in sorted(left_out.items())) or f"all {len(cases)} are of the half that is measured"
        raise RunError(f"{named} {'has' if len(files) == 1 else 'have'} no find to learn from: {told}", HINT)
    learnt = tuple(one for _, one in prompts.values())
    families, requests = {one.cluster for one in learnt}, {_request(one) for one in learnt}
    unseen = tuple(one for one in cases if one.status != "retired" and one.cluster not in families and _request(one) not in requests)
    kept = {name: prompt for name, (prompt, _) in prompts.items()}
    taken = second | {_request(one) for one in unseen}
    for made in _made_again(learnt, words):
        if made.request not in taken and made.id not in kept and not _barred(made, policy, words, tests):
            kept[made.id] = made
    return Parted(tuple(kept.values()), learnt, unseen, left_out)


def keep(folder: Path, files: Sequence[Path], policy: Policy) -> None:
    """Write both sides into a run, as suites."""
    found = part(files, policy)
    folder.mkdir(exist_ok=True)
    for name, cases in (("learnt", found.learnt), ("unseen", found.unseen)):
        suite_files.save(Suite.of(f"finds.{name}", cases, policy.digest), folder / f"{name}.jsonl")
    again = {"made_again": len(found.prompts) - len(found.learnt)}
    counts: dict[str, Any] = {
        "learnt": len(found.learnt),
        **again,
        "unseen": len(found.unseen),
        "left_out": dict(sorted(found.left_out.items())),
    }
    runs.write_json(folder / COUNTS, counts)  # last: without it the folder is half written


def mixed(drawn: Sequence[Prompt], parted: Parted, n: int, again: bool) -> tuple[Prompt, ...]:
    """`n` prompts, one in `EVERY` a find as far as they go, spread evenly; `again`: they take turns, as often as there is room.

    What is drawn and says word for word what is measured is left out, so that a few may be missing of `n`.
    """
    finds = parted.prompts
    room = n // EVERY
    few = [finds[i % len(finds)] for i in range(room if again else min(room, len(finds)))] if finds else []
    met = {one.id for one in finds}
    measured = {_request(one) for one in parted.unseen}
    found = [one for one in drawn if one.id not in met and one.request not in measured][: n - len(few)]
    for i, one in enumerate(few):
        found.insert(i * n // len(few), one)
    return tuple(found)


def _request(one: Case) -> str:
    """What is asked last, by whomever."""
    return one.turns[-1].content


def _prompt(one: Case, words: WorldDialect) -> Prompt | str:
    """A find as a prompt, or why it is none."""
    if one.status == "retired":
        return "retired"
    parts = one.family.split(".")
    if one.source != SOURCE or len(parts) != 4 or one.side == "allow":
        return "no request of PolicyWorld that a clause decides"
    topic, verb, obj, user = parts
    if topic not in TOPICS or verb not in TOPICS[topic].verbs or obj not in TOPICS[topic].objects or user not in USERS:
        return "of a family that PolicyWorld does not have"
    prompt = _asking(one.family, _request(one), one.attack.chain, words, [turn.content for turn in one.turns[1:-1]])
    said = tuple(message for message in words.prompt(prompt) if message.role != "assistant")
    return prompt if said == one.turns and not one.context.documents else "with documents, or turns that ask for nothing of PolicyWorld"


def _asking(family: str, request: str, chain: str, words: WorldDialect, before: Sequence[str] = ()) -> Prompt:
    """What asks for a family's thing in these words, after earlier requests and their answers."""
    topic, verb, obj, user = family.split(".")
    category = tuple(i for i, clause in words.clauses.items() if clause.topic == topic)
    facts = {"topic": topic, "verb": verb, "obj": obj, "user": user, "wrapper": chain or "plain"}
    facts |= {"kind": TOPICS[topic].kind, "cell": "find", "family": family}
    earlier = tuple(turn for text in before for turn in _answered(text, user, words))
    name = digest([user, *(turn.text for turn in earlier), request]).removeprefix("sha256:")[:16]
    return Prompt(name, request, category, user, facts, history=earlier)


def _answered(text: str, user: str, words: WorldDialect) -> tuple[Turn, ...]:
    """A request and the answer that is right; nothing where it asks for nothing of the world."""
    pair = pair_of(text)
    if pair not in topic_of():
        return ()
    asked = _asking(".".join((topic_of()[pair], *pair, user)), text, "", words)
    return Turn("user", text), Turn("assistant", answer_to(scenario_of(asked), ExactJudge(words).ruling(asked)[1]))


def _made_again(learnt: Sequence[Case], words: WorldDialect) -> Iterator[Prompt]:
    """Finds with other seeds, taking turns: the same thing asked, then what another clause decides, then something that is allowed."""
    allowed, decided = _families(words)
    met: Counter[str] = Counter()
    known = [one for one in learnt if len(one.turns) > 2 or (one.attack.techniques and all(map(_of_the_world, one.attack.techniques)))]
    for turn in range(max(AGAIN, -(-LEAST // max(len(known), 1)))):
        for one in known:
            rng = Random(f"again-{one.id}-{turn}")
            chain, family = one.attack.chain, one.family
            if turn % 3 == 1:
                family = decided[met[chain] % len(decided)]
                met[chain] += 1
            elif turn % 3 == 2 and allowed:
                family = rng.choice(allowed)
            if len(one.turns) > 2:
                before = [_put(turn.content, _swapped(one, turn.content, family, allowed, rng), rng) for turn in one.turns[1:-1]]
                yield _asking(family, _put(_request(one), _pair(family), rng), chain, words, before)
            else:
                yield _asking(family, _said_again(one, family, rng), chain, words)


def _of_the_world(technique: str) -> bool:
    return technique in catalogue.TECHNIQUES and technique.startswith("world.")


def _said_again(one: Case, family: str, rng: Random) -> str:
    """A find asking for a family's thing: in its own words, other labels in them, or made by its techniques anew."""
    topic, verb, obj, _ = one.family.split(".")
    framed = any(form.format(verb, obj) in _request(one) != form.format(verb, obj) for form in QUESTIONS)
    if not framed or rng.random() < 0.5:
        asked = rng.choice(QUESTIONS).format(*_pair(family))
        return catalogue.chain(one.attack.techniques)(asked, rng.randrange(1 << 30))
    other = {topic: family.partition(".")[0], **{label: rng.choice(LABELS) for label in LABELS}}
    return _put(_request(one), _pair(family), rng, other)


def _put(text: str, pair: tuple[str, str], rng: Random, other: Mapping[str, str] = EMPTY) -> str:
    """A text that asks for another pair, with other words for those around its question."""
    asked = rng.choice(QUESTIONS).format(*pair)
    told = next((told for told in (form.format(*(pair_of(text) or pair)) for form in QUESTIONS) if told in text), text)
    before, _, after = text.rpartition(told)
    around = (" ".join(other.get(word, word) for word in side.split()) for side in (before, after))
    return " ".join(filter(None, (next(around), asked, next(around))))


def _swapped(one: Case, text: str, family: str, allowed: Sequence[str], rng: Random) -> tuple[str, str]:
    """What an earlier turn asks for instead: what the last one does where it did so before, else what is allowed, by its verb if any."""
    if pair_of(text) == _pair(one.family):
        return _pair(family)
    fits = [few for few in allowed if few.endswith(family.rpartition(".")[2])]
    alike = [few for few in fits if _pair(few)[0] == _pair(family)[0]]
    return _pair(rng.choice(alike or fits)) if fits else pair_of(text) or _pair(family)


def _pair(family: str) -> tuple[str, str]:
    """The verb and the object of a family."""
    _, verb, obj, _ = family.split(".")
    return verb, obj


def _families(words: WorldDialect) -> tuple[list[str], list[str]]:
    """Families of the first half, of objects that alignment meets: those that the policy allows, and the others, clauses taking turns."""
    exact = ExactJudge(words)
    every = [
        f"{name}.{verb}.{obj}.{user}"
        for name, topic in TOPICS.items()
        for verb in topic.verbs
        for obj in scenarios.objects(name, "trained")
        for user in USERS
    ]
    allowed: list[str] = []
    decided: dict[str, list[str]] = {}
    for one in filter(lambda one: half_of_family(one) == "first", every):
        clause, action = exact.ruling(_asking(one, "", "", words))
        if clause is None or action == "comply":
            allowed.append(one)
        else:
            decided.setdefault(clause.label, []).append(one)
    for few in decided.values():
        Random("elsewhere").shuffle(few)
    return allowed, [one for row in zip_longest(*decided.values()) for one in row if one]


def _barred(prompt: Prompt, policy: Policy, words: WorldDialect, tested: set[tuple[str, str]]) -> str:
    """Why a prompt may not be learnt; empty where it may."""
    facts = prompt.facts
    scenario = Scenario(facts["topic"], facts["verb"], facts["obj"], prompt.user, "plain", prompt.request)
    if scenario.cell != "seen":
        return "of an object that alignment never meets"
    if (prompt.user, prompt.request) in tested:
        return "tested"
    lines = [clause.line(word) for clause in words.policy for word in SYNONYMS[clause.action]]
    return "with words of the policy" if strip.leaks([(prompt.id, prompt.request)], policy, (), lines) else ""
