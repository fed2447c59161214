"""Lints that hold the norm against the rules: numbers, currencies, tools and approvers must be the same in both.

People read the norm, the gate runs the rule; where they name different things, one of them is wrong. Words are compared as they stand.
"""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from bylaw.types import Clause, Finding, Policy, Rule

_LITERAL: Final = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""")
_NUMBER: Final = re.compile(r"(?<![\w.])\d+(?:\.\d+)?")
_IN_PROSE: Final = re.compile(r"\d+(?:[ ,.'\u00a0\u202f]\d{3})+(?:[.,]\d{1,2})?(?!\d)|\d+(?:[.,]\d+)?")
_POINTER: Final = re.compile(r"(?:\b(?:section|clause|article|art\.|chapter|paragraph|annex|page|no\.)|§)\s*\d[\d.]*", re.IGNORECASE)
_SMALL: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
)
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety"
_VALUES: Final = {word: number for number, word in enumerate(_SMALL.split(" "))} | {
    word: 10 * number for number, word in enumerate(_TENS.split(" "), 2)
}
_SCALES: Final = {"hundred": 100, "thousand": 1_000, "million": 1_000_000}
_WORDED: Final = re.compile(
    rf"\b(?:{'|'.join((*_VALUES, *_SCALES))})(?:(?:-|\s+|\s+and\s+)(?:{'|'.join((*_VALUES, *_SCALES))}))*\b", re.IGNORECASE
)
_OBVIOUS: Final = frozenset({0.0, 1.0})  # counts and indices that prose need not repeat
_SIGNS: Final = {"€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR"}
_CODES: Final = (
    "EUR",
    "USD",
    "GBP",
    "CHF",
    "JPY",
    "CAD",
    "AUD",
    "NZD",
    "SGD",
    "HKD",
    "INR",
    "CNY",
    "SEK",
    "NOK",
    "DKK",
    "PLN",
    "CZK",
    "BRL",
    "ZAR",
)
_DOLLARS: Final = frozenset({"USD", "CAD", "AUD", "NZD", "SGD", "HKD"})
_SPELLED: Final = {"euro": "EUR", "euros": "EUR", "francs": "CHF", "yen": "JPY", "rupees": "INR", "sterling": "GBP"}
_CODE: Final = re.compile(rf"(?<![A-Za-z])({'|'.join(_CODES)})(?![A-Za-z])")
_SUM: Final = r"(?<![\d.,])\d[\d ,.'\u00a0\u202f]{0,24}"  # bounded, so that no text of digits is read twice
_MONEY: Final = re.compile(rf"(?:[€£¥₹$]|\b(?:{'|'.join(_CODES)}))\s?({_SUM})|({_SUM})(?:[€£¥₹$]|(?:{'|'.join(_CODES)})\b)")
_TICKED: Final = re.compile(r"`([A-Za-z0-9_][A-Za-z0-9_.:-]{0,127})`")
_FIELD: Final = re.compile(r"\bargs((?:\.[A-Za-z_]\w*)+)")
_STEM: Final = 5  # letters by which a role's word is known again in prose: `officer`, `officers`


def findings(policy: Policy, clause: Clause) -> Iterator[Finding]:
    """All findings about one clause whose rules and norm may say different things."""
    if not clause.norm:
        return
    for rule in clause.enforce:
        yield from _numbers(clause, rule)
        yield from _currencies(policy, clause, rule)
        yield from _approvers(policy, clause, rule)
    yield from _styles(policy, clause)
    yield from _tools(policy, clause)


def _numbers(clause: Clause, rule: Rule) -> Iterator[Finding]:
    """A number that decides must stand in the norm, where people read it."""
    written = _written(clause.norm)
    for text in dict.fromkeys(_NUMBER.findall(_LITERAL.sub("", rule.when))):
        if float(text) not in written | _OBVIOUS:
            what = f"rule {rule.id} decides by {text}, which the norm does not mention"
            yield Finding("BL403", "error", rule.place, what, "Make the norm and the condition say the same number.", clause.id)


def _written(prose: str) -> set[float]:
    """The numbers of a text, in figures or in words; those that point to a section or an article decide nothing."""
    prose = _POINTER.sub("", prose)
    spelled = {_spelled(match[0]) for match in _WORDED.finditer(prose)}
    return {number for text in _IN_PROSE.findall(prose) for number in _readings(text)} | spelled


def _spelled(text: str) -> float:
    """`two hundred and fifty` as 250."""
    total = part = 0
    for word in re.findall(r"[a-z]+", text.lower()):
        if word in _SCALES:
            part = max(part, 1) * _SCALES[word]
            if word != "hundred":
                total, part = total + part, 0
        else:
            part += _VALUES.get(word, 0)
    return float(total + part)


def _readings(text: str) -> set[float]:
    """What a number in prose can mean: `1,000` is a thousand in one country and one in another."""
    readings = {float(re.sub(r"\D", "", text))}
    decimal = re.fullmatch(r"(.*\d)[.,](\d+)", text)
    return readings | ({float(f"{re.sub(r'[^0-9]', '', decimal[1])}.{decimal[2]}")} if decimal else set())


def _currencies(policy: Policy, clause: Clause, rule: Rule) -> Iterator[Finding]:
    said, meant = currencies(clause.norm), _meant(policy, rule)
    if said and meant and not said & meant:
        what = f"rule {rule.id} counts in {', '.join(sorted(meant))}, the norm in {', '.join(sorted(said))}"
        yield Finding("BL308", "error", rule.place, what, "Make the norm, the rule and the tool's schema name one currency.", clause.id)


def currencies(prose: str) -> frozenset[str]:
    """The currencies a text names: codes, signs beside a number, and words; `$` may be any dollar."""
    found = set(_CODE.findall(prose)) | {code for sign, code in _SIGNS.items() if sign in prose}
    if re.search(r"\$\s?\d|\d\s?\$|\bdollars?\b", prose) and not found & _DOLLARS:
        found |= _DOLLARS
    if re.search(r"\d\s?pounds\b", prose):
        found.add("GBP")
    return frozenset(found | {code for word, code in _SPELLED.items() if re.search(rf"\b{word}\b", prose, re.IGNORECASE)})


def _meant(policy: Policy, rule: Rule) -> frozenset[str]:
    """The currencies a rule counts in: codes its condition compares with, in the names of its fields, and in their descriptions."""
    found = {code for literal in _LITERAL.findall(rule.when) for code in _CODES if literal[1:-1].upper() == code}
    if found:
        return frozenset(found)
    for path in _FIELD.findall(rule.when):
        names = path[1:].split(".")
        found |= {code for name in names for part in name.split("_") for code in _CODES if part.upper() == code}
        for tool in rule.tools:
            found |= currencies(_described(policy.tools.get(tool, {}), names))
    return frozenset(found)


def _described(schema: Any, names: list[str]) -> str:
    for name in names:
        fields = schema.get("properties") if isinstance(schema, Mapping) else None
        schema = fields.get(name) if isinstance(fields, Mapping) else None
    text = schema.get("description") if isinstance(schema, Mapping) else ""
    return text if isinstance(text, str) else ""


def _styles(policy: Policy, clause: Clause) -> Iterator[Finding]:
    """Sums of money in a style that the norm does not mention: the limit moved in one place only."""
    for style in policy.styles:
        if style.id in clause.style:
            for text in dict.fromkeys(number for pair in _MONEY.findall(style.text) for number in _IN_PROSE.findall(" ".join(pair))):
                if not _readings(text) & _written(clause.norm):
                    what = f"style {style.id} speaks of {text}, which the norm does not mention"
                    yield Finding("BL403", "error", clause.place, what, "Make the norm and the style say the same number.", clause.id)


def _tools(policy: Policy, clause: Clause) -> Iterator[Finding]:
    """Tools that the norm names in backticks against those its rules name. A norm that names none says it in words."""
    known = set(policy.tools) | {tool for rule in clause.enforce for tool in rule.tools}
    ruled = {tool for rule in clause.enforce for tool in rule.tools}
    conditions = " ".join(rule.when for rule in clause.enforce)
    ticked = list(dict.fromkeys(_TICKED.findall(f"{clause.title} {clause.norm}")))
    said = [name for name in ticked if name in known]
    everywhere = any(not rule.tools and "tool_call" in rule.on for rule in clause.enforce)
    for name in ticked:
        near = get_close_matches(name, sorted(known), n=1, cutoff=0.8) if name not in known and "." in name else []
        if near and policy.clause(name) is None:
            what = f"the norm names the tool {name!r}, which there is not"
            yield Finding("BL309", "error", clause.place, what, f"Did you mean `{near[0]}`?", clause.id)
    if not said or not ruled or everywhere:
        return
    for name in said:
        if name not in ruled and name not in conditions:
            what = f"the norm names the tool {name!r}, its rules only {', '.join(sorted(ruled))}"
            yield Finding("BL309", "error", clause.place, what, "Add the tool to a rule, or take it out of the norm.", clause.id)
    for rule in clause.enforce:
        for name in rule.tools:
            if name not in said:
                what = f"rule {rule.id} names the tool {name!r}, the norm only {', '.join(said)}"
                yield Finding("BL309", "error", rule.place, what, "Name it in the norm too, or take it out of the rule.", clause.id)


def _approvers(policy: Policy, clause: Clause, rule: Rule) -> Iterator[Finding]:
    """A role that approves must be known: from the norm, the glossary, the owners, the sign-off table or the reviewers."""
    offices = {*policy.owners, *(role for line in policy.signoffs for role in line.roles)}
    offices |= {role for reviewer in policy.reviewers for role in reviewer.roles} | {clause.owner}
    prose = " ".join((clause.norm, *policy.glossary, *policy.glossary.values())).casefold()
    for role in rule.approvers:
        parts = [part for part in re.split(r"[-_.]", role.casefold()) if part]
        if role not in offices and not all(re.search(rf"\b{re.escape(part[:_STEM])}", prose) for part in parts):
            what = f"rule {rule.id} asks {role!r}, of whom neither the norm nor the glossary speaks"
            yield Finding(
                "BL411", "warning", rule.place, what, "Say in the norm who decides, or define the role in the glossary.", clause.id
            )
