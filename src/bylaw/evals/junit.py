"""A gate's checks as JUnit XML, which every CI server shows: a failed check is a failure, one that was not measured an error."""

from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree

from bylaw.evals.gate import Check

_TITLES: Final = {"threshold": "thresholds", "find": "finds", "regression": "regressions", "same": "same thing", "unscored": "unscored"}


def junit(checks: Sequence[Check], target: str) -> str:
    """The whole file. Characters that XML cannot say are replaced."""
    top = ElementTree.Element("testsuites", _counts(checks, f"bylaw gate: {plain(target)}"))
    for kind, title in _TITLES.items():
        mine = [one for one in checks if one.kind == kind]
        if not mine:
            continue
        suite = ElementTree.SubElement(top, "testsuite", _counts(mine, title))
        for one in mine:
            name = plain(" ".join(part for part in (one.clause or one.severity, one.metric) if part) or title)
            case = ElementTree.SubElement(suite, "testcase", {"classname": f"bylaw.{kind}", "name": name})
            if one.verdict == "fail":
                _said(ElementTree.SubElement(case, "failure", {"type": kind, "message": plain(one.sentence())}), one)
            elif one.verdict != "pass":
                _said(ElementTree.SubElement(case, "error", {"type": "not measured", "message": plain(one.sentence())}), one)
    ElementTree.indent(top)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(top, encoding="unicode") + "\n"


def _counts(checks: Sequence[Check], name: str) -> dict[str, str]:
    said = [one.verdict for one in checks]
    counts = {"tests": len(said), "failures": said.count("fail"), "errors": said.count("not measured")}
    return {"name": name, **{key: str(value) for key, value in counts.items()}}


def _said(element: ElementTree.Element, one: Check) -> None:
    element.text = plain("\n".join(part for part in (one.sentence(), f"cases: {', '.join(one.cases)}" if one.cases else "") if part))


def plain(text: str) -> str:
    """Text as XML 1.0 can say it: no control characters, no half surrogate pairs."""
    return "".join(
        char if char in "\t\n" or " " <= char < "\ud800" or "\ue000" <= char <= "\ufffd" or char > "\uffff" else "\ufffd" for char in text
    )
