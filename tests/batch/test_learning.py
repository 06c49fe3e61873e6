"""What is learnt outlasts a restart: how long batches take says which lane a deadline allows."""

from pathlib import Path

from tests.batch.lane import open_lane
from tests.gate import via

from batchway.store import learnt

CHEAPEST = "the cheapest lane that is likely to be on time"


async def test_turnarounds_outlast_a_restart(tmp_path: Path) -> None:
    async with open_lane(tmp_path) as lane:
        unknown = await lane.gate.ask(deadline=30)
        assert via(await lane.ask("one batch")) == "batch"
        await lane.done()
        storage = lane.gate.gateway.storage
        assert storage is not None
        (measured,) = await storage.database.read(lambda connection: learnt.list_turnarounds(connection, since=0.0))
        assert (measured.provider, measured.model, measured.n) == ("openai", "gpt-4o-mini", 1)
        assert 0 < measured.seconds < 10
        # As if there had been more of the kind before this process ends.
        await storage.database.write(learnt.add_turnarounds, [measured] * 199)
    async with open_lane(tmp_path) as lane:
        known = await lane.gate.ask(deadline=30)
        other = await lane.gate.ask(deadline=30, model="mistral-small-latest", provider="mistral")

    assert [(via(answer), answer.headers["x-batchway-why"]) for answer in (unknown, known, other)] == [
        ("direct", CHEAPEST),
        ("batch", CHEAPEST),
        ("direct", CHEAPEST),
    ]
