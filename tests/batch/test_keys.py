"""What `batchway keys create` says of a key holds for its requests: defaults where they say nothing, limits whatever
they say. And every way that is taken says truly why."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from tests.batch.lane import Lane, open_lane
from tests.gate import CHAT, chat, check_fault, said, until, via
from typer.testing import CliRunner

from batchway.cli import app
from batchway.store import lookup
from batchway.store.lookup import Which

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLANTED = "pl4nted-word-that-nobody-else-says"

KEYS: dict[str, Sequence[str]] = {
    "patient": ("--lanes", "batch,direct", "--deadline", "86400"),
    "hurried": ("--lanes", "direct"),
    "bound": ("--lanes", "batch"),
    "batcher": ("--profile", "batcher"),
    "transparent": ("--profile", "transparent"),
    "packer": ("--packing", "always", "--profile", "transparent"),
    "sharer": ("--reuse", "all", "--profile", "transparent"),
    "sampler": ("--reuse", "off", "--profile", "transparent"),
    "private": ("--retention", "none"),
    "passing": ("--retention", "3600"),
    "last": ("--scope", "admin"),
}
"""The arguments of each."""

LOW = "priority low goes by batch, else flex, else direct"
CHEAPEST = "the cheapest lane that is likely to be on time"
FORBIDDEN = "the key may not use it"


async def batchway(*arguments: str, folder: Path) -> str:
    """What a command prints. In this process: starting one takes longer than all that it does."""
    given = [*arguments, "--database-url", str(folder / "batchway.db")]
    ended = await asyncio.to_thread(CliRunner().invoke, app, given)
    assert ended.exit_code == 0, ended.output
    return ended.stdout.strip()


class Team:
    """The lane, and the keys to it."""

    def __init__(self, lane: Lane, keys: dict[str, str], folder: Path) -> None:
        self.lane = lane
        self.keys = keys
        self.folder = folder

    def bearer(self, name: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.keys[name]}"}

    async def ask(self, name: str, text: str = "hi", **fields: Any) -> httpx2.Response:
        """A question with this key, and nothing said beside it."""
        headers = self.bearer(name) | fields.pop("headers", {})
        return await self.lane.gate.http.post(CHAT, json=chat(text, **fields), headers=headers)

    def on_disk(self, text: str) -> list[str]:
        """The files of the store that hold these bytes, its log included."""
        return [file.name for file in self.folder.glob("batchway.db*") if text.encode() in file.read_bytes()]

    async def written(self) -> None:
        """Wait for what is written behind."""
        storage = self.lane.gate.gateway.storage
        assert storage is not None
        await until(lambda: storage.database.health().behind_bytes == 0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def team(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Team]:
    """A gateway that batches what has no hint, and a key of each kind in its store."""
    folder = tmp_path_factory.mktemp("keys")
    await batchway("keys", "create", "first", folder=folder)
    keys = {name: await batchway("keys", "create", name, *given, folder=folder) for name, given in KEYS.items()}
    async with open_lane(
        folder, profile="batcher", batch_window_ms=200, packing="never", rescue_margin=0.2, rescue_call_seconds=0.2
    ) as lane:
        yield Team(lane, keys, folder)


def why(answer: httpx2.Response) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.headers["x-batchway-why"])


@pytest.mark.parametrize(
    ("key", "hints", "lane", "reason"),
    [
        ("patient", {"priority": "normal"}, "batch", CHEAPEST),
        ("patient", {"priority": "normal", "deadline": 30}, "direct", CHEAPEST),
        ("patient", {"priority": "normal", "strategy": "flex"}, "direct", f"strategy flex asked for, but {FORBIDDEN}"),
        ("patient", {"priority": "high"}, "direct", "priority high goes direct"),
        ("hurried", {}, "direct", f"{LOW}; not batch: {FORBIDDEN}; not flex: {FORBIDDEN}"),
        ("hurried", {"strategy": "batch"}, "direct", f"strategy batch asked for, but {FORBIDDEN}"),
        ("bound", {"strategy": "direct"}, "batch", f"strategy direct asked for, but {FORBIDDEN}"),
        ("bound", {"priority": "high"}, "batch",
         f"priority high goes direct; not direct: {FORBIDDEN}; not flex: {FORBIDDEN}"),
        ("batcher", {}, "batch", LOW),
        ("transparent", {}, "direct", "no deadline given: interactive"),
        ("transparent", {"priority": "low"}, "batch", LOW),
        ("private", {}, "flex", f"{LOW}; not batch: {FORBIDDEN}"),
        ("private", {"strategy": "batch"}, "direct", f"strategy batch asked for, but {FORBIDDEN}"),
        ("passing", {}, "batch", LOW),
    ],
)  # fmt: skip
async def test_a_key_says_which_way_its_requests_go(
    team: Team, key: str, hints: dict[str, Any], lane: str, reason: str
) -> None:
    answer = await team.ask(key, model="gpt-5-mini", **hints)
    assert (why(answer), via(answer)) == (reason, lane)


async def test_a_limit_holds_for_rescues_too(team: Team) -> None:
    """Who may use no lane but the batch gets its answer late, and not directly."""
    team.lane.fault("batch_stuck", state="running", seconds=1.5)
    before = team.lane.gate.calls
    answer = await team.ask("bound", "late", deadline=1)
    assert via(answer) == "batch"
    assert [line.lane for line in team.lane.gate.lines[before:] if line.input] == ["batch"]


async def test_what_a_batch_api_does_not_take_goes_another_way_if_the_key_may(team: Team) -> None:
    body = {"input": "hi", "model": "grok-4.3", "provider": "grok", "reuse": "off"}

    async def embed(key: str, **hints: str) -> httpx2.Response:
        return await team.lane.gate.http.post("/v1/embeddings", json=body | hints, headers=team.bearer(key))

    answer = await embed("batcher")
    assert (via(answer), why(answer).partition("; not flex")[0]) == (
        "direct",
        f"{LOW}; not batch: its Batch API does not take this request",
    )
    refused = check_fault(await embed("batcher", strategy="batch"), 400, "not_batchable", "strategy")
    assert "takes chat, and no embeddings" in refused["message"]
    refused = check_fault(await embed("bound"), 400, "no_lane", "provider")
    assert FORBIDDEN in refused["message"] and "does not take this request" in refused["message"]


async def test_a_key_says_whether_its_requests_share_a_call(team: Team) -> None:
    texts = ("Say agate.", "Say beryl.")
    answers = await asyncio.gather(*[team.ask("packer", text) for text in texts])
    assert [answer.headers.get("x-batchway-packed") for answer in answers] == ["2", "2"]
    assert all(text in said(answer) for text, answer in zip(texts, answers, strict=True))
    single = await asyncio.gather(*[team.ask("packer", text, packing="never") for text in texts])
    assert [answer.headers.get("x-batchway-packed") for answer in single] == [None, None]


async def test_a_key_says_whether_its_requests_share_an_answer(team: Team) -> None:
    shared = [await team.ask("sharer", "sampled") for _ in range(2)]
    assert [via(answer) for answer in shared] == ["direct", "cache"]
    apart = [await team.ask("sampler", "repeatable", temperature=0) for _ in range(2)]
    assert [via(answer) for answer in apart] == ["direct", "direct"]
    hinted = [await team.ask("sampler", "hinted", reuse="all") for _ in range(2)]
    assert [via(answer) for answer in hinted] == ["direct", "cache"]


async def test_nothing_of_a_key_that_keeps_nothing_is_on_disk(team: Team) -> None:
    echoing = {"kind": "status", "status": 400, "message": f"I cannot say {PLANTED}.", "match": {"text": "echo"}}
    team.lane.gate.fault(echoing)
    ways = ("plain", "named", "streamed", "repeatable", "echo", "packed 1", "packed 2")
    texts = [f"{PLANTED} {word}" for word in ways]
    plain, named, streamed, repeatable, echo, *packs = texts
    assert PLANTED in said(await team.ask("private", plain))
    assert (await team.ask("private", named, request_id="given-1")).status_code == 200
    assert (await team.ask("private", named, request_id="given-1")).status_code == 200
    assert (await team.ask("private", streamed, stream=True)).status_code == 200
    for _ in range(2):
        assert (await team.ask("private", repeatable, temperature=0)).status_code == 200
    check_fault(await team.ask("private", echo), 400, None)
    packed = await asyncio.gather(*[team.ask("private", text, packing="always") for text in packs])
    assert [answer.headers.get("x-batchway-packed") for answer in packed] == [None, None]
    refused = check_fault(await team.ask("private", plain, headers={"prefer": "respond-async"}), 400, "invalid_value")
    assert "keeps nothing" in refused["message"]
    await team.written()

    assert team.on_disk(PLANTED) == []
    storage = team.lane.gate.gateway.storage
    assert storage is not None
    kept = await storage.database.read(lookup.search, Which(tenant="private"))
    assert len(kept) >= 9, "that it was asked, and what it cost, is there"
    assert all(stored.cost or stored.via == "cache" or stored.status == "failed" for stored in kept)


async def test_what_other_keys_say_is_on_disk(team: Team) -> None:
    """So that the search above would find it."""
    await team.ask("passing", f"{PLANTED} kept")
    await team.written()
    assert team.on_disk(PLANTED)


async def test_whoever_revokes_the_last_key_shuts_the_gateway(team: Team) -> None:
    """And does not open it to everyone."""
    assert (await team.lane.gate.http.get("/stats", headers=team.bearer("last"))).status_code == 200
    for name in ("first", *KEYS):
        await batchway("keys", "revoke", name, folder=team.folder)

    async def answers(**given: Any) -> set[int]:
        paths = ("/stats", "/v1/models", "/batches")
        return {(await team.lane.gate.http.get(path, **given)).status_code for path in paths}

    async with asyncio.timeout(10):
        while await answers(headers=team.bearer("last")) != {401}:
            await asyncio.sleep(0.1)
    assert await answers() == {401}
    check_fault(await team.lane.gate.ask(), 401, "missing_api_key")
