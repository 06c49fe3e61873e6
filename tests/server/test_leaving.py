"""Callers that leave: what was paid for is kept for their retry, and what nobody waits for is ended."""

import asyncio
import contextlib

import pytest
from tests.clock import HandClock
from tests.gate import CHAT, Asking, Gate, chat, check_fault, open_gate, said, until, via


async def leave(asking: Asking) -> None:
    """Close the connection of a request that waits."""
    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking


async def test_an_abandoned_call_is_let_go_after_the_grace(clock: HandClock) -> None:
    async with open_gate(clock=clock, abandon_grace=5) as gate:
        gate.fault({"kind": "delay", "seconds": 1.5})
        asking = gate.start()
        await until(gate.under_way())
        await leave(asking)
        await until(gate.waiting(0))
        clock.move(4.9)
        assert gate.under_way()(), "its caller may come again"
        clock.move(0.2)
        assert gate.under_way(0)()
        assert via(await gate.ask()) == "direct"
        assert (await gate.http.get("/stats")).json()["calls"]["sent"] == 2, "nothing was left to adopt"


async def test_an_abandoned_call_is_hung_up_on(clock: HandClock) -> None:
    async with open_gate(clock=clock, abandon_grace=0) as gate:
        gate.fault({"kind": "delay", "seconds": 1.5})
        asking = gate.start()
        await until(gate.under_way())
        await leave(asking)
        await until(gate.waiting(0))
        clock.move(0.1)
        await until(lambda: gate.calls)
        assert gate.outcomes == ["aborted"]


@pytest.mark.parametrize("when", ["under way", "answered"])
async def test_a_retry_gets_what_its_first_try_paid_for(clock: HandClock, when: str) -> None:
    async with open_gate(clock=clock) as gate:
        gate.fault({"kind": "delay", "seconds": 0.8 if when == "answered" else 1.5})
        asking = gate.start()
        await until(gate.under_way())
        await leave(asking)
        await until(gate.waiting(0))
        if when == "answered":
            await until(lambda: gate.under_way(0)() and gate.calls)
        answer = await gate.ask()
        assert via(answer) == ("direct" if when == "under way" else "coalesced")
        assert (
            answer.headers["x-batchway-why"]
            == {
                "under way": "adopted: its caller left, and asks again; no deadline given: interactive",
                "answered": "adopted: answered after its caller had left",
            }[when]
        )
        assert (float(answer.headers["x-batchway-cost-usd"]) > 0) == (when == "under way"), "who is charged says so"
        assert gate.outcomes == ["completed"]
        money = (await gate.http.get("/stats")).json()["money"]
        assert float(money["paid_usd"]) > 0
        assert (await gate.ask()).status_code == 200
        assert gate.calls == 2, "it is given once: a third try is a new question"


async def test_only_the_same_caller_adopts(clock: HandClock) -> None:
    async with open_gate(clock=clock) as gate:
        gate.fault({"kind": "delay", "seconds": 1})
        asking = gate.start()
        await until(gate.under_way())
        await leave(asking)
        await until(gate.waiting(0))
        assert (await gate.ask(text="another question")).status_code == 200
        assert gate.calls == 1
        assert (await gate.ask()).status_code == 200
        assert gate.calls == 2


async def test_a_wait_that_runs_out_keeps_the_answer(clock: HandClock) -> None:
    async with open_gate(clock=clock) as gate:
        gate.fault({"kind": "delay", "seconds": 0.6})
        late = await gate.ask(CHAT + "?timeout=0.1")
        error = check_fault(late, 504, "wait_over")
        assert "?timeout=" in error["message"]
        assert "x-should-retry" not in late.headers, "an SDK's own retry gets the answer"
        clock.move(300)
        answer = await gate.ask()
        assert answer.status_code == 200
        assert gate.outcomes == ["completed"]
        first = said(answer)
        assert said(await gate.ask(text="other")) != first


async def test_a_wait_that_suffices_changes_nothing(gate: Gate) -> None:
    assert (await gate.ask(CHAT + "?timeout=20")).status_code == 200
    for wrong in ("0", "-1", "x", "inf", "nan", ""):
        answer = await gate.ask(f"{CHAT}?timeout={wrong}")
        assert answer.status_code == (400 if wrong else 200), wrong
    assert gate.calls == 2


async def test_a_stream_nobody_reads_is_ended_at_once(clock: HandClock) -> None:
    async with open_gate(clock=clock) as gate:
        gate.fault({"kind": "slow_body", "bytes_per_second": 500})
        async with gate.http.stream("POST", CHAT, json=chat(stream=True)) as response:
            await anext(response.aiter_bytes())
        await until(lambda: gate.calls)
        assert gate.outcomes == ["aborted"]
        assert gate.under_way(0)()
        billed = gate.lines[0].output
        assert billed < 20, "the rest was never produced"


async def test_who_waits_in_the_queue_and_leaves_is_never_sent() -> None:
    async with open_gate(max_in_flight=1) as gate:
        gate.fault({"kind": "delay", "seconds": 1.5})
        first = gate.start(text="first")
        await until(gate.under_way())
        second = gate.start(text="second")
        await until(gate.waiting(2))
        await leave(second)
        await until(gate.waiting(1))
        assert (await first).status_code == 200
        assert (await gate.ask(text="third")).status_code == 200
        assert gate.calls == 2


async def test_named_requests_lose_nothing_when_their_caller_leaves(clock: HandClock) -> None:
    async with open_gate(clock=clock) as gate:
        gate.fault({"kind": "delay", "seconds": 1})
        asking = gate.start(request_id="mine")
        await until(gate.under_way())
        await leave(asking)
        await until(gate.waiting(0))
        await until(lambda: gate.calls)
        answers = [await gate.ask(request_id="mine") for _ in "12"]
        assert said(answers[0]) == said(answers[1])
        assert gate.calls == 1
