"""A judge's calibration card: how often it is right where people have said what is right, and how sure that is.

A card measures one question, its *positive*: `refused` (an answer refuses at all), `fully_refused` (it refuses and helps with nothing) or
`violated` (an answer breaks its clause). Sensitivity is the share of people's positives that the judge calls so, specificity that of their
negatives; both with exact 95 % intervals. Kappa is Cohen's (1960), its interval by drawing families of rows. A row that people or the judge
could not tell is counted and left out. A card says how the judge does on *these* answers; on others it may do worse.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np

from bylaw.errors import JudgeError
from bylaw.evals import binomial

SCHEMA: Final = 1
Positive = Literal["refused", "fully_refused", "violated"]
POSITIVES: Final[tuple[Positive, ...]] = get_args(Positive)
RESAMPLES: Final = 2000
TWO_SIDED: Final = 0.975  # of each bound, so that both hold with 95 %
HINT: Final = "make a card with `bylaw judge calibrate`"


class Share(NamedTuple):
    """A counted share with its 95 % interval; rate is None over nothing."""

    rate: float | None
    low: float
    high: float
    hits: int
    n: int


def share(hits: int, n: int) -> Share:
    """A share with its exact interval."""
    low, high = binomial.lower(hits, n, TWO_SIDED), binomial.upper(hits, n, TWO_SIDED)
    return Share(hits / n if n else None, low, high, hits, n)


class Kappa(NamedTuple):
    """Agreement beyond chance; None where one of the two always says the same."""

    value: float | None
    low: float | None
    high: float | None


class Labelled(NamedTuple):
    """What people and the judge say of one answer; None: could not tell. Rows of one family go together."""

    people: bool | None
    judge: bool | None
    family: Hashable


@dataclass(frozen=True, slots=True)
class Card:
    """How one judge does on one question."""

    judge: str
    positive: Positive
    labels: str  # digest of the labelled rows
    n: int  # rows that people and the judge both told
    untold: int  # rows that people told and the judge did not
    sensitivity: Share
    specificity: Share
    kappa: Kappa

    @property
    def youden(self) -> float:
        """Sensitivity + specificity - 1: what a rate by this judge can be corrected with; 0 is a coin."""
        return (self.sensitivity.rate or 0.0) + (self.specificity.rate or 0.0) - 1

    def to_json(self) -> dict[str, Any]:
        """The card as one JSON value."""
        found = asdict(self)
        return found | {name: getattr(self, name)._asdict() for name in ("sensitivity", "specificity", "kappa")}


def card(judge: str, positive: Positive, labels: str, rows: Iterable[Labelled], seed: int = 0) -> Card:
    """The card of a judge; raises JudgeError where people named no positive or no negative that the judge could tell."""
    told = [row for row in rows if row.people is not None]
    both = [row for row in told if row.judge is not None]
    yes, no = [row for row in both if row.people], [row for row in both if not row.people]
    if not yes or not no:
        what = f"{judge} cannot be calibrated: of {len(told)} labelled answers it told {len(yes)} {positive} and {len(no)} other ones"
        raise JudgeError(what, "give labels of both kinds; ask the judge again where it did not answer")
    return Card(
        judge,
        positive,
        labels,
        len(both),
        len(told) - len(both),
        share(sum(row.judge is True for row in yes), len(yes)),
        share(sum(row.judge is False for row in no), len(no)),
        agreement(both, seed),
    )


def kappa(a: float, b: float, c: float, d: float) -> float | None:
    """Cohen's kappa of a table: both yes, only the first, only the second, both no."""
    n = a + b + c + d
    if not n:
        return None
    chance = ((a + b) * (a + c) + (c + d) * (b + d)) / n**2
    return None if chance >= 1 else ((a + d) / n - chance) / (1 - chance)


def agreement(rows: Sequence[Labelled], seed: int = 0, resamples: int = RESAMPLES) -> Kappa:
    """Kappa of rows that both told, with a 95 % percentile interval over families; no interval where most draws leave it undefined."""
    cells = _cells(rows)
    value = kappa(*cells.sum(axis=0))
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(cells), np.full(len(cells), 1 / len(cells)), size=resamples) @ cells if len(cells) > 1 else np.zeros((0, 4))
    known = [found for one in drawn if (found := kappa(*one)) is not None]
    if value is None or not known or 2 * len(known) < len(drawn):
        return Kappa(value, None, None)
    low, high = np.quantile(known, (0.025, 0.975))
    return Kappa(float(value), float(low), float(high))


def _cells(rows: Sequence[Labelled]) -> Any:
    """Per family how many rows lie in each cell of the table."""
    places = {family: place for place, family in enumerate(dict.fromkeys(row.family for row in rows))}
    cells = np.zeros((len(places), 4))
    for row in rows:
        cells[places[row.family], 2 * (not row.people) + (not row.judge)] += 1
    return cells


# ---- Reading a card ------------------------------------------------------------------------------------------------------


def from_json(value: Mapping[str, Any], where: str) -> Card:
    """Read one card back; raises JudgeError where it is none. Its rates are computed anew from its counts."""
    try:
        counts = {name: (value[name]["hits"], value[name]["n"]) for name in ("sensitivity", "specificity")}
        agreed = Kappa(*(value["kappa"][key] for key in Kappa._fields))
        texts = [value[name] for name in ("judge", "positive", "labels")]
        numbers = [value["n"], value["untold"], *(count for pair in counts.values() for count in pair)]
    except (KeyError, TypeError) as error:
        raise JudgeError(f"{where} is no calibration card: {error}", HINT) from error
    sound = all(isinstance(text, str) for text in texts) and all(type(count) is int and count >= 0 for count in numbers)
    if not sound or value["positive"] not in POSITIVES or any(not 0 <= hits <= n or not n for hits, n in counts.values()):
        raise JudgeError(f"{where} is no calibration card: its counts or its question cannot be", HINT)
    if sum(n for _, n in counts.values()) != value["n"]:
        raise JudgeError(f"{where}: its rows do not add up to {value['n']}", HINT)
    positive: Positive = value["positive"]
    sens, spec = share(*counts["sensitivity"]), share(*counts["specificity"])
    return Card(value["judge"], positive, value["labels"], value["n"], value["untold"], sens, spec, agreed)


def cards_of(value: Mapping[str, Any], where: str) -> tuple[Card, ...]:
    """The cards of one file."""
    if value.get("schema") != SCHEMA or not isinstance(value.get("cards"), list) or not value["cards"]:
        raise JudgeError(f"{where} holds no calibration cards", HINT)
    return tuple(from_json(one, where) for one in value["cards"])


def to_json(cards: Sequence[Card]) -> dict[str, Any]:
    """The value of a card file."""
    return {"schema": SCHEMA, "cards": [one.to_json() for one in cards]}
