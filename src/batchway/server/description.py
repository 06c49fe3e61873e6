"""What /openapi.json says of the routes that are plain ASGI: their bodies, hints and answers."""

from typing import Any

from batchway.wire.hints import ALLOWED, HEADER_PREFIX

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

_ERROR = {
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


def paths() -> dict[str, Any]:
    """Path items of the hot routes."""
    return {path: {"post": _operation(path, body)} for path, body in _BODIES.items()}


def _operation(path: str, body: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "required": body["required"], "properties": {**body["properties"], **_HINTS}}
    parameters = [
        {
            "name": HEADER_PREFIX + name.replace("_", "-"),
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
        }
        for name in sorted(_HINTS)
    ]
    parameters.append(
        {"name": "timeout", "in": "query", "required": False, "schema": {"type": "number", "exclusiveMinimum": 0}}
    )
    failed = {"description": "A fault, in OpenAI's shape", "content": {"application/json": {"schema": _ERROR}}}
    return {
        "tags": ["openai"],
        "summary": body["summary"],
        "operationId": path.removeprefix("/v1/").replace("/", "_"),
        "parameters": parameters,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {
            "200": {
                "description": "The provider's answer",
                "content": {
                    "application/json": {"schema": {"type": "object"}},
                    "text/event-stream": {"schema": {"type": "string"}},
                },
            },
            "4XX": failed,
            "5XX": failed,
        },
    }
