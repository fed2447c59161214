"""A gateway that knows a folder where its policy is worked on, with reviewers whose private keys lie beside it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bylaw.govern import keys
from bylaw.govern.keys import Grant
from bylaw.policy import reviews
from bylaw.serve.wiring import Wiring
from tests.serve.console.place import Place, known, place
from tests.serve.test_serving import edited

SIGNOFFS = 'signoffs:\n  - {clauses: "money.*", roles: [payments-risk], count: 1}\n  - {clauses: "advice.*", roles: [legal], count: 1}\n'
REVIEWERS = {"lena": "payments-risk", "omar": "legal"}
PEOPLE = {"lena": ("payments-risk",), "omar": ("legal", "viewer"), "mia": ("payments-risk",), "kim": ("support-lead", "viewer")}


def draft(folder: Path) -> Path:
    """The example policy with another limit, and reviewers who have a key beside it; their keys."""
    made = edited(folder / "draft", "200 EUR", "150 EUR")
    manifest = (made / "policy.yaml").read_text().replace("styles:\n", f"{SIGNOFFS}styles:\n", 1)
    for name, role in REVIEWERS.items():
        manifest += f'  - {{name: {name}, roles: [{role}], key: "{reviews.new_key(folder / f"{name}.pem")}"}}\n'
    (made / "policy.yaml").write_text(manifest)
    return made


@contextmanager
def drafted(folder: Path) -> Iterator[Place]:
    """The gateway, and keys for its reviewers."""
    with place(folder / "data", wiring=Wiring(draft=draft(folder))) as found:
        for name, roles in PEOPLE.items():
            _, found.people[name] = keys.create(found.store, found.ledger.append, Grant(name, roles))
        for name in PEOPLE:
            known(found, found.people[name])
        yield found
