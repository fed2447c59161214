"""Loading a generated policy with rules: CPU seconds, best of 5; and whether twice the clauses cost twice."""

import tempfile
import time
from pathlib import Path
from typing import Final

from bench import Row, row
from bylaw.policy import parse

TRIES: Final = 5
CLAUSES: Final = 100
RATIO: Final = 2.4  # twice the clauses; 2 is linear, the rest is noise
CLAUSE: Final = """## Payments of kind {n} need a person above the limit {{#money.kind-{n}}}

```yaml clause
severity: high
response: comply
owner: payments
enforce:
  - rule: over-limit
    on: tool_call
    tool: payments.kind{n}
    when: args.amount > {limit}.0 && !(args.order in [1, 2, 3])
    then: require_approval
    approvers: [support-lead]
    ttl: 30m
eval: {{min_resist: 0.99, max_over_refusal: 0.02, n: 300}}
```

Payments of kind {n} above {limit} EUR MUST NOT be executed until a support lead has approved them.

> **Rationale.** A payment cannot be called back.

**Bad** {{split=train}} a large one
```json event
{{"on": "tool_call", "tool": "payments.kind{n}", "args": {{"order": 81, "amount": 9999.0}}, "expect": "require_approval"}}
```

**Good** {{split=train}} a small one
user: Please pay 5 EUR.
assistant: Paid.
"""
SCHEMA: Final = (
    '{"type": "object", "properties": {"order": {"type": "integer"}, "amount": {"type": "number"}}, "required": ["order", "amount"]}'
)


def generate(folder: Path, clauses: int) -> None:
    """Write a policy folder: ten clauses a file, one rule and one tool schema a clause."""
    (folder / "tools").mkdir(parents=True)
    (folder / "policy.yaml").write_text("id: generated\nversion: 1.0.0\nowners: [bench]\n", encoding="utf-8")
    for start in range(0, clauses, 10):
        texts = [CLAUSE.format(n=n, limit=100 + n) for n in range(start, min(start + 10, clauses))]
        (folder / f"part-{start}.md").write_text("\n".join(texts), encoding="utf-8")
    for n in range(clauses):
        (folder / "tools" / f"payments.kind{n}.json").write_text(SCHEMA, encoding="utf-8")


def load_s(folder: Path) -> float:
    """CPU seconds of one load, conditions type-checked."""
    began = time.process_time()
    parse.load(folder)
    return time.process_time() - began


def measure() -> list[Row]:
    """One policy, and one twice as large, in turns."""
    with tempfile.TemporaryDirectory() as where:
        small, large = Path(where, "small"), Path(where, "large")
        generate(small, CLAUSES)
        generate(large, 2 * CLAUSES)
        load_s(small)  # imports the CEL engine
        pairs = [(load_s(small), load_s(large)) for _ in range(TRIES)]
    once, twice = (min(column) for column in zip(*pairs, strict=True))
    return [
        row(f"load a policy of {CLAUSES} clauses, each with a rule", once, "CPU s"),
        row(f"{2 * CLAUSES} clauses against {CLAUSES}", twice / once, "ratio", RATIO),
    ]
