"""The demo: a written policy, a trained model, a measured frontier, then the model governed at run time; told as it happens."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bylaw import runs
from bylaw.errors import RunError
from bylaw.evals import runner
from bylaw.evals.scorers import Graded
from bylaw.policy import parse
from bylaw.recipes import align_run
from bylaw.recipes.asked import ALL_ARMS, DEMO_ARMS, Asked
from bylaw.recipes.narration import narrate
from bylaw.recipes.places import example_policy
from bylaw.recipes.sizes import Dial
from bylaw.runs import Run
from bylaw.types import Policy

WHY: Final = {
    "synthesize-0": "The base can reason over any policy in its prompt but knows none by heart. So it is shown clauses, and asked thrice.",
    "filter": "Only thoughts that quote the right clause and end in the right answer may teach. The lowest of n readings counts.",
    "strip": "The clauses leave the prompts: from here on the model has to know them. A test proves that no clause line is left.",
    "sft": "Thinking and answer are learnt after the bare prompt, mixed with other skills so that none is forgotten.",
    "sft_rl": "Reward is given to answers only. Pressure on thoughts would teach the model to hide them.",
    "imitation-0": "The rival: the same answers without the thoughts. Three learning rates, the best is taken.",
    "measure-base": "What is the untrained model like? It helps with everything, so it resists nothing.",
    "measure-policy_in_prompt": "And with the whole policy in its prompt? It reads well, and social pressure talks it out of it.",
}
HEADINGS: Final = {"resist": "resists", "over_refusal": "over-refuse", "citation_recall": "cites", "exact": "exact"}
HARD_CODES: Final = ("rot13", "reverse", "caesar", "numbers")
ARM_NAMES: Final = {
    "base": "base",
    "policy_in_prompt": "base + policy",
    "imitation": "imitation",
    "sft": "SFT",
    "rl": "RL only",
    "sft_rl": "SFT + RL",
    "sft_short": "short SFT",
    "sft_short_rl": "short SFT + RL",
    "control": "control",
}


def run(console: Console, out: Path, seed: int, size: Dial, everything: bool) -> Run:
    """Run the demo and tell it; a finished one is shown again."""
    try:
        from bylaw.recipes import governed, shop  # noqa: PLC0415  # training alone does without the packages of the run time
    except ModuleNotFoundError as error:
        raise RunError(f"the demo's second half needs {error.name}", "pip install '.[align,eval,serve,pii]'") from error
    path = example_policy("policyworld")
    policy = parse.load(path)
    arms = ALL_ARMS if everything else DEMO_ARMS
    asked = Asked(policy.digest, "embedded", "embedded", "", size, seed, arms)
    _open(console, policy, path, out)
    started = align_run.start(path, asked, out)
    with shop.opened(console, started.run.path) as open_shop:
        with narrate(console, WHY) as narrator:
            facts = align_run.go(started, narrator)
        _learnt(console, started.run, policy, facts)
        governed.show(console, started.run.path, open_shop)
    _next(console, started.run)
    shop.reopened(console, started.run.path)
    return started.run


def _open(console: Console, policy: Policy, path: Path, out: Path) -> None:
    console.rule("bylaw demo")
    console.print(
        f"The policy [bold]{policy.id} {policy.version}[/]: {len(policy.clauses)} clauses in {path}, digest {policy.digest[:19]}…"
    )
    console.print(
        "The model: 0.9 M parameters, a world of about 740 words, two CPU cores. The code is the one that aligns any Hugging Face model."
    )
    console.print(
        "Of a clause, this tiny model reads topic, who, response and label. Its prose it cannot read: "
        "an edit of the prose changes the digest, and nothing that the model sees."
    )
    console.print(f"Everything is written to {out}. Stop it at any point; the same command goes on from there.\n")


def _learnt(console: Console, done: Run, policy: Policy, facts: Mapping[str, Any]) -> None:
    results = runs.read_json(done.path / "results.json")
    console.print()
    console.print(results_table(results))
    console.print("[dim]Percent and 95 % Wilson interval over four cells of prompts; in the last, objects and disguises are both new.[/]\n")
    best = "sft_rl" if "sft_rl" in results["arms"] else next(reversed(results["arms"]))
    rows = runner.read_rows(done.path / "rows" / "measured" / f"{best}.jsonl")
    for title, row in pick(rows):
        transcript(console, title, row, policy)
    console.print(f"[dim]{facts['steps_cpu_s']:.0f} CPU seconds of work in all steps.[/]")


def _next(console: Console, done: Run) -> None:
    console.print("[bold]What to try next[/]")
    console.print(f"  open {done.path / 'report.html'}   the frontier, every clause, ten transcripts, what does not reproduce")
    console.print(f"  bylaw chat --model {done.path}   ask it yourself; thoughts are dim, the cited clause is named")
    console.print(
        f"  bylaw serve --policy {done.path / 'policy'} --model {done.path} --run {done.path}   "
        "let any OpenAI client ask it, governed and recorded; its console shows what was learnt, clause by clause"
    )
    console.print(f"  bylaw trace harm.theft --run {done.path}   one clause: what it says, what taught it, what was learnt")
    console.print("  change a `response:` in a copy of the policy, then: bylaw align deliberative --policy COPY --model embedded")


def shown(text: str) -> str:
    """Text that others wrote, for a terminal: no markup, and nothing that steers it."""
    return escape("".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text))


def results_table(results: Mapping[str, Any]) -> Table:
    """Arms by metrics over all held-in and held-out cells."""
    table = Table(title=f"policy {results['policy']['digest'][:19]}…, seed {results['seed']}", box=None, pad_edge=False)
    table.add_column("arm", no_wrap=True)
    for heading in (*HEADINGS.values(), "held out"):
        table.add_column(heading, justify="right", no_wrap=True)
    for arm, cells in results["arms"].items():
        both = cells.get("held_out_both", cells["all"])["exact"]
        table.add_row(ARM_NAMES.get(arm, arm), *(percent(cells["all"][metric]) for metric in HEADINGS), percent(both))
    return table


def percent(rate: Mapping[str, Any]) -> str:
    """A rate with its interval, or a dash where nothing was measured; what is missing is told either way."""
    missing = f", {rate['missing']} missing" if rate["missing"] else ""
    if rate["rate"] is None:
        return f"–{missing}"
    percent = f"{100 * rate['rate']:.1f}".removesuffix(".0")
    return f"{percent} {100 * rate['low']:.0f}–{100 * rate['high']:.0f}{missing}"


def pick(rows: Sequence[Graded]) -> list[tuple[str, Graded]]:
    """Three transcripts: a plain attack, an encoded attack, a benign look-alike."""
    wanted = (
        ("A plain attack", "harmful", ("plain",)),
        ("An encoded attack", "harmful", HARD_CODES),
        ("A benign look-alike", "lookalike", ("plain",)),
    )
    found = [(title, next((row for row in rows if row.kind == kind and row.wrapper in names), None)) for title, kind, names in wanted]
    return [(title, row) for title, row in found if row is not None]


def transcript(console: Console, title: str, row: Graded, policy: Policy) -> None:
    """One exchange: the thinking dim, the cited clause named, and whether it was right."""
    console.print(f"[bold]{title}[/] [dim]({row.user}, {row.wrapper})[/]")
    console.print(f"  user       {shown(row.request)}")
    console.print(f"  thinking   [dim]{shown(row.thinking or row.fault)}[/]")
    console.print(f"  answer     {shown(row.answer)}")
    cited = [clause for name in row.cited if (clause := policy.clause(name))]
    for clause in cited:
        console.print(f"  cites      [cyan]{clause.id}[/]: {shown(clause.title)} ({clause.response})")
    console.print(f"  right      {'yes' if row.exact else 'no'}, the policy says {row.want}\n")
