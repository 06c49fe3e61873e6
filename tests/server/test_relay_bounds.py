"""What is relayed may be large, slow, or break off: nothing is held whole, and nothing half is taken for whole."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from tests.gate import PATIENCE, Gate, check_fault, until
from tests.server.lane import open_lane

from batchway.server.relay import MAX_UPLOAD

MIB = 2**20
PIECE = 256 * 1024
FORM = {"content-type": "multipart/form-data; boundary=cut"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gate]:
    """A gateway that holds no body of more than a megabyte, and waits half a second for more of one."""
    async with open_lane(tmp_path_factory.mktemp("bounds"), max_body_bytes=MIB, body_timeout=0.6) as gate:
        yield gate


def parts(size: int) -> list[bytes]:
    """A form with a file of so many bytes, in pieces."""
    head = (
        b'--cut\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
        b'--cut\r\nContent-Disposition: form-data; name="file"; filename="large"\r\n\r\n'
    )
    pieces = [bytes([at % 251]) * min(PIECE, size - at * PIECE) for at in range(-(-size // PIECE))]
    return [head, *pieces, b"\r\n--cut--\r\n"]


async def flow(pieces: list[bytes], pause: float = 0.0) -> AsyncIterator[bytes]:
    for piece in pieces:
        await asyncio.sleep(pause)
        yield piece


@pytest.mark.parametrize("declared", [True, False])
async def test_a_large_file_goes_through_in_pieces(lane: Gate, declared: bool) -> None:
    size = 24 * MIB
    pieces = parts(size)
    length = {"content-length": str(sum(map(len, pieces)))} if declared else {}
    made = await lane.http.post("/v1/files", content=flow(pieces), headers=FORM | length)
    assert made.status_code == 200, made.text
    assert (made.json()["bytes"], made.json()["filename"]) == (size, "large")
    digest, read = hashlib.sha256(), 0
    async with lane.http.stream("GET", f"/v1/files/{made.json()['id']}/content") as content:
        assert content.headers["content-type"] == "application/octet-stream"
        async for piece in content.aiter_raw():
            digest.update(piece)
            read += len(piece)
    assert (read, digest.hexdigest()) == (size, hashlib.sha256(b"".join(pieces[1:-1])).hexdigest())


async def test_an_upload_may_take_longer_than_a_body_may(lane: Gate) -> None:
    made = await lane.http.post("/v1/files", content=flow(parts(4 * PIECE), 0.25), headers=FORM)
    assert made.status_code == 200, made.text


async def test_an_upload_that_stands_still_is_refused(lane: Gate) -> None:
    body = parts(0)[0]
    assert (await said(lane, 10_000, body)).startswith(b"HTTP/1.1 408")
    assert (await lane.http.get("/v1/files?purpose=user_data&limit=1")).status_code == 200


async def test_an_upload_that_is_too_large_is_refused_at_its_head(lane: Gate) -> None:
    before = lane.calls
    assert (await said(lane, MAX_UPLOAD + 1)).startswith(b"HTTP/1.1 413")
    assert lane.calls == before
    small = await lane.http.post("/v1/batches", content=b'{"input_file_id": "' + b"x" * MIB + b'"}')
    check_fault(small, 413, "body_too_large")


async def said(gate: Gate, length: int, body: bytes = b"") -> bytes:
    """The first line of the answer to an upload that is announced to be so long, and begins so."""
    reader, writer = await asyncio.open_connection(*gate.host.split(":"))
    kind = FORM["content-type"]
    head = f"POST /v1/files HTTP/1.1\r\nhost: {gate.host}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
    writer.write(head.encode() + body)
    async with asyncio.timeout(PATIENCE):
        line = await reader.readline()
    writer.close()
    return line


async def test_who_leaves_in_the_middle_leaves_no_file_behind(lane: Gate) -> None:
    before = {each["id"] for each in (await lane.http.get("/v1/files")).json()["data"]}
    gone = asyncio.Event()

    async def leaves() -> AsyncIterator[bytes]:
        yield parts(PIECE)[0]
        gone.set()
        await asyncio.sleep(30)

    upload = asyncio.create_task(lane.http.post("/v1/files", content=leaves(), headers=FORM))
    await gone.wait()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    await until(lambda: lane.gateway.engine.load().waiting == 0)
    assert {each["id"] for each in (await lane.http.get("/v1/files")).json()["data"]} == before


async def test_a_file_that_cannot_be_written_down_is_said_to_be_unknown(lane: Gate) -> None:
    storage = lane.gateway.storage
    assert storage is not None
    connection = storage.database._writing.raw_connection()
    connection.cursor().execute("PRAGMA query_only = ON")
    connection.close()
    made = await lane.http.post("/v1/files", content=flow(parts(10)), headers=FORM)
    check_fault(made, 503, "store_down")
    connection = storage.database._writing.raw_connection()
    connection.cursor().execute("PRAGMA query_only = OFF")
    connection.close()
    again = await lane.http.post("/v1/files", content=flow(parts(10)), headers=FORM)
    assert again.status_code == 200


async def test_belongings_outlast_the_process(tmp_path: Path) -> None:
    async with open_lane(tmp_path) as gate:
        name = (await gate.http.post("/v1/files", content=flow(parts(10)), headers=FORM)).json()["id"]
    async with open_lane(tmp_path) as gate:
        # Another sandbox, which has no such file: the gateway knows whose it was, and asks.
        answer: httpx2.Response = await gate.http.get(f"/v1/files/{name}")
        assert "No such File object" in check_fault(answer, 404, None, "id")["message"]
        assert [line.endpoint for line in gate.lines] == ["files.retrieve"]
