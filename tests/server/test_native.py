"""`/submit`, `Prefer: respond-async`, `/requests/{id}`: accepted on disk, answered later, found by its tenant alone."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.gate import CHAT, Gate, check_fault, open_gate, said, via
from tests.server.lane import ASYNC, ended, flush, open_lane

from batchway.settings import KeyEntry, hash_key
from batchway.store import Database, answers, retention

RESPONSE = {
    "request_id", "status", "content", "usage", "provider", "model", "completed_at", "routed_via", "batch_id", "error",
}  # fmt: skip
"""What seeds/004 shows of an answer."""
ONE, OTHER = "bw-" + "1" * 43, "bw-" + "2" * 43
PENDING = "Request is still processing"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gate]:
    """One gateway for the tests that want nothing special of it."""
    async with open_lane(tmp_path_factory.mktemp("native")) as gate:
        yield gate


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize("path", [CHAT, "/submit"])
async def test_submit_is_a_chat_that_says_its_content(gate: Gate, path: str) -> None:
    answer = await gate.ask(path)
    assert answer.status_code == 200
    body = answer.json()
    assert (body.get("content") == said(answer)) is (path == "/submit")
    assert body["status"] == "completed" and (body["routed_via"], body["batch_id"]) == ("direct", None)
    check_fault(await gate.http.get("/submit"), 405, "method_not_allowed")
    check_fault(await gate.http.post("/submit", json={"model": "gpt-4o-mini"}), 400, *_missing("messages"))


def _missing(field: str) -> tuple[str, str]:
    return "missing_required_parameter", field


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/submit", {"messages": [{"role": "user", "content": "hi"}], "model": "gpt-4o-mini"}),
        (CHAT, {"messages": [{"role": "user", "content": "hi"}], "model": "gpt-4o-mini"}),
        ("/v1/embeddings", {"input": "hi", "model": "text-embedding-3-small"}),
        ("/v1/responses", {"input": "hi", "model": "gpt-4o-mini"}),
    ],
)
async def test_who_does_not_wait_gets_an_id_and_the_answer_later(lane: Gate, path: str, body: dict[str, Any]) -> None:
    accepted = await lane.http.post(path, json=body, headers=ASYNC)
    assert accepted.status_code == 202, accepted.text
    request_id = accepted.json()["request_id"]
    assert accepted.json() == {"request_id": request_id, "status": "pending", "message": PENDING}
    assert accepted.headers["location"] == f"/requests/{request_id}"
    assert accepted.headers["x-batchway-request-id"] == request_id
    assert accepted.headers["preference-applied"] == "respond-async"
    storage = lane.gateway.storage
    assert storage is not None
    assert await storage.database.read(answers.find, "default", request_id), "it was on disk before it was acknowledged"

    found = await ended(lane, request_id)
    assert found.status_code == 200
    assert set(found.json()) == {"request_id", "status", "response"}
    assert (found.json()["request_id"], found.json()["status"]) == (request_id, "completed")
    response = found.json()["response"]
    if path in (CHAT, "/submit"):
        assert set(response) >= RESPONSE
        assert response["content"] == response["choices"][0]["message"]["content"]
        assert (response["request_id"], response["routed_via"], response["error"]) == (request_id, "direct", None)
    else:
        assert response["object"] in ("list", "response")
    assert found.headers["x-batchway-routed-via"] == "direct"
    assert float(found.headers["x-batchway-cost-usd"]) > 0


async def test_a_request_of_a_batch_is_pending_until_it_came_back(lane: Gate) -> None:
    accepted = await lane.ask("/submit", ASYNC, text="by batch", priority="low", tags={"job": "x"}, caller_id="me")
    request_id = accepted.json()["request_id"]
    for _ in range(2):
        pending = await lane.http.get(accepted.headers["location"])
        assert pending.status_code == 200
        assert pending.json() == {"request_id": request_id, "status": "pending", "message": PENDING}
    waits = lane.start("/submit", text="waits", priority="low")
    await flush(lane, 2)

    response = (await ended(lane, request_id)).json()["response"]
    assert set(response) >= RESPONSE
    waited = await waits
    assert response["routed_via"] == waited.json()["routed_via"] == "batch"
    assert response["batch_id"] == waited.json()["batch_id"], "one batch, by our id"
    assert (await lane.http.get(f"/batches/{response['batch_id']}")).json()["total_requests"] == 2
    again = (await ended(lane, waited.json()["request_id"])).json()["response"]
    assert {**again, "completed_at": None} == {**waited.json(), "completed_at": None}, "delivered, and still there"
    assert "provider" not in lane.lines[-1].model


async def test_the_same_id_attaches_whoever_waits(lane: Gate) -> None:
    given: dict[str, Any] = {"request_id": "mine/1?x", "priority": "low", "text": "attach"}
    first = await lane.ask("/submit", ASYNC, **given)
    assert first.headers["location"] == "/requests/mine%2F1%3Fx"
    again = await lane.ask("/submit", ASYNC, **given)
    assert (first.status_code, again.status_code) == (202, 202)
    check_fault(await lane.ask("/submit", ASYNC, **given | {"text": "other"}), 409, "request_id_conflict", "request_id")
    waits = lane.start("/submit", **given)
    await flush(lane, 1)
    found = await ended(lane, "mine%2F1%3Fx")
    assert found.json()["response"]["content"] == said(await waits)
    at_once = await lane.ask("/submit", ASYNC, **given)
    assert (at_once.status_code, via(at_once)) == (200, "cache"), "its answer is there"
    assert at_once.json()["content"] == found.json()["response"]["content"]


async def test_what_the_cache_gave_is_found_though_it_is_stored_once(lane: Gate) -> None:
    first = await lane.ask(text="cached", temperature=0)
    await ended(lane, first.json()["request_id"])
    for headers in ({}, ASYNC):
        hit = await lane.ask("/submit", headers, text="cached", temperature=0)
        assert (hit.status_code, via(hit)) == (200, "cache")
        found = await ended(lane, hit.json()["request_id"])
        assert found.json()["response"]["content"] == said(first)
        assert found.json()["response"]["routed_via"] == found.headers["x-batchway-routed-via"] == "cache"


@pytest.mark.parametrize(
    ("prefer", "status"),
    [
        ("respond-async, wait=10", 202),
        ("return=minimal;x=1, Respond-Async;a=b", 202),
        ("return=minimal", 200),
        ("respond-asynchronously", 200),
        ("", 200),
    ],
)
async def test_preferences(lane: Gate, prefer: str, status: int) -> None:
    assert (await lane.ask(headers={"prefer": prefer})).status_code == status


async def test_a_failure_is_found_too(lane: Gate) -> None:
    lane.fault({"kind": "status", "status": 400, "match": {"text": "refuse"}})
    accepted = await lane.ask("/submit", ASYNC, text="refuse me")
    found = await ended(lane, accepted.json()["request_id"])
    assert found.status_code == 200, "the look-up went well"
    body = found.json()
    assert set(body) == {"request_id", "status", "error", "content"}
    assert (body["request_id"], body["status"], body["content"]) == (accepted.json()["request_id"], "failed", None)
    assert {"message", "type", "param", "code"} <= set(body["error"])
    lane.sandbox.faults.switch_off()


async def test_what_cannot_wait_is_refused(lane: Gate) -> None:
    check_fault(await lane.ask(headers=ASYNC, stream=True), 400, "invalid_value", "stream")
    check_fault(await lane.post(b"{", headers=ASYNC), 400, "invalid_json")
    async with open_gate() as storeless:
        refused = check_fault(await storeless.ask(headers=ASYNC), 400, "invalid_value")
        assert "needs a store" in refused["message"]
        check_fault(await storeless.http.get("/requests/x"), 501, "not_served")
        check_fault(await storeless.http.delete("/requests/x"), 501, "not_served")


def tell(database: Database, pragma: str) -> None:
    """As where a disk with errors was mounted again read-only: the writer's own connection, beside its transactions."""
    connection = database._writing.raw_connection()
    connection.cursor().execute(f"PRAGMA {pragma}")
    connection.close()


async def test_nothing_is_acknowledged_while_the_store_is_down(lane: Gate) -> None:
    storage = lane.gateway.storage
    assert storage is not None
    tell(storage.database, "query_only = ON")
    check_fault(await lane.ask(headers=ASYNC), 503, "store_down")
    assert (await lane.http.get("/health")).json()["store"] == "down"
    assert (await lane.ask()).status_code == 200, "who waits is answered"
    tell(storage.database, "query_only = OFF")
    assert (await lane.ask(headers=ASYNC)).status_code == 202
    assert (await lane.http.get("/health")).json()["store"] == "up"


async def test_an_answer_that_is_not_kept_any_more_is_gone(lane: Gate, tmp_path: Path) -> None:
    request_id = (await lane.ask()).json()["request_id"]
    assert (await ended(lane, request_id)).status_code == 200
    storage = lane.gateway.storage
    assert storage is not None
    await storage.database.write(retention.sweep, 4e9)
    check_fault(await lane.http.get(f"/requests/{request_id}"), 410, "answer_swept")
    async with open_lane(tmp_path, record="metadata") as gate:
        request_id = (await gate.ask()).json()["request_id"]
        check_fault(await ended(gate, request_id), 410, "answer_swept")


async def test_ids_are_a_tenants_own(tmp_path: Path) -> None:
    keys = (
        KeyEntry(name="one", hash=hash_key(ONE)),
        KeyEntry(name="other", hash=hash_key(OTHER), scope="admin"),
        KeyEntry(name="keeps-nothing", hash=hash_key("bw-none"), retention="none"),
    )
    async with open_lane(tmp_path, keys=keys) as gate:
        named = {"request_id": "same", "text": "of one"}
        await gate.ask(headers=ASYNC | bearer(ONE), **named)
        await gate.ask(headers=ASYNC | bearer(OTHER), **named | {"text": "of other"})
        found = [(await ended(gate, "same", bearer(key))).json()["response"]["content"] for key in (ONE, OTHER)]
        assert ["of one" in found[0], "of other" in found[1]] == [True, True]
        mine = (await gate.ask(headers=bearer(ONE))).json()["request_id"]
        await ended(gate, mine, bearer(ONE))
        for method in ("GET", "DELETE"):
            url = f"/requests/{mine}"
            check_fault(await gate.http.request(method, url, headers=bearer(OTHER)), 404, "not_found", "request_id")
            check_fault(await gate.http.request(method, url), 401, "missing_api_key")
        check_fault(await gate.ask(headers=ASYNC | bearer("bw-none")), 400, "invalid_value")


async def test_a_forwarded_bearer_finds_its_own(tmp_path: Path) -> None:
    async with open_lane(tmp_path, keyless=True) as gate:
        for key in ("sk-1", "sk-2"):
            await gate.ask(headers=ASYNC | bearer(key), request_id="same", text=f"by {key}")
        for key in ("sk-1", "sk-2"):
            assert f"by {key}" in (await ended(gate, "same", bearer(key))).json()["response"]["content"]
        check_fault(await gate.http.get("/requests/same"), 404, "not_found", "request_id")


@pytest.mark.parametrize("name", ["nope", "%00", "%F0%9F%98%80", "x" * 3000])
async def test_an_unknown_id_is_not_there(lane: Gate, name: str) -> None:
    for method in ("GET", "DELETE"):
        answer = await lane.http.request(method, f"/requests/{name}")
        assert len(check_fault(answer, 404, "not_found", "request_id")["message"]) < 300
