"""Take one step of a begun run on several devices: `accelerate launch --num_processes N -m bylaw.recipes.launch RUN STEP`.

`bylaw align` takes every step in one process a step. A training step of a model too large or too slow for that is taken by hand with
this module; the other steps go on with the ordinary command afterwards. Every rank trains, rank 0 alone writes.
"""

import argparse
import contextlib
import sys
from pathlib import Path

from bylaw import runs
from bylaw.align.training import rank
from bylaw.errors import BylawError, RunError
from bylaw.recipes.book import Deliberative
from bylaw.recipes.steps import do
from bylaw.runs import Run


def main() -> int:
    """Take the step; an error is one line of what and one of what next."""
    parser = argparse.ArgumentParser(description="Take one step of a run on several devices.")
    parser.add_argument("run", type=Path)
    parser.add_argument("step")
    args = parser.parse_args()
    try:
        with runs.alone(runs.open_run(args.run)) if rank() == 0 else contextlib.nullcontext():
            take(runs.open_run(args.run), args.step)
    except BylawError as error:
        sys.stderr.write(f"error: {error.what}\n  next: {error.hint}\n")
        return 2
    return 0


def take(run: Run, name: str) -> None:
    """Take one step whose needs are met, and record it once."""
    book = Deliberative()
    steps = {step.name: step for step in book.steps(run)}
    step = steps.get(name)
    if step is None:
        raise RunError(f"the run has no step {name}", f"it has {', '.join(steps)}")
    missing = [need for need in step.needs if not run.done(need)]
    if missing:
        raise RunError(f"{name} needs {', '.join(missing)} first", "take them, by `bylaw align` or by hand")
    record = do(step, book.context(run), lambda done, total: None)
    if rank() == 0:
        run.finish(step.name, record)


if __name__ == "__main__":
    sys.exit(main())
