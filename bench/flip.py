"""Change a policy and align again: `python -m bench.flip OUT [SEED]`.

Nine of the clauses that are not about harm change their response in a copy of the Markdown (comply to refuse; refuse and
safe_complete to comply), the ordinary command runs on the copy, and the aligned model is measured against the new policy: on the
flipped clauses and on the others.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

from bylaw.evals import runner, scorers
from bylaw.policy import parse
from bylaw.recipes.places import example_policy

FLIPS: Final = 9
TO: Final = {"comply": "refuse", "refuse": "comply", "safe_complete": "comply"}


def flipped_copy(folder: Path, seed: int) -> list[str]:
    """Copy the policy and flip nine clauses in it; returns their ids."""
    shutil.copytree(example_policy("policyworld"), folder)
    able = [clause.id for clause in parse.load(folder).clauses if not clause.id.startswith("harm.")]
    chosen = sorted(Random(f"flip-{seed}").sample(able, FLIPS))
    for file in folder.glob("*.md"):
        text = file.read_text(encoding="utf-8")
        for name in chosen:
            block = re.compile(r"(\{#" + re.escape(name) + r"\}.*?\nresponse: )(\w+)", re.DOTALL)
            text = block.sub(lambda found: found.group(1) + TO[found.group(2)], text, count=1)
        file.write_text(text, encoding="utf-8")
    return chosen


def main(arguments: Sequence[str]) -> None:
    """Flip, align, report."""
    out, seed = Path(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 0
    out.mkdir(parents=True, exist_ok=True)
    chosen = flipped_copy(out / "policy", seed)
    options = [
        "--policy",
        str(out / "policy"),
        "--model",
        "embedded",
        "--seed",
        str(seed),
        "--arms",
        "sft,sft_rl",
        "--out",
        str(out / "run"),
    ]
    subprocess.run([sys.executable, "-m", "bylaw", "align", "deliberative", *options], check=True)
    rows = [row for row in runner.read_rows(out / "run" / "rows" / "measured" / "sft_rl.jsonl") if row.cell != "unseen_wrappers"]
    print("flipped:", ", ".join(chosen))
    parts = {"flipped": [r for r in rows if r.clause in chosen], "unchanged": [r for r in rows if r.clause not in chosen]}
    for title, part in parts.items():
        exact = scorers.metrics(part)["exact"]
        print(
            f"{title:10s} exact {100 * (exact.rate or 0):.1f} % ({100 * (exact.low or 0):.1f}-{100 * (exact.high or 0):.1f}), n {exact.n}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
