"""The map on Ray Data: batches are the dataset's rows, workers are actors, and a batch whose worker dies goes to another.

Ray sends such a batch again without end. So an actor of ours counts how often each was begun: one that kills every worker is given up
after `tries`, with that as its reason. Errors of `fn` never reach Ray; they come back as outcomes. What Ray says goes to the error stream.
"""

import contextlib
import json
import logging
import os
import socket
import sys
import warnings
from collections.abc import Generator, Iterator, Sequence
from typing import Any, Final

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report home
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it hides GPUs from this process, and warns
os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else every pool of actors warns that its workers may be restarted

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of names that Ray itself is about to drop
    import ray
    import ray.data
    from ray.data import ActorPoolStrategy, DataContext

from bylaw.errors import ModelError
from bylaw.models.generate import Batch, Fn, Outcome, Plan, attempt

_QUIET: Final = logging.ERROR
PATIENCE_S: Final = 5.0


class Begun:
    """How often each batch was begun, in a process that no batch can kill."""

    def __init__(self) -> None:
        self.times: dict[int, int] = {}

    def again(self, at: int) -> int:
        """Count one more beginning of a batch."""
        self.times[at] = self.times.get(at, 0) + 1
        return self.times[at]


class Worker:
    """One process that does batches."""

    def __init__(self, fn: Fn, tries: int, begun: Any) -> None:
        self.fn, self.tries, self.begun = fn, tries, begun

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Do one batch; its rows travel as JSON text, which no column type can bend."""
        batch = Batch(int(row["at"]), "", json.loads(row["rows"]))
        times = int(ray.get(self.begun.again.remote(batch.at)))
        if times > self.tries:
            return _packed(Outcome(batch.at, [], f"its worker died {times - 1} times"))
        return _packed(attempt(batch, self.fn, self.tries))


def run(batches: Sequence[Batch], fn: Fn, plan: Plan) -> Generator[Outcome, None, None]:
    """Do batches on Ray and yield each outcome as it comes, in any order."""
    if not batches:
        return
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings(), cluster(plan):
        warnings.simplefilter("ignore")  # Ray's own; a warning of `fn` is shown in its worker
        context = DataContext.get_current()
        context.enable_progress_bars = False
        counter = ray.remote(num_cpus=0)(Begun).remote()
        items = [{"at": batch.at, "rows": json.dumps(batch.rows)} for batch in batches]
        # One batch a block: what dies with a worker, and is sent again, is one batch.
        made = ray.data.from_items(items, override_num_blocks=len(items)).map(
            Worker,  # type: ignore[arg-type]  # Ray takes a class and makes the actors itself; its types know functions alone
            fn_constructor_args=(fn, plan.tries, counter),
            compute=ActorPoolStrategy(size=plan.workers),
            num_cpus=1,
            num_gpus=plan.gpus or None,
        )
        left = {batch.at for batch in batches}
        try:
            for block in made.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for row in block.to_pylist():  # type: ignore[union-attr]  # a pyarrow table, as asked for
                    outcome = _unpacked(row)
                    left.discard(outcome.at)
                    yield outcome
        except ray.exceptions.RayError as error:  # the cluster itself broke: what has come back counts all the same
            first = _first_line(error)
            if len(left) == len(batches):
                raise ModelError(f"Ray gave up: {first}", "is the cluster sound, and is bylaw installed on every machine of it?") from error
            for at in sorted(left):
                yield Outcome(at, [], f"Ray gave up: {first}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextlib.contextmanager
def cluster(plan: Plan) -> Iterator[None]:
    """A cluster: the one this process is in already, the one at the address, or one started here and stopped again."""
    if ray.is_initialized():
        yield
        return
    here: dict[str, Any] = {"address": plan.address} if plan.address else {"num_cpus": plan.workers, "include_dashboard": False}
    _knock(plan.address)
    try:
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings(), _muted():  # Ray tells there that it was told to be quiet
            warnings.simplefilter("ignore")
            ray.init(**here, log_to_driver=False, logging_level=_QUIET)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise ModelError(f"Ray does not start: {_first_line(error)}", "is the address right, and is a cluster running there?") from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise ModelError where nobody listens at a cluster's address: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return  # none, or `auto`: Ray knows where to look
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE_S).close()
    except (OSError, OverflowError) as error:
        raise ModelError(
            f"Ray does not start: nobody listens at {address}", "is the address right, and is a cluster running there?"
        ) from error


@contextlib.contextmanager
def _muted() -> Iterator[None]:
    """The error stream, closed for a moment to what is not Python."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _packed(outcome: Outcome) -> dict[str, Any]:
    return {"at": outcome.at, "outcome": json.dumps(outcome._asdict())}


def _unpacked(row: dict[str, Any]) -> Outcome:
    return Outcome(**json.loads(row["outcome"]))
