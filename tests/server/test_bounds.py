"""What callers can do by sending too much, too slowly, too deep or too often: get one clear fault, and harm nobody."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.gate import CHAT, Gate, chat, check_fault, open_gate, until

from batchway.assemble import new_key_bytes
from batchway.server.connections import MAX_HEAD
from batchway.settings import KeyEntry, hash_key, make_key

BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}'


@asynccontextmanager
async def wire(gate: Gate) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which bytes can be sent that no client would send."""
    host, _, port = gate.host.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


def head(gate: Gate, *headers: str, path: str = CHAT, method: str = "POST") -> bytes:
    """A request's head."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {gate.host}", "connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


async def status(reader: asyncio.StreamReader) -> int:
    """The status of the answer that comes."""
    async with asyncio.timeout(10):
        return int((await reader.readline()).split(b" ")[1])


async def hung_up(reader: asyncio.StreamReader) -> bool:
    """Whether the other side closes without another byte."""
    try:
        async with asyncio.timeout(10):
            return await reader.read() == b""
    except ConnectionError:
        return True


async def test_a_body_that_cannot_be_read_is_refused_where_it_is_wrong(gate: Gate) -> None:
    deep = b'{"model":"m","messages":[],"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    wrong = {
        b"": "invalid_json",
        b"{": "invalid_json",
        b"null": "invalid_type",
        b"[]": "invalid_type",
        b'{"model":"\xff"}': "invalid_utf8",
        b'{"a":NaN}': "invalid_json",
        deep: "json_too_deep",
    }
    for path in (CHAT, "/v1/embeddings", "/v1/responses"):
        for body, code in wrong.items():
            check_fault(await gate.post(body, path), 400, code)
    brackets = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"' + b'[{\\"' * 500 + b'"}]}'
    assert (await gate.post(brackets)).status_code == 200, "brackets in a text are no depth"


async def test_a_body_that_is_too_large_is_refused() -> None:
    async with open_gate(max_body_bytes=10_000) as gate:
        fits = BODY + b" " * (10_000 - len(BODY))
        assert (await gate.post(fits)).status_code == 200
        check_fault(await gate.post(fits + b" "), 413, "body_too_large")
        async with wire(gate) as (reader, writer):
            writer.write(head(gate, "content-length: 999999999999"))
            assert await status(reader) == 413, "before the body was sent"
        async with wire(gate) as (reader, writer):
            writer.write(head(gate, "transfer-encoding: chunked") + 3 * (b"1000\r\n" + b" " * 4096 + b"\r\n"))
            assert await status(reader) == 413, "counted as it came"
        assert gate.calls == 1


async def test_who_may_not_ask_is_told_before_the_body() -> None:
    entry = KeyEntry(name="k", hash=hash_key(make_key(new_key_bytes())))
    async with open_gate(keys=(entry,)) as gate, wire(gate) as (reader, writer):
        writer.write(head(gate, "content-length: 1000000"))
        assert await status(reader) == 401


async def test_a_body_that_does_not_come_in_time() -> None:
    async with open_gate(body_timeout=0.3) as gate, wire(gate) as (reader, writer):
        writer.write(head(gate, f"content-length: {len(BODY)}") + BODY[:20])
        assert (await gate.ask()).status_code == 200
        assert await status(reader) == 408
        answer = (await reader.read()).decode()
        assert '"code":"body_timeout"' in answer
        assert (await gate.http.get("/stats")).json()["requests"]["accepted"] == 1


async def test_the_queue_is_bounded() -> None:
    async with open_gate(max_in_flight=1, max_queue=1) as gate:
        gate.fault({"kind": "delay", "seconds": 0.5})
        first = gate.start(text="first")
        await until(gate.under_way())
        second = gate.start(text="second")
        await until(gate.waiting(2))
        assert (await gate.http.get("/health")).json()["queue_size"] == 1
        refused = await gate.ask(text="third")
        check_fault(refused, 429, "queue_full")
        assert int(refused.headers["retry-after"]) >= 1
        assert "x-should-retry" not in refused.headers
        assert [(await asking).status_code for asking in (first, second)] == [200, 200]
        assert gate.calls == 2


async def test_only_so_many_are_inside() -> None:
    async with open_gate(max_connections=2) as gate:
        gate.fault({"kind": "delay", "seconds": 0.5, "count": 2})
        inside = [gate.start(text="first"), gate.start(text="second")]
        await until(gate.waiting(2))
        refused = await gate.ask()
        check_fault(refused, 429, "queue_full")
        assert refused.headers["retry-after"] == "1"
        assert [(await asking).status_code for asking in inside] == [200, 200]
        assert (await gate.ask()).status_code == 200


async def test_connections_that_never_ask_are_closed_and_harm_nobody() -> None:
    async with (
        open_gate(patience=0.5) as gate,
        wire(gate) as silent,
        wire(gate) as slow,
        wire(gate) as second,
        wire(gate) as resting,
    ):
        asking = f"GET /health HTTP/1.1\r\nhost: {gate.host}\r\n\r\n".encode()
        resting[1].write(asking)
        assert await status(resting[0]) == 200
        slow[1].write(b"POST / HTTP/1.1\r\nhost: x\r\nx-slow: ")
        second[1].write(asking)
        assert await status(second[0]) == 200
        second[1].write(b"GET /heal")
        gate.fault({"kind": "delay", "seconds": 1.5})
        working = gate.start()
        assert await hung_up(silent[0])
        assert await hung_up(slow[0])
        async with asyncio.timeout(10):
            rest = await second[0].read()
        assert rest.count(b"uptime_seconds") == 1, "its first request was answered, its half second one hung up on"
        assert (await working).status_code == 200, "who waits for an answer is no idler"
        resting[1].write(asking.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        async with asyncio.timeout(10):
            assert (await resting[0].read()).count(b"uptime_seconds") == 2, "between two requests it may rest longer"


async def test_a_connection_is_kept_open_so_long_between_requests() -> None:
    async with open_gate(keep_alive=0.5) as gate, wire(gate) as kept, wire(gate) as silent:
        kept[1].write(f"GET /health HTTP/1.1\r\nhost: {gate.host}\r\n\r\n".encode())
        assert await status(kept[0]) == 200
        async with asyncio.timeout(10):
            assert b"uptime_seconds" in await kept[0].read(), "it was answered, and then hung up on"
        silent[1].write(head(gate, path="/health", method="GET"))
        assert await status(silent[0]) == 200, "who has not asked yet has more time"


async def test_requests_sent_at_once_are_answered_in_turn(gate: Gate) -> None:
    async with wire(gate) as (reader, writer):
        asking = f"GET /health HTTP/1.1\r\nhost: {gate.host}\r\n\r\n".encode()
        writer.write(asking * 2 + head(gate, path="/health", method="GET"))
        async with asyncio.timeout(10):
            assert (await reader.read()).count(b"uptime_seconds") == 3


async def test_a_head_that_never_ends_is_hung_up_on(gate: Gate) -> None:
    async with wire(gate) as (reader, writer):
        sent = 0
        try:
            writer.write(b"GET / HTTP/1.1\r\nx: ")
            while sent < 40 * MAX_HEAD:
                writer.write(b"x" * 65_536)
                sent += 65_536
                await writer.drain()
        except ConnectionError:
            pass
        assert await hung_up(reader)
        assert sent < 40 * MAX_HEAD
    async with wire(gate) as (reader, writer):
        writer.write(head(gate, "x-large: " + "x" * 60_000, path="/health", method="GET"))
        assert await status(reader) == 200


async def test_a_large_body_is_not_taken_for_a_head(gate: Gate) -> None:
    for _ in range(3):
        assert (await gate.ask(text="x" * 3 * MAX_HEAD)).status_code == 200


ENOUGH = 200 * 2**20
"""Bytes that a provider would send if nobody stopped it: far more than all sockets on the way hold."""


async def test_who_does_not_read_holds_the_provider_up_and_nobody_else() -> None:
    sent = 0
    ended = asyncio.Event()
    frame = b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * 60_000 + b'"}}]}\n\n'

    async def provider(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        try:
            while sent < ENOUGH:
                writer.write(frame)
                await writer.drain()
                sent += len(frame)
        except ConnectionError:
            ended.set()
        writer.close()

    async with await asyncio.start_server(provider, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        environment = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "sk-x"}
        async with open_gate(environment=environment, max_response_bytes=ENOUGH * 2) as gate:
            async with wire(gate) as (reader, writer):
                body = json.dumps(chat(stream=True)).encode()
                writer.write(head(gate, f"content-length: {len(body)}") + body)
                assert await status(reader) == 200
                before = -1
                while before != sent:
                    before = sent
                    await asyncio.sleep(0.2)
                assert sent < ENOUGH / 4, "nobody reads, so nobody is let write"
                assert (await gate.http.get("/health")).status_code == 200
            async with asyncio.timeout(10):
                await ended.wait()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_hot_routes_take_post_only(gate: Gate, method: str) -> None:
    # GET of chat completions lists the stored ones (tests/server/test_relay.py).
    for path in ("/v1/embeddings", "/v1/responses", *([] if method == "GET" else [CHAT])):
        answer = await gate.http.request(method, path)
        assert answer.headers["allow"] == ("GET, POST" if path == CHAT else "POST")
        if method == "HEAD":
            assert answer.status_code == 405
        else:
            check_fault(answer, 405, "method_not_allowed")


async def test_what_is_not_http_is_refused(gate: Gate) -> None:
    async with wire(gate) as (reader, writer):
        writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is TLS\r\n\r\n")
        assert await status(reader) == 400
    assert (await gate.ask()).status_code == 200


async def test_a_packed_body_is_refused_by_its_header(gate: Gate) -> None:
    packed = gzip.compress(BODY)
    for path in ("/v1/chat/completions", "/submit"):
        for kind in ("application/json", "application/x-ndjson"):
            headers = {"content-encoding": "gzip", "content-type": kind}
            check_fault(await gate.post(packed, path, headers), 415, "unsupported_encoding")
