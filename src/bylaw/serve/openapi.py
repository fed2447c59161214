"""What the gateway offers, as OpenAPI 3.1. The model routes are those of OpenAI and Anthropic; here stands what we add to them."""

from typing import Any, Final

_TEXT: Final = {"type": "string"}
_OBJECT: Final = {"type": "object", "additionalProperties": True}
_ERROR: Final = {"description": "An error, as clients of this API expect it", "content": {"application/json": {"schema": _OBJECT}}}
_BYLAW: Final = {
    "type": "object",
    "properties": {
        "decision": {"enum": ["allow", "redact", "revise", "require_approval", "block", "stop"]},
        "clauses": {"type": "array", "items": _TEXT},
        "policy": _TEXT,
        "record": _TEXT,
        "undecided": {"type": "boolean"},
        "approval": _TEXT,
        "retry_after": {"type": "integer"},
    },
    "required": ["decision", "clauses"],
}
_MARKS: Final = {
    name: {"description": said, "schema": _TEXT}
    for name, said in {
        "x-bylaw-decision": "What was decided",
        "x-bylaw-clauses": "The clauses that decided, with commas between",
        "x-bylaw-record": "Where that is recorded in the ledger",
    }.items()
}


def _ok(said: str, headers: Any = None, status: str = "200") -> dict[str, Any]:
    body = {"description": said, "content": {"application/json": {"schema": _OBJECT}}, **({"headers": headers} if headers else {})}
    return {status: body, "default": _ERROR}


def _model(summary: str, needed: list[str]) -> dict[str, Any]:
    schema = {**_OBJECT, "required": needed, "properties": {"model": _TEXT, "stream": {"type": "boolean"}}}
    names = ("x-bylaw-session", "x-bylaw-approval")
    return {
        "post": {
            "summary": summary,
            "parameters": [{"name": name, "in": "header", "schema": _TEXT} for name in names],
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
            "responses": _ok("The reply; with a `bylaw` object where it is not the model's own", _MARKS),
        }
    }


def _get(summary: str, *parameters: tuple[str, str]) -> dict[str, Any]:
    given = [{"name": name, "in": where, "required": where == "path", "schema": _TEXT} for name, where in parameters]
    return {"summary": summary, "parameters": given, "responses": _ok(summary)}


def _post(summary: str, fields: list[str], *parameters: tuple[str, str]) -> dict[str, Any]:
    schema = {"type": "object", "properties": dict.fromkeys(fields, _TEXT), "additionalProperties": False}
    return {**_get(summary, *parameters), "requestBody": {"required": False, "content": {"application/json": {"schema": schema}}}}


DOCUMENT: Final[dict[str, Any]] = {
    "openapi": "3.1.0",
    "info": {"title": "bylaw gateway", "version": "1"},
    "components": {
        "schemas": {"bylaw": _BYLAW},
        "securitySchemes": {
            "key": {"type": "http", "scheme": "bearer"},
            "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        },
    },
    "security": [{"key": []}, {"x-api-key": []}, {}],
    "paths": {
        "/v1/chat/completions": _model("Chat completions", ["model", "messages"]),
        "/v1/responses": _model("Responses", ["model", "input"]),
        "/v1/messages": _model("Messages", ["model", "messages", "max_tokens"]),
        "/v1/models": {"get": _get("The upstream's models")},
        "/v1/embeddings": _model("Embeddings, passed on", ["model", "input"]),
        "/healthz": {"get": _get("This process answers")},
        "/readyz": {"get": _get("This process can decide and record")},
        "/api/approvals": {"get": _get("Requests for approval", ("state", "query"), ("limit", "query"))},
        "/api/approvals/{id}": {"get": _get("One request for approval; 202 while people decide", ("id", "path"))},
        "/api/approvals/{id}/approve": {"post": _post("Say yes", ["reason"], ("id", "path"))},
        "/api/approvals/{id}/deny": {"post": _post("Say no", ["reason"], ("id", "path"))},
        "/api/decisions": {"get": _get("The latest entries of the ledger", ("limit", "query"))},
        "/api/stop": {
            "get": _get("What is stopped"),
            "post": _post("Stop a scope", ["scope", "reason"]),
            "delete": _post("Lift the stops of a scope", ["scope", "reason"]),
        },
        "/api/policy": {"get": _get("The policy in force")},
    },
}
