"""`POST /submit` with JSON Lines: many requests in one call, each taken or refused by itself, none asked twice."""

import asyncio
import json
import socket
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.gate import CHAT, MODEL, Gate, chat, check_fault, open_gate, until
from tests.server.bulk import LINES, bearer, billed, counts, encoded, faults, row, settled, submit, taken, told
from tests.server.lane import ended, flush, open_lane

from batchway.server.bulk import TOGETHER
from batchway.settings import KeyEntry, hash_key

ONE, OTHER = "bw-" + "1" * 43, "bw-" + "2" * 43
KEYS = (KeyEntry(name="one", hash=hash_key(ONE)), KeyEntry(name="other", hash=hash_key(OTHER), scope="admin"))
MANY = TOGETHER + 200
"""More than are put on disk at a time."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gate]:
    """One gateway for the tests that want nothing special of it."""
    async with open_lane(tmp_path_factory.mktemp("bulk")) as gate:
        yield gate


NOW = {"x-batchway-priority": "normal"}


async def ways(gate: Gate, ids: Iterable[str], headers: dict[str, str] | None = None) -> list[str]:
    """How these were answered."""
    found = [(await ended(gate, name, headers)).headers["x-batchway-routed-via"] for name in ids]
    return [str(via) for via in found]


async def test_lines_go_by_batch_and_are_answered(lane: Gate) -> None:
    answer = await submit(
        lane,
        chat("a bare chat"),
        row("mine-1", "a chat of a batch"),
        {"custom_id": "mine-2", "url": "/v1/embeddings", "body": {"model": "text-embedding-3-small", "input": "x"}},
        {"custom_id": "mine-3", "url": "/v1/responses", "body": {"model": MODEL, "input": "x"}},
    )
    ids = taken(answer)
    assert ids[1:] == ["mine-1", "mine-2", "mine-3"] and ids[0] not in ("", "1")
    assert (await lane.http.get("/requests/mine-1")).json()["status"] == "pending"
    await flush(lane, 4)
    assert await ways(lane, ids) == ["batch"] * 4
    chats = [(await ended(lane, name)).json()["response"]["content"] for name in ids[:2]]
    assert ["a bare chat" in chats[0], "a chat of a batch" in chats[1]] == [True, True]
    kinds = [(await ended(lane, name)).json()["response"]["object"] for name in ids]
    assert kinds == ["chat.completion", "chat.completion", "list", "response"]


@pytest.mark.parametrize(
    "kind",
    [
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
        "application/x-jsonl",
        "Application/X-NDJSON; charset=utf-8",
    ],
)
async def test_what_json_lines_go_by(lane: Gate, kind: str) -> None:
    answer = await lane.post(encoded([chat(priority="normal")] * 2), "/submit", {"content-type": kind})
    assert len(taken(answer)) == 2


async def test_other_bodies_are_one_request(lane: Gate) -> None:
    two = encoded([chat(), chat()])
    check_fault(await lane.post(two, "/submit", {"content-type": "application/json"}), 400, "invalid_json")
    check_fault(await lane.post(two, CHAT, LINES), 400, "invalid_json")
    assert (await lane.post(encoded([chat()]), CHAT, LINES)).status_code == 200, "other routes ask for no type"
    for method in ("GET", "PUT"):
        answer = await lane.http.request(method, "/submit", content=encoded([chat()]), headers=LINES)
        check_fault(answer, 405, "method_not_allowed")


async def test_who_says_otherwise_goes_otherwise(lane: Gate) -> None:
    by_line = taken(await submit(lane, chat(priority="normal"), chat(strategy="direct"), chat()))
    by_header = await submit(lane, chat(), chat(priority="low"), headers={"x-batchway-priority": "high"})
    of_header = taken(by_header)
    await flush(lane, 2)
    assert await ways(lane, by_line) == ["direct", "direct", "batch"]
    assert await ways(lane, of_header) == ["direct", "batch"]


async def test_a_keys_defaults_hold(tmp_path: Path) -> None:
    direct = KeyEntry(name="direct", hash=hash_key(ONE), lanes=("direct",))
    nothing = KeyEntry(name="keeps-nothing", hash=hash_key(OTHER), retention="none")
    async with open_lane(tmp_path, keys=(direct, nothing)) as gate:
        ids = taken(await submit(gate, chat(), row("a"), headers=bearer(ONE)))
        assert await ways(gate, ids, bearer(ONE)) == ["direct", "direct"]
        refused = await submit(gate, chat(), headers=bearer(OTHER))
        assert (refused.status_code, faults(refused)) == (400, {1: ("invalid_value", None)})
        assert "retry_after" not in told(refused)[0], "it is no use"
        assert "retention=none" in told(refused)[0]["error"]["message"]


async def test_why_what_can_wait_goes_directly_is_told(tmp_path: Path) -> None:
    says = "x-batchway-at-full-price"
    direct = KeyEntry(name="direct", hash=hash_key(ONE), lanes=("direct",))
    anything = KeyEntry(name="anything", hash=hash_key(OTHER))
    environment = {"BATCHWAY_PROVIDERS__GROQ__LANES": "direct"}
    async with open_lane(tmp_path, keys=(direct, anything), environment=environment) as gate:
        of_key = await submit(gate, chat(), headers=bearer(ONE))
        assert of_key.headers[says].startswith("gpt-4o-mini: ") and "the key may not use it" in of_key.headers[says]
        of_line = await submit(gate, chat(priority="normal"), row("a", strategy="batch"), headers=bearer(ONE))
        assert "strategy batch asked for, but the key may not use it" in of_line.headers[says]
        for rows in ([chat(priority="normal")], [chat(strategy="direct")], [chat(temperature="warm")]):
            assert says not in (await submit(gate, *rows, headers=bearer(ONE))).headers, "it was asked for"
        assert says not in (await submit(gate, chat(), headers=bearer(OTHER))).headers, "it goes by batch"
        mixed = await submit(gate, chat(), chat(model="groq/x"), chat(), headers=bearer(OTHER))
        assert mixed.headers[says].startswith("x: ") and "the batch lane to groq" in mixed.headers[says]


LONG = chat("x" * 3000)


async def test_each_line_is_refused_by_itself(tmp_path: Path) -> None:
    deep = json.dumps(row("deep")).replace('"hi"', "[" * 70 + "]" * 70)
    bad: dict[int, tuple[bytes, tuple[str, str | None]]] = {
        2: (b"{", ("invalid_json", None)),
        4: (b'{"model":"m"}', ("missing_required_parameter", "messages")),
        5: (encoded([chat(stream=True)]), ("invalid_value", "stream")),
        6: (encoded([row("s", stream=True)]), ("invalid_value", "stream")),
        7: (encoded([LONG]), ("body_too_large", None)),
        8: (encoded([chat(priority="soon")]), ("invalid_value", "priority")),
        9: (encoded([chat(deadline=-1)]), ("invalid_value", "deadline")),
        10: (encoded([row("u") | {"url": "/v1/audio"}]), ("invalid_value", "url")),
        11: (encoded([row("m") | {"method": "GET"}]), ("invalid_type", "method")),
        12: (encoded([{"custom_id": "b"}]), ("invalid_value", "body")),
        13: (deep.encode(), ("json_too_deep", None)),
        14: (b'{"model":"\xff"}', ("invalid_utf8", None)),
        15: (b'{"custom_id":"\xff","body":{}}', ("invalid_utf8", None)),
        16: (encoded([row("has a space")]), ("invalid_value", "request_id")),
        17: (encoded([row("")]), ("invalid_value", "request_id")),
        18: (encoded([row("x" * 201)]), ("invalid_value", "request_id")),
        19: (encoded([chat(request_id="")]), ("invalid_value", "request_id")),
        20: (b"[]", ("invalid_type", None)),
    }
    good = {1: b"\xef\xbb\xbf" + encoded([row("first")]), 21: encoded([row("last")]).strip()}
    lines = {number: content for number, (content, _) in bad.items()} | good | {3: b" \r"}
    body = b"\n".join([lines[number].strip(b"\n") for number in sorted(lines)])
    async with open_lane(tmp_path, max_body_bytes=2000) as gate:
        answer = await gate.post(body, "/submit", LINES)
        assert answer.status_code == 202, "two were taken"
        assert faults(answer) == {number: fault for number, (_, fault) in bad.items()}
        by_number = {each["line"]: each for each in told(answer)}
        assert list(by_number) == [number for number in sorted(lines) if number != 3], "in order, but for blank ones"
        assert [by_number[number]["request_id"] for number in (1, 6, 21)] == ["first", "s", "last"]
        assert "2000 bytes (max_body_bytes)" in by_number[7]["error"]["message"]
        assert await counts(gate) == {"pending": 2}
        assert len(body) > 2000, "the bound is on a line"

        for number, status in ((2, 400), (7, 413)):
            refused = await gate.post(lines[number], "/submit", LINES)
            assert (refused.status_code, faults(refused)) == (status, {1: bad[number][1]}), "there is nothing to fetch"


async def test_what_a_request_is_called(lane: Gate) -> None:
    rows = [chat(), chat(request_id="own"), row("given"), row("given", request_id="own-first")]
    bare = taken(await submit(lane, *rows))
    assert bare[1:] == ["own", "given", "own-first"]
    assert bare[0] not in ("", "1")
    named = taken(await submit(lane, *rows, prefix="run%2F7%3F-"))
    assert named == ["run/7?-1", "run/7?-own", "run/7?-given", "run/7?-own-first"]
    refused = told(await submit(lane, row("a", stream=True), row("b", priority="x"), prefix="run-"))
    assert [each["request_id"] for each in refused] == ["run-a", "run-b"], "as it would be called"
    check_fault(await submit(lane, chat(), row("a"), prefix="a%20b"), 400, "invalid_value", "prefix")
    assert faults(await submit(lane, row("a"), row("ab"), prefix="x" * 199)) == {2: WRONG_ID}
    await flush(lane, 4 + 4 + 1)


WRONG_ID = ("invalid_value", "request_id")


async def test_the_same_lines_again_attach_and_cost_nothing(lane: Gate) -> None:
    rows = [chat(f"again {number}") for number in range(20)] + [row("c", "again c"), chat("own", request_id="o")]
    async with asyncio.timeout(20):
        while "pending" in await counts(lane):
            await asyncio.sleep(0.05)
    before = billed(lane)
    both = await asyncio.gather(*[submit(lane, *rows, prefix="again-") for _ in range(2)])
    ids = taken(both[0])
    assert taken(both[1]) == taken(await submit(lane, *rows, prefix="again-")) == ids
    changed = await submit(lane, *rows[:1], chat("another"), *rows[2:], prefix="again-")
    assert changed.status_code == 202
    assert faults(changed) == {2: ("request_id_conflict", "request_id")}
    assert told(changed)[1]["request_id"] == "again-2"
    await flush(lane, 22)
    await settled(lane, "again-", 22)
    assert taken(await submit(lane, *rows, prefix="again-"), "completed") == ids, "answered, and still there"
    assert faults(await submit(lane, chat("another"), prefix="again-")) == {1: ("request_id_conflict", "request_id")}
    assert await counts(lane, "again-") == {"completed": 22}
    paid = [times for name, times in billed(lane).items() if name not in before]
    assert paid == [1] * 22, "the provider bills each question once"


async def test_what_failed_is_not_asked_again_by_its_id(lane: Gate) -> None:
    lane.fault({"kind": "status", "status": 400, "count": None, "match": {"text": "refuse"}})
    ids = taken(await submit(lane, row("bad", "refuse me"), row("good"), prefix="f-", headers=NOW))
    await ended(lane, "f-good")
    failed = (await ended(lane, "f-bad")).json()
    lane.sandbox.faults.switch_off()
    calls = lane.calls
    again = await submit(lane, row("bad", "refuse me"), row("good"), prefix="f-", headers=NOW)
    assert again.status_code == 202
    assert [(each["request_id"], each["status"]) for each in told(again)] == [(ids[0], "failed"), (ids[1], "completed")]
    assert told(again)[0]["error"] == failed["error"]
    assert again.headers["x-batchway-taken"] == "2" and lane.calls == calls


async def test_two_lines_of_one_id(lane: Gate) -> None:
    answer = await submit(lane, row("twice"), row("twice"), row("twice", "else"), prefix="t-")
    assert [each["request_id"] for each in told(answer)] == ["t-twice"] * 3
    assert faults(answer) == {3: ("request_id_conflict", "request_id")}
    await flush(lane, 1)
    await settled(lane, "t-", 1)


async def test_ids_and_prefixes_are_a_tenants_own(tmp_path: Path) -> None:
    async with open_lane(tmp_path, keys=KEYS) as gate:
        for name, key in (("one", ONE), ("other", OTHER)):
            said = [chat(f"of {name}"), row("same", f"of {name}")]
            ids = taken(await submit(gate, *said, prefix="run-", headers=bearer(key)))
            assert ids == ["run-1", "run-same"]
        await gate.http.post("/queue/flush/openai", headers=bearer(OTHER))
        for name, key in (("one", ONE), ("other", OTHER)):
            found = [(await ended(gate, each, bearer(key))).json()["response"]["content"] for each in ids]
            assert all(f"of {name}" in content for content in found)
            assert await counts(gate, "run-", bearer(key)) == {"completed": 2}
        assert sum(billed(gate).values()) == 4


@asynccontextmanager
async def sending(
    gate: Gate, *headers: str, query: str = "", room: int = 1 << 16
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A submission whose head was sent, in chunks from now on. `room`: bytes that its caller's socket holds."""
    host, _, port = gate.host.partition(":")
    plug = socket.socket()
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    plug.connect((host, int(port)))
    reader, writer = await asyncio.open_connection(sock=plug)
    lines = [f"POST /submit{query} HTTP/1.1", f"host: {gate.host}", "content-type: application/x-ndjson"]
    lines += ["transfer-encoding: chunked", "connection: close", *headers]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    try:
        yield reader, writer
    finally:
        writer.close()


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


async def answered(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and rest of an answer that ends with its connection."""
    async with asyncio.timeout(20):
        status = int((await reader.readline()).split(b" ")[1])
        return status, await reader.read()


def said_of(rest: bytes) -> list[dict[str, Any]]:
    """What was said of each line, in an answer that came in chunks."""
    content, chunks = b"", rest.partition(b"\r\n\r\n")[2]
    while size := int(chunks[: chunks.index(b"\r\n")], 16):
        begin = chunks.index(b"\r\n") + 2
        content, chunks = content + chunks[begin : begin + size], chunks[begin + size + 2 :]
    return [json.loads(line) for line in content.splitlines()]


async def test_who_may_not_ask_is_told_before_the_body(tmp_path: Path) -> None:
    async with open_lane(tmp_path, keys=KEYS) as gate:
        for headers, status, code in (
            ([], 401, b"missing_api_key"),
            (["authorization: Bearer bw-wrong"], 401, b"invalid_api_key"),
            (["origin: https://evil.example", f"authorization: Bearer {ONE}"], 403, b"origin_not_allowed"),
        ):
            async with sending(gate, *headers) as (reader, _):
                got, rest = await answered(reader)
                assert (got, code in rest) == (status, True), "nothing of the body was sent yet"
        refused = await submit(gate, chat(), headers=bearer(ONE) | {"host": "evil.example"})
        check_fault(refused, 403, "host_not_allowed")
        assert await counts(gate, "", bearer(ONE)) == {}


@pytest.mark.parametrize(
    ("headers", "param", "words"),
    [
        ({"idempotency-key": "mine"}, "request_id", "one id cannot name many lines"),
        ({"x-batchway-request-id": "mine"}, "request_id", "one id cannot name many lines"),
        ({"x-batchway-priority": "soon"}, "x-batchway-priority", "not one of low, normal, high"),
        ({"x-batchway-nope": "1"}, "x-batchway-nope", "Unknown hint header"),
    ],
)
async def test_a_header_that_cannot_hold_for_all_is_refused(
    lane: Gate, headers: dict[str, str], param: str, words: str
) -> None:
    before = await counts(lane)
    refused = check_fault(await submit(lane, chat(), headers=headers), 400, "invalid_value", param)
    assert words in refused["message"]
    assert await counts(lane) == before


async def test_without_a_store_nothing_can_wait() -> None:
    async with open_gate() as gate:
        answer = await submit(gate, chat(), row("a"))
        assert answer.status_code == 400
        assert faults(answer) == {1: ("invalid_value", None), 2: ("invalid_value", None)}
        assert "needs a store" in told(answer)[0]["error"]["message"]
        assert gate.calls == 0


@pytest.mark.parametrize("body", [b"", b"\n", b"\r\n \n\n", b"\xef\xbb\xbf"])
async def test_a_body_without_a_line_is_refused(lane: Gate, body: bytes) -> None:
    assert "no line" in check_fault(await lane.post(body, "/submit", LINES), 400, "invalid_json")["message"]


async def test_what_was_taken_goes_on_when_its_sender_hangs_up(tmp_path: Path) -> None:
    rows = [chat(f"row {number}") for number in range(MANY)]
    async with open_lane(tmp_path, batch_size=10_000) as gate:
        async with sending(gate, query="?prefix=run-") as (_, writer):
            writer.write(chunk(encoded(rows[:-100])) + chunk(encoded(rows[-100:])[:-10]))
            async with asyncio.timeout(10):
                while (on_disk := sum((await counts(gate, "run-")).values())) < TOGETHER:
                    await asyncio.sleep(0.02)
        assert on_disk < MANY, "the last line is not whole"
        ids = taken(await submit(gate, *rows, prefix="run-"))
        assert ids == [f"run-{number}" for number in range(1, MANY + 1)]
        await flush(gate, MANY)
        await settled(gate, "run-", MANY)
        assert list(billed(gate).values()) == [1] * MANY, "what was taken before was not asked twice"


async def test_who_reads_nothing_until_all_is_sent_is_answered(tmp_path: Path) -> None:
    """Sender and gateway would wait for each other, if the gateway answered as it reads: neither what is sent nor what
    is answered finds room in the sockets between them."""
    number = 30_000
    line = encoded([{"priority": "x" * 50, "text": "x" * 900}])
    async with open_lane(tmp_path) as gate, sending(gate, room=4096) as (reader, writer):
        for _ in range(number // 100):
            writer.write(chunk(line * 100))
            async with asyncio.timeout(10):
                await writer.drain()
        writer.write(b"0\r\n\r\n")
        async with asyncio.timeout(20):
            await writer.drain()
            status, rest = await answered(reader)
        assert status == 400
        assert len(rest) > 6 << 20
        assert [each["line"] for each in said_of(rest)] == list(range(1, number + 1))


async def test_a_sender_that_stops_is_too_slow_and_loses_nothing(tmp_path: Path) -> None:
    rows = [chat(f"row {number}") for number in range(MANY)]
    async with open_lane(tmp_path, body_timeout=0.3, batch_size=10_000) as gate:
        async with sending(gate, query="?prefix=slow-") as (reader, writer):
            writer.write(chunk(encoded(rows[:-1])))
            status, rest = await answered(reader)
            assert (status, b'"code":"body_timeout"' in rest) == (408, True)
        assert (await counts(gate, "slow-"))["pending"] >= TOGETHER
        assert len(taken(await submit(gate, *rows, prefix="slow-"))) == MANY
        assert await counts(gate, "slow-") == {"pending": MANY}


async def test_a_sender_that_is_slow_but_goes_on_is_served(tmp_path: Path) -> None:
    async with open_lane(tmp_path, body_timeout=1) as gate, sending(gate) as (reader, writer):
        for number in range(5):
            writer.write(chunk(encoded([chat(f"row {number}")])))
            await asyncio.sleep(0.4)
        writer.write(b"0\r\n\r\n")
        status, rest = await answered(reader)
        assert (status, len(said_of(rest))) == (202, 5)


async def test_a_store_that_takes_its_time_is_not_the_senders_fault(tmp_path: Path) -> None:
    async with open_lane(tmp_path, body_timeout=0.3) as gate:
        other = sqlite3.connect(tmp_path / "batchway.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        numbers = (10, MANY)
        asking = [submit(gate, *[chat(f"row {at}") for at in range(number)]) for number in numbers]
        answering = asyncio.gather(*asking)
        await asyncio.sleep(1.5)
        other.execute("ROLLBACK")
        other.close()
        assert tuple(len(taken(answer)) for answer in await answering) == numbers


async def test_a_stop_amid_a_submission_refuses_what_comes_after_it(tmp_path: Path) -> None:
    rows = [chat(f"row {number}") for number in range(MANY)]
    async with open_lane(tmp_path) as gate, sending(gate, query="?prefix=run-") as (reader, writer):
        writer.write(chunk(encoded(rows[:TOGETHER])))
        async with asyncio.timeout(10):
            while await counts(gate, "run-") != {"pending": TOGETHER}:
                await asyncio.sleep(0.02)
        await gate.gateway.engine.drain()
        writer.write(chunk(encoded(rows[TOGETHER:])) + b"0\r\n\r\n")
        status, rest = await answered(reader)
        said = said_of(rest)
        assert (status, len(said)) == (202, MANY)
        assert {each["status"] for each in said[:TOGETHER]} == {"pending"}
        assert {each["error"]["code"] for each in said[TOGETHER:]} == {"stopping"}
        assert sum((await counts(gate, "run-")).values()) == TOGETHER


async def test_a_stop_ends_the_wait_for_slots(tmp_path: Path) -> None:
    async with open_lane(tmp_path, max_in_flight=1, max_queue=10) as gate:
        gate.fault({"kind": "delay", "seconds": 30, "count": None})
        rows = [chat(f"row {number}", strategy="direct") for number in range(MANY)]
        asking = asyncio.create_task(submit(gate, *rows))
        await until(gate.gateway.engine.crowded)
        await gate.gateway.engine.drain()
        answer = await asking
        assert answer.status_code == 202
        assert set(faults(answer).values()) <= {("stopping", None)}
        assert await counts(gate) == {"pending": int(answer.headers["x-batchway-taken"])}


def tell(gate: Gate, pragma: str) -> None:
    """As where a disk with errors was mounted again read-only: the writer's own connection, beside its transactions."""
    storage = gate.gateway.storage
    assert storage is not None
    connection = storage.database._writing.raw_connection()
    connection.cursor().execute(f"PRAGMA {pragma}")
    connection.close()


async def test_nothing_is_acknowledged_while_the_store_is_down(tmp_path: Path) -> None:
    rows = [chat(f"row {number}") for number in range(20)]
    async with open_lane(tmp_path) as gate:
        first = taken(await submit(gate, *rows[:2], prefix="run-"))
        tell(gate, "query_only = ON")
        down = await submit(gate, *rows, prefix="down-")
        assert down.status_code == 503
        assert faults(down) == dict.fromkeys(range(1, 21), ("store_down", None))
        assert all("retry_after" in each for each in told(down)), "they may be sent again as they are"
        again = await submit(gate, *rows, "no object", prefix="run-")
        assert again.status_code == 202, "what is on disk is there"
        assert [each["request_id"] for each in told(again) if "error" not in each] == first
        assert set(faults(again).values()) == {("store_down", None), ("invalid_type", None)}
        tell(gate, "query_only = OFF")
        async with asyncio.timeout(20):
            while (back := await submit(gate, *rows, prefix="run-")).headers["x-batchway-taken"] != "20":
                await asyncio.sleep(0.1)
        assert taken(back)[:2] == first
        assert await counts(gate, "run-") == {"pending": 20}
        assert await counts(gate, "down-") == {}


async def test_direct_lines_wait_for_their_turn_and_none_is_refused(tmp_path: Path) -> None:
    number = 2 * TOGETHER
    rows = [chat(f"row {at} " + "x" * 1000, strategy="direct") for at in range(number)]
    async with open_lane(tmp_path, max_in_flight=4, max_queue=5) as gate:
        gate.fault({"kind": "delay", "seconds": 1.5, "count": 4})
        asking = asyncio.create_task(submit(gate, *rows, prefix="run-"))
        queued = 0
        while not asking.done():
            queued = max(queued, gate.gateway.engine.load().queued)
            await asyncio.sleep(0.002)
        assert len(taken(await asking)) == number
        # What came together goes beyond the queue, and the rest (but for the end of a piece) is not read before.
        assert 5 < queued < TOGETHER + 200
        await settled(gate, "run-", number)
        assert list(billed(gate).values()) == [1] * number


PREVIOUS = "previous_response_id"


async def test_a_response_goes_on_from_ones_own_alone(tmp_path: Path) -> None:
    async with open_lane(tmp_path, keys=KEYS) as gate:
        asked = {"model": MODEL, "input": "x", "store": True}
        first = (await gate.http.post("/v1/responses", json=asked, headers=bearer(ONE))).json()["id"]
        more = {"model": MODEL, "input": "more", PREVIOUS: first}
        line = {"custom_id": "more", "url": "/v1/responses", "body": more | {"priority": "normal"}}
        calls = gate.calls
        refused = await submit(gate, line, headers=bearer(OTHER))
        assert (refused.status_code, faults(refused)) == (400, {1: ("previous_response_not_found", PREVIOUS)})
        assert gate.calls == calls
        assert taken(await submit(gate, line, headers=bearer(ONE))) == ["more"]
        await ended(gate, "more", bearer(ONE))
        assert gate.calls == calls + 1, "the provider is asked (the sandbox keeps no conversations)"
