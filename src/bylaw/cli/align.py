"""`bylaw align …`, `demo`, `chat`, `trace`: train a model on a policy, measure it, look at it."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bylaw.cli.saying import A_MODEL, AsJson, Concurrency, Out, PolicyOption, Seed, Workers, say_json

if TYPE_CHECKING:
    from bylaw.models.manners import Manners

app = typer.Typer(help="Align a model to a policy.", no_args_is_help=True)

Price = Annotated[
    str, typer.Option(metavar="IN,OUT", help="What endpoints charge per million tokens, for the cost that is told.", show_default=False)
]


@app.command("deliberative")
def align_deliberative(
    policy: PolicyOption,
    model: Annotated[str, typer.Option(help=f"Who learns: {A_MODEL}.", show_default=False)],
    generator: Annotated[str, typer.Option(help="Who writes the rows; left out, the model itself.", show_default=False)] = "",
    judge: Annotated[
        str, typer.Option(help="Who judges; left out, PolicyWorld's exact judge, or the model itself for prose.", show_default=False)
    ] = "",
    size: Annotated[Literal["smoke", "tiny", "small", "full"], typer.Option(help="How much of everything.")] = "tiny",
    seed: Seed = 0,
    out: Out = None,
    lora: Annotated[int, typer.Option(min=0, help="Rank of a LoRA adapter; 0 trains all weights.")] = 0,
    arms: Annotated[str, typer.Option(help="Arms to train and measure, with commas, or `all`.")] = "base,policy_in_prompt,sft,sft_rl",
    prompts: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="More prompts for a policy in prose; for PolicyWorld suites of finds.", show_default=False),
    ] = None,
    tests: Annotated[Path | None, typer.Option(metavar="FILE", help="More prompts to be tested with.", show_default=False)] = None,
    replay: Annotated[Path | None, typer.Option(metavar="FILE", help="Capability rows to keep skills.", show_default=False)] = None,
    helpful_first: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Helpful rows: stage 0, before all.", show_default=False)
    ] = None,
    engine: Annotated[
        Literal["process", "ray", "vllm"], typer.Option(help="Where generator and judge answer in synthesis and filter.")
    ] = "process",
    price: Price = "",
    concurrency: Concurrency = 8,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Deliberative alignment: synthesise, filter, strip, fine-tune, reinforce, measure. Resumes where it was stopped.

    A model is one of: embedded | FOLDER | RUN[:arm] | hub/name | openai:MODEL@URL | scripted:FILE. A judge is such a model, or
    json:JUDGE (a reply held to a schema), think:JUDGE (it thinks first), panel:min|mean|unanimous:JUDGE,JUDGE.
    """
    from bylaw.recipes import align_run, telling  # noqa: PLC0415  # see `cli`

    files = {"tests": tests, "replay": replay, "helpful": helpful_first}
    named = {key: str(file.resolve()) if file else "" for key, file in files.items()}
    asked = {"model": model, "generator": generator, "size": size, "seed": seed, "lora": lora, "engine": engine}
    learnt = tuple(str(file.resolve()) for file in prompts or ())
    started = align_run.begin(policy, out, manners(price, concurrency), arms=arms, judge=judge, prompts=learnt, **asked, **named)
    results = telling.align(started, workers, quiet=as_json)
    if as_json:
        say_json(results)


@app.command("dry-run")
def align_dry_run(
    policy: PolicyOption,
    size: Annotated[Literal["smoke", "tiny"], typer.Option(help="How much of everything.")] = "tiny",
    seed: Seed = 0,
    out: Out = None,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Try a policy in prose offline: every step, on a small random model, with scripts for generator and judge.

    The scripts are made from the policy's own train examples as it stands. It proves that everything runs, and teaches nothing.
    """
    from bylaw.recipes import telling  # noqa: PLC0415  # see `cli`

    results = telling.rehearse(policy, out, seed, size, workers, quiet=as_json)
    if as_json:
        say_json(results)


def demo(
    out: Out = None,
    seed: Seed = 0,
    size: Annotated[Literal["smoke", "tiny", "small"], typer.Option(help="tiny takes minutes; small up to 20.")] = "tiny",
    arms: Annotated[Literal["demo", "all"], typer.Option(help="all adds rl, the short runs and the control.")] = "demo",
    run: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Only the run-time half, on this finished run.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show all of it on the embedded model: a written policy, a trained model, a measured frontier, and the model governed."""
    from bylaw.recipes import governed, telling  # noqa: PLC0415  # see `cli`

    if run is not None:
        shown = governed.told(run, quiet=as_json)
        if as_json:
            say_json(shown)
        return
    results = telling.demo(out or Path("runs") / f"demo-{size}-{seed}{'-all' * (arms == 'all')}", seed, size, arms == "all", quiet=as_json)
    if as_json:
        say_json(results)


def chat(
    model: Annotated[str, typer.Option(help=f"Who answers: {A_MODEL}, scripted:FILE.", show_default=False)],
    request: Annotated[str, typer.Argument(metavar="[REQUEST]", help="Ask this once; left out, talk.", show_default=False)] = "",
    policy: Annotated[Path | None, typer.Option(metavar="PATH", help="Names the cited clauses.", show_default="the run's own")] = None,
    user: Annotated[str, typer.Option(help="Who is asking, where the policy tells users apart.")] = "guest",
) -> None:
    """Talk with a model: its thinking dim, the clause it cites named."""
    from bylaw.recipes import telling  # noqa: PLC0415  # see `cli`

    telling.chat(model, policy, user, request)


def trace(
    clause: Annotated[str, typer.Argument(metavar="CLAUSE", help="A clause id.", show_default=False)],
    run: Annotated[Path | None, typer.Option(metavar="RUN", help="A run's folder.", show_default="the newest in ./runs")] = None,
    as_json: AsJson = False,
) -> None:
    """One clause's life: its text, the rows that taught it, its measured rates."""
    from bylaw.recipes import telling  # noqa: PLC0415  # see `cli`
    from bylaw.recipes.trace import newest_run  # noqa: PLC0415  # see `cli`

    found = telling.trace(clause, run or newest_run(Path("runs")), quiet=as_json)
    if as_json:
        say_json(found)


def manners(price: str, concurrency: int) -> "Manners":
    """How endpoints are asked, from a command line; raises ModelError where the price is none."""
    from bylaw.errors import ModelError  # noqa: PLC0415  # see `cli`
    from bylaw.models.manners import Manners  # noqa: PLC0415  # see `cli`

    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?),(\d{1,9}(?:\.\d{1,9})?)", price)
    if price and not found:
        raise ModelError(f"--price {price[:40]} is no price", "write IN,OUT per million tokens, for example --price 0.5,1.5")
    prices = (float(found[1]), float(found[2])) if found else (None, None)
    return Manners(concurrency=concurrency, price_in=prices[0], price_out=prices[1])
