"""Which clauses go before which: `overrides`, followed through other clauses."""

from collections.abc import Mapping, Sequence


def behind(orders: Mapping[str, Sequence[str]], clause_id: str) -> frozenset[str]:
    """The clauses that this one goes before, through others too. `orders` maps each clause to those it names under `overrides`."""
    seen, todo = set[str](), list(orders.get(clause_id, ()))
    while todo:
        other = todo.pop()
        if other not in seen:
            seen.add(other)
            todo += orders.get(other, ())
    return frozenset(seen)
