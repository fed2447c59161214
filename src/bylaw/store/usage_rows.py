"""What keys have used, as rows: added to, and summed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import case, func, insert, select, update

from bylaw.store.database import Store
from bylaw.store.usage_tables import USAGE


@dataclass(frozen=True, slots=True)
class Used:
    """What was used: tokens in and out, and millionths of the operator's currency."""

    tokens_in: int = 0
    tokens_out: int = 0
    micros: int = 0

    @property
    def tokens(self) -> int:
        """In and out together."""
        return self.tokens_in + self.tokens_out

    def plus(self, other: "Used") -> "Used":
        """Both together."""
        return Used(self.tokens_in + other.tokens_in, self.tokens_out + other.tokens_out, self.micros + other.micros)


@dataclass(frozen=True, slots=True)
class Sum:
    """What one key has used: on one day, and in all."""

    today: int = 0  # tokens
    tokens: int = 0
    micros: int = 0


def add(store: Store, day: int, used: Mapping[str, Used]) -> None:
    """Add what keys have used on a day; all of it or nothing."""
    new = [key for key, one in used.items() if one != Used()]
    with store.reading() as connection:
        found = {row.key for row in connection.execute(select(USAGE.c.key).where(USAGE.c.key.in_(new), USAGE.c.day == day))}
    for key in new:
        if key not in found:  # a row of another process that was faster is as good
            store.inserted(insert(USAGE).values(key=key, day=day, tokens_in=0, tokens_out=0, micros=0))
    with store.writing() as connection:
        for key in sorted(new):  # in one order, so that two processes cannot wait for each other
            more, row = used[key], (USAGE.c.key == key) & (USAGE.c.day == day)
            values = {
                "tokens_in": USAGE.c.tokens_in + more.tokens_in,
                "tokens_out": USAGE.c.tokens_out + more.tokens_out,
                "micros": USAGE.c.micros + more.micros,
            }
            connection.execute(update(USAGE).where(row).values(values))


def sums(store: Store, day: int, keys: Sequence[str]) -> dict[str, Sum]:
    """What these keys have used."""
    tokens = USAGE.c.tokens_in + USAGE.c.tokens_out
    asked = select(
        USAGE.c.key,
        func.sum(case((USAGE.c.day == day, tokens), else_=0)).label("today"),
        func.sum(tokens).label("tokens"),
        func.sum(USAGE.c.micros).label("micros"),
    )
    with store.reading() as connection:
        rows = connection.execute(asked.where(USAGE.c.key.in_(keys)).group_by(USAGE.c.key)).all()
    found = {row.key: Sum(int(row.today), int(row.tokens), int(row.micros)) for row in rows}
    return {key: found.get(key, Sum()) for key in keys}
