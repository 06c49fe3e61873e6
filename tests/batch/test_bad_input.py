"""What cannot be batched is said at acceptance, with the reason, and never a day later."""

from typing import Any

import pytest
from tests.batch.lane import Lane
from tests.gate import check_fault, via

from batchway.ports import Lesson
from batchway.store import requests

EMBEDDING: dict[str, Any] = {"model": "some-embeddings", "input": "a text", "provider": "grok"}


async def saved(lane: Lane) -> int:
    """How many requests are on disk without an answer."""
    storage = lane.gate.gateway.storage
    assert storage is not None
    return len(await storage.database.read(requests.unseated, storage.custodian.owner, 1e12))


async def test_an_endpoint_that_is_not_batched_is_refused_where_a_batch_was_asked_for(lane: Lane) -> None:
    answer = await lane.gate.http.post("/v1/embeddings", json=EMBEDDING | {"strategy": "batch"})

    fault = check_fault(answer, 400, "not_batchable", "strategy")
    assert "takes chat, and no embeddings" in fault["message"]
    assert (await saved(lane), lane.batches) == (0, ())


async def test_it_goes_another_way_where_any_was_meant(lane: Lane) -> None:
    answer = await lane.gate.http.post("/v1/embeddings", json=EMBEDDING | {"priority": "low"})

    assert answer.status_code in (200, 404), answer.text
    assert via(answer) != "batch"
    assert (await saved(lane), lane.batches) == (0, ())


@pytest.mark.parametrize(
    ("provider", "model", "field", "value"),
    [
        ("anthropic", "claude-sonnet-4-5", "logprobs", True),
        ("mistral", "mistral-small-latest", "logit_bias", {"1": 5}),
        ("gemini", "gemini-2.5-flash", "logit_bias", {"1": 5}),
    ],
)
async def test_a_field_that_the_batch_api_cannot_say_is_named(
    lane: Lane, provider: str, model: str, field: str, value: Any
) -> None:
    """Whoever waits is told, and so is who does not: a 202 would be taken back by its batch a day later."""
    asked = {"provider": provider, "model": model, "max_tokens": 10, "strategy": "batch", field: value}

    for headers in ({}, {"prefer": "respond-async"}):
        answer = await lane.gate.ask(text="a question", headers=headers, **asked)
        check_fault(answer, 400, answer.json()["error"]["code"], field)
    assert (await saved(lane), lane.batches) == (0, ())


async def test_a_request_larger_than_the_provider_takes_is_refused(lane: Lane) -> None:
    storage = lane.gate.gateway.storage
    assert storage is not None
    now = lane.gate.gateway.clock.now()
    lesson = Lesson(provider="openai", model="gpt-4o-mini", name="max_bytes", value=1000.0, at=now)
    storage.learning.adopt([lesson])

    large = await lane.ask("x" * 2000, strategy="batch", request_id="mine")

    fault = check_fault(large, 400, "not_batchable")
    assert "takes 1000 of all lines" in fault["message"]
    assert (await saved(lane), lane.batches) == (0, ())
    # Its id is free for what can be done.
    small = await lane.ask("x" * 20, strategy="batch", request_id="mine")
    assert small.status_code == 200


@pytest.mark.parametrize("fields", [{"priority": "lowest"}, {"deadline": "soon"}, {"request_id": ""}])
async def test_a_hint_that_makes_no_sense_is_named(lane: Lane, fields: dict[str, Any]) -> None:
    answer = await lane.ask("a question", **fields)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == next(iter(fields))
    assert (await saved(lane), lane.batches) == (0, ())
