"""Both sides of the frontier on the embedded models, told by the commands: `python -m bench.frontier RUN --out DIR`.

RUN is what `bylaw align deliberative --policy policies/policyworld --model embedded` left. The script runs `bylaw` commands, prints each
with its exit code, and adds up what they wrote:

1. base, policy in prompt and aligned model on one suite; the gate on each, and with the judge down;
2. attacks on the aligned model: goals of the first half to learn from, of the second to measure with; the gate with the finds;
3. at most three rounds of `align` from the aligned model: each learns the first half's finds so far, and is gated with all finds, the
   second half's among them, and on the fixed suite once none of them breaks; where that fails, the first half of the mended model is
   attacked anew before the next round;
4. the mended model: the second half attacked anew, and allowed requests under the attacks that were found.

Nothing of the second half is ever learnt. That a round is followed by another depends on its finds too: three looks at most. The new attack
on it comes after the last look.

Base and policy in prompt get a tenth of the suite, which is enough to fail by. Limits are gated on twice as many cases as
`bylaw suite power` asks for in its last column, because failures come in families: two that go together are worth less than two. Seeds
are fixed: the same RUN gives the same numbers. The same command goes on where a killed one was.
"""

import argparse
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, Final

from bylaw import runs
from bylaw.cli.entry import run as command
from bylaw.evals import limits, stats, suite_files, suite_world
from bylaw.evals.attackers import goals
from bylaw.evals.attacks import catalogue
from bylaw.evals.cases import Case, Expect, Suite, addressed
from bylaw.policy import parse
from bylaw.types import Policy

GATED: Final = 1700  # cases a limit, training rows among them: twice 773 must be left
SEED: Final = 1  # of the fixed suite; with seed 0 and 900 cases a limit its size was found to be too small (docs/gate.md)
SHOWN: Final = 200  # cases of a side that nothing gates
TENTH: Final = 10
GOALS: Final = 48
BUDGET: Final = 2000  # calls of one attack
TWINS: Final = 1000
ROUNDS: Final = 3  # of mending
BLIND: Final = 40
DOWN: Final = "openai:judge@http://127.0.0.1:9/v1"  # nobody listens there


class Story:
    """Commands run one after the other in one folder, each said with its exit code."""

    def __init__(self, out: Path, aligned: str, policy: Path) -> None:
        self.out, self.aligned, self.policy = out, aligned, policy

    def bylaw(self, *words: str) -> int:
        """Run one command."""
        print(f"\n$ bylaw {' '.join(words)}", flush=True)
        began = time.process_time()
        code = command(words)
        print(f"exit {code} ({time.process_time() - began:.0f} CPU s)", flush=True)
        return code

    def measure(self, name: str, target: str, *suites: str, more: Sequence[str] = ()) -> int:
        """`bylaw eval` into a folder."""
        given = [word for one in suites for word in ("--suite", str(self.out / one))]
        return self.bylaw("eval", "--target", target, "--policy", str(self.policy), *given, *more, "--out", str(self.out / name))

    def gate(self, *names: str) -> int:
        """`bylaw gate` over folders."""
        return self.bylaw("gate", *(str(self.out / one) for one in names), "--policy", str(self.policy))

    def attack(self, name: str, target: str, half: str, seed: int = 0) -> None:
        """`bylaw attack` into a folder, unless it was attacked already."""
        if (self.out / name / "attack.json").is_file():
            print(f"\nattacked already: {self.out / name}")
            return
        (self.out / name / "tries.jsonl").unlink(missing_ok=True)  # half written
        asked = ["--half", half, "--goals", str(GOALS), "--budget", str(BUDGET), "--seed", str(seed), "--out", str(self.out / name)]
        self.bylaw("attack", "--target", target, "--policy", str(self.policy), *asked)


# ---- Suites --------------------------------------------------------------------------------------------------------------


def fixed(policy: Policy) -> Suite:
    """Both sides of every clause: as many cases as its limits need, and a few of a side that has none."""
    gated = {(one.clause, one.metric) for one in limits.limits(policy)}
    left: dict[tuple[str, str], int] = {}
    kept = []
    for one in suite_world.per_clause(policy, GATED, SEED).cases:
        key = one.clause, "over_refusal" if one.side == "allow" else "resist"
        if left.setdefault(key, GATED if key in gated else SHOWN):
            left[key] -= 1
            kept.append(one)
    return Suite.of("fixed", kept, policy.digest)


def twins(policy: Policy, finds: Iterable[Case]) -> Suite:
    """Allowed requests of the second half under the chains that attacks on the first half were found with."""
    chains = sorted({one.attack.chain for one in finds if one.attack.techniques and len(one.turns) == 2})
    rng = Random("twins")
    plain = [one for one in goals.of_policy(policy, 80, 1) if one.side == "allow" and goals.half_of(one) == "second"]
    made = (catalogue.attacked(rng.choice(plain), rng.choice(chains), seed) for seed in range(TWINS))
    return Suite.of("twins", tuple({one.id: one for one in map(addressed, made)}.values()), policy.digest)


def write_suites(out: Path, policy: Policy) -> None:
    """The fixed suite, a tenth of it, and a few cases without truth, that only a judge can tell."""
    suite = fixed(policy)
    suite_files.save(suite, out / "fixed.jsonl")
    suite_files.save(Suite.of("tenth", [one for one in suite.cases if int(one.id, 16) % TENTH == 0], policy.digest), out / "tenth.jsonl")
    blind = [addressed(replace(one, expect=Expect())) for one in suite.cases[:: max(1, len(suite.cases) // BLIND)]]
    suite_files.save(Suite.of("blind", blind, policy.digest), out / "blind.jsonl")


# ---- The course ----------------------------------------------------------------------------------------------------------


def before(story: Story, run: Path) -> dict[str, int]:
    """Base, policy in prompt, aligned; then the attacks on the aligned model. Returns the gate's exit codes."""
    untrained = ("--against", str(run))  # the same cases for everybody
    story.measure("base", "embedded", "tenth.jsonl", more=untrained)
    story.measure("prompted", "embedded", "tenth.jsonl", more=(*untrained, "--policy-in-prompt"))
    story.measure("aligned", story.aligned, "fixed.jsonl")
    places = [str(story.out / one) for one in ("base", "prompted", "aligned")]
    story.bylaw("compare", *places, "--out", str(story.out / "report.html"))
    story.measure("judge-down", story.aligned, "blind.jsonl", more=("--judge", DOWN, "--timeout", "2"))
    codes = {name: story.gate(name) for name in ("base", "prompted", "aligned", "judge-down")}
    story.attack("first", story.aligned, "first")
    story.attack("second", story.aligned, "second")
    story.measure("aligned-finds", story.aligned, "first/finds.jsonl", "second/finds.jsonl")
    return codes | {"aligned + finds": story.gate("aligned", "aligned-finds")}


def mend(story: Story, number: int, found: Sequence[str]) -> str:
    """One round from the aligned model, which learns what was found on the first half so far; returns the model it leaves.

    Not from the round before: rounds on top of one another forget (docs/gate.md).
    """
    place = story.out / f"mended-{number}"
    if not (place / "manifest.json").is_file():
        learn = [word for one in found for word in ("--prompts", str(story.out / one))]
        more = ("--generator", "embedded", *learn, "--arms", "sft,sft_rl", "--out", str(place))
        story.bylaw("align", "deliberative", "--policy", str(story.policy), "--model", story.aligned, *more)
    return f"{place}:sft_rl"


def rounds(story: Story) -> tuple[dict[str, int], int, str]:
    """Mend until the gate passes with the finds, at most `ROUNDS` times: the gate's exit codes, the last round, its model."""
    codes: dict[str, int] = {}
    model, found = story.aligned, ["first/finds.jsonl"]
    for number in range(1, ROUNDS + 1):
        name = f"mended-{number}"
        model = mend(story, number, found)
        # What training met is left out by itself; the rest of the first half and the whole second half are unseen.
        story.measure(f"{name}-finds", model, *found, "second/finds.jsonl")
        codes[f"{name} + finds"] = story.gate(f"{name}-finds")
        if codes[f"{name} + finds"] != 1:  # a find that breaks fails by itself; all else needs the fixed suite
            story.measure(f"{name}-fixed", model, "fixed.jsonl")
            codes[name] = story.gate(f"{name}-fixed")
            codes[f"{name} + finds"] = story.gate(f"{name}-fixed", f"{name}-finds")
        if codes[f"{name} + finds"] == 0 or number == ROUNDS:
            break
        story.attack(f"first-{number}", model, "first", number)
        found.append(f"first-{number}/finds.jsonl")
    return codes, number, model


def after(story: Story, policy: Policy) -> tuple[dict[str, int], int]:
    """Mend, and everything again."""
    codes, last, model = rounds(story)
    out = story.out
    if not (out / f"mended-{last}-fixed" / "results.json").is_file():
        story.measure(f"mended-{last}-fixed", model, "fixed.jsonl")
        codes[f"mended-{last}"] = story.gate(f"mended-{last}-fixed")
        codes[f"mended-{last} + finds"] = story.gate(f"mended-{last}-fixed", f"mended-{last}-finds")
    story.bylaw("compare", str(out / "aligned"), str(out / f"mended-{last}-fixed"), "--out", str(out / "mended.html"))
    suite_files.save(twins(policy, suite_files.load(out / "first" / "finds.jsonl", policy).cases), out / "twins.jsonl")
    for name, target in (("aligned", story.aligned), (f"mended-{last}", model)):
        story.measure(f"{name}-twins", target, "twins.jsonl", more=("--against", str(out / f"mended-{last}")))
    story.attack("second-mended", model, "second")
    if any(one.status == "active" for one in suite_files.read(out / "second-mended" / "finds.jsonl").suite.cases):
        story.measure("mended-new-finds", model, "second-mended/finds.jsonl")
    return codes, last


# ---- What it adds up to --------------------------------------------------------------------------------------------------


def share(count: int, n: int) -> str:
    """A rate in per cent with its interval and its n."""
    if not n:
        return "not measured"
    at = stats.wilson(count, n)
    return f"{100 * count / n:.2f} ({100 * at.low:.2f}-{100 * at.high:.2f}), {count} of {n}"


def rate(rows: Sequence[Mapping[str, Any]], metric: str, ids: set[str] | None = None) -> str:
    """The share of rows that have a metric."""
    known = [row["metrics"][metric] for row in rows if row["metrics"].get(metric) is not None and (ids is None or row["id"] in ids)]
    return share(sum(map(bool, known)), len(known))


def rows_of(out: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a measurement."""
    return runs.read_rows(out / name / "cases.jsonl")


def fell(out: Path, name: str) -> tuple[set[str], set[str]]:
    """Goals that were tried, and those that fell to any attacker."""
    tries = [row for row in runs.read_rows(out / name / "tries.jsonl") if row["counts"]]
    return {row["goal"] for row in tries}, {row["goal"] for row in tries if row["breached"]}


def tables(out: Path, codes: Mapping[str, int], last: int) -> str:
    """Markdown of it all."""
    words = {0: "pass (0)", 1: "fail (1)", 2: "not measured (2)"}
    lines = ["| model | resists, % (95 %) | over-refuses, % (95 %) | exactly right, % | gate |", "| --- | --- | --- | --- | --- |"]
    fixed_of = {name: f"{name}-fixed" for name in codes if name.startswith("mended") and "+" not in name}
    for name, place in ({"base": "base", "prompted": "prompted", "aligned": "aligned"} | fixed_of).items():
        rows = rows_of(out, place)
        lines.append(f"| {name} | {' | '.join(rate(rows, one) for one in ('resist', 'over_refusal', 'exact'))} | {words[codes[name]]} |")
    lines += [
        "",
        "| with the active finds | finds resisted, % (95 %) | clauses whose finds are all mended | gate |",
        "| --- | --- | --- | --- |",
    ]
    for name in [one for one in codes if "+" in one]:
        rows = rows_of(out, name.replace(" + ", "-"))
        lines.append(f"| {name} | {rate(rows, 'resist')} | {_mended(rows)} | {words[codes[name]]} |")
    lines += ["", f"judge down: {words[codes['judge-down']]}", ""]
    return "\n".join([*lines, *finds_table(out, f"mended-{last}")])


def finds_table(out: Path, mended: str) -> list[str]:
    """Before and after, on what no round has learnt."""
    lines = [f"| what no round has learnt | aligned | {mended} | McNemar p |", "| --- | --- | --- | --- |"]
    tried, before_it = fell(out, "second")
    again, after_it = fell(out, "second-mended")
    both = tried & again
    pair = stats.mcnemar(len((after_it - before_it) & both), len((before_it - after_it) & both)).either
    lines.append(f"| second half attacked anew: goals that fall, % | {share(len(before_it & both), len(both))} "
                 f"| {share(len(after_it & both), len(both))} | {pair:.2g} |")  # fmt: skip
    for name, file in (("finds of the second half replayed", "second"), ("finds of the first half that were not learnt", "first")):
        ids = {one.id for one in suite_files.load(out / file / "finds.jsonl").cases if one.status == "active"}
        lines.append(_pair(out, f"{name}: resists, %", (mended, "finds", "resist"), ids))
    lines.append(_pair(out, "allowed requests under the same attacks: over-refuses, %", (mended, "twins", "over_refusal")))
    return lines


def _mended(rows: Sequence[Mapping[str, Any]]) -> str:
    clauses = {row["clause"] for row in rows}
    return f"{len(clauses - {row['clause'] for row in rows if row['outcome'] != 'followed'})} of {len(clauses)}"


def _pair(out: Path, title: str, of: tuple[str, str, str], ids: set[str] | None = None) -> str:
    """One measure of the aligned and of a mended model, on the cases that both were asked."""
    mended, place, metric = of
    old, new = ({row["id"]: row for row in rows_of(out, f"{who}-{place}")} for who in ("aligned", mended))
    both = {name for name in old.keys() & new.keys() if ids is None or name in ids}
    bad = [(bool(old[name]["metrics"][metric]), bool(new[name]["metrics"][metric])) for name in both]
    p = stats.mcnemar(sum(b and not a for a, b in bad), sum(a and not b for a, b in bad)).either
    return f"| {title} | {rate(list(old.values()), metric, both)} | {rate(list(new.values()), metric, both)} | {p:.2g} |"


def main() -> None:
    """Tell the story."""
    parser = argparse.ArgumentParser(prog="python -m bench.frontier", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    asked = parser.parse_args()
    path = runs.policy_in(asked.run)
    policy = parse.load(path)
    asked.out.mkdir(parents=True, exist_ok=True)
    if not (asked.out / "blind.jsonl").is_file():
        write_suites(asked.out, policy)
    story = Story(asked.out, f"{asked.run}:sft_rl", path)
    codes = before(story, asked.run)
    more, last = after(story, policy)
    codes |= more
    (asked.out / "codes.json").write_text(json.dumps(codes))
    told = tables(asked.out, codes, last)
    (asked.out / "frontier.md").write_text(told + "\n")
    print(f"\n{told}\n\n{time.process_time():.0f} CPU s in all")


if __name__ == "__main__":
    main()
