"""`bylaw compare RUN…`: several measurements side by side, as a page for people and JSON beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bylaw import runs
from bylaw.errors import RunError
from bylaw.evals import calibration, compare, compare_page, measurement
from bylaw.recipes.demo import shown


def compared(folders: Sequence[Path], out: Path, cards: Sequence[Path] = ()) -> dict[str, Any]:
    """Compare finished measurements; write the page to `out` and the JSON beside it. Nothing is written where one cannot be read."""
    if out.suffix not in (".html", ".htm"):
        raise RunError(f"{out} is no name for a page", "end --out with .html")
    if len({path.resolve() for path in folders}) < len(folders):
        raise RunError("a run is named twice", "name different folders")
    measured = [measurement.read(path) for path in folders]
    known = [one for path in cards for one in calibration.cards_of(runs.read_json(path), str(path))]
    found = compare.compare(measured, known)
    page = compare_page.render(found, measured)
    runs.write_json(out.with_suffix(".json"), found)
    # A lone surrogate in a model's text must not cost the page.
    runs.write_text(out, page.encode("utf-8", "replace").decode("utf-8"))
    return found


def show(found: Mapping[str, Any], out: Path, console: Console) -> None:
    """Both sides of every run, and what newly fails."""
    table = Table("", "target", "attacks got through", "allowed, refused", "newly fail", "mended", box=None, pad_edge=False)
    changed = {one["run"]: one for one in found["paired"]}
    for about, sides in zip(found["runs"], found["overall"], strict=True):
        one = changed.get(about["run"], {"sides": ()})
        sums = [str(sum(side[key] for side in one["sides"])) if one["sides"] else "" for key in ("broken", "mended")]
        table.add_row(about["run"], shown(about["target"]), told_rate(sides["resist"]), told_rate(sides["over_refusal"]), *sums)
    console.print(table)
    for warning in found["warnings"]:
        console.print(f"note: {shown(warning)}", soft_wrap=True)
    console.print(
        f"{found['cases']} cases that every run tried; {shown(str(out))} and {shown(out.with_suffix('.json').name)} beside it",
        soft_wrap=True,
    )


def told_rate(value: Mapping[str, Any]) -> str:
    """A share of failures in percent, with its interval and what it rests on."""
    if value["rate"] is None:
        return "not measured"
    return f"{100 * value['rate']:.1f} % ({100 * value['low']:.1f} to {100 * value['high']:.1f}, n {value['n']})"
