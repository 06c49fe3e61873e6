"""Management: what waits, what is at providers, what it cost; flushed, deleted, purged; for admins alone."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families
from tests.clock import HandClock
from tests.gate import PATIENCE, Gate, check_fault, open_gate, until
from tests.server.lane import ASYNC, batches, ended, flush, open_lane

from batchway.server.figures import SILENT
from batchway.settings import KeyEntry, hash_key

INFER, ADMIN = "bw-" + "i" * 43, "bw-" + "a" * 43
ROUTES = [
    ("GET", "/stats"), ("GET", "/metrics"), ("GET", "/queue/stats"), ("POST", "/queue/flush/openai"),
    ("GET", "/batches"), ("GET", "/batches/stats"), ("GET", "/batches/x"), ("DELETE", "/batches/x"),
    ("POST", "/batches/purge"),
]  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gate]:
    """One gateway for the tests that want nothing special of it."""
    async with open_lane(tmp_path_factory.mktemp("manage")) as gate:
        yield gate


async def batched(gate: Gate, *texts: str, model: str = "gpt-4o-mini") -> list[dict[str, Any]]:
    """These in one batch, to its end: how they were answered."""
    asked = [await gate.ask("/submit", ASYNC, text=text, priority="low", model=model) for text in texts]
    await flush(gate, len(texts))
    found = [(await ended(gate, answer.json()["request_id"])).json() for answer in asked]
    async with asyncio.timeout(PATIENCE):
        while (await show(gate, "/batches"))["count"]:
            await asyncio.sleep(0.01)
    return found


async def show(gate: Gate, path: str, **query: Any) -> dict[str, Any]:
    answer = await gate.http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_batch_from_its_forming_to_its_end(lane: Gate) -> None:
    accepted = await lane.ask("/submit", ASYNC, text="one", priority="low")
    (queue,) = (await show(lane, "/queue/stats"))["queues"]
    assert (queue["provider"], queue["model"], queue["lane"], queue["requests"]) == (
        "openai",
        "gpt-4o-mini",
        "batch",
        1,
    )
    assert 0 <= queue["oldest_age_seconds"] < queue["closes_in_seconds"] <= 600
    (waiting,) = (await show(lane, "/queue/stats"))["waiting"]
    assert (waiting["provider"], waiting["lane"], waiting["requests"]) == ("openai", "batch", 1)
    assert (await show(lane, "/health"))["queue_size"] == 1

    await flush(lane, 1)
    (formed,) = await batches(lane)
    response = (await ended(lane, accepted.json()["request_id"])).json()["response"]
    assert response["batch_id"] == formed["batch_id"]
    async with asyncio.timeout(PATIENCE):
        while (listed := (await batches(lane, status="finished"))[0])["state"] != "done":
            await asyncio.sleep(0.01)
    for batch_id in (formed["batch_id"], listed["provider_batch_id"]):
        batch = await show(lane, f"/batches/{batch_id}")
        assert {name: batch[name] for name in listed if name != "age_seconds"} == {
            name: value for name, value in listed.items() if name != "age_seconds"
        }
    assert (batch["status"], batch["total_requests"]) == ("completed", 1)
    assert batch["request_counts"] == batch["provider_counts"] == {"total": 1, "completed": 1, "failed": 0}
    assert batch["created_at"] <= batch["submitted_at"] <= batch["completed_at"]
    assert [event["kind"] for event in batch["events"]][-1] == "job.done"
    (line,) = [line for line in lane.lines if line.lane == "batch"]
    billed = (line.input * 150_000 + line.output * 600_000) // 2
    assert round(float(batch["cost_usd"]) * 1e12) == round(float(batch["saved_usd"]) * 1e12) == billed


async def test_a_batch_is_completed_while_its_files_are_deleted(tmp_path: Path) -> None:
    """It looks for duplicates of its batch at its provider before it tidies up there: ten minutes after this batch."""
    async with open_lane(tmp_path, settle=600) as gate:
        accepted = await gate.ask("/submit", ASYNC, text="one", priority="low")
        await flush(gate, 1)
        await ended(gate, accepted.json()["request_id"])
        (batch,) = await batches(gate, status="finished")
        assert (batch["status"], batch["state"]) == ("completed", "closing")
        assert batch["submitted_at"] <= batch["completed_at"]
        assert (await show(gate, "/batches", status="completed"))["count"] == 1
        assert (await show(gate, "/batches"))["batches"] == []
        assert (await show(gate, "/health"))["active_batches"] == 0
        stats = await show(gate, "/batches/stats")
        assert (stats["by_status"], stats["active"], stats["finished"]) == ({"completed": 1}, 0, 1)
        assert (await show(gate, "/stats"))["batches"]["finished"] == 1
        assert (await gate.http.post("/batches/purge")).json()["batch_ids"] == [batch["batch_id"]]


async def test_lists_and_their_pages(lane: Gate) -> None:
    for number in range(3):
        await batched(lane, f"page {number}")
    found = await batches(lane, 3, status="finished")
    assert [batch["created_at"] for batch in found] == sorted([batch["created_at"] for batch in found], reverse=True)
    pages: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = await show(lane, "/batches", status="all", limit=2, **after)
        assert page["count"] == len(page["batches"]) <= 2
        pages += [batch["batch_id"] for batch in page["batches"]]
        if not page["has_more"]:
            break
        after = {"after": pages[-1]}
    assert pages == [batch["batch_id"] for batch in await batches(lane)]
    assert (await show(lane, "/batches"))["batches"] == [], "only active ones, unless told otherwise"
    assert (await show(lane, "/batches", status="failed,expired"))["count"] == 0
    assert (await show(lane, "/batches", status="all", provider="xai"))["count"] == 0
    assert (await show(lane, "/batches", status="in_progress,completed", provider="openai"))["count"] == len(found)
    stats = await show(lane, "/batches/stats")
    assert stats["by_status"] == {"completed": len(found)} and stats["by_provider"] == {"openai": stats["by_status"]}
    assert (stats["total"], stats["active"], stats["finished"]) == (len(found), 0, len(found))


async def test_a_purge_hides_what_is_finished_and_old(lane: Gate) -> None:
    await batched(lane, "to purge")
    everything = {batch["batch_id"] for batch in await batches(lane, status="finished")}
    before = (await show(lane, "/stats"))["today"]

    async def purge(**query: Any) -> dict[str, Any]:
        answer = await lane.http.post("/batches/purge", params=query)
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = answer.json()
        return said

    assert await purge(older_than_seconds=3600) == {"purged": 0, "batch_ids": [], "dry_run": False}
    assert (await purge(status="failed,expired"))["purged"] == 0
    tried = await purge(dry_run=True)
    assert (tried["purged"], set(tried["batch_ids"]), tried["dry_run"]) == (len(everything), everything, True)
    assert len(await batches(lane)) == len(everything)
    done = await purge(older_than_seconds=0, status="completed")
    assert set(done["batch_ids"]) == everything
    assert (await show(lane, "/batches", status="all"))["batches"] == []
    assert (await show(lane, "/batches/stats"))["total"] == 0
    check_fault(await lane.http.get(f"/batches/{tried['batch_ids'][0]}"), 404, "not_found", "batch_id")
    assert (await show(lane, "/stats"))["today"] == before, "its charges stay"


async def test_deleting_an_active_batch_cancels_it_upstream(tmp_path: Path) -> None:
    async with open_lane(tmp_path, endless=True) as gate:
        waits = gate.start("/submit", text="waits", priority="low")
        await flush(gate, 1)
        await until(lambda: "batches.create" in [line.endpoint for line in gate.lines])
        (batch,) = await batches(gate, status="active")
        assert (await show(gate, "/health"))["active_batches"] == (await show(gate, "/stats"))["active_batches"] == 1
        deleted = await gate.http.delete(f"/batches/{batch['batch_id']}")
        assert deleted.json() == {"batch_id": batch["batch_id"], "deleted": True, "cancelled": True}
        check_fault(await gate.http.get(f"/batches/{batch['batch_id']}"), 404, "not_found", "batch_id")
        check_fault(await gate.http.delete(f"/batches/{batch['batch_id']}"), 404, "not_found", "batch_id")
        assert (await show(gate, "/batches", status="all"))["batches"] == []
        assert (await show(gate, "/health"))["active_batches"] == 0
        error = check_fault(await waits, 499, "job_cancelled")
        assert "DELETE /batches" in error["message"]
        assert [line.endpoint for line in gate.lines].count("batches.cancel") == 1


async def test_deleting_a_batch_that_is_over_cancels_nothing(lane: Gate) -> None:
    await batched(lane, "over")
    (batch, *_) = await batches(lane)
    deleted = await lane.http.delete(f"/batches/{batch['provider_batch_id']}")
    assert deleted.json() == {"batch_id": batch["batch_id"], "deleted": True, "cancelled": False}
    assert "batches.cancel" not in [line.endpoint for line in lane.lines]


async def test_flushing(lane: Gate) -> None:
    for provider in ("openai", "grok", "xai", "generic"):
        answer = await lane.http.post(f"/queue/flush/{provider}")
        assert answer.status_code == 200
        assert answer.json()["flushed"] == 0
    error = check_fault(await lane.http.post("/queue/flush/nope"), 404, "unknown_provider", "provider")
    assert "openai" in error["message"]
    ids = [(await lane.ask("/submit", ASYNC, text=name, priority="low", provider=name)).json()["request_id"]
           for name in ("openai", "mistral")]  # fmt: skip
    await until(lambda: lane.gateway.engine.load().queued == 2)
    assert (await lane.http.post("/queue/flush/mistral")).json()["flushed"] == 1
    assert (await ended(lane, ids[1])).json()["response"]["provider"] == "mistral"
    assert (await lane.http.get(f"/requests/{ids[0]}")).json()["status"] == "pending"
    await flush(lane, 1)
    await ended(lane, ids[0])


async def test_the_numbers_hold_batches_too(tmp_path: Path) -> None:
    async with open_lane(tmp_path) as gate:
        await batched(gate, "a", "b")
        answer = await gate.ask(text="direct")
        await batches(gate, status="finished")
        async with asyncio.timeout(PATIENCE):
            # The charge of a direct call is written behind.
            while (stats := await show(gate, "/stats"))["today"]["charges"] < 3:
                await asyncio.sleep(0.01)
        requests = stats["requests"]
        assert (requests["accepted"], requests["acknowledged"], requests["answered"]) == (3, 2, 1)
        assert stats["batches"]["formed"] == stats["batches"]["finished"] == 1
        assert stats["batches"]["rescues"] == {"send": 0, "fail": 0, "leave": 0}
        money, today = stats["money"], stats["today"]
        assert money["by_routed_via"]["direct"]["paid_usd"] == answer.headers["x-batchway-cost-usd"]
        paid = sum(float(each["paid_usd"]) for each in money["by_routed_via"].values())
        assert round(paid, 12) == float(money["paid_usd"]) == float(today["paid_usd"])
        assert float(money["by_routed_via"]["batch"]["saved_usd"]) == float(money["saved_usd"]) > 0

        families = {family.name: family for family in text_string_to_metric_families(await _exposition(gate))}
        assert _sample(families["batchway_jobs"], provider="openai", state="done") == 1
        assert _sample(families["batchway_job_moves"], provider="openai", state="submitted") == 1
        assert _sample(families["batchway_charges"], provider="openai", via="batch") == 2
        assert _sample(families["batchway_charges"], provider="openai", via="direct") == 1
        assert _sample(families["batchway_acknowledged"], provider="openai") == 2
        assert _sample(families["batchway_store_up"]) == 1
        assert families["batchway_queue_depth"].samples == []


async def test_what_waits_is_in_the_metrics_with_its_age(tmp_path: Path, clock: HandClock) -> None:
    async with open_gate(database_url=str(tmp_path / "b.db"), clock=clock, flush_interval=900) as gate:
        await gate.ask("/submit", ASYNC, priority="low")
        clock.move(60)
        await gate.ask("/submit", ASYNC, priority="low", text="another")
        clock.move(30)
        families = {family.name: family for family in text_string_to_metric_families(await _exposition(gate))}
        labels = {"provider": "openai", "lane": "batch"}
        assert _sample(families["batchway_queue_depth"], **labels) == 2
        assert _sample(families["batchway_queue_oldest_seconds"], **labels) == 90
        (queue,) = (await show(gate, "/queue/stats"))["queues"]
        assert (queue["oldest_age_seconds"], queue["closes_in_seconds"]) == (90, 810)


async def _exposition(gate: Gate) -> str:
    return (await gate.http.get("/metrics")).text


def _sample(family: Any, **labels: str) -> float:
    (found,) = [sample.value for sample in family.samples if sample.labels == labels and "created" not in sample.name]
    return float(found)


async def test_bad_input_names_the_field(lane: Gate) -> None:
    for path, field in (
        ("/batches?limit=0", "limit"),
        ("/batches?limit=many", "limit"),
        ("/batches?status=dead", "status"),
        ("/batches?status=active,failed", "status"),
        ("/batches?provider=%00", "provider"),
        ("/batches?after=%00", "after"),
    ):
        error = check_fault(await lane.http.get(path), 400, "invalid_value", field)
        assert field in error["message"]
    for query, field in (
        ("older_than_seconds=-1", "older_than_seconds"),
        ("older_than_seconds=old", "older_than_seconds"),
        ("older_than_seconds=inf", "older_than_seconds"),
        ("dry_run=perhaps", "dry_run"),
        ("status=", "status"),
        ("status=running", "status"),
    ):
        check_fault(await lane.http.post(f"/batches/purge?{query}"), 400, "invalid_value", field)
    for method, path in (("GET", "/batches?status=all"), ("POST", "/batches/purge?dry_run=true")):
        answer = await lane.http.request(method, f"{path}&provider=nobody")
        assert "openai" in check_fault(answer, 404, "unknown_provider", "provider")["message"]
    assert "/results" in check_fault(await lane.http.get("/requests/"), 404, "not_found", "request_id")["message"]
    for name in ("nope", "%00", "x" * 500):
        check_fault(await lane.http.get(f"/batches/{name}"), 404, "not_found", "batch_id")
        check_fault(await lane.http.delete(f"/batches/{name}"), 404, "not_found", "batch_id")
    assert (await show(lane, "/batches", after="nope"))["count"] == 0
    check_fault(await lane.http.get("/batches/purge"), 404, "not_found", "batch_id")
    check_fault(await lane.http.post("/batches"), 405, "method_not_allowed")
    check_fault(await lane.http.get("/queue/flush/openai"), 405, "method_not_allowed")


async def test_management_is_for_admins_of_this_site(tmp_path: Path) -> None:
    keys = (KeyEntry(name="i", hash=hash_key(INFER)), KeyEntry(name="a", hash=hash_key(ADMIN), scope="admin"))
    async with open_lane(tmp_path, keys=keys) as gate:
        for method, path in ROUTES:
            check_fault(await gate.http.request(method, path), 401, "missing_api_key")
            infer = {"authorization": f"Bearer {INFER}"}
            check_fault(await gate.http.request(method, path, headers=infer), 403, "scope_not_allowed")
            admin = {"authorization": f"Bearer {ADMIN}"}
            answer = await gate.http.request(method, path, headers=admin)
            assert answer.status_code in (200, 404), path
            if method != "GET":
                evil = admin | {"origin": "https://evil.example"}
                check_fault(await gate.http.request(method, path, headers=evil), 403, "origin_not_allowed")
        assert (await gate.http.get("/health")).status_code == 200


async def test_without_a_store_there_are_no_batches(gate: Gate) -> None:
    assert (await show(gate, "/batches")) == {"batches": [], "count": 0, "has_more": False}
    assert (await show(gate, "/batches/stats"))["total"] == 0
    assert (await gate.http.post("/batches/purge")).json()["purged"] == 0
    assert (await show(gate, "/queue/stats"))["waiting"] is None
    check_fault(await gate.http.get("/batches/x"), 404, "not_found", "batch_id")
    stats = await show(gate, "/stats")
    assert (stats["store"], stats["today"], stats["active_batches"]) == ("none", None, 0)
    assert (stats["store_at"], stats["store_down"]) == ("none", None)


async def test_a_store_that_hangs_holds_up_nobody(lane: Gate) -> None:
    """Health is what a load balancer asks: it never waits for a disk."""
    storage, release = lane.gateway.storage, threading.Event()
    assert storage is not None
    stuck = [asyncio.ensure_future(storage.database.read(lambda _: release.wait(30))) for _ in range(8)]
    try:
        health = await show(lane, "/health")
        assert (health["status"], health["store"]) == ("healthy", "down")
        assert (await show(lane, "/stats"))["store_down"] == {"since": None, "reason": SILENT}
        assert (await lane.http.get("/metrics")).status_code == 200
    finally:
        release.set()
        await asyncio.gather(*stuck)
    assert (await show(lane, "/health"))["store"] == "up"
