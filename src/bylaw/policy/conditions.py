"""`when:` conditions in CEL: types checked when the policy loads; at run time true, false or undecidable.

A condition is compiled twice. Once against messages made from our own fields and the tool's JSON Schema, as a check only: an unknown field
or a wrong type is a PolicyError. Then without types, to be evaluated on maps, where a missing key is an error and not a silent zero.
CEL returns errors as values of type ERROR; every one of them, and every number that CEL could misread, is `undecidable`. The caller
must deny on it. A regular expression is RE2 and linear; loops run under CEL's own iteration budget.
"""

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

from cel_expr_python import cel
from google.protobuf import descriptor_pb2, descriptor_pool, struct_pb2

from bylaw.errors import PolicyError
from bylaw.policy.notation import MAX_INT
from bylaw.policy.parse import every_clause
from bylaw.types import EMPTY, Clause, Event, Policy, Rule

Outcome = Literal["true", "false", "undecidable"]
Schema = Mapping[str, Any]

MAX_SOURCE_CHARS: Final = 4_000
MAX_DEPTH: Final = 32  # levels of an event's maps and lists
MAX_FIELDS: Final = 1_000  # fields of a schema that is still checked
MAX_VALUES: Final = 20_000  # values in an event

_PROTO: Final = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {"string": _PROTO.TYPE_STRING, "number": _PROTO.TYPE_DOUBLE, "integer": _PROTO.TYPE_INT64, "boolean": _PROTO.TYPE_BOOL}
_KINDS: Final[dict[str, tuple[type, ...]]] = {"string": (str,), "number": (int, float), "integer": (int, float), "boolean": (bool,)}
_STRINGS: Final = {"type": "array", "items": {"type": "string"}}
_NUMBERS: Final = {"type": "object", "additionalProperties": {"type": "number"}}
_TEXT: Final = {"type": "string"}
# What every event has besides `args`; `session.sums` counts numbers by a dotted name.
OWN: Final[dict[str, Schema]] = {
    "principal": {"properties": {"id": _TEXT, "roles": _STRINGS, "tenant": _TEXT, "jurisdiction": _TEXT}},
    "session": {"properties": {"id": _TEXT, "taint": _STRINGS, "calls": _STRINGS, "n_calls": {"type": "integer"}, "sums": _NUMBERS}},
    "env": {"properties": {"name": _TEXT, "hour": {"type": "integer", "minimum": 0, "maximum": 23}}},  # bounds: for `domain`
}
_WORDS: Final = ("surface", "tool", "text")
_MAP: Final = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
_RUN: Final = cel.NewEnv(variables={**dict.fromkeys(_WORDS, cel.Type.STRING), **dict.fromkeys(("args", *OWN), _MAP)})
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LITERAL: Final = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""")
_CONVERSION: Final = re.compile(r"\bdouble\s*\(")
_DIVISION: Final = re.compile(r"/(?!\s*[0-9.]*[1-9])")
_READS_TEXT: Final = re.compile(r"(?<![\w.])text\b")
_NAMES_TEXT: Final = re.compile(r"\(\s*text\s*,")  # a loop's variable
_REGEX: Final = re.compile(r"""matches\(\s*(?:[\w.]+\s*,\s*)?(r?"(?:[^"\\]|\\.)*"|r?'(?:[^'\\]|\\.)*')\s*\)""")


class Types:
    """The message types of one policy. They live in its own pool, so that a reload leaves nothing behind."""

    def __init__(self) -> None:
        self.pool = descriptor_pool.DescriptorPool()
        self.pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
        self.envs: dict[int, tuple[Schema | None, Any]] = {}  # by identity of the schema, which is kept alive here

    def env(self, schema: Schema | None) -> Any:
        """The typed environment in which `args` has this schema; without one, `args` stays dynamic."""
        if id(schema) not in self.envs:
            self.envs[id(schema)] = (schema, self._new(schema))
        return self.envs[id(schema)][1]

    def _new(self, schema: Schema | None) -> Any:
        package = f"bylaw{len(self.envs)}"
        file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto2")
        file.dependency.append("google/protobuf/struct.proto")
        shapes: dict[str, Schema] = {**OWN, "args": schema} if schema is not None and _typable(schema) else dict(OWN)
        names = {key: _message(file, shape, MAX_DEPTH) for key, shape in shapes.items()}
        self.pool.AddSerializedFile(file.SerializeToString())
        typed = {key: cel.Type(f"{package}.{name}") for key, name in names.items()}
        return cel.NewEnv(self.pool, variables={"args": _MAP, **dict.fromkeys(_WORDS, cel.Type.STRING), **typed})


def _typable(schema: Schema) -> bool:
    """Whether a schema names its fields, and all in a way a message can (a name such as `x-y` can only be read from a map)."""
    fields = schema.get("properties")
    if not isinstance(fields, Mapping) or not 0 < len(fields) <= MAX_FIELDS:
        return False
    return all(_IDENTIFIER.fullmatch(name) for name in fields) and len({name.lower().replace("_", "") for name in fields}) == len(fields)


def _message(file: Any, schema: Schema, depth: int) -> str:
    name = f"M{len(file.message_type)}"
    message = file.message_type.add(name=name)
    for number, (key, shape) in enumerate(schema["properties"].items(), 1):
        kind = shape.get("type") if isinstance(shape, Mapping) else None
        items = shape.get("items") if kind == "array" else None
        inner = items if isinstance(items, Mapping) else shape
        label = _PROTO.LABEL_REPEATED if inner is items else _PROTO.LABEL_OPTIONAL
        field = message.field.add(name=key, number=number, label=label)
        scalar = inner.get("type") if isinstance(inner, Mapping) else None
        if isinstance(scalar, str) and scalar in _SCALARS:
            field.type = _SCALARS[scalar]
        elif scalar == "object" and depth and _typable(inner):
            field.type, field.type_name = _PROTO.TYPE_MESSAGE, f".{file.package}.{_message(file, inner, depth - 1)}"
        else:  # anything else keeps its dynamic type
            field.type, field.type_name, field.label = _PROTO.TYPE_MESSAGE, ".google.protobuf.Value", _PROTO.LABEL_OPTIONAL
    return name


class When:
    """One condition, checked against a tool's schema where there is one; raises PolicyError on what cannot be meant."""

    def __init__(self, source: str, schema: Schema | None = None, types: Types | None = None) -> None:
        if len(source) > MAX_SOURCE_CHARS:
            raise PolicyError(f"a condition of {len(source)} characters, the limit is {MAX_SOURCE_CHARS}", "Write several rules.")
        self.source = source
        self.schema = schema
        _refuse_nan(source)
        try:
            kind = (types or Types()).env(schema).compile(source).return_type()
        except (RuntimeError, TypeError, ValueError) as error:
            raise _refused(source, str(error)) from error
        self._program = _RUN.compile(
            source, disable_check=True
        )  # checked above; its own check mistakes the sum of two unknown kinds for an int
        if kind != cel.Type.BOOL:
            raise PolicyError(f"`when: {source}` is not a yes-or-no condition", "Compare something: `args.amount > 200.0`.")
        for pattern in _REGEX.findall(source):
            if _RUN.compile(f'"".matches({pattern})').eval(_RUN.Activation({})).type() != cel.Type.BOOL:
                raise PolicyError(f"`when: {source}`: {pattern} is not a regular expression", "Write it in RE2 syntax.")

    def decide(self, event: Event) -> Outcome:
        """Whether the condition holds for an event; whatever goes wrong is `undecidable`."""
        facts = activation(event, self.schema)
        return "undecidable" if facts is None else self.decide_on(facts)

    def decide_on(self, facts: Any) -> Outcome:
        """The same for an activation made before, so that many conditions can share one."""
        try:
            value = self._program.eval(facts)
            if value.type() != cel.Type.BOOL:
                return "undecidable"
            return "true" if value.value() is True else "false"
        except Exception:  # noqa: BLE001  # CEL's wrapper is outside code: whatever it throws, the answer is "cannot tell", and the caller denies
            return "undecidable"


def _refuse_nan(source: str) -> None:
    """Refuse what can make a number that is none: every comparison with it is false, so a rule would silently not match."""
    bare = _LITERAL.sub('""', source)
    if _CONVERSION.search(bare):
        raise PolicyError(f"`when: {source}`: double() can turn text into no number", "Compare the field itself; the schema says its kind.")
    if _DIVISION.search(bare):
        hint = "Multiply instead: `args.total > 100.0 * args.count`. A number other than zero may stand below."
        raise PolicyError(f"`when: {source}`: dividing by a value can give no number", hint)


class _Unsafe(Exception):  # noqa: N818  # never leaves this module
    """A value that CEL could misread."""


def activation(event: Event, schema: Schema | None = None) -> Any | None:
    """An event as CEL sees it; None where a value is not finite, too large, too deep or no JSON, whether a condition reads it or not."""
    budget = [MAX_VALUES]
    try:
        facts: dict[str, Any] = {word: _safe(getattr(event, word), None, 0, budget) for word in _WORDS}
        facts["args"] = _safe(event.args, schema, 0, budget)
        for key, shape in OWN.items():
            facts[key] = _safe(getattr(event, key), shape, 0, budget)
        return _RUN.Activation(facts)
    except (_Unsafe, RuntimeError, TypeError, ValueError):
        return None


def _safe(value: Any, schema: Any, depth: int, budget: list[int]) -> Any:
    """The value with its numbers in the kind the schema says; raises _Unsafe on what CEL could misread."""
    budget[0] -= 1
    if depth > MAX_DEPTH or budget[0] < 0:
        raise _Unsafe
    kind = type(value)
    shape: Mapping[str, Any] = schema if isinstance(schema, dict) else EMPTY
    due = shape.get("type")
    if isinstance(due, str) and kind not in _KINDS.get(due, (kind,)):
        raise _Unsafe
    if kind is str or value is None or kind is bool:
        return value
    if isinstance(value, int | float):
        return _number(value, due)
    if kind is list or kind is tuple:
        return [_safe(item, shape.get("items"), depth + 1, budget) for item in value]
    if not isinstance(value, dict | MappingProxyType):
        raise _Unsafe
    fields, others = shape.get("properties"), shape.get("additionalProperties")
    known: Mapping[str, Any] = fields if isinstance(fields, dict) else EMPTY
    facts = {}
    for key, item in value.items():
        if type(key) is not str:
            raise _Unsafe
        facts[key] = _safe(item, known.get(key, others), depth + 1, budget)
    return facts


def _number(value: float, kind: Any) -> float:
    """JSON does not tell 640 from 640.0, CEL does: the schema decides."""
    if not math.isfinite(value) or abs(value) > MAX_INT:
        raise _Unsafe
    if kind == "number":
        return float(value)
    return int(value) if kind == "integer" and float(value).is_integer() else value


def _refused(source: str, problem: str) -> PolicyError:
    """CEL's complaint in words a policy's author can act on."""
    lines = [line.split("ERROR: ", 1)[-1] for line in problem.splitlines() if "ERROR: " in line] or [problem]
    said = (
        re.sub(r"\s+", " ", re.sub(r"^<input>:\d+:\d+: |( not found)? in struct '.*'", "", lines[0]))
        .replace("[INVALID_ARGUMENT]", "")
        .strip()[:300]
    )
    hint = "Read the line aloud against the tool's schema; conditions are CEL expressions."
    if "undefined field" in said:  # what follows from it is said of a field that is none
        hint = "Use a field that the tool's schema in tools/ (or principal, session, env) has."
    elif "+" in source and "(int, double)" in problem:  # CEL takes the sum of two values of unknown kind for a whole number
        hint = "Say the kind of the sum: start it with `0.0 +`, or give the tool a schema in tools/."
    elif "(double, int)" in problem or "(int, double)" in problem:
        hint = "This field is a number with decimals: write the other side with a point, `200.0` instead of `200`."
    elif "undeclared reference" in problem:
        hint = "Conditions can name: args, text, tool, surface, principal, session, env."
    elif "token recognition error at: '= '" in problem or "token recognition error at: '='" in problem:
        hint = "Write `==` to compare."
    elif "no matching overload" in problem:
        hint = "The two sides have different types: put text in quotes, write numbers without."
    return PolicyError(f"`when: {source[:200]}`: {said}", hint)


def check(policy: Policy) -> None:
    """Check every condition of a policy; raises PolicyError with file and line on the first that cannot be meant."""
    types = Types()
    for clause in every_clause(policy):
        for rule in clause.enforce:
            check_rule(policy, clause, rule, types)


def check_rule(policy: Policy, clause: Clause, rule: Rule, types: Types) -> None:
    """Check one rule's condition against each tool it names, and against where it looks."""
    bare = _LITERAL.sub('""', rule.when)
    if rule.on == ("tool_call",) and _READS_TEXT.search(bare) and not _NAMES_TEXT.search(bare):
        what = f"`when: {rule.when[:200]}` reads `text`, which is empty in every tool call"
        hint = "Read the arguments (`args.note.contains(...)`), or let the rule look `on: tool_result`, `output` or `input`."
        raise PolicyError(f"{rule.place}: {clause.id}/{rule.id}: {what}", hint)
    for tool in rule.tools or ("",):
        try:
            When(rule.when, policy.tools.get(tool), types)
        except PolicyError as error:
            raise PolicyError(f"{rule.place}: {clause.id}/{rule.id}: {error.what}", error.hint) from error
