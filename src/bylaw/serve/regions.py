"""Regions: which model is asked for whom, and where what was said is kept and for how long. Written in the file of `--regions`.

    regions:
      eu:
        upstream: https://eu.example.com/v1
        upstream_key_env: EU_KEY        # the variable that holds the upstream's key
        data_dir: /srv/bylaw/eu         # its ledger, approvals, sessions and appeals
        keep_days: 30                   # contents are deleted after that; left out: never by itself
        price: 2.50/10                  # of a million tokens, in and out, for keys that say none

A region has the name of a jurisdiction. Who belongs to none of them is refused, never served by another. What all regions share holds no
contents: keys and what they have used, emergency stops, policies.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bylaw import runs
from bylaw.errors import StoreError
from bylaw.govern.appeals import Appeals
from bylaw.govern.approvals import Approvals
from bylaw.govern.budgets import price as checked_price
from bylaw.govern.histories import Histories
from bylaw.ledger.writer import Ledger
from bylaw.policy.notation import plain, read_yaml
from bylaw.serve import owned
from bylaw.serve.door import NotIn
from bylaw.serve.gate import Gate, Who
from bylaw.serve.keeping import Keeping
from bylaw.serve.metering import metered
from bylaw.serve.secret import secret_in
from bylaw.serve.sessions import Keeper, Sessions
from bylaw.serve.upstream import Upstream
from bylaw.store import database
from bylaw.store.appeal_rows import Appeal
from bylaw.store.approval_rows import Approval
from bylaw.types import Place

Ring = Callable[[Approval | Appeal], object]  # tells people that somebody waits for them
MAX_FILE_BYTES: Final = 256_000
MAX_REGIONS: Final = 100
MAX_DAYS: Final = 36_500
NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,49}")


@dataclass(frozen=True, slots=True)
class Region:
    """One region."""

    name: str
    upstream: str
    data_dir: Path
    upstream_key_env: str = ""
    keep_days: int | None = None
    price: str = ""

    def key(self) -> str:
        """The key for its upstream, out of the environment; raises StoreError where the variable is empty."""
        return secret_in(self.upstream_key_env, "the key", f"region {self.name}")


def read(file: Path, data_dir: Path) -> tuple[Region, ...]:
    """The regions in a file; raises PolicyError or StoreError, in one line. `data_dir` is what they share, and must be none of theirs."""
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise StoreError(f"{file}: larger than {MAX_FILE_BYTES} bytes", "Is it the right file?")
        text = runs.plain_text(file)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", "") or "it is no UTF-8"
        raise StoreError(f"{file}: cannot be read: {why}", "Check the path and its permissions.") from error
    found = tuple(_regions(file, plain(read_yaml(text, Place(str(file), 1)))))
    taken: dict[Path, str] = {}
    for one in found:
        here = one.data_dir.resolve()
        if here == data_dir.resolve():
            raise _wrong(file, f"{one.name}: data_dir is the one that all regions share", "Give each region a folder of its own.")
        for other, whose in taken.items():
            if here == other or here in other.parents or other in here.parents:
                raise _wrong(file, f"{one.name}: data_dir lies together with that of {whose}", "Give each region a folder of its own.")
        taken[here] = one.name
        one.key()
        Upstream(one.upstream)
        if one.price:
            checked_price(one.price)
    return found


def _regions(file: Path, value: Any) -> list[Region]:
    from pydantic import BaseModel, ConfigDict, Field, ValidationError  # noqa: PLC0415  # who has no regions need not load it

    class One(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)
        upstream: str = Field(min_length=1, max_length=2_000)
        data_dir: str = Field(min_length=1, max_length=4_000)
        upstream_key_env: str = Field("", max_length=200)
        keep_days: int | None = Field(None, ge=1, le=MAX_DAYS)
        price: str = Field("", max_length=40)

    class All(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)
        regions: dict[str, One] = Field(min_length=1, max_length=MAX_REGIONS)

    try:
        read_in = All.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:60] for part in first["loc"]) or "the file"
        raise _wrong(file, f"{where}: {first['msg']}", "See `docs/gateway.md`, Regions.") from None
    for name in read_in.regions:
        if not NAME.fullmatch(name):
            raise _wrong(file, f"{name[:60]!r} is no name of a region", "Name it like a jurisdiction of the policy: eu.")
    return [
        Region(name, one.upstream, Path(one.data_dir), one.upstream_key_env, one.keep_days, one.price)
        for name, one in read_in.regions.items()
    ]


def _wrong(file: Path, what: str, hint: str) -> StoreError:
    return StoreError(f"{file}: {what}", hint)


def placed(gate: Gate, who: Who) -> Gate:
    """The gate that one who asks goes through: their region's, with their meter; raises NotIn where they belong to none."""
    if gate.regions:
        place = who.principal.get("jurisdiction")
        found = gate.regions.get(place) if isinstance(place, str) else None
        if found is None:
            raise NotIn(403, f"no region {str(place)[:60]!r} is served here; nothing was sent anywhere")
        gate = found
    return metered(gate, who)


def opened(regions: Sequence[Region], shared: Gate, ring: Ring | None, stack: AsyncExitStack) -> dict[str, Gate]:
    """The gate of each region, open in this process: its own upstream, ledger, store and sessions; raises BylawError."""
    gates = {}
    for one in regions:
        store = database.open(one.data_dir / database.DEFAULT.name)
        stack.callback(store.close)
        ledger = Ledger(one.data_dir)
        stack.callback(ledger.close)
        approvals = Approvals(store, ledger.append, ring=ring)
        stack.callback(approvals.close)
        keeper = Keeper(Histories(store))
        stack.callback(keeper.close)
        upstream = Upstream(one.upstream, one.key())
        stack.push_async_callback(upstream.close)
        gates[one.name] = replace(
            shared,
            upstream=upstream,
            recorder=ledger,
            sessions=Sessions(keeper=keeper),
            approvals=approvals,
            appeals=Appeals(store, ledger.append, ring=ring),
            data_dir=one.data_dir,
            owned=owned.opened(store),
        )
        if one.keep_days is not None:
            stack.callback(Keeping(one.data_dir, ledger, approvals, one.keep_days).begun().close)
    return gates
