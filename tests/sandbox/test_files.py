"""Files: uploaded, listed by the page, shown, read as a stream, deleted, expired, limited."""

from collections.abc import AsyncIterator

import httpx2
import openai
import pytest
from tests.sandbox.speaking import last_line, switch_on
from tests.sandbox.submitting import START, World, a_world, requests

from batchway.sandbox.blobs import BLOCK, Blob, Blocks, Pile
from batchway.sandbox.offers import DAY, Offer


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A sandbox with its default terms."""
    async with a_world() as made:
        yield made


async def test_a_file_comes_back_as_it_was(world: World) -> None:
    content = bytes(range(256)) * 4_096 + b"\r\n--not-the-boundary\r\n\n"
    file = await world.sdk.files.create(file=("some name.jsonl", content), purpose="batch")
    assert (file.object, file.filename, file.purpose, file.status) == ("file", "some name.jsonl", "batch", "processed")
    assert (file.bytes, file.created_at, file.expires_at) == (len(content), START, START + 30 * DAY)
    assert await world.sdk.files.retrieve(file.id) == file
    assert await world.content(file.id) == content
    line = await last_line(world.http)
    assert (line["endpoint"], line["outcome"], line["input"]) == ("files.content", "completed", 0)


async def test_content_is_streamed_with_its_length(world: World) -> None:
    name = await world.upload(b"x" * (3 * BLOCK + 5))
    answer = await world.http.get(f"/v1/files/{name}/content")
    assert answer.headers["content-length"] == str(len(answer.content)) == str(3 * BLOCK + 5)
    assert answer.headers["content-type"] == "application/octet-stream"


async def test_deleted_is_gone(world: World) -> None:
    name = await world.upload(b"x")
    assert (await world.sdk.files.delete(name)).deleted
    for call in (world.sdk.files.retrieve, world.sdk.files.content, world.sdk.files.delete):
        with pytest.raises(openai.NotFoundError, match="No such File"):
            await call(name)


async def test_expired_is_gone(world: World) -> None:
    name = await world.upload(b"x", expires_after={"anchor": "created_at", "seconds": 3_600})
    world.move(3_599)
    assert (await world.sdk.files.retrieve(name)).expires_at == START + 3_600
    world.move(1)
    with pytest.raises(openai.NotFoundError):
        await world.sdk.files.retrieve(name)
    assert (await world.sdk.files.list()).data == []


async def test_lists_by_the_page(world: World) -> None:
    names = [await world.upload(b"x") for _ in range(5)]
    other = await world.sdk.files.create(file=b"x", purpose="user_data")
    assert [file.id async for file in world.sdk.files.list(purpose="batch", limit=2)] == names[::-1]
    assert [file.id async for file in world.sdk.files.list(order="asc", limit=4)] == [*names, other.id]
    first = await world.sdk.files.list(purpose="batch", limit=2)
    assert (first.has_more, [file.id for file in first.data]) == (True, [names[4], names[3]])
    assert not (await world.sdk.files.list(purpose="batch", limit=2, after=names[1])).has_more
    assert not (await world.sdk.files.list(limit=6)).has_more


@pytest.mark.parametrize("query", ["limit=0", "limit=many", "order=up", "after=file-none"])
async def test_a_wrong_listing_is_a_400(world: World, query: str) -> None:
    answer = await world.http.get(f"/v1/files?{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, query.partition("=")[0])


async def test_another_key_sees_nothing(world: World) -> None:
    name = await world.upload(b"x")
    stranger = world.sdk.with_options(api_key="sk-other")
    assert (await stranger.files.list()).data == []
    with pytest.raises(openai.NotFoundError):
        await stranger.files.content(name)
    with pytest.raises(openai.BadRequestError, match="No file"):
        await stranger.batches.create(input_file_id=name, endpoint="/v1/embeddings", completion_window="24h")


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"files": {"file": b"x"}}, "purpose"),
        ({"files": {"file": b"x"}, "data": {"purpose": "poetry"}}, "purpose"),
        ({"files": {"else": b"x"}, "data": {"purpose": "batch"}}, "file"),
        ({"files": {"file": b"x"}, "data": {"purpose": "batch", "expires_after[seconds]": "3600"}}, "expires_after"),
        (
            {
                "files": {"file": b"x"},
                "data": {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "60"},
            },
            "expires_after[seconds]",
        ),
        ({"json": {"purpose": "batch"}}, None),
        ({"content": b"--x\r\nbad", "headers": {"content-type": "multipart/form-data; boundary=y"}}, None),
        ({"content": b"--x\r\n", "headers": {"content-type": "multipart/form-data"}}, None),
    ],
)
async def test_a_wrong_upload_is_a_400(world: World, form: dict[str, object], param: str | None) -> None:
    answer: httpx2.Response = await world.http.post("/v1/files", **form)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


async def test_a_form_that_breaks_off_is_a_400(world: World) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nhalf of it'
    kind = {"content-type": "multipart/form-data; boundary=b"}
    answer = await world.http.post("/v1/files", content=body, headers=kind)
    assert (answer.status_code, (await world.sdk.files.list()).data) == (400, [])


async def test_terms_limit_size_and_number() -> None:
    async with a_world(offers={"openai": Offer(most_bytes=100, most_files=2)}) as world:
        with pytest.raises(openai.APIStatusError, match="too large") as raised:
            await world.upload(b"x" * 101)
        assert (raised.value.status_code, raised.value.code) == (413, "file_too_large")
        first = await world.upload(b"x" * 100)
        await world.upload(b"x")
        with pytest.raises(openai.BadRequestError, match="limit of 2 files"):
            await world.upload(b"x")
        await world.sdk.files.delete(first)
        await world.upload(b"x")


async def test_an_upload_beyond_the_sandbox_is_a_413() -> None:
    async with a_world(max_body=100_000) as world:
        with pytest.raises(openai.APIStatusError) as raised:
            await world.upload(b"x" * 200_000)
        assert raised.value.status_code == 413


async def test_a_gateway_in_between_takes_less(world: World) -> None:
    """413 above so many bytes (failures.md §1.1, row 9), and a 429 on uploads."""
    rule = {"kind": "status", "status": 413, "match": {"endpoint": "files.create", "larger": 2_000}, "count": None}
    await switch_on(world.http, rule)
    for _ in range(2):
        with pytest.raises(openai.APIStatusError) as raised:
            await world.upload(requests(20))
        assert raised.value.status_code == 413
    await world.upload(requests(5))
    await switch_on(
        world.http, {"kind": "status", "status": 429, "retry_after": 4, "match": {"endpoint": "files.create"}}
    )
    with pytest.raises(openai.RateLimitError) as refused:
        await world.upload(b"x")
    assert refused.value.response.headers["retry-after"] == "4"
    assert len((await world.sdk.files.list()).data) == 1


async def test_an_upload_is_known_by_its_hash(world: World) -> None:
    await world.upload(b"x" * 2**21)
    line = await last_line(world.http)
    assert (line["endpoint"], len(line["request_hash"])) == ("files.create", 16)


def test_a_blob_is_the_same_in_memory_and_on_disk() -> None:
    small, large = Blob(), Blob()
    for blob, line in ((small, b"ab\n"), (large, b"x" * 300_000 + b"\n")):
        for _ in range(7):
            blob.append(line)
        blob.append(b"last")
        assert blob.size == 7 * len(line) + 4
        found = list(blob.lines())
        assert found[:7] == [(n * len(line), line[:-1]) for n in range(7)]
        assert found[7:] == [(7 * len(line), b"last")]
        assert b"".join(blob.blocks()) == line * 7 + b"last"
    assert small.digest() != large.digest()


def test_a_region_of_a_blob_ends_where_it_should() -> None:
    blob = Blob()
    blob.append(bytes(range(256)) * 3_000)
    region = Blocks(blob, 10, 2 * BLOCK + 100)
    assert (region.size, len(region)) == (2 * BLOCK + 90, 3)
    assert b"".join(part.data for part in region) == blob.read(10, region.size)
    assert [part.data for part in region[1:]] == [region[1].data, region[2].data]
    assert [part.data for part in Blocks(Blob())] == [b""]


def test_a_pile_knows_where_its_lines_start() -> None:
    pile = Pile()
    for line in (b"a", b"bb", b"ccc"):
        pile.add(line)
    assert [pile.start(n) for n in (0, 1, 2, 3, 99)] == [0, 2, 5, 9, 9]
    pile.halve_last()
    assert pile.blob.read(0, 100) == b"a\nbb\ncc"
    assert Pile().halve_last() is None  # type: ignore[func-returns-value]
