"""`GET /results`: what became of one's requests, a line for each as its look-up shows it, however many there are."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.gate import Gate, chat, check_fault, open_gate
from tests.server.bulk import LINES, bearer, billed, counts, row, settled, submit, taken, told
from tests.server.lane import ASYNC, ended, flush, open_lane

from batchway.core.types import Request
from batchway.sandbox import faults
from batchway.server.results import FEW, HEAVY, PAGE, Flow
from batchway.server.visits import PERIOD, Visits
from batchway.settings import KeyEntry, hash_key
from batchway.store import Database, answers, requests, retention

ONE, OTHER = "bw-" + "1" * 43, "bw-" + "2" * 43
KEYS = (KeyEntry(name="one", hash=hash_key(ONE)), KeyEntry(name="other", hash=hash_key(OTHER), scope="admin"))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gate]:
    """One gateway for the tests that want nothing special of it."""
    async with open_lane(tmp_path_factory.mktemp("results")) as gate:
        yield gate


async def results(gate: Gate, headers: dict[str, str] | None = None, **query: str) -> list[dict[str, Any]]:
    """The lines."""
    answer = await gate.http.get("/results", params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert "no-store" in answer.headers["cache-control"]
    assert answer.text == "" or answer.text.endswith("\n")
    return [json.loads(line) for line in answer.text.splitlines()]


async def ids(gate: Gate, headers: dict[str, str] | None = None, **query: str) -> list[str]:
    return [each["request_id"] for each in await results(gate, headers, **query)]


async def test_every_ending_has_its_line_as_its_look_up_shows_it(lane: Gate) -> None:
    storage = lane.gateway.storage
    assert storage is not None
    lane.fault({"kind": "status", "status": 400, "count": None, "match": {"text": "refuse"}})
    await submit(lane, row("swept", "swept", priority="normal"), prefix="end-")
    await ended(lane, "end-swept")
    await storage.database.write(retention.sweep, 4e9)
    await submit(
        lane,
        row("batch", "by batch"),
        row("direct", "directly", strategy="direct"),
        row("fails", "refuse me", priority="normal"),
        row("cancelled"),
        {"custom_id": "response", "url": "/v1/responses", "body": {"model": "gpt-4o-mini", "input": "x"}},
        prefix="end-",
    )
    assert (await lane.http.delete("/requests/end-cancelled")).status_code == 200
    await flush(lane, 2)
    for name in ("batch", "direct", "fails", "response"):
        await ended(lane, f"end-{name}")
    await submit(lane, row("waits"), prefix="end-")

    statuses = {
        "batch": "completed", "cancelled": "cancelled", "direct": "completed", "fails": "failed",
        "response": "completed", "swept": "swept", "waits": "pending",
    }  # fmt: skip
    found = await results(lane, prefix="end-")
    assert [each["request_id"] for each in found] == [f"end-{name}" for name in statuses], "in the order of their ids"
    for each in found:
        alone = await lane.http.get(f"/requests/{each['request_id']}")
        assert each == alone.json() | {"request_id": each["request_id"]}
    said = {each["request_id"].removeprefix("end-"): each for each in found}
    assert "by batch" in said["batch"]["response"]["content"]
    assert (said["batch"]["response"]["routed_via"], said["direct"]["response"]["routed_via"]) == ("batch", "direct")
    codes = {name: each["error"]["code"] for name, each in said.items() if each["status"] == "failed"}
    assert (codes["cancelled"], codes["swept"], len(codes)) == ("cancelled", "answer_swept", 3)
    assert said["waits"]["status"] == "pending" and "response" not in said["waits"]

    assert await counts(lane, "end-") == {"pending": 1, "completed": 4, "failed": 1, "cancelled": 1}
    for status, names in {
        "pending": ["waits"],
        "completed": ["batch", "direct", "response", "swept"],
        "failed": ["fails"],
        "cancelled": ["cancelled"],
        "pending,failed": ["fails", "waits"],
        " failed , cancelled ": ["cancelled", "fails"],
    }.items():
        assert await ids(lane, prefix="end-", status=status) == [f"end-{name}" for name in names]
    await flush(lane, 1)
    lane.sandbox.faults.switch_off()


async def asked(gate: Gate, **query: str) -> list[bytes]:
    """The lines of what was asked."""
    answer = await gate.http.get("/results/requests", params=query)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("application/x-ndjson")
    return answer.content.splitlines(keepends=True)


async def test_what_failed_is_asked_anew_as_it_was(tmp_path: Path) -> None:
    """All that was said of it holds again: what the gateway makes of the line is the request that it was."""
    hints: dict[str, Any] = {
        "priority": "normal", "deadline": 7200, "reuse": "off", "packing": "auto", "optimize": "fit",
        "tags": {"n": [1]}, "caller_id": "somebody", "on_deadline": "fail", "provider": "groq", "strategy": "direct",
    }  # fmt: skip
    spelt = b'{"messages": [{"role": "user",\r\n"content": "refuse me"}], "stream": true,\n "model": "m", "x": 1.50}'
    own = {"allow": ["somebody"]}
    async with open_lane(tmp_path) as gate:
        gate.fault({"kind": "status", "status": 400, "count": None, "match": {"text": "refuse"}})
        rows = [
            row("plain", "refuse me", priority="normal"),
            row("hints", "refuse me", **hints),
            row("own", "refuse me", provider=own, model="openrouter/meta/model", strategy="direct"),
            chat("refuse me", request_id="bare", user="their user", temperature=0, strategy="direct"),
            {
                "custom_id": "e",
                "url": "/v1/embeddings",
                "body": {"model": "openai/m", "input": "refuse", "strategy": "direct"},
            },
        ]
        await submit(gate, *rows, row("good", priority="normal"), prefix="run-")
        await gate.post(spelt, headers={"x-batchway-request-id": "run-spelt"})
        names = ["run-bare", "run-e", "run-hints", "run-own", "run-plain", "run-spelt"]
        for name in names:
            assert (await ended(gate, name)).json()["status"] == "failed"
        found = await asked(gate, prefix="run-", status="failed")
        read = [json.loads(line) for line in found]
        assert [line["custom_id"] for line in read] == [name.removeprefix("run-") for name in names]
        assert hints.items() <= read[2]["body"].items()
        assert (read[3]["body"]["provider"], read[3]["body"]["model"]) == (own, "openrouter/meta/model")
        assert b'"x":1.50' in found[5] and "stream" not in read[5]["body"]

        again = await gate.post(b"".join(found), "/submit?prefix=again-", LINES)
        assert taken(again) == [name.replace("run", "again") for name in names]
        storage = gate.gateway.storage
        assert storage is not None
        for name in names[:-1]:
            first, anew = [
                await stored(storage.database, "default", each) for each in (name, name.replace("run", "again"))
            ]
            same = (
                "fingerprint",
                "provider",
                "endpoint",
                "caller",
                "tags",
                "reuse",
                "packing",
                "optimize",
                "on_deadline",
            )
            for field in (*same, "priority", "strategy", "prompt"):
                assert getattr(anew, field) == getattr(first, field), (name, field)
            assert (anew.deadline is None) is (first.deadline is None)
            assert anew.deadline is None or round(anew.deadline - anew.asked_at) == 7200


async def stored(database: Database, tenant: str, request_id: str) -> Request:
    known = await database.read(answers.find, tenant, request_id)
    assert known is not None
    request = await database.read(requests.load, known.ask)
    assert request is not None
    return request


async def test_what_was_asked_comes_in_many_pages_and_may_be_gone(tmp_path: Path) -> None:
    async with open_lane(tmp_path) as gate:
        number = PAGE + FEW + 1
        await submit(gate, *[chat(f"row {at}") for at in range(number)], prefix="run-")
        found = [json.loads(line) for line in await asked(gate, prefix="run-")]
        assert {int(line["custom_id"]): line["body"]["messages"][0]["content"] for line in found} == {
            at + 1: f"row {at}" for at in range(number)
        }
        whole = [json.loads(line) for line in await asked(gate, prefix="run-7")]
        assert [line["custom_id"] for line in whole][:3] == ["run-7", "0", "00"], "an id is never empty"
        await submit(gate, row("swept", strategy="direct"))
        await ended(gate, "swept")
        storage = gate.gateway.storage
        assert storage is not None
        # So many at a time; by now those of the batch may be among them.
        while await storage.database.write(retention.sweep, 4e9):
            pass
        (gone,) = [json.loads(line) for line in await asked(gate, prefix="swept")]
        assert (gone["request_id"], gone["error"]["code"]) == ("swept", "answer_swept")
        assert "What 'swept' asked is not kept" in gone["error"]["message"]


async def test_an_answer_of_many_lines_is_one(lane: Gate) -> None:
    """Providers indent what they answer."""
    answer = (await lane.direct(chat("indented"))).json()
    error = {"message": "No.", "type": "invalid_request_error", "param": None, "code": None}
    indented = [json.dumps(each, indent=1).replace("\n", "\r\n") for each in (answer, {"error": error})]
    match = {"text": "indent bad"}
    lane.fault({"kind": "malformed_body", "text": indented[0], "match": {"text": "indent good"}})
    rule = json.dumps({"kind": "status", "status": 400, "match": match, "body": "here"}).replace('"here"', indented[1])
    lane.sandbox.faults.switch_on(faults.read(b"[%b]" % rule.encode()))
    rows = [row(name, f"indent {name}", strategy="direct") for name in ("good", "bad")]
    await submit(lane, *rows, prefix="indented-")
    for name in ("good", "bad"):
        await ended(lane, f"indented-{name}")
    bad, good = await results(lane, prefix="indented-")
    assert good["response"]["choices"] == answer["choices"] and bad["error"] == error
    said = told(await submit(lane, *rows, prefix="indented-"))
    assert [each["status"] for each in said] == ["completed", "failed"] and said[1]["error"] == error


@pytest.mark.parametrize("status", ["done", "", "completed,done", "COMPLETED"])
async def test_a_status_that_is_none_is_refused(lane: Gate, status: str) -> None:
    answer = await lane.http.get("/results", params={"status": status})
    refused = check_fault(answer, 400, "invalid_value", "status")
    assert refused["message"].endswith("is not one of pending, completed, failed, cancelled.")


async def test_a_prefix_is_taken_by_its_signs(lane: Gate) -> None:
    names = ["sign%", "sign%a", "sign_", "sign-", "Sign", "signA", "sign~", "sign\\", "sign'", "sign/a?b=c&d", "sig"]
    assert taken(await submit(lane, *[row(name) for name in names])) == names
    for prefix in [*names, "s", "S", "sign", "nothing", "sign%%", "sign\0", "sign ", "é"]:
        assert await ids(lane, prefix=prefix) == sorted([each for each in names if each.startswith(prefix)])
        assert sum((await counts(lane, prefix)).values()) == len([each for each in names if each.startswith(prefix)])
    await flush(lane, len(names))


async def test_several_pages(tmp_path: Path) -> None:
    number = 2 * PAGE + 1
    async with open_lane(tmp_path, batch_size=10_000, poll_interval=0.5) as gate:
        named = taken(await submit(gate, *[chat(f"row {at}") for at in range(number)], prefix="page-"))
        assert await ids(gate, prefix="page-") == sorted(named)
        await flush(gate, number)
        await settled(gate, "page-", number)
        found = await results(gate, prefix="page-", status="completed")
        assert [each["request_id"] for each in found] == sorted(named)
        answered = [f"row {int(each['request_id'][5:]) - 1} " in each["response"]["content"] + " " for each in found]
        assert all(answered), "each its own"


def embedding(custom_id: str, number: int) -> dict[str, Any]:
    """A line whose answer has so many vectors, of some 30 kB each."""
    body = {"model": "text-embedding-3-small", "input": ["x"] * number, "strategy": "direct"}
    return {"custom_id": custom_id, "url": "/v1/embeddings", "body": body}


async def test_answers_too_large_to_be_held_together(tmp_path: Path) -> None:
    """Two are more than is held at a time, and so is one of them alone."""
    numbers = {"large-0": 100, "large-1": 1, "large-2": 180, "large-3": 1, "large-4": 100, "large-5": 100}
    async with open_lane(tmp_path) as gate:
        taken(await submit(gate, *[embedding(name, number) for name, number in numbers.items()]))
        await settled(gate, "large-", len(numbers))
        answer = await gate.http.get("/results", params={"prefix": "large-"})
        lines = answer.text.splitlines()
        sizes = [len(line) for line in lines]
        assert sizes[2] > HEAVY and HEAVY / 2 < min(sizes[0], sizes[4], sizes[5]) < HEAVY, sizes
        found = [json.loads(line) for line in lines]
        assert {each["request_id"]: len(each["response"]["data"]) for each in found} == numbers


async def test_what_the_cache_gave(lane: Gate) -> None:
    first = await lane.ask(text="cached", temperature=0)
    await ended(lane, first.json()["request_id"])
    hit = await lane.ask("/submit", ASYNC, text="cached", temperature=0)
    name = hit.json()["request_id"]
    await ended(lane, name)
    (found,) = await results(lane, prefix=name)
    assert found["response"]["content"] == first.json()["choices"][0]["message"]["content"]
    assert found["response"]["routed_via"] == "cache"


async def test_a_line_that_was_answered_before_is_found_by_its_id(lane: Gate) -> None:
    await submit(lane, row("first", "asked before", temperature=0, priority="normal"), prefix="known-")
    await settled(lane, "known-", 1)
    before = billed(lane)
    names = taken(await submit(lane, row("again", "asked before", temperature=0), prefix="known-"), "completed")
    first, again = sorted(await results(lane, prefix="known-"), key=lambda each: each["request_id"] == names[0])
    assert (again["request_id"], again["response"]["routed_via"]) == ("known-again", "cache")
    assert again["response"]["content"] == first["response"]["content"]
    assert billed(lane) == before


async def test_another_tenants_requests_are_not_there(tmp_path: Path) -> None:
    async with open_lane(tmp_path, keys=KEYS) as gate:
        for name, key in (("one", ONE), ("other", OTHER)):
            await submit(
                gate, row("same", f"of {name}", strategy="direct"), row(name), headers=bearer(key), prefix="r-"
            )
            await ended(gate, "r-same", bearer(key))
        for name, key in (("one", ONE), ("other", OTHER)):
            for prefix in ("", "r-"):
                found = await results(gate, bearer(key), prefix=prefix)
                assert sorted(each["request_id"] for each in found) == sorted([f"r-{name}", "r-same"])
                assert f"of {name}" in json.dumps(found)
                assert await counts(gate, prefix, bearer(key)) == {"pending": 1, "completed": 1}
        for path in ("/results", "/results/counts"):
            check_fault(await gate.http.get(path), 401, "missing_api_key")
            check_fault(await gate.http.get(path, headers=bearer("bw-wrong")), 401, "invalid_api_key")
            check_fault(await gate.http.get(path, headers={"host": "evil.example"}), 403, "host_not_allowed")


async def test_a_forwarded_bearer_finds_its_own(tmp_path: Path) -> None:
    async with open_lane(tmp_path, keyless=True) as gate:
        for key in ("sk-1", "sk-2"):
            await submit(gate, row("same", f"by {key}", strategy="direct"), headers=bearer(key))
            await ended(gate, "same", bearer(key))
        for key in ("sk-1", "sk-2"):
            (found,) = await results(gate, bearer(key))
            assert f"by {key}" in found["response"]["content"]
            assert await counts(gate, "", bearer(key)) == {"completed": 1}
        assert await results(gate) == []


async def test_without_a_store_there_are_none() -> None:
    async with open_gate() as gate:
        for path in ("/results", "/results/counts"):
            assert "needs a store" in check_fault(await gate.http.get(path), 501, "not_served")["message"]


async def test_a_store_that_is_down_is_told_of(tmp_path: Path) -> None:
    async with open_lane(tmp_path) as gate:
        taken(await submit(gate, row("a")))
        storage = gate.gateway.storage
        assert storage is not None
        storage.database._closed = True
        for path in ("/results", "/results/counts"):
            check_fault(await gate.http.get(path), 503, "store_down")
        storage.database._closed = False
        assert await ids(gate) == ["a"]


async def test_who_leaves_amid_the_answer_harms_nobody(tmp_path: Path) -> None:
    async with open_lane(tmp_path) as gate:
        taken(await submit(gate, *[embedding(f"large-{at}", 100) for at in range(4)]))
        await settled(gate, "large-", 4)
        async with gate.http.stream("GET", "/results") as answer:
            await anext(answer.aiter_bytes())
        assert len(await results(gate)) == 4


async def test_a_reader_who_does_not_read_is_taken_for_gone() -> None:
    async def rest() -> AsyncIterator[bytes]:
        yield b"{}\n"

    async def never() -> Any:
        await asyncio.Future()

    async def stuck(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Future()

    async with asyncio.timeout(20):
        await Flow(Visits(body_timeout=5, write_timeout=PERIOD), b"{}\n", rest())({}, never, stuck)
