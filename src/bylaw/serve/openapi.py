"""What the gateway offers, as OpenAPI 3.1. The model routes are those of OpenAI and Anthropic; here stands what we add to them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bylaw.govern.keys import MAX_TEXT
from bylaw.serve.records import FILTERS
from bylaw.serve.wire import MAX_CALLS
from bylaw.store.appeal_rows import APPEAL_STATES
from bylaw.store.approval_rows import STATES
from bylaw.store.finding_rows import FINDING_STATES, SOURCES

Schema = Mapping[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_TEXTS: Final[Schema] = {"type": "array", "items": _TEXT}
_WHOLE: Final[Schema] = {"type": "integer"}
_FLAG: Final[Schema] = {"type": "boolean"}
_ANY: Final[Schema] = {"type": "object", "additionalProperties": True}
_EFFECTS: Final = ("allow", "redact", "revise", "require_approval", "block", "stop")


def _object(needed: Mapping[str, Schema], more: Mapping[str, Schema] | None = None, strict: bool = False) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "object", "properties": {**needed, **(more or {})}, "required": list(needed)}
    return {**made, "additionalProperties": False} if strict else made


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(name: str, schema: Schema) -> dict[str, Any]:
    return _object({name: {"type": "array", "items": schema}})


def _page(name: str, schema: Schema) -> dict[str, Any]:
    return _object({name: {"type": "array", "items": schema}, "older": _TEXT})


_NOTICE: Final = _object({"text": _TEXT, "wording": _TEXT, "shown": {"enum": ["text", "beside"]}}, {"clause": _TEXT})
_SCHEMAS: Final[dict[str, Any]] = {
    "bylaw": _object(
        {},
        {
            "decision": {"enum": list(_EFFECTS)},
            "clauses": _TEXTS,
            "policy": _TEXT,
            "record": _TEXT,
            "undecided": _FLAG,
            "outcome": {"enum": ["no_result"]},
            "approval": _TEXT,
            "retry_after": _WHOLE,
            "appeal": _object({"route": _TEXT, "record": _TEXT}),
            "notice": _NOTICE,
        },
    ),
    "error": _object({"error": _object({"message": _TEXT}, {"why": _TEXT, "hint": _TEXT, "type": _TEXT})}),
    "approval": _object(
        {
            "id": _TEXT,
            "state": {"enum": list(STATES)},
            "digest": _TEXT,
            "requester": _TEXT,
            "tenant": _TEXT,
            "policy": _TEXT,
            "clauses": _TEXTS,
            "needs": {"type": "array", "items": _ANY},
            "reason": _TEXT,
            "requested_at": _WHOLE,
            "expires_at": _WHOLE,
            "edited_by": _TEXTS,
            "replaced_by": _TEXT,
            "answers": {"type": "array", "items": _object({"person": _TEXT, "yes": _FLAG, "reason": _TEXT, "at": _WHOLE})},
        },
        {"what": {}, "bylaw": _ref("bylaw")},
    ),
    "appeal": _object(
        {
            "id": _TEXT,
            "state": {"enum": list(APPEAL_STATES)},
            "record": _TEXT,
            "principal": _TEXT,
            "tenant": _TEXT,
            "jurisdiction": _TEXT,
            "decision": {"enum": list(_EFFECTS)},
            "policy": _TEXT,
            "clauses": _TEXTS,
            "why": _TEXT,
            "made_at": _WHOLE,
            "ended_by": _TEXT,
            "ended_at": {"type": ["integer", "null"]},
            "said": _TEXT,
        }
    ),
    "finding": _object(
        {
            "id": _TEXT,
            "state": {"enum": list(FINDING_STATES)},
            "source": {"enum": list(SOURCES)},
            **dict.fromkeys(("reporter", "tenant", "said", "prompt", "reply", "contact", "record", "clause"), _TEXT),
            **dict.fromkeys(("severity", "assignee", "duplicate_of", "disclose_on"), _TEXT),
            "made_at": _WHOLE,
            "changed_at": _WHOLE,
        },
        {"history": {"type": "array", "items": _ANY}},
    ),
    "entry": _object({"log": _TEXT, "index": _WHOLE, "time": _TEXT, "kind": _TEXT, "decision": _TEXT, "clauses": _TEXTS, "facts": _ANY}),
    "stop": _ANY,
}
_MARKS: Final = {
    name: {"description": said, "schema": _TEXT}
    for name, said in {
        "x-bylaw-decision": "What was decided",
        "x-bylaw-clauses": "The clauses that decided, with commas between",
        "x-bylaw-record": "Where that is recorded in the ledger",
    }.items()
}
_ERRORS: Final = {
    "400": "What was asked cannot be read",
    "401": "A key is needed",
    "403": "Not with this key, or not from here",
    "404": "There is no such thing, or not for you",
    "405": "Not with this method",
    "409": "It is too late for that, or it does not count; `why` says which",
    "413": "Too long",
    "429": "Too often, or a budget is used up; `retry-after` says when to come again",
    "502": "The model's server cannot be reached, or answers what cannot be read",
    "503": "It cannot be recorded or decided now, so that nothing is done",
    "504": "The model's server did not answer in time",
}
_OPEN: Final = ("400", "401", "403", "404", "503")  # errors of every route of ours


def _json(said: str, schema: Schema, headers: Any = None) -> dict[str, Any]:
    return {"description": said, "content": {"application/json": {"schema": schema}}, **({"headers": headers} if headers else {})}


def _errors(statuses: Sequence[str]) -> dict[str, Any]:
    return {status: _json(_ERRORS[status], _ref("error")) for status in sorted({*statuses})}


def _route(
    summary: str,
    good: Schema,
    status: str = "200",
    query: Mapping[str, Schema] | None = None,
    body: Schema | None = None,
    errors: Sequence[str] = _OPEN,
) -> dict[str, Any]:
    """One method of one of our routes; `id` in the path is added by `_paths`."""
    asked = [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in (query or {}).items()]
    made: dict[str, Any] = {"summary": summary, "parameters": asked, "responses": {status: _json(summary, good), **_errors(errors)}}
    if body is not None:
        made["requestBody"] = {"required": bool(body.get("required")), "content": {"application/json": {"schema": body}}}
    return made


def _model(summary: str, needed: Mapping[str, Schema], more: Mapping[str, Schema]) -> dict[str, Any]:
    """A model route. Its body is the API's own; here stands what is read of it."""
    names = ("x-bylaw-session", "x-bylaw-approval", "x-bylaw-jurisdiction")
    good = _json("The reply; with a `bylaw` object where there is something to tell", _object({}, {"bylaw": _ref("bylaw")}), _MARKS)
    good["content"]["text/event-stream"] = {"schema": _TEXT}
    errors = _errors(["400", "401", "403", "413", "429", "502", "503", "504"])
    return {
        "post": {
            "summary": summary,
            "parameters": [{"name": name, "in": "header", "schema": _TEXT} for name in names],
            "requestBody": {"required": True, "content": {"application/json": {"schema": _object(needed, more)}}},
            "responses": {"200": good, **errors, "default": {"description": "The model's server's own error"}},
        }
    }


def _paths(routes: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """The routes, with `id` named where it stands in the path."""
    for path, methods in routes.items():
        for made in methods.values():
            if "{id}" in path:
                made["parameters"] = [{"name": "id", "in": "path", "required": True, "schema": _TEXT}, *made["parameters"]]
    return dict(routes)


_MODEL: Final = {"model": _TEXT}
_MESSAGES: Final = {"messages": {"type": "array", "minItems": 1, "items": _ANY}}
_STREAM: Final = {"stream": _FLAG}
_LIMIT: Final = {"limit": {"type": "integer", "minimum": 1, "maximum": 500}}
_BEFORE: Final = {"before": _TEXT}  # what `older` of an earlier page said
_REASON: Final = _object({}, {"reason": _TEXT}, strict=True)
_SCOPE: Final = _object({}, {"scope": {"type": "string", "maxLength": MAX_TEXT}, "reason": _TEXT}, strict=True)
_EDIT: Final = _object({"args": _ANY}, {"call": {"type": "integer", "minimum": 0, "maximum": MAX_CALLS - 1}, "reason": _TEXT}, strict=True)
_APPEAL: Final = _object({"record": _TEXT, "why": {"type": "string", "minLength": 1}}, strict=True)
_REPORT: Final = dict.fromkeys(("prompt", "reply", "contact", "record", "clause"), _TEXT)
_FINDING: Final = _object({"said": {"type": "string", "minLength": 1}}, _REPORT, strict=True)
_TRIAGE: Final = _object(
    {},
    {"state": {"enum": list(FINDING_STATES)}}
    | dict.fromkeys(("clause", "severity", "assignee", "duplicate_of", "disclose_on", "note"), _TEXT),
    strict=True,
)
_ANSWER: Final = _object({"outcome": {"enum": ["upheld", "overturned"]}, "reason": {"type": "string", "minLength": 1}}, strict=True)
_STEP: Final = (*_OPEN, "409", "413")
_METRICS: Final = {
    "summary": "Counts and gauges in Prometheus' text format",
    "parameters": [],
    "responses": {"200": {"description": "The metrics", "content": {"text/plain": {"schema": _TEXT}}}, **_errors(_OPEN)},
}

DOCUMENT: Final[dict[str, Any]] = {
    "openapi": "3.1.0",
    "info": {"title": "bylaw gateway", "version": "1"},
    "components": {
        "schemas": _SCHEMAS,
        "securitySchemes": {
            "key": {"type": "http", "scheme": "bearer"},
            "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        },
    },
    "security": [{"key": []}, {"x-api-key": []}, {}],
    "paths": {
        "/v1/chat/completions": _model("Chat completions", _MESSAGES, _MODEL | _STREAM),
        "/v1/responses": _model("Responses", {}, _MODEL | _STREAM | {"input": {}}),
        "/v1/messages": _model("Messages", _MESSAGES, _MODEL | _STREAM),
        "/v1/embeddings": _model("Embeddings, passed on", {}, _MODEL | {"input": {}}),
        "/v1/models": {"get": _route("The upstream's models", _ANY, errors=("401", "403", "429", "502", "503", "504"))},
        **_paths(
            {
                "/healthz": {"get": _route("This process answers", _object({"ok": _FLAG}), errors=())},
                "/readyz": {"get": _route("This process can decide and record", _ANY, errors=("400", "503"))},
                "/openapi.json": {"get": _route("This document", _ANY, errors=())},
                "/metrics": {"get": _METRICS},
                "/api/approvals": {
                    "get": _route(
                        "The newest requests for approval that one may see",
                        _list("approvals", _ref("approval")),
                        query={"state": {"enum": [*STATES, "all"]}, **_LIMIT, "requester": _TEXT},
                    )
                },
                "/api/approvals/{id}": {"get": _route("One request for approval", _ref("approval"))},
                "/api/approvals/{id}/approve": {"post": _route("Say yes", _ref("approval"), body=_REASON, errors=_STEP)},
                "/api/approvals/{id}/deny": {"post": _route("Say no", _ref("approval"), body=_REASON, errors=_STEP)},
                "/api/approvals/{id}/edit": {
                    "post": _route("Ask for other arguments instead", _ref("approval"), "201", body=_EDIT, errors=_STEP)
                },
                "/api/appeals": {
                    "get": _route(
                        "The newest appeals that one may see",
                        _list("appeals", _ref("appeal")),
                        query={"state": {"enum": [*APPEAL_STATES, "all"]}, **_LIMIT},
                    ),
                    "post": _route("Appeal against a refusal of one's own", _ref("appeal"), "201", body=_APPEAL, errors=(*_STEP, "429")),
                },
                "/api/appeals/{id}": {"get": _route("One appeal", _ref("appeal"))},
                "/api/appeals/{id}/answer": {"post": _route("Answer, as a reviewer", _ref("appeal"), body=_ANSWER, errors=_STEP)},
                "/api/appeals/{id}/withdraw": {"post": _route("Take it back", _ref("appeal"), body=_REASON, errors=_STEP)},
                "/api/findings": {
                    "get": _route(
                        "The newest findings that one may see",
                        _page("findings", _ref("finding")),
                        query={"state": {"enum": [*FINDING_STATES, "all"]}, **_LIMIT, **_BEFORE},
                    ),
                    "post": _route("Report a finding", _ref("finding"), "201", body=_FINDING, errors=(*_STEP, "429")),
                },
                "/api/findings/{id}": {"get": _route("One finding, with its history", _ref("finding"))},
                "/api/findings/{id}/triage": {"post": _route("Triage it", _ref("finding"), body=_TRIAGE, errors=_STEP)},
                "/api/decisions": {
                    "get": _route(
                        "The latest entries of the ledger that fit",
                        _page("decisions", _ref("entry")),
                        query={
                            **dict.fromkeys(FILTERS, _TEXT),
                            "decision": {"enum": list(_EFFECTS)},
                            "jurisdiction": _TEXT,
                            **_LIMIT,
                            **_BEFORE,
                        },
                    )
                },
                "/api/stop": {
                    "get": _route("What is stopped", _list("stops", _ref("stop"))),
                    "post": _route("Stop a scope", _ref("stop"), body=_SCOPE, errors=_STEP),
                    "delete": _route("Lift the stops of a scope", _list("lifted", _ref("stop")), body=_SCOPE, errors=_STEP),
                },
                "/api/policy": {"get": _route("The policy in force", _ANY)},
            }
        ),
    },
}
DOCUMENT["paths"]["/api/approvals/{id}"]["get"]["responses"]["202"] = _json(
    "People decide; `bylaw` says when to ask again", _ref("approval")
)
