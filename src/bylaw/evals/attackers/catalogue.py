"""Every attacker by name."""

import difflib
from collections.abc import Sequence
from typing import Final

from bylaw.errors import RunError
from bylaw.evals.attackers.arena import Attacker
from bylaw.evals.attackers.modelled import Pair, Tap
from bylaw.evals.attackers.searching import Arms, Bandit, BestOfN, Direct, Sweep
from bylaw.evals.attackers.talking import machines

SEARCHES: Final = ("sweep", "bandit", "exp3", "bestofn")
TALKS: Final = tuple(one.name for one in machines())
MODELLED: Final = ("pair", "tap")
NAMES: Final = ("direct", *SEARCHES, *TALKS, *MODELLED)
USUAL: Final = ("direct", "bandit", "bestofn", *TALKS)  # without a model that attacks


def named(names: Sequence[str], world_only: bool) -> tuple[Attacker, ...]:
    """Attackers by name, in order; raises RunError with the nearest names."""
    made: dict[str, Attacker] = {one.name: one for one in machines()}
    made |= {
        "direct": Direct(),
        "sweep": Sweep(world_only),
        "bandit": Bandit(world_only),
        "exp3": Bandit(world_only, Arms("exp3"), "exp3"),
        "bestofn": BestOfN(world_only),
        "pair": Pair(),
        "tap": Tap(),
    }
    for name in names:
        if name not in made:
            near = difflib.get_close_matches(name[:80], NAMES, 3, 0.4)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(NAMES)}; anything else must be a model"
            raise RunError(f"there is no attacker {name[:80]!r}", hint)
    return tuple(made[name] for name in dict.fromkeys(names))
