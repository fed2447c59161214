"""What is kept of thinking: beside the record of the choice it led to, as content that can be deleted.

The clauses it cites are held against the policy in force, and what is found stands in the record (`govern.citing`).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from bylaw.govern import citing
from bylaw.serve.wire import Text
from bylaw.types import Decision, Policy


class Kept(NamedTuple):
    """What a record says of thinking: what can be deleted, and what cannot."""

    contents: dict[str, bytes]
    facts: dict[str, Any]


def kept(thinking: Sequence[Text], decision: Decision, policy: Policy) -> Kept:
    """Thinking for the record of what was decided on its answer."""
    text = "\n".join(one.text for one in thinking)
    said = citing.cited(text, policy)
    contents = {"thinking": text.encode("utf-8", "surrogatepass")}
    if said.invented:
        contents["invented"] = "\n".join(said.invented).encode("utf-8", "surrogatepass")
    found = citing.findings(said, decision)
    return Kept(contents, {"citations": found} if found else {})
