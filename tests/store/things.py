"""Requests, results and jobs as the store's tests write them."""

import json
from typing import Any

from batchway.core.job import Job
from batchway.core.types import Answer, Charge, Fault, Request, Usage
from batchway.store.answers import Result
from batchway.store.requests import Entry
from batchway.wire.endpoints import FRONTS

NOW = 1_790_000_000.0
OWNER = "owner-1"


def request(ask: str = "a-1", **fields: Any) -> Request:
    """A chat request as intake makes one: its prompt is what wire reads from its body."""
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"Hello from {ask}"}]
    body = json.dumps({"model": "gpt-4o-mini", "messages": messages, "temperature": 0}).encode()
    given: dict[str, Any] = {
        "id": ask,
        "ask": ask,
        "tenant": "t",
        "key": "k",
        "caller": "c",
        "provider": "openai",
        "endpoint": "chat",
        "body": body,
        "fingerprint": f"f-{ask}",
        "asked_at": NOW,
        "tokens": 12,
    }
    given |= fields
    return Request(**given, prompt=FRONTS[given["endpoint"]].read(given["body"]).prompt)


def entry(ask: str = "a-1", *, owner: str | None = OWNER, **fields: Any) -> Entry:
    """A request on its way to the batch lane. What an entry has of its own may be given too."""
    own: dict[str, Any] = {"lane": "batch"}
    own |= {name: fields.pop(name) for name in ("rescue_at", "retention", "why", "lane") if name in fields}
    return Entry(**own, owner=owner, request=request(ask, **fields))


def charge(call_id: str = "call-1", request_id: str = "a-1", **fields: Any) -> Charge:
    """A charge of 50 where 100 would have been paid."""
    given: dict[str, Any] = {
        "tenant": "t",
        "key": "k",
        "provider": "openai",
        "model": "gpt-4o-mini",
        "via": "batch",
        "usage": Usage(input=10, output=5, cached=2, tier="default"),
        "cost": 50,
        "counterfactual": 100,
        "at": NOW,
    }
    return Charge(call_id=call_id, request_id=request_id, **(given | fields))


def answer(text: str = "Hi") -> Answer:
    """An answer."""
    body = json.dumps({"choices": [{"message": {"content": text}}]}).encode()
    return Answer(body=body, usage=Usage(input=10, output=5), finished_at=NOW + 60)


FAULT = Fault(
    whose="theirs",
    status=400,
    type="invalid_request_error",
    code="bad",
    message="No.",
    param="messages",
    billed="unknown",
    body=b'{"error": {"message": "No."}}',
)


def result(ask: str = "a-1", **fields: Any) -> Result:
    """An answer by batch, with its charge, and what is booked if it comes late."""
    given: dict[str, Any] = {
        "outcome": answer(),
        "via": "batch",
        "finished_at": NOW + 60,
        "batch_id": "j-1",
        "cost": 50,
        "saved": 50,
        "charges": (charge(f"call-{ask}", ask),),
        "late_call": f"call-{ask}",
    }
    return Result(ask=ask, **(given | fields))


def job(number: int = 1, **fields: Any) -> Job:
    """A job whose time has come."""
    given: dict[str, Any] = {
        "id": f"j-{number}",
        "submit_tag": f"tag-000{number}",
        "provider": "openai",
        "account": "openai/key-1",
        "endpoint": "chat",
        "model": "gpt-4o-mini",
        "window": "24h",
        "n": 1,
        "size": 100,
        "tokens": 12,
        "created_at": NOW + number,
        "next_at": 0.0,
    }
    return Job(**(given | fields))
