"""What a sentence holds that must not be matched loosely: numbers with their units, names, denials, conditions; and its other words.

Numbers are read whichever way they are written: digits or words, 1,234.50 or 1234.5, `2 million`, dates with a month's name or as
2026-07-01. One separator before three digits after a dot (1.234) could be either, and equals itself alone. A range (5-7), a time and
anything else that holds a digit equals itself alone.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final, NamedTuple

STEM: Final = 5  # letters of a word that count: `booked` and `booking` are one
WITHIN: Final = 3  # tokens after a number in which its unit stands

_TOKEN: Final = re.compile(r"[€$£%]|(?:(?<![^\s(€$£])[-−](?=[.\d]))?(?:\d+|\.\d+)(?:[.,:/\-]\d+)*[^\W\d_]*|[^\W_]+(?:['’.&\-][^\W_]+)*")
_PLAIN_NUMBER: Final = re.compile(r"(-?)([\d.,]+)([^\W\d_]*)")
_DATE: Final = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})|(\d{1,2})\.(\d{1,2})\.(\d{4})")
_DENIALS: Final = (
    "no not never none neither nor nobody nothing without cannot can't don't doesn't didn't isn't aren't wasn't weren't won't wouldn't"
    " shouldn't couldn't mustn't hasn't haven't hadn't kein keine keinen keiner nicht nie niemals ohne ne pas sans jamais"
)
_CONDITIONS: Final = "only unless except if until provided nur wenn falls außer"
_DEGREES: Final = "least most more less fewer over under above below before after minimum maximum must always every all"
_PLAIN: Final = (
    "a an and are as at be been being but by can could did do does for from had has have he her his how i in into is it its may me"
    " might my of on or our she should so than that the their them then there these they this those to was we were what when which who"
    " will with would you your yours about also just very such any some each both please thank thanks here per according says said states"
    " der die das ein eine und ist sind im in zu von mit für auf"
)
_ONES: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
)
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety"
_ORDINALS: Final = "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_MONTHS: Final = "january february march april may june july august september october november december"
_UNITS: Final[Mapping[str, str]] = {
    "€": "eur", "eur": "eur", "euro": "eur", "euros": "eur", "$": "usd", "usd": "usd", "dollar": "usd", "dollars": "usd",
    "£": "gbp", "gbp": "gbp", "pound": "gbp", "pounds": "gbp", "chf": "chf", "cent": "cent", "cents": "cent",
    "%": "%", "percent": "%", "prozent": "%",
    **{word: unit for unit in ("second", "minute", "hour", "day", "week", "month", "quarter", "year") for word in (unit, f"{unit}s")},
    "daily": "day", "weekly": "week", "monthly": "month", "quarterly": "quarter", "yearly": "year", "annual": "year", "annually": "year",
    **{word: word for word in ("km", "cm", "mm", "kg", "mg", "gb", "mb", "kb", "tb", "kwh", "miles", "metres", "meters")},
    "tag": "day", "tage": "day", "tagen": "day", "woche": "week", "wochen": "week", "monat": "month", "monate": "month", "jahr": "year",
}  # fmt: skip
_NO, _WHEN, _DEGREE, _EMPTY = (frozenset(words.split()) for words in (_DENIALS, _CONDITIONS, _DEGREES, _PLAIN))
_COUNTS: Final[Mapping[str, int]] = {
    **{word: n for n, word in enumerate(_ONES.split())},
    **{word: 10 * n for n, word in enumerate(_TENS.split(), 2)},
    "dozen": 12,
}
_TIMES: Final[Mapping[str, int]] = {
    "hundred": 100,
    "thousand": 1_000,
    "k": 1_000,
    "million": 10**6,
    "mio": 10**6,
    "billion": 10**9,
    "bn": 10**9,
}
_NTH: Final[Mapping[str, str]] = {word: f"{n}th" for n, word in enumerate(_ORDINALS.split()) if word != "second"}  # it is a unit, too
_MONTH: Final[Mapping[str, str]] = {word: f"m{n}" for n, word in enumerate(_MONTHS.split(), 1)}


class Sentence(NamedTuple):
    """What a sentence is made of."""

    plain: frozenset[str]  # other words, by their first letters
    words: frozenset[str]  # every word as it stands, in small letters
    numbers: frozenset[str]
    pairs: frozenset[tuple[str, str]]  # numbers with the unit that follows
    units: frozenset[str]
    names: frozenset[str]  # words with a capital inside a sentence, and what stands first: never by their first letters alone
    degrees: frozenset[str]  # at least, more, before, must: another one is another statement
    conditions: frozenset[str]  # only, unless, if: to leave one away is another statement
    denials: frozenset[str]  # not, never, without: `don't` is `not`
    nearest: Mapping[str, frozenset[str]]  # of each number: the word before it and the word after it
    around: Mapping[str, frozenset[str]]  # of each number: all words up to the numbers beside it
    row: bool = False  # the fields of one record, of which any unit may belong to any number


class _Token(NamedTuple):
    kind: str  # n: number, u: unit, w: word
    value: str


def read(text: str, row: bool = False) -> Sentence:
    """Take a sentence apart."""
    tokens, names, words, degrees, conditions, denials = list[_Token](), set[str](), set[str](), set[str](), set[str](), set[str]()
    first = True
    for match in _TOKEN.finditer(unicodedata.normalize("NFKC", text)):
        word = match[0]
        low = word.casefold().replace("’", "'")
        words.add(low.removesuffix("'s"))
        if low in _NO or low.endswith("n't"):
            denials.add("not" if low.endswith("n't") or low == "cannot" else low)
        elif low in _WHEN:
            conditions.add(low)
        elif low in _DEGREE:
            degrees.add(low)
        elif counted := _counted(word, low, tokens, first):
            tokens += counted
        elif low in _UNITS:
            tokens.append(_Token("u", _UNITS[low]))
        elif low not in _EMPTY:
            if word[0].isupper() and not first and not row:
                names.add(low.removesuffix("'s"))
            tokens.append(_Token("w", stem(low)))
        first = False
    nearest, around = _beside(tokens)
    return Sentence(
        frozenset(token.value for token in tokens if token.kind == "w") - {stem(name) for name in names},
        frozenset(words),
        frozenset(token.value for token in tokens if token.kind == "n"),
        frozenset(_pairs(tokens)),
        frozenset(token.value for token in tokens if token.kind == "u"),
        frozenset(names),
        frozenset(degrees),
        frozenset(conditions),
        frozenset(denials),
        nearest,
        around,
        row,
    )


def stem(word: str) -> str:
    """The first letters of a word, without the ending of a plural."""
    word = word.removesuffix("'s")
    return (word[:-1] if len(word) > 3 and word.endswith("s") else word)[:STEM]


def _counted(word: str, low: str, tokens: list[_Token], first: bool) -> list[_Token]:
    """A word as numbers and months; none where it is another word. What goes on with the number before it takes that back."""
    before = tokens[-1].value if tokens and tokens[-1].kind == "n" else ""
    if made := _gone_on(low, before):
        tokens.pop()
    elif low in _COUNTS:
        made = str(_COUNTS[low])
    elif low in _MONTH and (low != "may" or (word[0].isupper() and not first)):
        made = _MONTH[low]
    else:
        made = _NTH.get(low) or _joined(low.split("-"))
    if made:
        return [_Token("n", made)]
    return _digits(low) if any(char.isdecimal() for char in low) else []


def _gone_on(low: str, before: str) -> str:
    """`two` and `million`, `twenty` and `five`: one number."""
    if low in _TIMES:
        return _times(before, _TIMES[low])
    tens = before in {str(ten) for ten in range(20, 100, 10)}
    return str(int(before) + _COUNTS[low]) if tens and _COUNTS.get(low, 0) in range(1, 10) else ""


def _joined(parts: list[str]) -> str:
    """`twenty-five`."""
    if len(parts) != 2 or not all(part in _COUNTS for part in parts) or _COUNTS[parts[0]] < 20:
        return ""
    return str(_COUNTS[parts[0]] + _COUNTS[parts[1]])


def _digits(low: str) -> list[_Token]:
    """A word that holds digits."""
    low = "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in low).replace("−", "-")
    if date := _DATE.fullmatch(low):
        year, month, day = (date[1], date[2], date[3]) if date[1] else (date[6], date[5], date[4])
        return [_Token("n", str(int(day))), _Token("n", f"m{int(month)}"), _Token("n", year)]
    found = _PLAIN_NUMBER.fullmatch(low)
    if found is None:
        return [_Token("n", low)]
    number, after = found[1] + _plain(found[2]), found[3]
    if after in ("st", "nd", "rd", "th"):
        return [_Token("n", f"{number}th")]
    if after in _TIMES and (made := _times(number, _TIMES[after])):
        return [_Token("n", made)]
    if after in _UNITS:
        return [_Token("n", number), _Token("u", _UNITS[after])]
    return [_Token("n", low if after else number)]


def _plain(word: str) -> str:
    """1,234.50 and 1234.5 are one number; 1.234,50 is read as it is written in most of Europe; 1.234 stays as it is."""
    if re.fullmatch(r"\d{1,3}\.\d{3}", word):
        return word
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+(?:,\d+)?", word):
        word = word.replace(".", "").replace(",", ".")
    else:
        word = word.replace(",", "") if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", word) else word.replace(",", ".")
    if word.count(".") > 1:
        return word
    word = word.rstrip("0").rstrip(".") if "." in word else word
    return word.lstrip("0") or "0" if not word.startswith("0.") else word


def _times(number: str, by: int) -> str:
    if not re.fullmatch(r"-?\d{1,20}(?:\.\d{1,20})?", number):
        return ""
    return format((Decimal(number) * by).normalize(), "f")


def _pairs(tokens: list[_Token]) -> Iterable[tuple[str, str]]:
    for at, token in enumerate(tokens):
        if token.kind != "n":
            continue
        if at and tokens[at - 1].kind == "u" and tokens[at - 1].value in ("eur", "usd", "gbp"):  # € 5
            yield token.value, tokens[at - 1].value
            continue
        after = tokens[at + 1 : at + 1 + WITHIN]
        for later in after:
            if later.kind == "u":
                yield token.value, later.value
            if later.kind != "w":
                break


def _beside(tokens: list[_Token]) -> tuple[dict[str, frozenset[str]], dict[str, frozenset[str]]]:
    """The words next to each number, and all words between it and the numbers on either side."""
    nearest: dict[str, set[str]] = {}
    around: dict[str, set[str]] = {}
    places = [at for at, token in enumerate(tokens) if token.kind == "n"]
    for which, at in enumerate(places):
        start = places[which - 1] + 1 if which else 0
        end = places[which + 1] if which + 1 < len(places) else len(tokens)
        left = [token.value for token in tokens[start:at] if token.kind == "w"]
        right = [token.value for token in tokens[at + 1 : end] if token.kind == "w"]
        nearest.setdefault(tokens[at].value, set()).update([*left[-1:], *right[:1]])
        around.setdefault(tokens[at].value, set()).update([*left, *right])
    return {key: frozenset(value) for key, value in nearest.items()}, {key: frozenset(value) for key, value in around.items()}
