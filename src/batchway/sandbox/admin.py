"""The sandbox's own paths: the index, the ledger and the fault switches."""

from collections.abc import Callable
from urllib.parse import parse_qsl

import msgspec

from batchway.sandbox import faults
from batchway.sandbox.contract import Headers, Part, Plan
from batchway.sandbox.state import Sandbox

PLACES = frozenset({"", "sandbox"})
"""First segments of the paths that belong to the sandbox, not to a provider."""

SHOWN = 1000
"""Ledger lines in an answer, unless `limit` says otherwise."""

JSON: Headers = ((b"content-type", b"application/json"),)

HELP = {
    "what": "batchway sandbox: simulated LLM providers. Answers are made up; nothing is charged to anyone.",
    "providers": {
        "/v1": "openai",
        "/{provider}/v1": "any provider that speaks OpenAI's dialect: openai, grok, groq, deepinfra, openrouter, generic, …",
    },
    "endpoints": [
        "POST /v1/chat/completions",
        "POST /v1/embeddings",
        "POST /v1/responses",
        "GET /v1/models",
        "GET /v1/models/{id}",
    ],
    "sandbox": {
        "GET /sandbox/ledger": "lines and totals; filters provider, endpoint, model, key, lane, outcome; limit (1000)",
        "DELETE /sandbox/ledger": "start the ledger again",
        "GET /sandbox/faults": "the rules that are on and how often each was applied",
        "POST /sandbox/faults": 'add rules: [{"kind": "status", "status": 429, "retry_after": 1, "count": 2}]',
        "DELETE /sandbox/faults": "switch all faults off",
    },
    "faults": {rule.__struct_config__.tag: (rule.__doc__ or "").partition("\n")[0] for rule in faults.AnyRule.__args__},
}

Handler = Callable[[Sandbox, dict[str, str], bytes], object]


def answer(sandbox: Sandbox, method: str, path: str, query: bytes, body: bytes) -> Plan:
    """Serve one of the sandbox's own paths."""
    found = _ROUTES.get(path.rstrip("/"))
    if found is None:
        return _error(404, f"The sandbox has no path {path}; GET / lists what there is.")
    if method not in found:
        return _error(405, f"{path} takes {', '.join(found)}, not {method}.")
    try:
        result = found[method](sandbox, dict(parse_qsl(query.decode())), body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _error(400, str(error))
    return Plan(headers=JSON, parts=(Part(msgspec.json.encode(result)),))


def _help(sandbox: Sandbox, query: dict[str, str], body: bytes) -> object:
    return HELP


def _show_ledger(sandbox: Sandbox, query: dict[str, str], body: bytes) -> object:
    limit = msgspec.convert(query.pop("limit", SHOWN), faults.NotNegative, strict=False)
    return sandbox.ledger.view(query, limit)


def _clear_ledger(sandbox: Sandbox, query: dict[str, str], body: bytes) -> object:
    sandbox.ledger.clear()
    return {"cleared": True}


def _show_faults(sandbox: Sandbox, query: dict[str, str], body: bytes) -> object:
    return {"faults": sandbox.faults.armed}


def _switch_on(sandbox: Sandbox, query: dict[str, str], body: bytes) -> object:
    sandbox.faults.switch_on(faults.read(body))
    return _show_faults(sandbox, query, body)


def _switch_off(sandbox: Sandbox, query: dict[str, str], body: bytes) -> object:
    sandbox.faults.switch_off()
    return _show_faults(sandbox, query, body)


def _error(status: int, message: str) -> Plan:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return Plan(status=status, headers=JSON, parts=(Part(msgspec.json.encode({"error": error})),), outcome="refused")


_ROUTES: dict[str, dict[str, Handler]] = {
    "": {"GET": _help},
    "/sandbox": {"GET": _help},
    "/sandbox/ledger": {"GET": _show_ledger, "DELETE": _clear_ledger},
    "/sandbox/faults": {"GET": _show_faults, "POST": _switch_on, "DELETE": _switch_off},
}
