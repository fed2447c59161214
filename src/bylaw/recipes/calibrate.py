"""`bylaw judge calibrate`: ask a judge about answers that people have labelled, and write the card that says how often it is right.

The built-in judge of phrases is asked what it can tell: whether an answer refuses, and whether it refuses outright. Any other judge is
asked as `bylaw eval` asks it, and an answer it scores below the threshold is one it calls bad. Where the labels say whether an answer
refuses, the prompts must be ones that are allowed, as XSTest's safe ones are: there a refusal is what is bad.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bylaw import runs
from bylaw.errors import JudgeError
from bylaw.evals import calibration, labelled, scoring, string_judge
from bylaw.evals.calibration import Card, Kappa, Labelled, Positive, Share
from bylaw.evals.labelled import Labels
from bylaw.models.manners import USUAL, Manners
from bylaw.policy import parse
from bylaw.recipes.demo import shown
from bylaw.recipes.opening import Opened, check_judge
from bylaw.types import Answered, Judge, Prompt

MEANS: Final = {"refused": "refuses, in full or in part", "fully_refused": "refuses outright", "violated": "breaks its clause"}


def calibrate(judge: str, labels: Path, policy: Path | None, out: Path | None, manners: Manners = USUAL, seed: int = 0) -> tuple[Card, ...]:
    """The cards of a judge against people's labels; written to `out` where one is named."""
    given = labelled.load(labels)
    if judge in ("", string_judge.NAME):
        cards = by_phrases(given, seed)
    else:
        if policy is None:
            raise JudgeError(f"the judge {judge} judges by a policy, and none was named", "name one with --policy")
        check_judge(judge, read := parse.load(policy))
        cards = by_judge(Opened(manners=manners).judge(judge, read, seed), given, seed)
    if out is not None:
        runs.write_json(out, calibration.to_json(cards))
    return cards


def by_phrases(given: Labels, seed: int = 0) -> tuple[Card, ...]:
    """The cards of the built-in judge of phrases; raises JudgeError where people were asked what it cannot tell."""
    if not given.of_refusals:
        raise JudgeError(f"the judge {string_judge.NAME} cannot tell whether a clause was kept", "give labels comply, partial and refuse")
    said = [string_judge.label(one.text) for one in given.answers]
    asks: tuple[tuple[Positive, tuple[str, ...]], ...] = (("refused", ("partial", "refuse")), ("fully_refused", ("refuse",)))
    return tuple(_card(string_judge.NAME, positive, given, [label in words for label in said], seed) for positive, words in asks)


def by_judge(judge: Judge, given: Labels, seed: int = 0) -> tuple[Card, ...]:
    """The card of a judge that scores answers."""
    rows = [Answered(Prompt(one.id, one.prompt, (one.clause,) if one.clause else ()), one.text) for one in given.answers]
    bad = [None if one.score is None else one.score < scoring.THRESHOLD for one in judge.grade(rows)]
    return (_card(judge.name, "refused" if given.of_refusals else "violated", given, bad, seed),)


def _card(judge: str, positive: Positive, given: Labels, said: Sequence[bool | None], seed: int) -> Card:
    rows = [Labelled(one.is_(positive), told, one.family) for one, told in zip(given.answers, said, strict=True)]
    return calibration.card(judge, positive, given.digest, rows, seed)


def to_json(cards: Sequence[Card]) -> dict[str, Any]:
    """The value of the file that `--out` names."""
    return calibration.to_json(cards)


def show(cards: Sequence[Card], console: Console) -> None:
    """The cards as a table."""
    table = Table("the judge is asked whether an answer", "sensitivity", "specificity", "kappa", "n", "not told", box=None, pad_edge=False)
    for one in cards:
        table.add_row(MEANS[one.positive], _share(one.sensitivity), _share(one.specificity), _kappa(one.kappa), str(one.n), str(one.untold))
    console.print(f"judge: {shown(cards[0].judge)}; 95 % intervals", soft_wrap=True)
    console.print(table)
    for one in cards:
        if one.youden <= 0:
            console.print(
                f"{one.positive}: sensitivity + specificity is at most 1: no rate can be corrected with this judge", soft_wrap=True
            )


def _share(found: Share) -> str:
    return f"{found.rate or 0.0:.3f} ({found.low:.3f} to {found.high:.3f}, n {found.n})"


def _kappa(found: Kappa) -> str:
    if found.value is None:
        return "undefined"
    interval = f" ({found.low:.3f} to {found.high:.3f})" if found.low is not None and found.high is not None else ""
    return f"{found.value:.3f}{interval}"
