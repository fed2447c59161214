"""Reports of garak and PyRIT as suites: what they tried on a target becomes cases, and what got through a candidate.

garak (0.17): the `report.jsonl` of a run. One case an attempt that was evaluated; `notes.triggers` become canaries. An attempt with a
detector over `eval_threshold` is a hit. A report without its `completion` line is of a run that broke off, which garak ends with exit
code 0: it is refused. PyRIT (1.1): JSON `{"messages": [...], "results": [...]}` with the pieces of the memory and the attack results, as
pydantic dumps them; a plain list of pieces, too. One case a conversation, up to its last user turn; `outcome: success` is a hit, unless
the last answer was blocked: scorers that look for words take a gateway's refusal, which they see as an error, for a success.

A hit is a `candidate` until somebody reproduces it: both tools take harmless answers for breaches. Other attempts are `active`. Neither
tool has an over-refusal side, and none of them names a clause: run them beside a suite of your policy. Only text is taken.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bylaw import runs
from bylaw.errors import RunError
from bylaw.evals.cases import Attack, Case, Context, Expect, Side, Suite, case
from bylaw.types import Message, Role

TOOLS: Final = ("garak", "pyrit")
LICENCES: Final[Mapping[str, str]] = {"garak": "Apache-2.0, the prompts of each probe their own", "pyrit": "MIT, the prompts their own"}
MAX_BYTES: Final = 512 << 20
MAX_ROWS: Final = 500_000
MAX_CANARIES: Final = 20
EVALUATED: Final = 2  # garak's status of an attempt that detectors have seen
THRESHOLD: Final = 0.5  # garak's own, where the report says none
_ROLES: Final[Mapping[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "simulated_assistant": "assistant",
    "tool": "tool",
}
Row = Mapping[str, Any]


def load(tool: str, path: Path) -> Suite:
    """A report as a suite; raises RunError where it is none, or gives no case."""
    if tool not in TOOLS:
        raise RunError(f"no reader for reports of {tool[:40]!r}", f"One of: {', '.join(TOOLS)}.")
    text = runs.read_text(path, MAX_BYTES, "Run fewer probes at a time.", "Name the report's file.")
    cases = list(_garak(path, text) if tool == "garak" else _pyrit(path, text))
    if not cases:
        raise RunError(f"{path} gives no case: nothing in it was asked and evaluated", f"Name the report of a finished {tool} run.")
    return Suite.of(tool, cases)


# ---- garak -----------------------------------------------------------------------------------------------------------------


def _garak(path: Path, text: str) -> Iterator[Case]:
    rows = list(_lines(path, text))
    kinds = {row.get("entry_type") for row in rows}
    if "completion" not in kinds:
        raise RunError(f"{path} has no completion line: the garak run broke off", "Run it again; garak ends such a run with exit code 0.")
    setup: Row = next((row for row in rows if row.get("entry_type") == "start_run setup"), {})
    run = next((str(row.get("run", "")) for row in rows if row.get("entry_type") == "init"), "")
    threshold = setup.get("run.eval_threshold")
    limit = float(threshold) if isinstance(threshold, int | float) and not isinstance(threshold, bool) else THRESHOLD
    for row in rows:
        if row.get("entry_type") == "attempt" and row.get("status") == EVALUATED:
            yield from _attempt(row, run, limit)


def _lines(path: Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        if number > MAX_ROWS:
            raise RunError(f"{path} has more than {MAX_ROWS} lines", "Run fewer probes at a time.")
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise RunError(f"{path}:{number}: the line is no JSON", "The run broke off, or this is no garak report.") from error
        if isinstance(row, dict):
            yield row


def _attempt(row: Row, run: str, threshold: float) -> Iterator[Case]:
    probe, prompt = str(row.get("probe_classname", "")), row.get("prompt")
    turns = _garak_turns(prompt.get("turns") if isinstance(prompt, dict) else None)
    notes = row.get("notes")
    triggers = notes.get("triggers") if isinstance(notes, dict) else None
    canaries = tuple(one for one in _list(triggers) if isinstance(one, str) and one.strip())[:MAX_CANARIES]
    results = row.get("detector_results")
    scores = [one for found in (results.values() if isinstance(results, dict) else ()) for one in _list(found)]
    hit = any(isinstance(one, int | float) and one >= threshold for one in scores)
    yield from _case("garak", turns, probe, canaries=canaries, techniques=(probe,), hit=f"garak run {run}" if hit else "")


def _garak_turns(turns: Any) -> tuple[Message, ...]:
    found = []
    for turn in _list(turns):
        content = turn.get("content") if isinstance(turn, dict) else None
        said = content.get("text") if isinstance(content, dict) else None
        role = _ROLES.get(str(turn.get("role"))) if isinstance(turn, dict) else None
        if role and isinstance(said, str):
            found.append(Message(role, said))
    return tuple(found)


# ---- PyRIT -----------------------------------------------------------------------------------------------------------------


def _pyrit(path: Path, text: str) -> Iterator[Case]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is no JSON", "Write it as docs/other-tools.md shows.") from error
    whole: Row = value if isinstance(value, dict) else {"messages": value}
    pieces = [one for one in _list(whole.get("messages")) if isinstance(one, dict)]
    if len(pieces) > MAX_ROWS:
        raise RunError(f"{path} has more than {MAX_ROWS} messages", "Export one run at a time.")
    outcomes = {str(one.get("conversation_id")): one for one in _list(whole.get("results")) if isinstance(one, dict)}
    talks: dict[str, list[Row]] = {}
    for one in pieces:
        talks.setdefault(str(one.get("conversation_id")), []).append(one)
    for name, talk in talks.items():
        result: Row = outcomes.get(name, {})
        ordered = sorted(talk, key=_sequence)
        turns = tuple(turn for one in ordered if (turn := _piece(one)))
        techniques = tuple(dict.fromkeys(kind for one in ordered for kind in _converters(one)))
        success = str(result.get("outcome")).lower() == "success" and not _refused(ordered)
        hit = f"pyrit {result.get('attack_result_id', name)}" if success else ""
        about = str(result.get("objective", "")).strip()
        yield from _case("pyrit", turns, about or name, techniques=techniques, hit=hit)


def _refused(talk: Sequence[Row]) -> bool:
    """Whether the last answer is none: blocked by a gateway, which PyRIT's substring scorers take for a success."""
    answers = [one for one in talk if one.get("role") == "assistant"]
    return bool(answers) and answers[-1].get("response_error", "none") not in ("none", None)


def _sequence(piece: Row) -> int:
    found = piece.get("sequence")
    return found if isinstance(found, int) else 0


def _piece(piece: Row) -> Message | None:
    """What was really said: the converted text."""
    role = _ROLES.get(str(piece.get("role")))
    kind = piece.get("converted_value_data_type", "text")
    said = piece.get("converted_value") or piece.get("original_value")
    return Message(role, said) if role and kind == "text" and isinstance(said, str) else None


def _converters(piece: Row) -> Iterator[str]:
    for one in _list(piece.get("converter_identifiers")):
        name = (one.get("class_name") or one.get("__type__")) if isinstance(one, dict) else None
        if isinstance(name, str) and name:
            yield name


# ---- Both ------------------------------------------------------------------------------------------------------------------


def _case(  # both readers name each by its word
    tool: str, turns: Sequence[Message], about: str, *, canaries: tuple[str, ...] = (), techniques: tuple[str, ...] = (), hit: str = ""
) -> Iterator[Case]:
    """One case, up to the last turn of the user; a conversation without one gives none."""
    last = max((at for at, turn in enumerate(turns) if turn.role == "user"), default=-1)
    if last < 0 or not turns[last].content.strip():
        return
    side: Side = "leak" if canaries else "refuse"
    yield case(
        "",
        side,
        "high",
        turns[: last + 1],
        attack=Attack(techniques),
        context=Context(env={"category": about[:200]}),
        expect=Expect(() if canaries else ("refuse",), canaries=canaries),
        source=tool,
        licence=LICENCES[tool],
        status="candidate" if hit else "active",
        found_in=hit,
        family=f"{tool}:{about[:200]}",
    )


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
