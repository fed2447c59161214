"""Suites on disk: JSON lines or YAML, read strictly, written whole.

JSON lines: the first line may be a head, `{"suite": NAME, "policy": DIGEST}`; every other line is one case. YAML: `suite`, `policy`, and
`cases` as a list whose items begin with `- ` at one indent. An unknown key, a bad value, an id that two cases share, or a clause that
the policy does not have makes a problem with file and line; the good lines beside it are counted, and nothing is half read: `load` takes
all of a file or none of it. An id of 16 hex digits must be the digest of what the case says; any other name is the writer's own.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

from bylaw import runs
from bylaw.errors import PolicyError, RunError
from bylaw.evals.cases import DISPOSITIONS, Attack, Case, Context, Expect, Side, Status, Suite, addressed, id_of
from bylaw.policy.fields import Fields, as_list, shown
from bylaw.policy.notation import Node, inline, plain, read_json, read_yaml, wrong
from bylaw.types import Message, Place, Policy, Role, Severity

MAX_BYTES: Final = 64 << 20  # of one file
MAX_CASES: Final = 100_000
MAX_TURNS: Final = 200
MAX_TEXT_CHARS: Final = 200_000  # of one turn or document
_NAME: Final = re.compile(r"[A-Za-z0-9][\w.:-]{0,79}")
_HASH: Final = re.compile(r"[0-9a-f]{16}")
_ITEM: Final = re.compile(r"( *)- ")
HINT: Final = "`bylaw suite lint FILE` lists every problem"


class SuiteError(RunError):
    """A suite that cannot be read. `what` starts with file:line."""


class Problem(NamedTuple):
    """One thing that is wrong with a suite: where, what, and what to do."""

    place: Place
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class Read(NamedTuple):
    """A suite as far as it can be read, and what is wrong with the rest."""

    suite: Suite
    problems: tuple[Problem, ...]
    lines: int  # cases that stand in the file, good and bad


def load(path: Path, policy: Policy | None = None) -> Suite:
    """Read a suite; raises SuiteError at the first problem, and says how many cases are sound."""
    found = read(path, policy)
    if found.problems:
        first = found.problems[0]
        good = len(found.suite.cases)
        more = f"; {good} of {found.lines} cases are sound" if found.lines else ""
        raise SuiteError(f"{first}{more}", f"{first.fix} {HINT}")
    if not found.suite.cases:
        raise SuiteError(f"{path} holds no case", "`bylaw suite compile --policy P --out FILE` writes one from a policy")
    return found.suite


def read(path: Path, policy: Policy | None = None) -> Read:
    """Read what can be read of a suite; raises SuiteError where the file itself cannot be."""
    text = _text(path)
    name = path.name
    head, nodes, problems = _yaml(text, name) if path.suffix in (".yaml", ".yml") else _json_lines(text, name)
    known = {clause.id for clause in policy.clauses} if policy else None
    cases: dict[str, Case] = {}
    lines: dict[str, Place] = {}
    for node in nodes:
        if isinstance(node, Problem):
            problems.append(node)
            continue
        try:
            case = _case(node, known)
            if case.id in cases:
                raise wrong(node.place, f"the id {case.id} stands on line {lines[case.id].line} too", "Take one of the two out.")
        except PolicyError as error:
            problems.append(_problem(error, node.place))
        else:
            cases[case.id], lines[case.id] = case, node.place
    suite = Suite.of(head.get("suite") or path.stem, tuple(cases.values()), head.get("policy", ""))
    return Read(suite, tuple(problems), len(nodes))


def save(suite: Suite, path: Path) -> None:
    """Write a suite whole: JSON lines, or YAML where the name ends so."""
    head = {"suite": suite.name, "policy": suite.policy, "digest": suite.digest}
    if path.suffix not in (".yaml", ".yml"):
        runs.write_rows(path, [head, *(one.to_json() for one in suite.cases)])
        return
    items = "".join(f"  - {inline(one.to_json())}\n" for one in suite.cases)
    runs.write_text(path, "".join(f"{key}: {inline(value)}\n" for key, value in head.items()) + "cases:\n" + items)


# ---- The file ----------------------------------------------------------------------------------------------------------


def _text(path: Path) -> str:
    try:
        return runs.read_text(path, MAX_BYTES, "part it into several suites", "name a suite: a file of JSON lines or YAML")
    except RunError as error:
        raise SuiteError(error.what, error.hint) from error


_Parsed = tuple[dict[str, str], list[Node | Problem], list[Problem]]


def _json_lines(text: str, name: str) -> _Parsed:
    head: dict[str, str] = {}
    nodes: list[Node | Problem] = []
    problems: list[Problem] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        place = Place(name, number)
        _bounded(len(nodes), place)
        try:
            node = _node(read_json(line, place), place)
            if not nodes and not head and isinstance(node.value, dict) and "suite" in node.value:
                head = _head(node)
            else:
                nodes.append(node)
        except PolicyError as error:
            nodes.append(_problem(error, place))
    return head, nodes, problems


def _yaml(text: str, name: str) -> _Parsed:
    """Cases are read one by one, so that one broken case does not hide the others."""
    before, blocks = _blocks(text.split("\n"))
    nodes: list[Node | Problem] = []
    problems: list[Problem] = []
    head: dict[str, str] = {}
    try:
        head = _head(read_yaml("\n".join(before), Place(name, 1)), ("cases",))
    except PolicyError as error:
        problems.append(_problem(error, Place(name, 1)))
    for start, lines in blocks:
        place = Place(name, start)
        _bounded(len(nodes), place)
        try:
            found = read_yaml("\n".join(lines), place)
            nodes += [Node(one.value, place) for one in as_list(found)]
        except PolicyError as error:
            nodes.append(_problem(error, place))
    return head, nodes, problems


def _blocks(lines: Sequence[str]) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The lines before the cases, and the lines of each case with the number of its first."""
    begin = next((at for at, line in enumerate(lines) if re.fullmatch(r"cases:\s*(#.*)?", line)), len(lines))
    before, rest = list(lines[:begin]), lines[begin + 1 :]
    first = next((line for line in rest if line.strip() and not line.lstrip().startswith("#")), "")
    indent = len(first) - len(first.lstrip())
    blocks: list[tuple[int, list[str]]] = []
    for number, line in enumerate(rest, begin + 2):
        match = _ITEM.match(line)
        if (match and len(match[1]) == indent) or (not blocks and line.strip() and not line.lstrip().startswith("#")):
            blocks.append((number, []))
        if blocks:
            blocks[-1][1].append(line)
    return before, blocks


def _bounded(count: int, place: Place) -> None:
    if count >= MAX_CASES:
        raise SuiteError(f"{place}: more than {MAX_CASES} cases", "part it into several suites")


def _node(value: Any, place: Place) -> Node:
    """A JSON value as nodes that all stand on one line."""
    if isinstance(value, dict):
        return Node({key: _node(one, place) for key, one in value.items()}, place)
    return Node([_node(one, place) for one in value] if isinstance(value, list) else value, place)


def _head(node: Node, also: Sequence[str] = ()) -> dict[str, str]:
    if node.value is None:
        return {}
    fields = Fields(node, "the head of a suite", "suite: NAME")
    found = {key: fields.text(key) for key in ("suite", "policy", "digest")}
    for key in also:
        fields.node(key)
    fields.extra()
    fields.done()
    return found


def _problem(error: PolicyError, place: Place) -> Problem:
    """An error of the strict readers as a problem of the suite; they put the place in front."""
    at, _, message = error.what.partition(": ")
    file, _, line = at.rpartition(":")
    return Problem(Place(file, int(line)), message, error.hint) if file and line.isdigit() else Problem(place, error.what, error.hint)


# ---- One case ----------------------------------------------------------------------------------------------------------


def _case(node: Node, known: set[str] | None) -> Case:
    fields = Fields(node, "a case", "side: refuse")
    clause = fields.text("clause")
    if known is not None and clause and clause not in known:
        raise wrong(node.place, f"the policy has no clause {clause[:80]}", "Correct the id, or name the policy that has it.")
    side: Side = fields.choice("side", Side, "refuse")
    fields.need("side", f"Write one of: {', '.join(get_args(Side))}.")
    name = fields.text("id")
    case = Case(
        id=name,
        clause=clause,
        side=side,
        severity=fields.choice("severity", Severity, "medium"),
        turns=_turns(fields.need("turns", 'Write `turns: [{role: user, content: "…"}]`.')),
        attack=_attack(fields.node("attack")),
        context=_context(fields.node("context")),
        expect=_expect(fields.node("expect"), known),
        language=fields.text("language", "en"),
        source=fields.text("source"),
        licence=fields.text("licence"),
        status=fields.choice("status", Status, "active"),
        found_in=fields.text("found_in"),
        family=_raw(family, "family") if (family := fields.node("family")) else "",
    )
    fields.extra()
    fields.done()
    if name and not _NAME.fullmatch(name):
        raise wrong(node.place, f"an id cannot be {name[:80]!r}", "Use letters, digits and . : - _ only, or leave the id out.")
    if _HASH.fullmatch(name) and name != id_of(case):
        raise wrong(
            node.place, f"the case {name} was edited: its content is {id_of(case)}", "Leave the id out, it follows from the content."
        )
    return case if name else addressed(case)


def _turns(node: Node) -> tuple[Message, ...]:
    items = as_list(node)
    if not items or len(items) > MAX_TURNS:
        raise wrong(node.place, f"a case has 1 to {MAX_TURNS} turns, not {len(items)}", 'Write `turns: [{role: user, content: "…"}]`.')
    turns = tuple(_turn(one) for one in items)
    if turns[-1].role == "assistant" or all(one.role in ("system", "assistant") for one in turns):
        raise wrong(node.place, "the last turn is not the target's to answer", "End with a turn of the user, or a tool's result.")
    return turns


def _turn(node: Node) -> Message:
    fields = Fields(node, "a turn", '{role: user, content: "…"}')
    role: Role = fields.choice("role", Role, "user")
    content = _raw(fields.need("content", 'Write `{role: user, content: "…"}`.'), "content")
    fields.done()
    return Message(role, content)


def _raw(node: Node, what: str) -> str:
    """A text as it stands: an attack may begin or end with spaces."""
    if not isinstance(node.value, str) or len(node.value) > MAX_TEXT_CHARS:
        raise wrong(node.place, f"{what} must be text of at most {MAX_TEXT_CHARS} characters", "Put the value in quotes.")
    return node.value


def _attack(node: Node | None) -> Attack:
    if node is None:
        return Attack()
    fields = Fields(node, "attack", "attack: {techniques: [NAME]}")
    found = Attack(fields.names("techniques"), fields.whole("seed", 0, (1 << 53) - 1) or 0, fields.text("parent"))
    fields.done()
    return found


def _context(node: Node | None) -> Context:
    if node is None:
        return Context()
    fields = Fields(node, "context", 'context: {documents: ["…"]}')
    documents = fields.node("documents")
    found = Context(
        tuple(_raw(one, "a document") for one in as_list(documents)) if documents else (),
        tuple(_map(one, "a tool") for one in as_list(tools)) if (tools := fields.node("tools")) else (),
        _map(env, "env") if (env := fields.node("env")) else {},
    )
    fields.done()
    return found


def _expect(node: Node | None, known: set[str] | None) -> Expect:
    if node is None:
        return Expect()
    fields = Fields(node, "expect", "expect: {clause: money.refund-limit}")
    canaries, claims, answer = fields.node("canaries"), fields.node("claims"), fields.node("answer")
    found = Expect(
        dispositions=fields.names("dispositions"),
        clause=fields.text("clause"),
        style=fields.names("style"),
        tools_allowed=fields.names("tools_allowed"),
        tools_forbidden=fields.names("tools_forbidden"),
        approval=fields.text("approval"),
        canaries=tuple(_raw(one, "a canary") for one in as_list(canaries)) if canaries else (),
        claims=tuple(_raw(one, "a claim") for one in as_list(claims)) if claims else (),
        answer=_raw(answer, "answer") if answer else "",
        schema=_map(schema, "schema") if (schema := fields.node("schema")) else {},
    )
    fields.done()
    strange = next((one for one in found.dispositions if one not in DISPOSITIONS), None)
    if strange is not None:
        raise wrong(node.place, f"a disposition cannot be {strange[:60]!r}", f"Use one of: {', '.join(DISPOSITIONS)}.")
    if any(not one.strip() for one in (*found.canaries, *found.claims)):
        raise wrong(node.place, "an empty canary or claim stands in every reply", "Write the words, or take it out.")
    if known is not None and found.clause and found.clause not in known:
        raise wrong(node.place, f"the policy has no clause {found.clause[:80]}", "Correct the id, or name the policy that has it.")
    return found


def _map(node: Node, what: str) -> Mapping[str, Any]:
    if not isinstance(node.value, dict):
        raise wrong(node.place, f"{what} must be a map, not {shown(node)!r}", "Write `{key: value}`.")
    found: Mapping[str, Any] = plain(node)
    return found
