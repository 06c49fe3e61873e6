"""OpenRouter's batches in the sandbox, asked by hand: rows in, results out, nothing between, and no cancelling."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.sandbox.speaking import ledger
from tests.sandbox.submitting import START, World, a_world

from batchway.sandbox.offers import DAY

BATCHES = "/openrouter/v1/batches"
CHAT = "/v1/chat/completions"
MODEL = "gpt-4o-mini"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A sandbox where a batch of ten rows takes 120 seconds."""
    async with a_world("openrouter") as made:
        yield made


def rows(count: int = 10, **fields: Any) -> list[dict[str, Any]]:
    asked = {"temperature": 0} | fields
    return [
        {"custom_id": f"r-{n}", "body": {"messages": [{"role": "user", "content": f"Ask {n}"}]} | asked}
        for n in range(count)
    ]


def body(requests: Any = None, **fields: Any) -> dict[str, Any]:
    return {"endpoint": CHAT, "model": MODEL} | fields | {"requests": rows() if requests is None else requests}


async def shown(world: World, batch: Any, seconds: float = 0) -> Any:
    world.move(seconds)
    return (await world.http.get(f"{BATCHES}/{batch['id']}")).json()


async def test_a_life(world: World) -> None:
    answer = await world.http.post(BATCHES, json=body())
    made = answer.json()
    assert (answer.status_code, made["status"], made["created_at"], made["expires_at"]) == (
        202,
        "validating",
        START,
        START + DAY,
    )
    running = await shown(world, made, 40)
    assert (running["status"], running["request_counts"], running["results"]) == (
        "in_progress",
        {"total": 10, "completed": 3, "failed": 0},
        None,
    )
    ended = await shown(world, made, 80)
    assert (ended["status"], ended["finalized_at"]) == ("completed", START + 120)
    for result in ended["results"]:
        asked = rows()[int(result["custom_id"][2:])]["body"] | {"model": MODEL}
        direct = (await world.http.post(f"/openrouter{CHAT}", json=asked)).json()
        (choice,) = result["response"]["body"]["choices"]
        assert choice.pop("native_finish_reason") == "stop"
        assert (choice, result["error"]) == (direct["choices"][0], None)
    view = await ledger(world.http, lane="batch", provider="openrouter")
    assert (view["totals"]["calls"], view["totals"]["completed"]) == (10, 10)
    (listed,) = (await world.http.get(BATCHES)).json()["data"]
    assert (listed["id"], listed["results"]) == (made["id"], None)


async def test_rows_fail_by_name(world: World) -> None:
    made = (await world.http.post(BATCHES, json=body(rows(1, temperature=9)))).json()
    ended = await shown(world, made, 120)
    (result,) = ended["results"]
    assert (result["response"], result["error"]["error_type"]) == (None, "invalid_request")
    assert (ended["status"], ended["request_counts"]["failed"]) == ("completed", 1)


async def test_a_wrong_row_fails_the_batch(world: World) -> None:
    made = (await world.http.post(BATCHES, json=body(rows(1, model="another")))).json()
    ended = await shown(world, made, 10)
    assert (ended["status"], ended["results"]) == ("failed", [])
    assert "another model" in ended["error"]["message"]


async def test_what_runs_cannot_be_deleted_nor_cancelled(world: World) -> None:
    made = (await world.http.post(BATCHES, json=body())).json()
    one = f"{BATCHES}/{made['id']}"
    assert (await world.http.delete(one)).status_code == 409
    assert (await world.http.post(f"{one}/cancel")).status_code == 404
    world.move(120)
    assert (await world.http.delete(one)).json()["deletion"] == {"openrouter": "deleted"}
    assert (await world.http.get(one)).status_code == 404
    assert (await world.http.post("/openrouter/v1/files")).status_code == 404


@pytest.mark.parametrize(
    ("wrong", "status", "words"),
    [
        ({"requests": [], "endpoint": CHAT, "model": MODEL}, 400, "must come before"),
        ({"endpoint": CHAT, "requests": [], "model": MODEL}, 400, "must come before"),
        ({"endpoint": CHAT, "model": MODEL}, 400, "must come before"),
        ({"endpoint": CHAT, "model": MODEL, "requests": []}, 400, "requests"),
        (body(rows(1), endpoint="/v1/images"), 400, "cannot be batched"),
        (body(rows(1), completion_window="1h"), 400, "completion_window"),
        (body(rows(11)), 400, "at most 10 requests"),
    ],
)
async def test_a_wrong_creation_is_told(world: World, wrong: Any, status: int, words: str) -> None:
    await world.http.patch("/sandbox/offers", json={"openrouter": {"most_requests": 10}})
    answer = await world.http.post(BATCHES, content=json.dumps(wrong).encode())
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]
    assert await world.batches() == []
