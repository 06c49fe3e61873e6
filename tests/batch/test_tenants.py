"""Two tenants on one gateway: whatever route one takes and whatever id of the other's it knows, it gets nothing and
learns nothing, and no answer is ever shared between them."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from tests.batch.lane import Lane, open_lane
from tests.gate import CHAT, chat, check_fault, said, until, via
from tests.postgres import Server, postgres  # noqa: F401  # A fixture.

from batchway.settings import KeyEntry, hash_key
from batchway.store import charges, lookup
from batchway.store.lookup import Which

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMES = ("one", "other")
KEYS = {name: f"bw-{name:_<43}" for name in (*NAMES, "owner")}
ENTRIES = tuple(
    KeyEntry(name=name, hash=hash_key(key), scope="admin" if name == "owner" else "infer") for name, key in KEYS.items()
)
SECRET = "the-secret-of-one"
NOBODYS = "0f9d1c5e-0000-4000-8000-nobodys"


class Tenants:
    """The lane, asked by either."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane

    async def say(self, name: str, method: str, path: str, **given: Any) -> httpx2.Response:
        """A request by this tenant."""
        headers = {"authorization": f"Bearer {KEYS[name]}"} | given.pop("headers", {})
        return await self.lane.gate.http.request(method, path, headers=headers, **given)

    async def ask(self, name: str, text: str = SECRET, **fields: Any) -> httpx2.Response:
        headers = fields.pop("headers", {})
        return await self.say(name, "POST", CHAT, json=chat(text, **fields), headers=headers)

    def start(self, name: str, text: str = SECRET, **fields: Any) -> "asyncio.Task[httpx2.Response]":
        return asyncio.create_task(self.ask(name, text, **fields))

    @property
    def calls(self) -> int:
        """Answers that the provider made."""
        return self.lane.billed

    async def written(self) -> None:
        """Wait for what is written behind."""
        storage = self.lane.gate.gateway.storage
        assert storage is not None
        await until(lambda: storage.database.health().behind_bytes == 0)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A place for a store."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield str(tmp_path_factory.mktemp("tenants") / "batchway.db")
        else:
            server: Server = request.getfixturevalue("postgres")
            yield stack.enter_context(server.database())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tenants(url: str) -> AsyncIterator[Tenants]:
    """One gateway for both."""
    async with open_lane(Path(), database_url=url, keys=ENTRIES, packing="never") as lane:
        yield Tenants(lane)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ids(tenants: Tenants) -> dict[str, list[str]]:
    """Everything of one's that has an id, by what kind of thing it is: at us and at the provider."""
    named = await tenants.ask("one", request_id="given-by-one", priority="low")
    direct = await tenants.ask("one", store=True)
    waiting = await tenants.ask("one", headers={"prefer": "respond-async"}, strategy="batch")
    answers = (named, direct, waiting)
    assert [answer.status_code for answer in answers] == [200, 200, 202], [answer.text for answer in answers]
    (job,) = [each.job for each in await tenants.lane.jobs() if each.job.id == named.json()["batch_id"]]
    line = json.dumps({"custom_id": "a", "method": "POST", "url": CHAT, "body": chat(SECRET)}).encode()
    upload = {"files": {"file": ("rows.jsonl", line)}, "data": {"purpose": "batch"}}
    file = (await tenants.say("one", "POST", "/v1/files", **upload)).json()["id"]
    wanted = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
    batch = (await tenants.say("one", "POST", "/v1/batches", json=wanted)).json()["id"]
    stored = {"model": "gpt-4o-mini", "input": SECRET, "store": True}
    response = (await tenants.say("one", "POST", "/v1/responses", json=stored)).json()["id"]
    await tenants.lane.done()
    await tenants.written()
    return {
        "requests": [answer.headers["x-batchway-request-id"] for answer in answers],
        "batches": [job.id, job.provider_batch_id or "", job.submit_tag, batch],
        "files": [file, job.input_file_id or ""],
        "completions": [direct.json()["id"], named.json()["id"]],
        "responses": [response],
    }


async def test_no_route_gives_anything_for_an_id_of_anothers(tenants: Tenants, ids: dict[str, list[str]]) -> None:
    """Every route there is, with every kind of id: the same as for an id that is nobody's."""
    for name in ids["requests"][:2]:
        assert SECRET in (await tenants.say("one", "GET", f"/requests/{name}")).text, "they are there for their tenant"
    assert (await tenants.say("one", "GET", f"/v1/responses/{ids['responses'][0]}")).status_code == 200
    described = (await tenants.lane.gate.http.get("/openapi.json")).json()["paths"]
    routes = [
        (method.upper(), path)
        for path, methods in described.items()
        for method in methods
        if "{" in path and "{model}" not in path and "{provider}" not in path
    ]
    assert len(routes) >= 15

    for method, path in routes:
        place = path[path.index("{") : path.index("}") + 1]
        body = {"json": {"metadata": {"a": "b"}}} if method == "POST" else {}
        nobodys = await tenants.say("other", method, path.replace(place, NOBODYS), **body)
        assert nobodys.status_code in (403, 404), (method, path, nobodys.text)
        for name in [name for names in ids.values() for name in names]:
            answer = await tenants.say("other", method, path.replace(place, name), **body)
            told = answer.text.replace(name, NOBODYS)
            assert (answer.status_code, told) == (nobodys.status_code, nobodys.text), (method, path, name)

    for name in ids["requests"][:2]:
        assert (await tenants.say("one", "GET", f"/requests/{name}")).json()["status"] == "completed", (
            "nothing was lost"
        )


async def test_no_list_shows_anything_of_anothers(tenants: Tenants, ids: dict[str, list[str]]) -> None:
    for path, kind in (("/v1/files", "files"), ("/v1/batches", "batches"), (CHAT, "completions")):
        own, others = [(await tenants.say(name, "GET", path)).json()["data"] for name in NAMES]
        assert {each["id"] for each in own} & set(ids[kind]) and others == [], path
    for method, path in (
        ("GET", "/stats"), ("GET", "/metrics"), ("GET", "/queue/stats"), ("GET", "/batches"), ("GET", "/batches/stats"),
        ("POST", "/batches/purge"), ("POST", "/queue/flush/openai"),
    ):  # fmt: skip
        check_fault(await tenants.say("other", method, path), 403, "scope_not_allowed")
        check_fault(await tenants.lane.gate.http.request(method, path), 401, "missing_api_key")
    assert (await tenants.say("owner", "GET", "/batches?status=all")).json()["count"] > 0
    check_fault(await tenants.say("owner", "GET", "/requests/given-by-one"), 404, "not_found", "request_id")


async def test_one_id_of_two_tenants_is_two_requests(tenants: Tenants) -> None:
    """In one batch, with one id, and even with one text."""
    asking = [tenants.ask(name, f"of {name}", request_id="same", priority="low") for name in NAMES]
    answers = await asyncio.gather(*asking)
    assert [f"of {name}" in said(answer) for name, answer in zip(NAMES, answers, strict=True)] == [True, True]
    assert answers[0].json()["batch_id"] == answers[1].json()["batch_id"]
    found = [(await tenants.say(name, "GET", "/requests/same")).json()["response"]["content"] for name in NAMES]
    assert found == [said(answer) for answer in answers]
    # Another body under the id is a conflict with one's own alone.
    check_fault(await tenants.ask("other", "of one", request_id="same", priority="low"), 409, "request_id_conflict",
                "request_id")  # fmt: skip
    cancelled = await tenants.say("other", "DELETE", "/requests/same")
    check_fault(cancelled, 409, "not_cancellable", "request_id")
    storage = tenants.lane.gate.gateway.storage
    assert storage is not None
    for name in NAMES:
        (charge,) = await storage.database.read(charges.of_request, name, "same")
        assert (charge.tenant, charge.key, charge.via) == (name, name, "batch")


@pytest.mark.parametrize("stream", [False, True])
async def test_no_answer_is_shared_before_during_or_after(tenants: Tenants, stream: bool) -> None:
    """Neither by the cache, nor in flight, nor by adoption."""
    fields: dict[str, Any] = {"temperature": 0, "reuse": "all", "stream": stream}
    text = f"shared {stream}"
    before = tenants.calls
    for name in NAMES:
        assert via(await tenants.ask(name, text, **fields)) == "direct"
    assert tenants.calls == before + 2
    assert via(await tenants.ask("other", text, **fields)) == "cache", "its own"

    tenants.lane.gate.fault({"kind": "delay", "seconds": 0.3, "count": 2, "match": {"text": "at once"}})
    twins = await asyncio.gather(*[tenants.ask(name, f"at once {stream}", **fields) for name in NAMES])
    assert [via(answer) for answer in twins] == ["direct", "direct"]


async def test_what_one_gave_up_is_not_adopted_by_the_other(tenants: Tenants) -> None:
    gate = tenants.lane.gate
    gate.fault({"kind": "delay", "seconds": 1.0, "count": 1, "match": {"text": "abandoned"}})
    before = tenants.calls
    asked = tenants.start("one", "abandoned")
    await until(gate.under_way(1))
    asked.cancel()
    await until(gate.waiting(0))
    answer = await tenants.ask("other", "abandoned")
    assert (via(answer), answer.headers["x-batchway-why"]) == ("direct", "no deadline given: interactive")
    await until(gate.under_way(0))
    assert tenants.calls == before + 2


async def test_no_answer_is_shared_by_the_store_after_a_restart(tenants: Tenants) -> None:
    """The cache in memory is empty then: what is found is found on disk."""
    fields: dict[str, Any] = {"temperature": 0, "text": "kept on disk"}
    assert via(await tenants.ask("one", **fields)) == "direct"
    await tenants.written()
    tenants.lane.gate.gateway.planner.memory.cache.clear()
    assert via(await tenants.ask("other", **fields)) == "direct"
    tenants.lane.gate.gateway.planner.memory.cache.clear()
    again = await tenants.ask("one", **fields)
    assert (via(again), again.headers["x-batchway-why"]) == ("cache", "answered before, found in the store")


async def test_every_row_of_the_store_knows_its_tenant(tenants: Tenants) -> None:
    storage = tenants.lane.gate.gateway.storage
    assert storage is not None
    for name, foreign in (NAMES, NAMES[::-1]):
        await tenants.ask(name, f"only of {name}")
        await tenants.written()
        kept = await storage.database.read(lookup.search, Which(tenant=name), 1000)
        assert kept and {stored.tenant for stored in kept} == {name}
        bodies = [stored.outcome.body for stored in kept if stored.outcome is not None and stored.outcome.body]
        assert not [body for body in bodies if f"only of {foreign}".encode() in body]
