"""Several readings by one judge: each an independent call, none of them remembered by the judge.

A judge that can be asked again in another way has a `reread`; one that would only repeat itself (an exact one) has none, and is
returned as it is.
"""

from typing import Protocol, runtime_checkable

from bylaw.types import Judge


@runtime_checkable
class Rereadable(Protocol):
    """A judge whose readings differ: a model at a temperature, or something built on one."""

    def reread(self, reading: int, of: int) -> Judge:
        """The judge that gives reading number `reading` of `of`, counted from 0."""
        ...


def reread(judge: Judge, reading: int, of: int) -> Judge:
    """The judge that gives one of several readings of the same rows."""
    return judge.reread(reading, of) if isinstance(judge, Rereadable) else judge
