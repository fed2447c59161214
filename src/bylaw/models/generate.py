"""The same map over rows in this process or on Ray across machines, and a model that answers through it.

`map_rows(rows, fn)` cuts rows into batches by their number alone, so every engine gives `fn` the same batches and returns the same rows,
in the order they came. A batch whose `fn` fails is tried again, then its rows are counted as failed with the reason and the others
kept. Finished batches are journalled as they come: after a kill of a worker Ray sends its batch to another; after a kill of this
process the next start goes on where it ended. Nothing is lost or doubled either way.
"""

import contextlib
import functools
import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal, NamedTuple

from bylaw.canonical import canonical
from bylaw.errors import BylawError, ModelError
from bylaw.models import endpoint, journal, loading, targets
from bylaw.models.manners import USUAL, Manners
from bylaw.models.spent import COUNTS, Spent, Tally
from bylaw.types import Completion, Message, Model, Progress, Sampling

Row = dict[str, Any]  # JSON values only; `id` is a string and unique
Fn = Callable[[list[Row]], list[Row]]
AGAIN: Final = "again"  # a row that says so has no result yet, such as one that an endpoint did not answer today
GIVE_UP_AFTER: Final = 3  # batches that end in an error of ours while none has succeeded: the rest would too


@dataclass(frozen=True, slots=True)
class Plan:
    """Where and how a map runs."""

    engine: Literal["process", "ray"] = "process"
    workers: int = 2  # Ray only
    batch_rows: int = 32
    tries: int = 3  # of a batch
    address: str = ""  # of a running Ray cluster; empty: one is started on this machine, and stopped again
    gpus: float = 0.0  # a worker
    vllm: bool = False  # models with weights run on vLLM


class Batch(NamedTuple):
    """Some rows and what they are known by. `at` is where the batch stands."""

    at: int
    key: str
    rows: list[Row]


class Outcome(NamedTuple):
    """What became of a batch: rows, or why there are none."""

    at: int
    rows: list[Row]
    why: str = ""
    hint: str = ""
    ours: bool = False  # an error of bylaw's own tree, which says what to do and is not worth a second try


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a map made: rows in the order they came, and the reason for each that is missing."""

    rows: tuple[Row, ...]
    failed: Mapping[str, str]  # id -> why
    earlier: frozenset[str] = frozenset()  # ids of rows that an earlier start had finished

    @property
    def reused(self) -> int:
        """How many rows an earlier start had finished."""
        return len(self.earlier)


def map_rows(
    rows: Sequence[Mapping[str, Any]],
    fn: Fn,
    plan: Plan = Plan(),
    file: Path | None = None,
    work: str = "",
    progress: Progress | None = None,
) -> Mapped:
    """Apply `fn` to every row, batch by batch; it returns one row for each, with the same id.

    Args:
        rows: each with a unique `id`.
        fn: for Ray, anything cloudpickle can send; it must give the same rows when it is asked twice. Where a row it makes says
            `again`, the next start does that batch again.
        plan: where it runs.
        file: a journal to go on from.
        work: what `fn` does, in words or a digest; another work done on the same rows is journalled apart.
        progress: told of rows, done and of how many.
    """
    batches = _batches(rows, work, plan)
    why: dict[int, Outcome] = {}
    with journal.opened(file) as book:
        left = [batch for batch in batches if batch.key not in book.done]
        earlier = frozenset(row["id"] for batch in batches if batch.key in book.done for row in batch.rows)
        finished = len(earlier)
        if progress and earlier:
            progress(finished, len(rows))
        succeeded = bool(earlier)
        with contextlib.closing(_engine(plan)(left, fn, plan)) as outcomes:
            for outcome in outcomes:
                if outcome.why:
                    why[outcome.at] = outcome
                else:
                    book.add(batches[outcome.at].key, outcome.rows, final=not any(row.get(AGAIN) for row in outcome.rows))
                    succeeded = True
                finished += len(batches[outcome.at].rows)
                if progress:
                    progress(finished, len(rows))
                if not succeeded and len(why) >= GIVE_UP_AFTER and all(one.ours for one in why.values()):
                    break
        if why and not succeeded and all(one.ours for one in why.values()):
            first = next(iter(why.values()))
            raise ModelError(first.why, first.hint)
        return _joined(batches, book, why, earlier)


def _joined(batches: Sequence[Batch], book: journal.Journal, why: Mapping[int, Outcome], earlier: frozenset[str]) -> Mapped:
    made: list[Row] = []
    failed: dict[str, str] = {}
    for batch in batches:
        if batch.key in book.done:
            made += book.done[batch.key]
        else:
            reason = why[batch.at].why if batch.at in why else "it never came back"
            failed |= {row["id"]: reason for row in batch.rows}
    return Mapped(tuple(made), failed, earlier)


def _batches(rows: Sequence[Mapping[str, Any]], work: str, plan: Plan) -> list[Batch]:
    """Cut rows into batches; raises ModelError where they are no rows."""
    try:
        plain: list[Row] = json.loads(json.dumps([dict(row) for row in rows], allow_nan=False))
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelError(f"the rows are not JSON: {error}", "rows hold strings, numbers, booleans, null, lists and maps") from error
    ids = [row.get("id") for row in plain]
    if not all(isinstance(one, str) for one in ids) or len(set(ids)) != len(ids):
        raise ModelError("the rows have no unique ids", "give each row its own string as id")
    size = max(plan.batch_rows, 1)
    cut = [plain[i : i + size] for i in range(0, len(plain), size)]
    return [Batch(at, journal.key_of(part, work), part) for at, part in enumerate(cut)]


def _engine(plan: Plan) -> Callable[[Sequence[Batch], Fn, Plan], Generator[Outcome, None, None]]:
    return _in_process if plan.engine == "process" else _ray_map().run


@contextlib.contextmanager
def cluster(plan: Plan) -> Iterator[None]:
    """Hold a plan's cluster for several maps, since one takes seconds to start; nothing is held where rows stay in this process."""
    with contextlib.nullcontext() if plan.engine == "process" else _ray_map().cluster(plan):
        yield


def _ray_map() -> ModuleType:
    """The map on Ray; raises ModelError where Ray is not installed."""
    try:
        from bylaw.models import ray_map  # noqa: PLC0415  # half a second to import, an extra, and rarely used
    except ModuleNotFoundError as error:
        raise ModelError(f"this needs {error.name}", "pip install '.[scale]', or use the engine `process`") from error
    return ray_map


def _in_process(batches: Sequence[Batch], fn: Fn, plan: Plan) -> Generator[Outcome, None, None]:
    for batch in batches:
        yield attempt(batch, fn, plan.tries)


def attempt(batch: Batch, fn: Fn, tries: int) -> Outcome:
    """Do one batch where we are, in at most so many tries. `fn` gets rows of its own: what it does to them stays with it."""
    why = ""
    for _ in range(max(tries, 1)):
        try:
            made = json.loads(json.dumps(fn(json.loads(json.dumps(batch.rows))), allow_nan=False))
        except BylawError as error:
            return Outcome(batch.at, [], error.what, error.hint, ours=True)
        except Exception as error:  # noqa: BLE001  # whatever a caller's function raises costs its own rows, not the others
            why = endpoint.one_line(f"{type(error).__name__}: {error}")
            continue
        matched = _matched(made, batch.rows)
        if matched is not None:
            return Outcome(batch.at, matched)
        why = "it did not return one row for each row"
    return Outcome(batch.at, [], f"{why} after {tries} tries" if tries > 1 else why)


def _matched(made: object, rows: Sequence[Row]) -> list[Row] | None:
    """What was made in the order of the rows it was made of; None where it is not one row for each."""
    if not isinstance(made, list) or not all(isinstance(row, dict) and isinstance(row.get("id"), str) for row in made):
        return None
    found: dict[str, Row] = {row["id"]: row for row in made}
    same = len(made) == len(rows) and found.keys() == {row["id"] for row in rows}
    return [found[row["id"]] for row in rows] if same else None


# ---- A model that answers through a map ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpreadModel:
    """A target that every worker opens once; conversations are the rows. Its journal makes one call of `generate` resumable."""

    name: str
    plan: Plan
    runs: Path
    folder: Path | None
    manners: Manners
    _tally: Tally = field(default_factory=Tally, repr=False, compare=False)

    @property
    def spent(self) -> Spent | None:
        """What the workers asked of an endpoint since the model was opened; None where they asked none."""
        return self._tally.spent(self.manners.price_in, self.manners.price_out) if self._tally.counts else None

    def generate(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling, progress: Progress | None = None
    ) -> list[Completion]:
        """Answer each conversation once, in order. A row that cannot be had is an error that says why; if none can, a ModelError."""
        rows = _rows(conversations, sampling)
        schema = None if sampling.reply_schema is None else dict(sampling.reply_schema)
        asked = json.dumps({**asdict(replace(sampling, reply_schema=None)), "reply_schema": schema}, sort_keys=True)
        fn = functools.partial(answer, self.name, str(self.runs), self.plan.vllm, self.manners, asked)
        file = self.folder / "answers.jsonl" if self.folder else None
        one_seed_a_batch = sorted(rows, key=lambda row: int(row["draw"]))
        mapped = map_rows(one_seed_a_batch, fn, self.plan, file, f"{self.name} {asked}", progress)
        for row in mapped.rows:
            self._tally.add(**row.get("spent", {}) if row["id"] not in mapped.earlier else {})
        found = {row["id"]: Completion(**row["completion"]) for row in mapped.rows}
        return [found.get(row["id"]) or Completion("", "", "", "error", mapped.failed[row["id"]]) for row in rows]


def spread(target: str, plan: Plan, folder: Path | None = None, runs: Path = Path("runs"), manners: Manners = USUAL) -> SpreadModel:
    """A model whose rows go through `map_rows`; the target is read here, and opened where the work is done."""
    targets.parse(target, runs)
    here = replace(manners, cache=manners.cache.absolute()) if manners.cache else manners
    return SpreadModel(target, plan, runs.absolute(), folder, here)


def _rows(conversations: Sequence[Sequence[Message]], sampling: Sampling) -> list[Row]:
    """The rows of some conversations; the same one again gets another seed, for it may meet another worker."""
    met: dict[bytes, int] = {}
    rows: list[Row] = []
    for at, conversation in enumerate(conversations):
        messages = [
            {"role": m.role, "content": endpoint.sayable(m.content), "thinking": endpoint.sayable(m.thinking)} for m in conversation
        ]
        content = canonical(messages)
        met[content] = met.get(content, -1) + 1
        rows.append({"id": str(at), "draw": met[content], "seed": endpoint.seed_of(sampling.seed, met[content]), "messages": messages})
    return rows


def answer(target: str, runs: str, vllm: bool, manners: Manners, asked: str, rows: list[Row]) -> list[Row]:
    """Answer some rows where they are: what a worker does. The first of them carries what was asked of an endpoint for all."""
    model = _opened(target, runs, vllm, manners)
    before = getattr(model, "spent", None)
    sampling = Sampling(**json.loads(asked))
    made: list[Row] = []
    for seed in dict.fromkeys(row["seed"] for row in rows):
        same = [row for row in rows if row["seed"] == seed]
        written = model.generate([[Message(**m) for m in row["messages"]] for row in same], replace(sampling, seed=seed))
        made += [{"id": row["id"], "completion": asdict(one), AGAIN: one.finish == "error"} for row, one in zip(same, written, strict=True)]
    after = getattr(model, "spent", None)
    if made and isinstance(before, Spent) and isinstance(after, Spent):
        made[0]["spent"] = {name: getattr(after, name) - getattr(before, name) for name in COUNTS}
    return made


@functools.lru_cache(maxsize=2)
def _opened(target: str, runs: str, vllm: bool, manners: Manners) -> Model:
    """The target, opened once a worker."""
    return loading.open_model(targets.parse(target, Path(runs)), manners, vllm)
