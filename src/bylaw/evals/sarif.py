"""A gate's checks as SARIF 2.1.0: what is not passed stands beside the clause that asks for it, where code hosts show findings.

A failed check is an error, one that was not measured a warning. Paths are relative to where the command ran. Without a policy there is no
line to stand beside, and findings have no place.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from bylaw._version import __version__
from bylaw.evals.gate import Check, Kind
from bylaw.types import Clause, Policy

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
RULES: Final[dict[Kind, tuple[str, str]]] = {
    "threshold": ("BG101", "A clause's rate does not meet what its policy asks of a release"),
    "find": ("BG102", "A find of an attacker still breaks"),
    "regression": ("BG103", "Cases that the baseline kept are broken"),
    "same": ("BG201", "The measurements do not speak of the same thing"),
    "unscored": ("BG202", "Too many cases could not be scored"),
}


def sarif(checks: Sequence[Check], policy: Policy | None, path: Path | None, root: Path) -> dict[str, Any]:
    """A SARIF log of one gate; the policy at `path` is named relative to `root`."""
    kinds = list(RULES)
    rules = [{"id": code, "shortDescription": {"text": text}} for code, text in RULES.values()]
    results = []
    for one in checks:
        if one.verdict == "pass":
            continue
        found = policy.clause(one.clause) if policy and one.clause else None
        side = " ".join(part for part in (f"[{one.clause}]" if one.clause else "", one.metric) if part)
        same = "|".join((one.kind, one.clause, one.metric, "" if one.clause else one.why))
        results.append(
            {
                "ruleId": RULES[one.kind][0],
                "ruleIndex": kinds.index(one.kind),
                "level": "error" if one.verdict == "fail" else "warning",
                "message": {"text": f"{side}: {one.sentence()}" if side else one.sentence()},
                "locations": _locations(found, policy, path, root),
                "partialFingerprints": {"bylaw/v1": hashlib.sha256(same.encode("utf-8", "replace")).hexdigest()},
            }
        )
    driver = {"name": "bylaw gate", "semanticVersion": __version__, "rules": rules}
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    }


def _locations(clause: Clause | None, policy: Policy | None, path: Path | None, root: Path) -> list[dict[str, Any]]:
    if policy is None or path is None:
        return []
    file = clause.place.file if clause else ""
    name = file or ("policy.yaml" if path.is_dir() else path.name)
    relative = os.path.relpath((path if path.is_dir() else path.parent).resolve() / name, root.resolve())
    uri = quote((name if relative.startswith("..") else relative).replace(os.sep, "/"))
    region = {"startLine": max(clause.place.line, 1) if clause else 1}
    return [{"physicalLocation": {"artifactLocation": {"uri": uri, "uriBaseId": "%SRCROOT%"}, "region": region}}]
