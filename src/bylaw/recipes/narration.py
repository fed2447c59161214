"""Tell a person what a run is doing: a line when a step begins and ends, a bar while it works."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from bylaw.recipes.steps import Record, Step


class Narration:
    """A narrator on a terminal; without one it prints plain lines. `why` adds the reason of each step."""

    def __init__(self, console: Console, progress: Progress, why: Mapping[str, str]) -> None:
        self.console = console
        self.progress = progress
        self.why = why
        self.bars: dict[str, TaskID] = {}
        self.began_at: dict[str, float] = {}

    def began(self, step: Step) -> None:
        """A worker takes a step."""
        self.began_at[step.name] = time.monotonic()
        self.bars[step.name] = self.progress.add_task(step.says, total=None)
        if step.name in self.why:
            self.progress.console.print(f"[bold]{step.says}[/]\n  [dim]{self.why[step.name]}[/]")

    def moved(self, step: Step, done: int, total: int) -> None:
        """A step is this far."""
        self.progress.update(self.bars[step.name], completed=done, total=total)

    def ended(self, step: Step, record: Record) -> None:
        """A step is finished and recorded."""
        self.progress.remove_task(self.bars.pop(step.name))
        seconds = time.monotonic() - self.began_at.pop(step.name)
        self.progress.console.print(f"[green]done[/] {step.says} [dim]({seconds:.0f} s{_news(record)})[/]")


def _news(record: Record) -> str:
    """The few numbers of a record that a person wants at once."""
    shown = {
        "kept": "{} rows kept",
        "failed": "{} judged wrong",
        "malformed": "{} malformed",
        "missing": "{} the judge could not tell",
        "leaks": "{} leaks",
        "steps": "{} steps",
        "n": "{} prompts",
        "left_out": "left out: {}",
    }
    return "".join(", " + text.format(record[key]) for key, text in shown.items() if key in record)


@contextmanager
def narrate(console: Console, why: Mapping[str, str] | None = None) -> Iterator[Narration]:
    """Show bars while the block runs."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, refresh_per_second=4) as progress:
        yield Narration(console, progress, why or {})
