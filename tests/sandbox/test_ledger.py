"""The billing ledger: what a line says, filters, totals that outlive the lines."""

import hashlib

import httpx2
import pytest
from tests.sandbox.conftest import Open
from tests.sandbox.speaking import ask, last_line, ledger, switch_on


async def test_a_line_says_what_the_usage_says(opened: Open) -> None:
    async with opened(now=lambda: 77.5) as client:
        body = b'{"model":"m","messages":[{"role":"user","content":"x"}],"stream":false}'
        answer = await client.post("/grok/v1/chat/completions", content=body, headers={"idempotency-key": "once"})
        line = await last_line(client)
    usage = answer.json()["usage"]
    assert line == {
        "n": 1,
        "at": 77.5,
        "provider": "grok",
        "endpoint": "chat",
        "model": "m",
        "key": "9876",
        "lane": "direct",
        "tier": "default",
        "status": 200,
        "outcome": "completed",
        "input": usage["prompt_tokens"],
        "output": usage["completion_tokens"],
        "cached": 0,
        "stream": False,
        "request_id": answer.headers["x-request-id"],
        "request_hash": hashlib.blake2b(body, digest_size=8).hexdigest(),
        "idempotency_key": "once",
        "faults": [],
    }


async def test_filters_and_their_totals(client: httpx2.AsyncClient) -> None:
    for model in ("one", "two", "two", "does-not-exist"):
        await ask(client, model=model)
    two = await ledger(client, model="two", limit=1)
    assert [line["n"] for line in two["lines"]] == [3]
    assert two["totals"]["calls"] == two["totals"]["completed"] == 2
    everything = (await ledger(client))["totals"]
    assert (everything["calls"], everything["completed"], everything["refused"]) == (4, 3, 1)
    assert (await ledger(client, outcome="refused"))["totals"]["input"] == 0


async def test_a_refused_call_is_booked_under_its_model_and_lane(client: httpx2.AsyncClient) -> None:
    await switch_on(client, {"kind": "status", "status": 429, "match": {"model": "m"}})
    await ask(client, model="m", service_tier="flex", stream=True)
    line = await last_line(client)
    assert (line["model"], line["lane"], line["stream"], line["outcome"]) == ("m", "flex", True, "refused")


@pytest.mark.parametrize("where", [{"colour": "red"}, {"limit": "-1"}, {"limit": "many"}])
async def test_a_wrong_filter_is_a_400(client: httpx2.AsyncClient, where: dict[str, str]) -> None:
    assert (await client.get("/sandbox/ledger", params=where)).status_code == 400


async def test_totals_outlive_old_lines(opened: Open) -> None:
    async with opened(keep_lines=2) as client:
        outputs = [(await ask(client)).json()["usage"]["completion_tokens"] for _ in range(5)]
        view = await ledger(client)
    assert [line["n"] for line in view["lines"]] == [4, 5]
    assert (view["dropped"], view["totals"]["calls"], view["totals"]["output"]) == (3, 5, sum(outputs))


async def test_it_can_be_started_again(client: httpx2.AsyncClient) -> None:
    await ask(client)
    assert (await client.delete("/sandbox/ledger")).status_code == 200
    assert (await ledger(client))["totals"]["calls"] == 0
    await ask(client)
    assert (await last_line(client))["n"] == 1
