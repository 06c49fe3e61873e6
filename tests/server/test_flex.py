"""The flex lane: half the price for patience, asked for in the provider's own words, and left when there is no room."""

import pytest
from tests.gate import Gate, chat, open_gate, via


@pytest.mark.parametrize(
    ("provider", "model", "endpoint"),
    [
        ("openai", "gpt-5-mini", "/v1/chat/completions"),
        ("openai", "gpt-5-mini", "/v1/responses"),
        ("gemini", "gemini-3.8-flash", "/v1/chat/completions"),
    ],
)
async def test_flex_is_answered_and_charged_at_its_own_price(provider: str, model: str, endpoint: str) -> None:
    async with open_gate() as gate:
        asked = {"model": model, "provider": provider, "strategy": "flex"}
        said = {"input": "hi"} if endpoint.endswith("responses") else {"messages": chat()["messages"]}
        answer = await gate.http.post(endpoint, json=asked | said)
        assert answer.status_code == 200, answer.text
        assert via(answer) == "flex"
        (line,) = gate.lines
        assert line.lane == "flex"
        cost, saved = (float(answer.headers[f"x-batchway-{name}-usd"]) for name in ("cost", "saved"))
        assert cost > 0 and saved == pytest.approx(cost), "it costs half"


@pytest.mark.parametrize("fault", [{"kind": "status", "status": 429}, {"kind": "status", "status": 503}])
async def test_without_room_it_goes_another_way(fault: dict[str, object]) -> None:
    async with open_gate(max_retries=0) as gate:
        gate.fault(fault | {"count": 1})
        answer = await gate.ask(model="gpt-5-mini", strategy="flex")
        assert answer.status_code == 200, answer.text
        assert via(answer) == "direct"
        assert "it was tried in vain" in answer.headers["x-batchway-why"]
        assert [line.lane for line in gate.lines if line.outcome == "completed"] == ["direct"]


async def test_what_does_not_come_in_its_time_goes_another_way() -> None:
    async with open_gate(flex_timeout=0.3, max_retries=0) as gate:
        gate.fault({"kind": "delay", "seconds": 5, "count": 1})
        answer = await gate.ask(model="gpt-5-mini", strategy="flex")
        assert (answer.status_code, via(answer)) == (200, "direct")


async def test_a_deadline_that_leaves_the_time_buys_flex(gate: Gate) -> None:
    patient = await gate.ask(model="gpt-5-mini", deadline=3600)
    hurried = await gate.ask(model="gpt-5-mini", deadline=30)
    assert (via(patient), via(hurried)) == ("flex", "direct")
    assert patient.headers["x-batchway-why"] == "the cheapest lane that is likely to be on time"


async def test_low_priority_takes_flex_where_there_is_no_batch(gate: Gate) -> None:
    answer = await gate.ask(model="gpt-5-mini", priority="low")
    assert via(answer) == "flex"


async def test_where_no_flex_is_sold_it_says_so(gate: Gate) -> None:
    answer = await gate.ask(model="claude-haiku-4-5", provider="anthropic", strategy="flex")
    assert via(answer) == "direct"
    assert "anthropic has no flex tier" in answer.headers["x-batchway-why"]


async def test_flex_streams(gate: Gate) -> None:
    answer = await gate.ask(model="gpt-5-mini", strategy="flex", stream=True)
    assert (answer.status_code, via(answer)) == (200, "flex")
    assert "data: [DONE]" in answer.text
