"""No room for temporary files: said in one clear word, nothing lost, and all goes on when there is room again."""

import asyncio
import tempfile
from pathlib import Path

import pytest
from tests.batch.lane import Lane, own_answer
from tests.gate import check_fault, until


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go; it is not there, as good as full."""
    folder = tmp_path / "scratch"
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


async def told(lane: Lane) -> str:
    """Why a job could not go on, once one could not."""
    async with asyncio.timeout(20):
        while not (said := "".join([job.job.last_error or "" for job in await lane.jobs()])):
            await asyncio.sleep(0.02)
    return said


@pytest.mark.parametrize("once", ["uploading", "reading"])
async def test_a_job_waits_for_room_and_says_so(lane: Lane, place: Path, once: str) -> None:
    if once == "reading":
        place.mkdir()
    asking = lane.gate.start(text="in a batch", priority="low")
    if once == "reading":
        await until(lambda: lane.batches)
        place.rmdir()

    said = await told(lane)
    assert "no_room" in said and str(place) in said and "TMPDIR" in said
    place.mkdir()

    assert own_answer("in a batch", await asking)
    assert len(lane.batches) == lane.billed == 1


async def test_many_in_one_call_are_told_of_it(lane: Lane, place: Path) -> None:
    lines = b"{}\n" * 20_000
    check_fault(await lane.gate.post(lines, "/submit", {"content-type": "application/x-ndjson"}), 503, "no_room")
    place.mkdir()
    again = await lane.gate.post(lines, "/submit", {"content-type": "application/x-ndjson"})
    assert (again.status_code, again.headers["x-batchway-refused"]) == (400, "20000")


async def test_rows_that_could_not_be_written_down_have_not_gone_out(lane: Lane, place: Path) -> None:
    """Anthropic's rows go in the call that makes the batch: without room there was no call, and no doubt about one."""
    asking = lane.gate.start(
        text="in a batch", priority="low", provider="anthropic", model="claude-sonnet-4-5", max_tokens=50
    )

    assert "no_room" in await told(lane)
    assert [job.job.state for job in await lane.jobs()] != ["submit_unknown"]
    place.mkdir()

    assert own_answer("in a batch", await asking)
    assert len(lane.batches) == lane.billed == 1
