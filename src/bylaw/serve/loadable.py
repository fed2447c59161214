"""Whether a gateway would put a policy in force, found without one: no store, no server, no model. For those who only check a policy."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from bylaw.errors import PolicyError
from bylaw.govern.places import Calendar
from bylaw.govern.rails import ensemble, library
from bylaw.govern.rails.rail import Rail
from bylaw.policy.parse import every_clause, load
from bylaw.policy.reviews import reviewed
from bylaw.serve.sayings import sayings
from bylaw.types import Policy


def fault(folder: Path) -> PolicyError | None:
    """Why no gateway would put the policy in a folder in force, whatever judge is connected; None where one would.

    Says nothing of rails whose packages are missing here. Raises ModuleNotFoundError where those of a gateway are.
    """
    try:
        policy = load(folder)
        rails = _rails(policy)
        calendar = Calendar.load(policy, rails, datetime.now(UTC).date(), reviews=reviewed(folder, policy).reviews)
        for book in (book for _, places in calendar.days for book in places.books.values()):
            ensemble.demand(book.policy, rails)
            sayings(book.policy)
    except PolicyError as error:
        return None if "pip install" in error.hint else error
    return None


def _rails(policy: Policy) -> Mapping[str, Rail]:
    """All rails that a gateway can have. In the place of judges any rail may stand here: nothing is asked."""
    known = library.known()
    return {**dict.fromkeys([f"{ensemble.JUDGE}.{clause.id}" for clause in every_clause(policy)], known["hidden"]), **known}
