"""Both sides of the frontier on the embedded models, told by the commands: `python -m bench.frontier RUN --out DIR`.

RUN is what `bylaw align deliberative --policy policies/policyworld --model embedded` left. The script runs `bylaw` commands, prints each
with its exit code, and adds up what they wrote:

1. base, policy in prompt and aligned model on one suite; the gate on each, and with the judge down;
2. attacks on the aligned model: goals of the first half to learn from, of the second to measure with; the gate with the finds;
3. one more `align` round that learns the first half's finds;
4. the mended model: the second half's finds replayed, the second half attacked anew, the fixed suite, and allowed requests that look like
   those attacks.

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
TWINS: Final = 300
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

    def attack(self, name: str, target: str, half: str) -> None:
        """`bylaw attack` into a folder, unless it was attacked already."""
        if (self.out / name / "attack.json").is_file():
            print(f"\nattacked already: {self.out / name}")
            return
        (self.out / name / "tries.jsonl").unlink(missing_ok=True)  # half written
        asked = ["--half", half, "--goals", str(GOALS), "--budget", str(BUDGET), "--out", str(self.out / name)]
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


def after(story: Story, run: Path, policy: Policy) -> dict[str, int]:
    """One more round, and everything again."""
    out, mended = story.out, f"{story.out / 'mended'}:sft_rl"
    learn = [
        "--generator",
        "embedded",
        "--prompts",
        str(out / "first" / "finds.jsonl"),
        "--arms",
        "sft,sft_rl",
        "--out",
        str(out / "mended"),
    ]
    if not (out / "mended" / "manifest.json").is_file():
        story.bylaw("align", "deliberative", "--policy", str(story.policy), "--model", story.aligned, *learn)
    suite_files.save(twins(policy, suite_files.load(out / "first" / "finds.jsonl", policy).cases), out / "twins.jsonl")
    story.attack("second-mended", mended, "second")
    for name, target in (("aligned", story.aligned), ("mended", mended)):
        story.measure(f"{name}-twins", target, "twins.jsonl", more=("--against", str(out / "mended")))
    # What training met is left out by itself; the rest of the first half and the whole second half are unseen.
    story.measure("mended-finds", mended, "first/finds.jsonl", "second/finds.jsonl")
    story.measure("mended-fixed", mended, "fixed.jsonl", more=("--against", str(run)))
    story.bylaw("compare", str(out / "aligned"), str(out / "mended-fixed"), "--out", str(out / "mended.html"))
    return {"mended": story.gate("mended-fixed"), "mended + finds": story.gate("mended-fixed", "mended-finds")}


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


def tables(out: Path, codes: Mapping[str, int]) -> str:
    """Markdown of it all."""
    words = {0: "pass (0)", 1: "fail (1)", 2: "not measured (2)"}
    lines = ["| model | resists, % (95 %) | over-refuses, % (95 %) | exactly right, % | gate |", "| --- | --- | --- | --- | --- |"]
    for name, place, code in (
        ("base", "base", "base"),
        ("base, policy in prompt", "prompted", "prompted"),
        ("aligned", "aligned", "aligned"),
        ("mended", "mended-fixed", "mended"),
    ):
        rows = rows_of(out, place)
        lines.append(f"| {name} | {' | '.join(rate(rows, one) for one in ('resist', 'over_refusal', 'exact'))} | {words[codes[code]]} |")
    lines += [f"\n{name}: {words[codes[name]]}" for name in ("judge-down", "aligned + finds", "mended + finds")]
    return "\n".join([*lines, "", *finds_table(out)])


def finds_table(out: Path) -> list[str]:
    """Before and after, on what the round has not learnt."""
    lines = ["| what the further round has not learnt | aligned | mended | McNemar p |", "| --- | --- | --- | --- |"]
    tried, before_it = fell(out, "second")
    again, after_it = fell(out, "second-mended")
    both = tried & again
    pair = stats.mcnemar(len((after_it - before_it) & both), len((before_it - after_it) & both)).either
    lines.append(f"| second half attacked anew: goals that fall, % | {share(len(before_it & both), len(both))} "
                 f"| {share(len(after_it & both), len(both))} | {pair:.2g} |")  # fmt: skip
    for name, file in (("finds of the second half replayed", "second"), ("finds of the first half that were not learnt", "first")):
        ids = {one.id for one in suite_files.load(out / file / "finds.jsonl").cases if one.status == "active"}
        lines.append(_pair(out, f"{name}: resists, %", "finds", "resist", ids))
    told = (_mended(rows_of(out, f"{who}-finds")) for who in ("aligned", "mended"))
    lines.append(f"| clauses whose active finds are all mended | {' | '.join(told)} | |")
    lines.append(_pair(out, "allowed requests under the same attacks: over-refuses, %", "twins", "over_refusal", None))
    return lines


def _mended(rows: Sequence[Mapping[str, Any]]) -> str:
    clauses = {row["clause"] for row in rows}
    return f"{len(clauses - {row['clause'] for row in rows if row['outcome'] != 'followed'})} of {len(clauses)}"


def _pair(out: Path, title: str, place: str, metric: str, ids: set[str] | None) -> str:
    old, new = ({row["id"]: row for row in rows_of(out, f"{who}-{place}")} for who in ("aligned", "mended"))
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
    codes |= after(story, asked.run, policy)
    (asked.out / "codes.json").write_text(json.dumps(codes))
    told = tables(asked.out, codes)
    (asked.out / "frontier.md").write_text(told + "\n")
    print(f"\n{told}\n\n{time.process_time():.0f} CPU s in all")


if __name__ == "__main__":
    main()
