"""What is kept, and for how long: texts go when their time is over, what they cost stays, and secrets are on no disk,
in no log, no number and no event."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from tests.batch.lane import Lane, open_lane
from tests.gate import CHAT, Gate, check_fault, open_gate, said, until, via
from tests.server.process import Process, batchway, body
from tests.server.test_secrets import spellings

from batchway.sandbox.batch_contract import lasting
from batchway.store import charges, lookup
from batchway.store.lookup import Which

PLANTED = "pl4nted-word-that-nobody-else-says"
QUOTING = {"kind": "status", "status": 400, "message": f"I cannot say {PLANTED}.", "match": {"text": "refuse"}}
LOOKED_AT = ("/metrics", "/stats", "/queue/stats", "/batches?status=all")


def files_with(folder: Path, text: str) -> list[str]:
    """The files that hold these bytes."""
    return sorted(file.name for file in folder.rglob("*") if file.is_file() and text.encode() in file.read_bytes())


async def written(gate: Gate) -> None:
    """Wait for what is written behind."""
    storage = gate.gateway.storage
    assert storage is not None
    await until(lambda: storage.database.health().behind_bytes == 0)


async def every_way(lane: Lane) -> None:
    """Texts that are answered, packed, batched, refused and cancelled, each with the planted word."""
    gate = lane.gate
    gate.fault(QUOTING)
    assert PLANTED in said(await gate.ask(text=f"{PLANTED} direct"))
    check_fault(await gate.ask(text=f"{PLANTED} refuse"), 400)
    crowd = [gate.ask(text=f"{PLANTED} packed {number}", packing="always") for number in range(2)]
    assert [answer.headers.get("x-batchway-packed") for answer in await asyncio.gather(*crowd)] == ["2", "2"]
    assert via(await gate.ask(text=f"{PLANTED} batch", priority="low")) == "batch"
    waiting = await gate.ask(text=f"{PLANTED} cancelled", priority="low", headers={"prefer": "respond-async"})
    assert waiting.status_code == 202
    cancelled = await gate.http.delete(waiting.headers["location"])
    assert cancelled.json()["error"]["code"] == "cancelled"
    await written(gate)


async def test_texts_go_when_their_time_is_over_and_what_they_cost_stays(tmp_path: Path) -> None:
    async with open_lane(tmp_path, retention=0, batch_window_ms=200, packing="never") as lane:
        storage = lane.gate.gateway.storage
        assert storage is not None
        await every_way(lane)
        await lane.done()
        before = await storage.database.read(lookup.search, Which())
        assert files_with(tmp_path, PLANTED), "until it is swept"

        while await storage.custodian.sweep():
            pass

        after = await storage.database.read(lookup.search, Which())
        paid = [await storage.database.read(charges.of_request, "default", stored.request_id) for stored in after]
        gone = [stored.request_id for stored in after if stored.status == "completed"]
        check_fault(await lane.gate.http.get(f"/requests/{gone[0]}"), 410, "answer_swept")
        failed = next(stored for stored in after if stored.status == "failed")
        kept = (await lane.gate.http.get(f"/requests/{failed.request_id}")).json()["error"]
        assert kept["message"] == "Its message is not kept."

    assert [stored.status for stored in before] == [stored.status for stored in after]
    assert sorted(stored.status for stored in after) == ["cancelled", *["completed"] * 4, "failed"]
    assert [stored.cost for stored in after] == [stored.cost for stored in before]
    assert [len(charged) for charged in paid] == [int(stored.status == "completed") for stored in after]
    assert files_with(tmp_path, PLANTED) == [], "its log is gone with the gateway, and its places are written over"


@pytest.mark.parametrize(
    ("record", "requests", "texts"), [("all", 3, True), ("metadata", 3, False), ("none", 0, False)]
)
async def test_record_says_what_is_kept_of_direct_requests(
    tmp_path: Path, record: str, requests: int, texts: bool
) -> None:
    async with open_lane(tmp_path, record=record, batch_window_ms=200, packing="never") as lane:
        gate, storage = lane.gate, lane.gate.gateway.storage
        assert storage is not None
        gate.fault(
            {"kind": "status", "status": 400, "message": f"I cannot say {PLANTED}.", "match": {"text": "refuse"}}
        )
        crowd = await asyncio.gather(*[gate.ask(text=f"{PLANTED} {each}", packing="always") for each in range(2)])
        check_fault(await gate.ask(text=f"{PLANTED} refuse"), 400)
        await written(gate)

        assert len(await storage.database.read(lookup.search, Which())) == requests
        for answer in crowd:
            request_id = answer.json()["request_id"]
            (charge,) = await storage.database.read(charges.of_request, "default", request_id)
            assert charge.cost
            found = await gate.http.get(f"/requests/{request_id}")
            assert found.status_code == {"all": 200, "metadata": 410, "none": 404}[record]
        assert bool(files_with(tmp_path, PLANTED)) == texts


PROVIDER_KEY = "sk-proj-Pl4nted+Provider/Key0123456789"
BEARER = "sk-user-Pl4nted+Caller/Key9876543210"


@pytest_asyncio.fixture
async def provider() -> AsyncIterator[Gate]:
    """Simulated providers that take one key alone, and a gateway that nobody asks."""
    async with open_gate(sandbox={"keys": [PROVIDER_KEY, BEARER], "batch_schedule": lasting(0.2)}) as gate:
        yield gate


def surroundings(provider: Gate, folder: Path) -> dict[str, str]:
    quick = {"FLUSH_INTERVAL": "0.1", "POLL_INTERVAL": "0.1", "SETTLE": "0.1", "UNSAFE_STORE": "true"}
    return {
        "OPENAI_BASE_URL": f"{provider.upstream}/v1",
        "OPENAI_API_KEY": PROVIDER_KEY,
        # Without a key: here a caller's own is forwarded.
        "XAI_BASE_URL": f"{provider.upstream}/grok/v1",
        "BATCHWAY_RECORD": "none",
        "BATCHWAY_DATABASE_URL": str(folder / "batchway.db"),
    } | {f"BATCHWAY_{name}": value for name, value in quick.items()}


START = ("start", "--port", "0", "--log-level", "debug", "--events", "events.jsonl")


async def test_a_forwarded_bearer_is_on_no_disk(provider: Gate, tmp_path: Path) -> None:
    """Though its request was: the one that is durable, and the one that was refused a batch."""
    async with batchway(*START, environment=surroundings(provider, tmp_path), folder=str(tmp_path)) as gateway:
        await gateway.ready()
        bearer = {"authorization": f"Bearer {BEARER}"}
        async with httpx2.AsyncClient(base_url=gateway.address, timeout=30, headers=bearer) as client:
            asked = {"provider": "grok", "request_id": "mine"}
            answer = await client.post(CHAT, content=body("hello", model="grok-4.3", **asked))
            assert answer.status_code == 200, answer.text
            low = await client.post(CHAT, content=body("low", model="grok-4.3", provider="grok", priority="low"))
            assert (low.status_code, via(low)) == (200, "direct")
            assert "not batch: it needs a key of the gateway's own" in low.headers["x-batchway-why"]
            seen = [(await client.get(path)).text for path in ("/metrics", "/stats", "/requests/mine")]
        assert {line.key for line in provider.lines if line.provider == "grok"} == {BEARER[-4:]}
        check_nowhere(BEARER, tmp_path, [*seen, gateway.said])
        gateway.stop()
        assert await gateway.ended() == 0
    check_nowhere(BEARER, tmp_path, [gateway.said, gateway.printed])


async def test_planted_secrets_are_nowhere(provider: Gate, tmp_path: Path) -> None:
    environment = surroundings(provider, tmp_path)
    create = ("keys", "create", "team", "--scope", "admin")
    async with batchway(*create, environment=environment, folder=str(tmp_path)) as creating:
        assert await creating.ended() == 0
    key = creating.printed.strip()
    async with batchway(*START, environment=environment, folder=str(tmp_path)) as gateway:
        await gateway.ready()
        seen = await _mixed_load(gateway, provider, key)
        check_all_nowhere(key, tmp_path, [*seen, gateway.said])
        gateway.stop()
        assert await gateway.ended() == 0
    told = (tmp_path / "events.jsonl").read_text()
    assert "batch_terminal" in told
    check_all_nowhere(key, tmp_path, [gateway.said, gateway.printed])
    assert "call failed" in gateway.said and "answered" in gateway.said


async def _mixed_load(gateway: Process, provider: Gate, key: str) -> list[str]:
    """What the gateway shows to those who look at it, after answers and failures of every kind."""
    headers = {"authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(base_url=gateway.address, timeout=30, headers=headers) as client:
        assert (await client.post(CHAT, content=body(PLANTED))).status_code == 200
        assert (await client.post(CHAT, content=body(PLANTED, stream=True))).status_code == 200
        quoted = f"No: {PLANTED} {PROVIDER_KEY} {key}"
        for rule in (
            {"kind": "status", "status": 400, "message": quoted},
            {"kind": "error_frame", "message": quoted},
            {"kind": "malformed_body", "text": quoted},
        ):
            provider.fault(rule | {"match": {"endpoint": "chat"}})
            await client.post(CHAT, content=body(PLANTED, stream=rule["kind"] == "error_frame"))
        for endpoint in ("files.create", "batches.retrieve", "files.content"):
            keys = f"No: {PROVIDER_KEY} {key}"
            provider.fault({"kind": "status", "status": 503, "message": keys, "match": {"endpoint": endpoint}})
        low = await client.post(CHAT, content=body("not planted", priority="low"))
        assert (low.status_code, via(low)) == (200, "batch")
        shown = [
            (await client.get(path)).text for path in ("/metrics", "/stats", "/queue/stats", "/batches?status=all")
        ]
        batch_id = json.loads(shown[-1])["batches"][0]["batch_id"]
        return [*shown, (await client.get(f"/batches/{batch_id}")).text]


def check_all_nowhere(key: str, folder: Path, seen: list[str]) -> None:
    check_nowhere(PROVIDER_KEY, folder, seen)
    # Its hash is what the store knows a gateway key by.
    check_nowhere(key, folder, seen, spelt=spellings(key)[:-1])
    check_nowhere(PLANTED, folder, seen, spelt=[PLANTED])


def check_nowhere(secret: str, folder: Path, seen: list[str], spelt: list[str] | None = None) -> None:
    """Neither in what was seen nor in any file, SQLite's log and the events among them."""
    assert (folder / "batchway.db").exists()
    for spelling in spellings(secret) if spelt is None else spelt:
        assert not [text for text in seen if spelling in text], spelling
        assert files_with(folder, spelling) == [], spelling
