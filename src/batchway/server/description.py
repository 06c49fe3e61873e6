"""What /openapi.json says of the routes that are plain ASGI (bodies, hints, answers), and of faults everywhere."""

from collections.abc import Iterator, Mapping
from typing import Any

from batchway.wire.endpoints import FRONTS
from batchway.wire.hints import ALLOWED, HEADER_PREFIX
from batchway.wire.lines import MEDIA_TYPE
from batchway.wire.objects import ROOTS, ROUTES, Act, Kind

_HINTS: dict[str, Any] = {
    "provider": {"type": "string", "description": "Which configured provider answers."},
    "deadline": {
        "description": "When the answer is needed: seconds from now, or an RFC 3339 instant.",
        "oneOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "format": "date-time"}],
    },
    "request_id": {"type": "string", "maxLength": 200, "description": "The same id and body again attaches."},
    "caller_id": {"type": "string", "description": "Who asks, within the tenant."},
    "tags": {"type": "object", "description": "Kept with the request; never sent to a provider."},
    **{name: {"type": "string", "enum": list(words)} for name, words in ALLOWED.items()},
}

_MODEL = {"type": "string", "example": "gpt-6-luna"}

_MESSAGE = {"type": "object", "required": ["role"], "properties": {"role": {"type": "string"}, "content": {}}}

_BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "summary": "Chat completion, as OpenAI's; other fields pass through as they are",
        "required": ["model", "messages"],
        "properties": {
            "model": _MODEL,
            "messages": {
                "type": "array",
                "minItems": 1,
                "items": _MESSAGE,
                "example": [{"role": "user", "content": "Say hello"}],
            },
            "stream": {"type": "boolean"},
            "temperature": {"type": "number"},
            "max_tokens": {"type": "integer"},
        },
    },
    "/v1/embeddings": {
        "summary": "Embeddings, as OpenAI's",
        "required": ["model", "input"],
        "properties": {
            "model": {"type": "string", "example": "text-embedding-3-small"},
            "input": {"oneOf": [{"type": "string"}, {"type": "array", "items": {}}], "example": "Hello"},
        },
    },
    "/v1/responses": {
        "summary": "Response, as OpenAI's",
        "required": ["model", "input"],
        "properties": {
            "model": _MODEL,
            "input": {
                "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}],
                "example": "Hello",
            },
            "instructions": {"type": "string"},
            "stream": {"type": "boolean"},
        },
    },
}

_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error", "status"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {name: {"type": ["string", "null"]} for name in ("message", "type", "param", "code")},
        },
        "status": {"const": "failed"},
        "request_id": {"type": ["string", "null"]},
        "content": {"type": "null"},
    },
}


_PENDING = {
    "type": "object",
    "required": ["request_id", "status", "message"],
    "properties": {
        "request_id": {"type": "string"},
        "status": {"const": "pending"},
        "message": {"type": "string", "example": "Request is still processing"},
    },
}

_COMPLETED = {
    "type": "object",
    "required": ["request_id", "status", "response"],
    "properties": {
        "request_id": {"type": "string"},
        "status": {"const": "completed"},
        "response": {"type": "object", "description": "What its caller got, or would have got."},
    },
}

_ROW = {
    "type": "object",
    "description": "As OpenAI's Batch API takes it; its `custom_id` is the request's id",
    "required": ["custom_id", "body"],
    "properties": {
        "custom_id": {"type": "string", "maxLength": 200},
        "method": {"const": "POST"},
        "url": {"type": "string", "enum": ["/v1" + front.path for front in FRONTS.values()]},
        "body": {"type": "object"},
    },
}

_SAID = {
    "type": "object",
    "description": "One for each line that is not blank, in their order",
    "required": ["line", "request_id", "status"],
    "properties": {
        "line": {"type": "integer", "minimum": 1, "description": "Which line of the body, blank ones counted"},
        "request_id": {"type": ["string", "null"], "description": "null: refused before it was known"},
        "status": {
            "type": "string",
            "enum": ["pending", "completed", "failed", "refused"],
            "description": "What became of its request so far; `refused`: it was not taken.",
        },
        "error": {**_ERROR["properties"]["error"], "description": "Why it failed or was refused"},
        "retry_after": {
            "type": ["number", "null"],
            "description": "Only if it may be taken later as it is: after so many seconds, where that is known",
        },
    },
}

_ACTS: Mapping[Act, str] = {
    "create": "Make a {}",
    "list": "List one's own {} objects",
    "show": "Show a {}",
    "change": "Change or cancel a {}",
    "delete": "Delete a {}",
    "read": "Read what is in a {}",
}


def paths() -> dict[str, Any]:
    """Path items of the routes that are plain ASGI."""
    hot = {path: {"post": _operation(path, body)} for path, body in _BODIES.items()}
    submit = _submitting(_operation("/submit", _BODIES["/v1/chat/completions"], "native"))
    found: dict[str, Any] = {**hot, "/submit": {"post": submit}}
    for path, method, operation in _relayed():
        found.setdefault(path, {})[method] = operation
    return found


def amend(schema: dict[str, Any]) -> None:
    """Faults of every route have one shape, and a field that is wrong is a 400."""
    schema.setdefault("components", {})["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    schema["security"] = [{"bearer": []}]
    schema["paths"]["/health"]["get"]["security"] = []
    for item in schema["paths"].values():
        for operation in item.values():
            operation["responses"].pop("422", None)
            for name, fault in _FAULTS.items():
                operation["responses"].setdefault(name, fault)
    for name in ("HTTPValidationError", "ValidationError"):
        schema.get("components", {}).get("schemas", {}).pop(name, None)
    shown = {"oneOf": [_PENDING, _COMPLETED, _ERROR]}
    for operation in schema["paths"]["/requests/{request_id}"].values():
        operation["responses"]["200"]["content"] = _json(shown)
    for path, line in (("/results", shown), ("/results/requests", _ROW)):
        schema["paths"][path]["get"]["responses"]["200"]["content"] = {MEDIA_TYPE: {"schema": line}}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


_FAULTS: dict[str, Any] = {
    name: {"description": "A fault, in OpenAI's shape", "content": _json(_ERROR)} for name in ("4XX", "5XX")
}


def _operation(path: str, body: dict[str, Any], tag: str = "openai") -> dict[str, Any]:
    schema = {"type": "object", "required": body["required"], "properties": {**body["properties"], **_HINTS}}
    answered = {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {"schema": {"type": "string"}}}
    return {
        "tags": [tag],
        "summary": body["summary"],
        "operationId": path.removeprefix("/v1").strip("/").replace("/", "_"),
        "parameters": list(_parameters()),
        "requestBody": {"required": True, "content": _json(schema)},
        "responses": {
            "200": {"description": "The provider's answer", "content": answered},
            "202": {
                "description": "`Prefer: respond-async`: the request is on disk, and is looked up later",
                "headers": {"location": {"schema": {"type": "string", "example": "/requests/{request_id}"}}},
                "content": _json(_PENDING),
            },
            **_FAULTS,
        },
    }


def _submitting(operation: dict[str, Any]) -> dict[str, Any]:
    """`/submit`: one request as the operation has it, or many as JSON Lines."""
    (chat,) = [each["schema"] for each in operation["requestBody"]["content"].values()]
    operation["summary"] = "Chat completion, its text always as `content`; or many requests as JSON Lines"
    operation["description"] = (
        f"With `content-type: {MEDIA_TYPE}` each line is a request, taken or refused by itself, of low priority unless "
        "something says otherwise. What is said of the lines comes when all have come; the answers are fetched at "
        "`/results`. The same lines again, under the same ids, attach."
    )
    operation["requestBody"]["content"][MEDIA_TYPE] = {"schema": {"oneOf": [chat, _ROW]}}
    before = "Of JSON Lines: stands before the id of each; one that has none is called by its number."
    operation["parameters"].append(_parameter("prefix", "query", {"type": "string"}, before))
    accepted = operation["responses"]["202"]
    accepted["description"] += (
        "; or, of JSON Lines, at least one was taken (else the status is that of the first fault)"
    )
    accepted["content"] = {**accepted["content"], MEDIA_TYPE: {"schema": _SAID}}
    for name in ("taken", "refused"):
        accepted["headers"][f"{HEADER_PREFIX}{name}"] = {"schema": {"type": "integer"}, "description": "Of JSON Lines"}
    accepted["headers"][f"{HEADER_PREFIX}at-full-price"] = {
        "schema": {"type": "string"},
        "description": "Of JSON Lines: why some that can wait go directly all the same, and save nothing",
    }
    refused = {**_FAULTS["4XX"], "content": {**_json(_ERROR), MEDIA_TYPE: {"schema": _SAID}}}
    operation["responses"] |= {"4XX": refused, "5XX": refused}
    return operation


def _parameters() -> Iterator[dict[str, Any]]:
    for name in sorted(_HINTS):
        yield _parameter(HEADER_PREFIX + name.replace("_", "-"), "header", {"type": "string"})
    yield _parameter("idempotency-key", "header", {"type": "string"}, "The same as request_id.")
    yield _parameter("prefer", "header", {"type": "string"}, "`respond-async`: answer 202 as soon as it is on disk.")
    wait = "Seconds to wait for the answer; then 504, and the request goes on."
    yield _parameter("timeout", "query", {"type": "number", "exclusiveMinimum": 0}, wait)


def _parameter(name: str, place: str, schema: dict[str, Any], text: str | None = None) -> dict[str, Any]:
    said = {} if text is None else {"description": text}
    return {"name": name, "in": place, "required": place == "path", "schema": schema, **said}


def _relayed() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation of what is relayed to the default provider."""
    roots = {kind: root for root, kind in ROOTS.items()}
    for (kind, rest), acts in ROUTES.items():
        for method, act in acts.items():
            yield roots[kind] + rest, method.lower(), _relaying(kind, rest, method, act)


def _relaying(kind: Kind, rest: str, method: str, act: Act) -> dict[str, Any]:
    names = ("after", "limit", "order") if act == "list" else ()
    query = [_parameter(name, "query", {"type": "string"}) for name in names]
    path = [_parameter("id", "path", {"type": "string"})] if rest else []
    operation: dict[str, Any] = {
        "tags": ["relayed to the default provider"],
        "summary": _ACTS[act].format(f"stored {kind}" if kind in ("completion", "response") else kind),
        "operationId": "_".join([kind, act, *rest.removeprefix("/{id}").strip("/").split("/")]).strip("_"),
        "parameters": [*path, *query],
        "responses": {"200": {"description": "The provider's answer"}, **_FAULTS},
    }
    if method == "POST":
        form = {"multipart/form-data": {"schema": {"type": "object"}}}
        operation["requestBody"] = {"content": form if kind == "file" else _json({"type": "object"})}
    return operation
