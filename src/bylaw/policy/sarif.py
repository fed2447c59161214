"""Findings as SARIF 2.1.0, the format in which code hosts show them beside the line.

Paths are relative to where the command ran, with forward slashes, since a code host knows a file by its path in the repository. A
fingerprint of code, clause and file keeps a finding the same when lines move.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from bylaw._version import __version__
from bylaw.policy.lint_codes import CODES
from bylaw.types import Finding

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def sarif(findings: Sequence[Finding], path: Path, root: Path) -> dict[str, Any]:
    """A SARIF log of one run over the policy at `path`; its files are named relative to `root`."""
    codes = list(CODES)
    driver = {"name": "bylaw policy lint", "semanticVersion": __version__, "rules": [_rule(code) for code in codes]}
    seen: Counter[str] = Counter()
    results = []
    for one in findings:
        uri = _uri(one, path, root)
        same = f"{one.code} {uri} {one.clause}"
        seen[same] += 1
        results.append(
            {
                "ruleId": one.code,
                "ruleIndex": codes.index(one.code),
                "level": one.level,
                "message": {"text": f"{f'[{one.clause}] ' if one.clause else ''}{one.message}\nFix: {one.fix}"},
                "locations": [
                    {
                        "physicalLocation": {
                            "artifactLocation": {"uri": uri, "uriBaseId": "%SRCROOT%"},
                            "region": {"startLine": max(one.place.line, 1)},
                        }
                    }
                ],
                "partialFingerprints": {"bylaw/v1": hashlib.sha256(f"{same} {seen[same]}".encode()).hexdigest()},
            }
        )
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(code: str) -> dict[str, Any]:
    row = CODES[code]
    also = f" ({row.also})" if row.also else ""
    return {
        "id": code,
        "shortDescription": {"text": f"{row.meaning[0].upper()}{row.meaning[1:]}"},
        "help": {"text": f"{row.fix} Usual level: {row.level}{also}."},
        "defaultConfiguration": {"level": row.level},
    }


def _uri(finding: Finding, path: Path, root: Path) -> str:
    """The file of a finding relative to `root`; of a policy outside it, relative to the policy itself."""
    folder = path if path.is_dir() else path.parent
    name = finding.place.file or ("policy.yaml" if path.is_dir() else path.name)
    relative = os.path.relpath(folder.resolve() / name, root.resolve())
    return quote((name if relative.startswith("..") else relative).replace(os.sep, "/"))
