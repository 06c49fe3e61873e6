"""Where a store is, what is wrong with it, and what then goes on: each said at the start or shown while it lasts."""

import asyncio
import resource
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import make_url
from tests.batch.lane import QUICK, open_lane, own_answer, questions
from tests.gate import CHAT, chat, check_fault, open_gate, settings_of, until, via
from tests.postgres import Server, postgres  # noqa: F401  # A fixture.
from tests.server.process import Process, batchway, body

from batchway.core.errors import BatchwayError
from batchway.core.types import PICODOLLARS
from batchway.sandbox.batch_contract import lasting
from batchway.server import serving
from batchway.store import charges

SHM = Path("/dev/shm")


async def refusal(url: str) -> str:
    """What is said by a gateway that does not start."""
    with closing(serving.bind("127.0.0.1", 0)) as listener, pytest.raises(BatchwayError) as raised:
        async with serving.serve(settings_of(database_url=url), listener=listener):
            pass
    return str(raised.value)


async def test_what_cannot_be_a_store_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "garbage.db").write_bytes(b"this is not a database " * 100)
    newer = tmp_path / "newer.db"
    async with open_lane(tmp_path, database_url=str(newer)):
        pass
    with sqlite3.connect(newer) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    connection.close()
    wanted = {
        "mysql://host/db": ("database_url", "mysql", "postgresql://"),
        "sqlite://": ("database_url", "in memory", "name a file"),
        "postgresql://me:pl4nted@127.0.0.1:9/db": ("database_url: postgresql://me:***@127.0.0.1:9/db", "refused"),
        str(tmp_path / "garbage.db"): ("garbage.db cannot be opened", "not a database", "another store"),
        str(tmp_path): ("cannot be written", "name another file"),
        str(newer): ("version 99", "use the batchway that wrote it"),
    }
    for url, words in wanted.items():
        told = await refusal(url)
        assert "pl4nted" not in told
        assert [word for word in words if word not in told] == [], told


async def test_a_database_that_is_not_there_is_named(postgres: Server) -> None:  # noqa: F811
    with postgres.database() as url:
        absent = make_url(url).set(database="nobody_made_it").render_as_string(hide_password=False)
        assert "nobody_made_it" in await refusal(absent)


@pytest.fixture
def in_memory(tmp_path: Path) -> Any:
    """A place for a store that lies in memory."""
    place = SHM / f"batchway-{tmp_path.name}.db"
    if not SHM.is_dir():
        pytest.skip("there is no file system in memory here")
    yield place
    for file in SHM.glob(f"{place.name}*"):
        file.unlink()


@pytest.mark.parametrize("insists", [False, True])
async def test_a_store_in_memory_batches_only_for_who_insists(in_memory: Path, insists: bool, tmp_path: Path) -> None:
    async with open_lane(tmp_path, database_url=str(in_memory), unsafe_store=insists) as lane:
        low = await lane.ask("low")
        named = await lane.gate.ask(request_id="mine")
    assert (low.status_code, via(low)) == (200, "batch" if insists else "direct")
    assert ("lies in memory (tmpfs)" in low.headers["x-batchway-why"]) == (not insists)
    assert named.status_code == 200
    flags = ("start", "--port", "0", "--database-url", str(in_memory))
    environment = {"BATCHWAY_UNSAFE_STORE": "true"} if insists else {}
    async with batchway(*flags, environment=environment, folder=str(tmp_path)) as process:
        await process.ready()
        process.stop()
        await process.ended()
    assert "lies in memory (tmpfs): a restart of the machine empties it" in process.said
    assert ("no batch lane" in process.said) == (not insists)


async def test_two_gateways_on_one_file_answer_each_its_own(tmp_path: Path) -> None:
    """Either may see to a batch of the other's: whoever waits hears of it all the same."""
    slow = dict(QUICK) | {"poll_interval": 0.3, "batch_size": 1}
    async with open_lane(tmp_path, **slow) as lane:
        settings = settings_of(database_url=str(tmp_path / "batchway.db"), **slow)
        async with (
            serving.serve(settings, sandbox=lane.gate.upstream) as (address, other),
            httpx2.AsyncClient(base_url=address, timeout=30) as http,
        ):
            texts = questions(12)
            mine = [lane.ask(text) for text in texts]
            others = [http.post(CHAT, json=chat(f"{text} there", priority="low")) for text in texts]
            async with asyncio.timeout(25):
                answers = await asyncio.gather(*mine, *others)
            await lane.done()
            counted = lane.gate.gateway.stats.paid + other.stats.paid
    wanted = [*texts, *[f"{text} there" for text in texts]]
    assert [own_answer(text, answer) for text, answer in zip(wanted, answers, strict=True)] == [True] * 24
    assert lane.billed == 24
    booked = sum(float(answer.headers["x-batchway-cost-usd"]) for answer in answers)
    assert counted == round(booked * PICODOLLARS), "each is counted by one of them"


async def test_a_disk_that_takes_nothing_stops_what_is_durable_and_nothing_else(tmp_path: Path) -> None:
    """As far as a process sees it: it may not write to any file."""
    async with open_gate(sandbox={"batch_schedule": lasting(0.2)}) as provider:
        environment = {
            "OPENAI_BASE_URL": f"{provider.upstream}/v1", "OPENAI_API_KEY": "sk-x",
            "BATCHWAY_DATABASE_URL": str(tmp_path / "batchway.db"), "BATCHWAY_UNSAFE_STORE": "true",
        }  # fmt: skip
        async with batchway("start", "--port", "0", environment=environment, folder=str(tmp_path)) as gateway:
            await gateway.ready()
            async with httpx2.AsyncClient(base_url=gateway.address, timeout=30) as client:
                await _break(client, gateway)


async def _break(client: httpx2.AsyncClient, gateway: Process) -> None:
    async def ask(text: str, **fields: Any) -> httpx2.Response:
        return await client.post(CHAT, content=body(text, **fields))

    assert (await ask("before", request_id="before")).status_code == 200
    limits = resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (0, limits[1]))

    refused = check_fault(await ask("durable", request_id="durable"), 503, "store_down")
    assert "Nothing was acknowledged" in refused["message"]
    detached = await client.post(CHAT, content=body("later"), headers={"prefer": "respond-async"})
    check_fault(detached, 503, "store_down")
    direct = await ask("direct")
    assert (direct.status_code, via(direct)) == (200, "direct")
    assert (await client.get("/health")).json()["store"] == "down"
    async with asyncio.timeout(15):
        while not (stats := (await client.get("/stats")).json())["unrecorded"]["records"]:
            await asyncio.sleep(0.1)
    assert stats["store"] == "down" and float(stats["money"]["paid_usd"]) > 0
    assert "disk" in stats["unrecorded"]["gaps"][0]["reason"], stats["unrecorded"]

    resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, limits)
    async with asyncio.timeout(15):
        while (await client.get("/health")).json()["store"] != "up":
            await asyncio.sleep(0.1)
    again = await ask("durable", request_id="durable")
    assert (again.status_code, via(again)) == (200, "direct"), "it was not acknowledged, and is not there"
    async with asyncio.timeout(15):  # Until every charge is there: they outlasted it.
        while (stats := (await client.get("/stats")).json())["today"]["paid_usd"] != stats["money"]["paid_usd"]:
            await asyncio.sleep(0.1)
    assert stats["unrecorded"]["charges"] == 0 and stats["unrecorded"]["records"] >= 1


async def test_a_database_that_goes_away_stops_what_is_durable_and_nothing_else(
    postgres: Server,  # noqa: F811
    tmp_path: Path,
) -> None:
    with postgres.database() as url:
        async with open_lane(tmp_path, database_url=url) as lane:
            gate, storage = lane.gate, lane.gate.gateway.storage
            assert storage is not None
            assert via(await lane.ask("before")) == "batch"
            with postgres.shut(url):
                check_fault(await lane.ask("while it is away"), 503, "store_down")
                direct = await gate.ask(text="direct")
                assert (direct.status_code, via(direct)) == (200, "direct")
                assert (await gate.http.get("/health")).json()["store"] == "down"
            await until(lambda: storage.database.health().down is None and not storage.database.health().behind_bytes)
            assert via(await lane.ask("after")) == "batch"
            (charge,) = await storage.database.read(charges.of_request, "default", direct.json()["request_id"])
            assert charge.cost, "it was kept until the database was back"
