"""The sandbox's own paths: the index, the ledger, the batches, the providers' terms and the fault switches."""

from collections.abc import Callable
from typing import Literal
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from batchway.sandbox import faults
from batchway.sandbox.batching import Batch
from batchway.sandbox.contract import Headers, Part, Plan
from batchway.sandbox.offers import OPENAI, Offer
from batchway.sandbox.rules import NotNegative
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
        "/{provider}/v1": "what speaks OpenAI's dialect: groq, deepinfra, doubleword, generic, your own",
        "/grok/v1, /openrouter/v1": "OpenAI's direct calls, batches of their own",
        "/mistral/v1": "Mistral's dialect, batches at /v1/batch/jobs",
    },
    "endpoints": [
        "POST /v1/chat/completions",
        "POST /v1/embeddings",
        "POST /v1/responses",
        "GET /v1/models",
        "GET /v1/models/{id}",
        "POST, GET /v1/files; GET, DELETE /v1/files/{id}; GET /v1/files/{id}/content",
        "POST, GET /v1/batches; GET /v1/batches/{id}; POST /v1/batches/{id}/cancel",
    ],
    "sandbox": {
        "GET /sandbox/ledger": "lines and totals; filters provider, endpoint, model, key, lane, outcome; limit (1000)",
        "GET /sandbox/ledger/requests": "how often each was billed, by=request_hash or custom_id; filters and batch_id",
        "DELETE /sandbox/ledger": "start the ledger again",
        "GET /sandbox/batches": "every batch as it truly is: tags, state, times, lines done and billed",
        "GET /sandbox/offers": "what each provider's Batch API takes",
        "PATCH /sandbox/offers": 'other terms: {"openai": {"enqueued_tokens": 90000, "most_requests": null}}',
        "GET /sandbox/faults": "the rules that are on and how often each was applied",
        "POST /sandbox/faults": 'add rules: [{"kind": "status", "status": 429, "retry_after": 1, "count": 2}]',
        "DELETE /sandbox/faults": "switch all faults off",
    },
    "faults": {
        rule.__struct_config__.tag: (rule.__doc__ or "").partition("\n")[0] for rule in faults.AnyFault.__args__
    },
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
    limit = msgspec.convert(where.pop("limit", SHOWN), NotNegative, strict=False)
    return asked.sandbox.ledger.view(where, limit)


def _show_billed(asked: Asked) -> object:
    where = dict(asked.query)
    by = msgspec.convert(where.pop("by", "request_hash"), Literal["request_hash", "custom_id"])
    return asked.sandbox.ledger.billed(by, where)


def _show_batches(asked: Asked) -> object:
    now = asked.sandbox.now()
    return {"batches": [_shown(batch, now) for batch in asked.sandbox.batches.every()]}


def _shown(batch: Batch, now: float) -> dict[str, object]:
    return {
        "id": batch.order.id,
        "provider": batch.order.provider,
        "key": batch.order.key[-4:],
        "tags": batch.order.tags or {},
        "state": batch.state(now),
        "live": batch.ended is None,
        "created_at": batch.order.at,
        "times": batch.times,
        "lines": batch.size,
        "done": batch.done,
        "failed": batch.failed,
        "billed": batch.billed,
        "polls": batch.polls,
        "faults": [trouble.kind for trouble in batch.troubles],
    }


def _show_offers(asked: Asked) -> object:
    return {"openai": OPENAI} | asked.sandbox.offers


def _change_offers(asked: Asked) -> object:
    offers = asked.sandbox.offers
    for provider, changes in msgspec.json.decode(asked.body, type=dict[str, dict[str, object]]).items():
        terms = msgspec.to_builtins(asked.sandbox.offer(provider))
        offers[provider] = msgspec.convert(terms | changes, Offer)
    return _show_offers(asked)


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
    "/sandbox/ledger/requests": {"GET": _show_billed},
    "/sandbox/batches": {"GET": _show_batches},
    "/sandbox/offers": {"GET": _show_offers, "PATCH": _change_offers},
    "/sandbox/faults": {"GET": _show_faults, "POST": _switch_on, "DELETE": _switch_off},
}
