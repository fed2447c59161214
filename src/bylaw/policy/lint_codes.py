"""Every code a lint can report, with its usual level and its meaning in one line: for docs/lint.md, SARIF and the tests.

BL0xx cannot be read, BL1xx references and overlays, BL2xx examples, BL3xx prose, BL4xx rules, BL5xx evaluation, ownership and
sign-off, BL6xx against an earlier version. An error breaks a promise of the format; a warning is for a person to judge.
"""

from typing import Final, Literal, NamedTuple


class Code(NamedTuple):
    """What a code means. `level` is the usual one; `also` says when a finding has the other."""

    level: Literal["error", "warning"]
    meaning: str
    fix: str
    also: str = ""


CODES: Final[dict[str, Code]] = {
    "BL001": Code("error", "the file cannot be read as a policy", "Follow the hint; the line is where reading stopped."),
    "BL002": Code("error", "two clauses have the same id", "Rename one of them."),
    "BL101": Code("error", "a clause or a style is named that does not exist", "Name one that exists, or remove the reference."),
    "BL102": Code("error", "a rule names a tool without a schema", "Add tools/NAME.json."),
    "BL103": Code("error", "clauses override each other in a circle", "Break the circle of `overrides`."),
    "BL104": Code("error", "a weaker layer overrides a stronger one", "Tighten instead, or move the clause to the stronger layer."),
    "BL105": Code(
        "error",
        "`refs` names a framework or a row that does not exist",
        "Take the suggested id, or look it up.",
        "warning where bylaw does not know all rows of the framework",
    ),
    "BL106": Code("error", "an overlay loosens a clause without the right to", "Declare it under `loosens`, and have it signed."),
    "BL107": Code("error", "two overlays of law contradict each other", "Have the legal owner decide."),
    "BL108": Code("warning", "a style is defined and no clause keeps it", "Name it in a clause, or remove it."),
    "BL109": Code(
        "warning", "an overlay loosens a clause, and another rule still stops what that frees, shown on an event", "Loosen that clause too."
    ),
    "BL201": Code("warning", "no example on one side", "Add a good or a bad example."),
    "BL202": Code("error", "a dialogue does not end with an answer", "End it with an `assistant:` line."),
    "BL203": Code("error", "an eval example asks exactly what a train example asks", "Reword one, or move it to the other split."),
    "BL204": Code("error", "the rules let a bad example through, or answer it otherwise than expected", "Change the rule or the example."),
    "BL205": Code("error", "the rules stop a good example", "Narrow the rule."),
    "BL206": Code("error", "an eval example is nearly a train example", "Ask something else in one of them."),
    "BL207": Code("error", "the same dialogue is a good and a bad example", "Decide which it is, or show what differs."),
    "BL301": Code("error", "the norm requires nothing", "Say what is required with MUST, MUST NOT, SHOULD or MAY."),
    "BL302": Code("warning", "a vague word in the norm", "Say what exactly, or define it in the glossary.", "error from severity high on"),
    "BL303": Code("warning", "a promise that no test can prove", "Say what the model does."),
    "BL304": Code("warning", "no rationale", "Say why."),
    "BL305": Code("error", "a hidden character, or a letter of another alphabet inside a word", "Delete it, or type the word again."),
    "BL306": Code("error", "the verb of the norm and the block disagree", "Make both say the same."),
    "BL307": Code("warning", "more than two MUST in one sentence", "Write a sentence for each duty."),
    "BL308": Code("error", "the norm and the rule speak of different currencies", "Make both name the same currency."),
    "BL309": Code("error", "the norm and the rules name different tools", "Make both name the same tools."),
    "BL310": Code("warning", "two clauses have the same norm", "Join them, or say what differs."),
    "BL311": Code("warning", "the rationale holds a duty", "Move the duty to the norm."),
    "BL312": Code("warning", "a word is defined and never used", "Use it, or remove it from the glossary."),
    "BL313": Code("error", "struck-out words in the norm or the rationale, which still hold", "Delete them."),
    "BL314": Code("warning", "a section without an id under a clause holds a duty, and is in force nowhere", "Move the duty to the norm."),
    "BL401": Code("error", "a condition cannot be meant", "Follow the hint."),
    "BL402": Code("error", "an approval without approvers or without an end", "Write `approvers` and `ttl`."),
    "BL403": Code("error", "a rule decides by a number that the norm does not mention", "Make both say the same number."),
    "BL404": Code("warning", "a rule is switched off (`when: false`)", "Remove it, or write when it holds."),
    "BL405": Code("error", "two rules contradict each other, shown on an event", "Narrow one, or write `overrides`."),
    "BL406": Code("error", "no event was found that a rule matches", "Compare the condition with the tool's schema."),
    "BL407": Code("warning", "a stricter rule always matches too, shown on an event", "Remove the rule, or narrow the stricter one."),
    "BL408": Code("warning", "a clause goes before another whose stricter rule still decides", "Take the case out of the stricter rule."),
    "BL409": Code("warning", "too many rules to compare them all", "Name tools, split wide conditions or the policy."),
    "BL410": Code("warning", "a condition reads an argument that a call may leave out", "List it under `required`, or ask `has(...)`."),
    "BL411": Code("warning", "an approver of whom neither norm nor glossary speaks", "Say in the norm who decides."),
    "BL412": Code("warning", "a redaction without a detector", "Write `detect`."),
    "BL413": Code("error", "a tool's schema says at its top what no call is held to", "Write `properties`, with a `type` each."),
    "BL501": Code("error", "nobody owns the clause", "Write `owner`, or `owners` in policy.yaml."),
    "BL502": Code("warning", "no evaluation plan", "Write `eval`."),
    "BL503": Code("warning", "too few cases to show the promised rate", "Raise n, or ask for less."),
    "BL504": Code("warning", "the norm with its styles, or a ruling, does not fit a judge's card", "Split the clause."),
    "BL505": Code("warning", "an overlay's basis was not checked for a quarter", "Check it, and write the date."),
    "BL506": Code("error", "a sign-off is missing", "Have it read and signed."),
    "BL507": Code("error", "a review record does not count", "Remove it, and sign again."),
    "BL508": Code("warning", "a line of the sign-off table matches no clause", "Correct the pattern."),
    "BL509": Code("warning", "a check is dated in the future", "Write the day of the check."),
    "BL601": Code("error", "the meaning changed and the version did not", "Raise the version."),
    "BL602": Code("error", "a clause id is gone, so that old logs cannot be resolved", "Keep the clause under its id."),
    "BL603": Code("error", "the version went backwards", "Raise the version above the earlier one."),
}
