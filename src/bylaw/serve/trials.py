"""Begin, end and read trials of a policy: a canary decides for a share, a shadow decides nothing and says what it would have done.

All of it is in the store, so that every process does the same within a second (`trying`). A canary must load and have leave (`leave`), as a
policy that is put in force; a shadow must load.
"""

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection

from bylaw.errors import PolicyError, StoreError
from bylaw.govern import canary
from bylaw.govern.canary import Seen, Terms
from bylaw.serve import bundle, leave
from bylaw.serve import live as lives
from bylaw.serve.live import InForce, Rails, Record
from bylaw.store import policy_rows, trial_rows
from bylaw.store.database import Store
from bylaw.store.policy_rows import Activation
from bylaw.store.trial_rows import Count, Kind, State, Trial

AT: Final = "(at)"  # how far a writer has been read
CANDIDATE: Final = "candidate"
BASELINE: Final = "baseline"
SEEN: Final = "(seen)"
SAME: Final = "(unchanged)"
UNPLAYABLE: Final = "(not replayable) "  # and why
NONE: Final = Count()


@dataclass(frozen=True, slots=True)
class Standing:
    """How a trial stands."""

    trial: Trial
    counts: dict[str, Count]  # of all processes

    @property
    def candidate(self) -> Seen:
        """A canary's outcomes under the candidate."""
        return Seen(*self.counts.get(CANDIDATE, NONE)[:2])

    @property
    def baseline(self) -> Seen:
        """A canary's outcomes under the policy in force."""
        return Seen(*self.counts.get(BASELINE, NONE)[:2])

    def would(self) -> dict[str, dict[str, int]]:
        """What a shadow would have done, by clause and change."""
        found: dict[str, dict[str, int]] = {}
        for name, count in sorted(self.counts.items()):
            clause, mark, change = name.rpartition("|")
            if mark:
                found.setdefault(clause, {})[change] = count.total
        return found

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        one = self.trial
        said: dict[str, Any] = {"id": one.id, "kind": one.kind, "state": one.state, "policy": one.digest, "baseline": one.baseline}
        said |= {"started_at": one.started_at, "by": one.by, "ended_at": one.ended_at, "why": one.why}
        if one.kind == "canary":
            outcomes = {name: seen._asdict() for name, seen in ((CANDIDATE, self.candidate), (BASELINE, self.baseline))}
            return said | {"terms": asdict(canary.read(one.terms)), "outcomes": outcomes, "looks": one.looks}
        unplayable = {name.removeprefix(UNPLAYABLE): c.total for name, c in self.counts.items() if name.startswith(UNPLAYABLE)}
        examples = {name: c.example for name, c in sorted(self.counts.items()) if "|" in name}
        seen = {"decisions": self.counts.get(SEEN, NONE).total, "unchanged": self.counts.get(SAME, NONE).total}
        return said | seen | {"would": self.would(), "not_replayable": unplayable, "examples": examples}


def begin(store: Store, record: Record, folder: Path, trial: Trial, rails_of: Rails = lives.no_judges) -> Trial:
    """Put the policy in a folder on trial; of `trial` its kind, its terms and who says so count. Raises PolicyError, StoreError."""
    files = bundle.pack(folder)
    made, last = lives.ready(folder, rails_of), lives.latest(store)
    if last is None:
        raise PolicyError("no policy is in force here", "Start a gateway first: bylaw serve --policy DIR.")
    if made.digest == last.digest:
        raise PolicyError("this policy is in force already", "A trial is of another one.")
    if trial.kind == "canary":
        canary.read(trial.terms)
        leave.asked(store, files).of(made.digest)  # it decides for people
    if bundle.pack(folder) != files:
        raise PolicyError(f"{folder} changed while it was read", "Try again.")
    with store.reading() as connection:
        trial_rows.none_runs(connection, trial.kind)  # before anything is recorded of it
    now_ms = round(time.time() * 1000)
    content = policy_rows.keep(store, made.digest, files, now_ms)
    one = trial._replace(digest=made.digest, content=content, baseline=last.digest, state="running", started_at=now_ms)
    record(entry(one, one.by, "started", {"terms": one.terms}))
    try:
        return trial_rows.start(store, one)
    except StoreError as error:  # another was faster, or the store's answer was lost
        record(entry(one, one.by, "perhaps not started", {"why": error.what[:500]}))
        raise


def new(kind: Kind, by: str, terms: Terms | None = None) -> Trial:
    """A trial that has not begun."""
    return Trial(0, kind, "", "", "", terms.checked().written() if terms else "{}", "running", 0, by)


def current(store: Store, kind: Kind) -> Trial:
    """The one that runs; raises PolicyError."""
    found = next((one for one in trial_rows.listed(store, kind) if one.state == "running"), None)
    if found is None:
        raise PolicyError(f"no {kind} is running", f"Start one: bylaw policy {kind} start DIR.")
    return found


def standing(store: Store, kind: Kind) -> Standing | None:
    """How the latest of a kind stands, also after its end; None where there was never one."""
    found = trial_rows.listed(store, kind)[:1]
    return Standing(found[0], trial_rows.counts(store, found[0].id)) if found else None


def stop(store: Store, record: Record, kind: Kind, by: str) -> Standing:
    """End a trial; what it has shown stays, in the store and in the ledger."""
    one = current(store, kind)
    ended(store, record, one, "stopped", f"by {by}", by)
    return Standing(trial_rows.listed(store, kind)[0], trial_rows.counts(store, one.id))


def promote(store: Store, record: Record, by: str, rails_of: Rails = lives.no_judges) -> tuple[InForce, Activation]:
    """Put the canary's candidate in force for all; raises PolicyError.

    The canary ends in the transaction that puts the candidate in force: of a rollback and a promotion one happens, and all of it.
    """
    one, last = current(store, "canary"), lives.latest(store)
    if last is None or last.digest != one.baseline:
        raise PolicyError("another policy was put in force since the canary began", "Stop it, and start it again beside that one.")
    made = lives.loaded(store, Activation(one.digest, one.content, "", 0, by), rails_of)
    still = lives.while_in_force(one.baseline)

    def only(connection: Connection) -> None:
        still(connection)
        if not trial_rows.end_in(connection, one.id, "promoted", f"by {by}", round(time.time() * 1000)):
            raise leave.Overtaken("the canary has just ended", "See `bylaw policy canary status`: it may have been rolled back.")

    files = policy_rows.files(store, one.content)
    promoted = lives.put_in_force(store, record, made, files, by, replace(leave.asked(store, files), only=only))
    _end_recorded(store, record, one, "promoted", f"by {by}", by)
    return promoted


def ended(store: Store, record: Record, one: Trial, state: State, why: str, by: str = "bylaw") -> bool:
    """End a trial and record it, if nobody else has. The end comes first: a rollback does not wait for a record."""
    if not trial_rows.end(store, one.id, state, why, round(time.time() * 1000)):
        return False
    _end_recorded(store, record, one, state, why, by)
    return True


def _end_recorded(store: Store, record: Record, one: Trial, state: State, why: str, by: str) -> None:
    counts = trial_rows.counts(store, one.id)
    shown = {name: count.total for name, count in sorted(counts.items()) if "|" in name}
    found: dict[str, Any] = {name: str(Seen(*counts[name][:2])) for name in (CANDIDATE, BASELINE) if name in counts}
    record(entry(one, by, state.replace("_", " "), {"why": why[:500], **found, **({"would": shown} if len(shown) < 200 else {})}))


def entry(one: Trial, by: str, step: str, facts: dict[str, Any]) -> dict[str, Any]:
    """What is recorded of a step of a trial."""
    said = {"step": f"{one.kind} {step}", "baseline": one.baseline, "content": one.content}
    return {"kind": "policy", "principal": by, "policy": one.digest, "facts": {**said, **facts}}
