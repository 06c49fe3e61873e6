"""Providers that fail: the right status, OpenAI's shape, retries only where nothing is paid twice, no other hurt."""

import asyncio
import socket
from typing import Any

import httpx2
import pytest
from tests.clock import HandClock
from tests.gate import CHAT, Gate, chat, check_fault, frames, open_gate, said, until, words


async def hurried(gate: Gate, clock: HandClock, **fields: Any) -> httpx2.Response:
    """Ask, and let the time of every retry come at once."""
    asking = gate.start(**fields)
    while not asking.done():
        await asyncio.sleep(0.005)
        clock.move(10)
    return await asking


STATUSES = {
    400: (1, None),
    401: (1, "provider_key_refused"),
    404: (1, "model_not_found"),
    422: (1, None),
    429: (3, "rate_limit_exceeded"),
    500: (3, None),
    503: (3, None),
    529: (3, None),
}
"""By status: how often it is tried with two retries, and the code of the sandbox's error."""


async def test_a_status_passes_through_and_is_retried_only_where_it_may_pass(clock: HandClock) -> None:
    async with open_gate(clock=clock, max_retries=2) as gate:
        for status, (tries, code) in STATUSES.items():
            before = gate.calls
            gate.fault({"kind": "status", "status": status, "count": tries})
            answer = await hurried(gate, clock, text=f"{status}")
            check_fault(answer, status, code)
            assert gate.calls - before == tries, status
            assert answer.headers["x-should-retry"] == "false", "the gateway has retried; the SDK must not as well"
            clock.move(100)
        assert {line.outcome for line in gate.lines} == {"refused"}, "nothing was billed"


async def test_what_the_gateway_does_not_retry_an_sdk_may(clock: HandClock) -> None:
    async with open_gate(clock=clock, max_retries=0) as gate:
        for rule, header in (
            ({"kind": "status", "status": 429}, None),
            ({"kind": "status", "status": 503}, None),
            ({"kind": "status", "status": 400}, "false"),
            ({"kind": "drop", "accepted": True}, "false"),
        ):
            gate.fault(rule)
            assert (await gate.ask()).headers.get("x-should-retry") == header, rule
            clock.move(100)


async def test_a_passing_status_heals_unseen(clock: HandClock) -> None:
    async with open_gate(clock=clock) as gate:
        for status in (429, 500, 503):
            gate.fault({"kind": "status", "status": status, "count": 2})
            assert (await hurried(gate, clock, text=f"{status}")).status_code == 200
            gate.fault({"kind": "status", "status": status, "count": 2})
            healed = await hurried(gate, clock, text=f"{status}", stream=True)
            assert frames(healed.text)[-1] == "[DONE]"
        assert gate.outcomes.count("completed") == 6


async def test_retry_after_is_kept(clock: HandClock) -> None:
    async with open_gate(clock=clock) as gate:
        gate.fault({"kind": "status", "status": 429, "retry_after": 20})
        asking = gate.start()
        await until(lambda: gate.calls == 1)
        await until(gate.under_way(0))
        clock.move(19.9)
        await asyncio.sleep(0.05)
        assert gate.calls == 1
        clock.move(2.2)
        assert (await asking).status_code == 200
        assert gate.calls == 2


async def test_a_long_retry_after_is_the_callers_to_decide_on(clock: HandClock) -> None:
    async with open_gate(clock=clock) as gate:
        gate.fault({"kind": "status", "status": 429, "retry_after": 1000})
        answer = await gate.ask()
        check_fault(answer, 429, "rate_limit_exceeded")
        assert answer.headers["retry-after"] == "1000"
        assert gate.calls == 1


async def test_a_429_that_waiting_does_not_heal_is_told_at_once(clock: HandClock) -> None:
    async with open_gate(clock=clock) as gate:
        gate.fault({"kind": "status", "status": 429, "code": "insufficient_quota", "count": None})
        check_fault(await gate.ask(), 429, "insufficient_quota")
        assert gate.calls == 1


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "malformed_body": ({}, "upstream_malformed"),
    "cut_body": ({}, "upstream_cut"),
    "oversized_body": ({"bytes": 3_000_000}, "upstream_too_large"),
    "drop": ({"accepted": True}, "upstream_cut"),
    "empty_body": ({}, "upstream_malformed"),
    "wrong_shape": ({}, "upstream_malformed"),
}


async def test_a_broken_answer_is_a_fault_and_never_paid_twice() -> None:
    async with open_gate(max_response_bytes=1_000_000) as gate:
        for kind, (parameters, code) in BROKEN.items():
            before = gate.calls
            gate.fault({"kind": kind, "count": 3} | parameters)
            answer = await gate.ask(text=kind)
            check_fault(answer, 502, code)
            assert answer.headers["x-should-retry"] == "false"
            assert gate.calls - before == 1, f"{kind}: the provider may have billed it"
            gate.sandbox.faults.switch_off()
        gate.fault({"kind": "oversized_body", "bytes": 3_000_000, "declared": False})
        check_fault(await gate.ask(), 502, "upstream_too_large")
        gate.fault({"kind": "oversized_body", "bytes": 3_000_000, "status": 400})
        check_fault(await gate.ask(), 502, "upstream_too_large")
        assert (await gate.ask()).status_code == 200


async def test_what_may_be_billed_is_retried_where_the_settings_say_so(clock: HandClock) -> None:
    async with open_gate(clock=clock, retry_unknown=True) as gate:
        gate.fault({"kind": "cut_body", "count": 1})
        assert (await hurried(gate, clock)).status_code == 200
        assert gate.outcomes == ["cut", "completed"]


async def test_a_provider_that_takes_too_long(clock: HandClock) -> None:
    async with open_gate(clock=clock, request_timeout=0.3) as gate:
        gate.fault({"kind": "delay", "seconds": 5})
        error = check_fault(await gate.ask(), 504, "upstream_timeout")
        assert "bill" in error["message"]
        gate.fault({"kind": "slow_body", "bytes_per_second": 100})
        check_fault(await gate.ask(), 504, "upstream_timeout")
        await until(lambda: gate.calls == 2)
        assert gate.outcomes == ["aborted", "aborted"], "each was hung up on, and tried once"
        gate.fault({"kind": "delay", "seconds": 5})
        check_fault(await gate.ask(stream=True), 504, "upstream_timeout")


async def test_a_stream_may_take_longer_than_any_whole_answer() -> None:
    async with open_gate(request_timeout=0.4) as gate:
        gate.fault({"kind": "slow_body", "bytes_per_second": 8_000})
        answer = await gate.ask(stream=True)
        assert frames(answer.text)[-1] == "[DONE]"


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({"kind": "cut_stream", "after": 3}, "upstream_cut"),
        ({"kind": "no_done", "finish": False}, "upstream_cut"),
        ({"kind": "malformed_body"}, "upstream_malformed"),
        ({"kind": "error_frame", "after": 3, "code": "overloaded"}, "overloaded"),
    ],
)
async def test_a_broken_stream_ends_with_an_error_and_no_end_mark(gate: Gate, rule: dict[str, Any], code: str) -> None:
    gate.fault(rule | {"count": 3})
    answer = await gate.ask(stream=True, temperature=0)
    found = frames(answer.text)
    assert answer.status_code == 200
    assert "[DONE]" not in found
    assert found[-1]["error"]["code"] == code
    assert found[-1]["status"] == "failed"
    assert found[-1]["request_id"] == answer.headers["x-batchway-request-id"]
    assert gate.calls == 1, "what its caller has seen cannot be told anew"
    gate.sandbox.faults.switch_off()
    whole = await gate.ask(temperature=0)
    assert whole.headers["x-batchway-routed-via"] == "direct", "half an answer is not kept"


async def test_a_stream_without_its_end_mark_but_with_its_end_is_whole(gate: Gate) -> None:
    gate.fault({"kind": "no_done"})
    answer = await gate.ask(stream=True)
    assert frames(answer.text)[-1] == "[DONE]"


async def test_a_stream_that_never_begins_is_a_plain_fault(gate: Gate) -> None:
    for rule, code in (
        ({"kind": "cut_stream", "after": 0}, "upstream_cut"),
        ({"kind": "empty_body"}, "upstream_cut"),
        ({"kind": "drop", "accepted": True}, "upstream_cut"),
    ):
        gate.fault(rule)
        check_fault(await gate.ask(stream=True), 502, code)
    assert gate.calls == 3


async def test_an_endless_stream_is_ended() -> None:
    async with open_gate(max_response_bytes=500_000) as gate:
        gate.fault({"kind": "oversized_body", "bytes": 3_000_000, "count": 2})
        whole, streamed = [
            check_fault(await gate.ask(stream=stream), 502, "upstream_too_large") for stream in (False, True)
        ]
        assert streamed == whole and "max_response_bytes" in whole["message"]


async def test_a_stream_that_grows_too_large_ends_with_the_same_code() -> None:
    async with open_gate(max_response_bytes=2_000) as gate:
        # Piece by piece, so that some of it has been passed on.
        gate.fault({"kind": "slow_body", "bytes_per_second": 8_000})
        found = frames((await gate.ask(stream=True)).text)
        assert len(found) > 1 and "[DONE]" not in found
        assert found[-1]["error"]["code"] == "upstream_too_large"


async def test_nothing_listens_where_the_provider_should_be(clock: HandClock) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        environment = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "sk-x"}
        async with open_gate(clock=clock, environment=environment) as gate:
            for stream in (False, True):
                answer = await hurried(gate, clock, stream=stream)
                error = check_fault(answer, 502, "upstream_unreachable")
                assert "nothing was sent" in error["message"]
            numbers = (await gate.http.get("/stats")).json()
            assert numbers["calls"]["sent"] == 6, "each was tried three times"
            assert numbers["money"]["paid_usd"] == "0"
            models = await gate.http.get("/v1/models")
            assert "openai" in models.headers["x-batchway-why"]


async def test_one_that_fails_hurts_no_other(clock: HandClock) -> None:
    async with open_gate(clock=clock, max_response_bytes=1_000_000) as gate:
        gate.fault({"kind": "slow_body", "bytes_per_second": 15_000, "match": {"text": "healthy"}})
        healthy = gate.start(text="healthy", stream=True)
        await until(gate.under_way())
        for kind, (parameters, _) in BROKEN.items():
            gate.fault({"kind": kind, "match": {"text": "broken"}} | parameters)
            assert (await gate.ask(text="broken")).status_code == 502
        found = frames((await healthy).text)
        assert found[-1] == "[DONE]"
        assert len(words(found)) > 100


async def test_words_of_the_provider_cannot_break_our_headers(clock: HandClock) -> None:
    async with open_gate(clock=clock) as gate:
        gate.fault({"kind": "status", "status": 503, "code": "bad\r\nset-cookie: x\x00é" + "x" * 5000})
        answer = await hurried(gate, clock)
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers
        assert len(answer.headers["x-batchway-why"]) <= 500


async def test_keys_in_a_providers_error_are_scrubbed(gate: Gate) -> None:
    planted = "sk-proj-PLANTED0123456789"
    for stream in (False, True):
        gate.fault({"kind": "status", "status": 401, "message": f"Incorrect API key provided: {planted}."})
        assert planted not in (await gate.ask(stream=stream)).text
    gate.fault({"kind": "error_frame", "message": f"Bearer {planted}"})
    answer = await gate.ask(stream=True)
    assert "error" in frames(answer.text)[-1]
    assert planted not in answer.text


async def test_a_redirect_is_not_followed() -> None:
    hits = []

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        hits.append(head.split(b" ")[1])
        writer.write(
            b"HTTP/1.1 307 Temporary Redirect\r\nlocation: /stolen\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(elsewhere, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        environment = {"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_API_KEY": "sk-secret"}
        async with open_gate(environment=environment) as gate:
            assert (await gate.ask()).status_code == 502
    assert hits == [b"/v1/chat/completions"]


async def test_answers_at_the_same_time_reach_who_asked(gate: Gate) -> None:
    answers = await asyncio.gather(*(gate.ask(text=f"number {at}.") for at in range(100)))
    assert all(f": number {at}. |" in said(answer) for at, answer in enumerate(answers))
    assert CHAT.startswith("/v1")
    assert chat()["model"] == gate.lines[0].model
