"""The sandbox's own paths: the index, the ledger and the fault switches."""

from collections.abc import Callable
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

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
        "/{provider}/v1": "what speaks OpenAI's dialect: grok, groq, deepinfra, openrouter, generic, your own",
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


class Asked(Struct, frozen=True, kw_only=True):
    """What a handler works on."""

    sandbox: Sandbox
    query: dict[str, str]
    body: bytes


Handler = Callable[[Asked], object]


def answer(sandbox: Sandbox, method: str, path: str, query: bytes, body: bytes) -> Plan:
    """Serve one of the sandbox's own paths."""
    found = _ROUTES.get(path.rstrip("/"))
    if found is None:
        return _error(404, f"The sandbox has no path {path}; GET / lists what there is.")
    if method not in found:
        return _error(405, f"{path} takes {', '.join(found)}, not {method}.")
    try:
        result = found[method](Asked(sandbox=sandbox, query=dict(parse_qsl(query.decode())), body=body))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _error(400, str(error))
    return Plan(headers=JSON, parts=(Part(msgspec.json.encode(result)),))


def _show_ledger(asked: Asked) -> object:
    where = dict(asked.query)
    limit = msgspec.convert(where.pop("limit", SHOWN), faults.NotNegative, strict=False)
    return asked.sandbox.ledger.view(where, limit)


def _clear_ledger(asked: Asked) -> object:
    asked.sandbox.ledger.clear()
    return {"cleared": True}


def _show_faults(asked: Asked) -> object:
    return {"faults": asked.sandbox.faults.armed}


def _switch_on(asked: Asked) -> object:
    asked.sandbox.faults.switch_on(faults.read(asked.body))
    return _show_faults(asked)


def _switch_off(asked: Asked) -> object:
    asked.sandbox.faults.switch_off()
    return _show_faults(asked)


def _error(status: int, message: str) -> Plan:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return Plan(status=status, headers=JSON, parts=(Part(msgspec.json.encode({"error": error})),), outcome="refused")


_ROUTES: dict[str, dict[str, Handler]] = {
    "": {"GET": lambda _: HELP},
    "/sandbox": {"GET": lambda _: HELP},
    "/sandbox/ledger": {"GET": _show_ledger, "DELETE": _clear_ledger},
    "/sandbox/faults": {"GET": _show_faults, "POST": _switch_on, "DELETE": _switch_off},
}
