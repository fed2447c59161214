"""Steps of a run, and the processes that take them: each waits for what it needs, finished ones are skipped, progress is told.

Two worker processes share a CPU machine, each with one thread, so a result depends on seeds and inputs and never on who ran beside
it. On a GPU one worker has it alone. Workers die with their parent: nobody writes into a run that nobody waits for.
"""

import contextlib
import errno
import gc
import importlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Final, Protocol

from bylaw.errors import BylawError, RunError
from bylaw.runs import Run
from bylaw.types import Progress

Record = Mapping[str, Any]
# glibc gives a freed block of this size back to the kernel and takes another for the next step's tensors, page by page: 7 % of an SFT step
# of the embedded model. A worker keeps them (mallopt(3)).
KEPT: Final = {"MALLOC_MMAP_THRESHOLD_": 32 * 2**20, "MALLOC_TRIM_THRESHOLD_": 512 * 2**20}


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its name on disk, what a person reads, the steps it needs, and what does it.

    `do` names a function `module:function` of (context, progress, **given) that returns what is recorded.
    """

    name: str
    says: str
    needs: tuple[str, ...]
    do: str
    given: Mapping[str, Any] = field(default_factory=dict)


class Book(Protocol):
    """A recipe that a worker can open again from its run: `context(run)` and `steps(run)`."""

    def context(self, run: Run) -> Any:
        """What the steps work with."""
        ...

    def steps(self, run: Run) -> Sequence[Step]:
        """Every step, in the order they are offered."""
        ...


class Narrator(Protocol):
    """Who tells a person what happens."""

    def began(self, step: Step) -> None:
        """A step was given to a worker."""
        ...

    def moved(self, step: Step, done: int, total: int) -> None:
        """A step is this far."""
        ...

    def ended(self, step: Step, record: Record) -> None:
        """A step is finished and recorded."""
        ...


@dataclass(slots=True)
class _Worker:
    process: Any
    pipe: Connection
    busy: Step | None = None


def take_all(run: Run, book: Book, narrator: Narrator, workers: int) -> None:
    """Take every step of a recipe that is not done yet; raises what the first failing step raised."""
    steps = {step.name: step for step in book.steps(run)}
    left = [step for step in steps.values() if not run.done(step.name)]
    if not left:
        return
    spawn = multiprocessing.get_context("spawn")
    crew: list[_Worker] = []
    try:
        while left or any(worker.busy for worker in crew):
            for ready in [step for step in left if all(run.done(need) for need in step.needs)]:
                idle = next((worker for worker in crew if worker.busy is None), None)
                if idle is None and len(crew) == workers:
                    break
                worker = idle or _hire(spawn, run, book)  # it takes seconds to start: never one that would wait
                crew += [] if idle else [worker]
                left.remove(ready)
                worker.busy = ready
                _tell(worker, ready.name)
                narrator.began(ready)
            if not any(worker.busy for worker in crew):
                raise RunError(
                    f"no step can be taken: {left[0].name} needs {', '.join(left[0].needs)}", "this is a fault of the recipe; report it"
                )
            _listen(crew, run, narrator)
    finally:
        for worker in crew:
            _dismiss(worker)


def _hire(spawn: Any, run: Run, book: Book) -> _Worker:
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=work, args=(theirs, run, book), daemon=True)
    # The tracker unlinks the semaphores of a worker that had to be killed; that it did so is no news to a person.
    warnings = ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), "ignore:resource_tracker")))
    with _environment({name: os.environ.get(name, str(size)) for name, size in KEPT.items()} | {"PYTHONWARNINGS": warnings}):
        process.start()
    theirs.close()
    return _Worker(process, ours)


@contextlib.contextmanager
def _environment(names: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment for a while, for a process that is started."""
    before = {name: os.environ.get(name) for name in names}
    os.environ |= names
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _tell(worker: _Worker, name: str) -> None:
    """Give a worker a step; raises RunError where it died while it was idle."""
    try:
        worker.pipe.send(name)
    except BrokenPipeError as error:
        raise RunError(
            f"the process that was to take the step {name} died", "start the same command again: it goes on from there"
        ) from error


def _dismiss(worker: _Worker) -> None:
    """Let an idle worker go; stop a busy one, whose step can be taken again."""
    if worker.busy is None and worker.process.is_alive():
        with contextlib.suppress(BrokenPipeError):  # it is gone already, which is what is wanted
            worker.pipe.send("")
        worker.process.join(timeout=10)
    worker.process.kill()
    worker.process.join()


def _listen(crew: Sequence[_Worker], run: Run, narrator: Narrator) -> None:
    """Wait for news from a busy worker and pass it on."""
    busy = {worker.pipe: worker for worker in crew if worker.busy}
    for pipe in wait(list(busy)):
        worker = busy[pipe]  # type: ignore[index]  # wait returns what it was given
        step = worker.busy
        if step is None:
            continue
        try:
            news = worker.pipe.recv()
        except EOFError as error:
            raise RunError(
                f"the process that took the step {step.name} died", "start the same command again: it goes on from there"
            ) from error
        if isinstance(news, BylawError | OSError):
            raise news
        if news[0] == "moved":
            narrator.moved(step, news[1], news[2])
        else:
            worker.busy = None
            narrator.ended(step, run.record(step.name))


def work(pipe: Connection, run: Run, book: Book) -> None:
    """A worker's life: open the recipe, take the steps it is told to, die with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which dismisses its workers
    _die_with_parent()
    one_thread()
    context = None
    steps = {step.name: step for step in book.steps(run)}
    while name := pipe.recv():
        step = steps[name]
        try:
            context = context or book.context(run)
            record = do(step, context, lambda done, total: pipe.send(("moved", done, total)))
            run.finish(name, record)
        except (BylawError, OSError) as error:
            pipe.send(error)
            return
        except Exception as error:  # noqa: BLE001  # a library's own error: kept whole in a file, told in one line, and the run stops
            pipe.send(_told(run, name, error))
            return
        pipe.send(("done",))
    gc.freeze()  # what is left ends with the process; to look through all of torch's objects first takes a second


def _told(run: Run, name: str, error: Exception) -> BylawError | OSError:
    """One line for a library's error; libraries wrap a full disk in errors of their own."""
    said = " ".join(str(error).split()) or type(error).__name__
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        if os.strerror(code).lower() in said.lower():
            return OSError(code, os.strerror(code), str(run.path))
    if "PytorchStreamWriter failed" in said:  # torch does not say why; with a sound folder it is the disk
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(run.path))
    file = run.file("work", f"{name}.traceback.txt")
    file.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return RunError(f"the step {name} failed: {type(error).__name__}: {said[:300]}", f"the whole traceback is in {file}")


def do(step: Step, context: Any, progress: Progress) -> Record:
    """Do what a step names; returns its record, with the CPU seconds it cost."""
    began = time.process_time()
    module, _, function = step.do.partition(":")
    record: Record = getattr(importlib.import_module(module), function)(context, progress, **step.given)
    return {**record, "cpu_s": round(time.process_time() - began, 2)}


def one_thread() -> None:
    """One thread a process: two processes on two cores, and the same sums in the same order whoever runs beside."""
    import torch  # noqa: PLC0415  # the parent process narrates and needs no torch

    if not torch.cuda.is_available():
        torch.set_num_threads(1)


def _die_with_parent() -> None:
    """Exit as soon as the parent is gone, even if it was killed."""
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RunError("a worker was started without a parent", "start runs through `bylaw align` or `bylaw demo`")

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
