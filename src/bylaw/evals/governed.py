"""What a gate adds to a model: three measurements, summed over the clauses that the gate enforces and over those left to the model.

Pure. The measurements are of the model alone, of the gate alone and of both, on the same cases.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bylaw.evals.compare import common_of, sides
from bylaw.evals.measurement import Measurement


class Standing(NamedTuple):
    """Where a clause is enforced, in a gateway's own words, and by which rules."""

    where: str
    rules: tuple[str, ...]


def of(measured: Sequence[Measurement], standing: Mapping[str, Standing]) -> dict[str, Any]:
    """How every clause stands, and both sides of all clauses that stand alike, measurement by measurement."""
    common = common_of(measured)
    rows = [[row for row in one.counted() if row["id"] in common] for one in measured]
    sums = {
        where: [sides([row for row in part if row["clause"] in standing and standing[row["clause"]].where == where]) for part in rows]
        for where in sorted({one.where for one in standing.values()})
    }
    return {"clauses": {clause: {"where": one.where, "rules": list(one.rules)} for clause, one in standing.items()}, "sums": sums}
