"""What must outlast a restart."""

from sqlalchemy import Connection
from tests.store.things import NOW

from batchway.core.turnaround import Turnaround
from batchway.store import Gap, learnt


def test_turnarounds_are_read_from_a_time_on_and_forgotten(connection: Connection) -> None:
    measured = [Turnaround(provider="openai", model="m", at=NOW + day, seconds=600.5, n=10) for day in (2, 0, 1)]
    learnt.add_turnarounds(connection, measured)

    assert learnt.list_turnarounds(connection, since=NOW + 1) == [measured[2], measured[0]]
    learnt.forget_turnarounds(connection, before=NOW + 2)
    assert learnt.list_turnarounds(connection, since=0.0) == [measured[0]]


def test_the_newest_value_is_remembered(connection: Connection) -> None:
    learnt.learn(connection, "openai", "", "no_batch", True, NOW)
    learnt.learn(connection, "openai", "m", "max_bytes", 5_000_000_000, NOW)
    learnt.learn(connection, "openai", "m", "max_bytes", {"any": ["value"]}, NOW + 1)
    learnt.learn(connection, "openai", "m", "max_bytes", "older", NOW - 1)

    assert learnt.list_learnt(connection) == {
        ("openai", "", "no_batch"): True,
        ("openai", "m", "max_bytes"): {"any": ["value"]},
    }


def test_gaps_are_listed(connection: Connection) -> None:
    first = Gap(since=NOW, until=NOW + 5, records=3, charges=0, reason="the disk is full")
    second = Gap(since=NOW + 50, until=NOW + 60, records=0, charges=2, reason="the server is gone")
    for gap in (second, first):
        learnt.add_gap(connection, gap)

    assert learnt.list_gaps(connection, since=0.0) == [first, second]
    assert learnt.list_gaps(connection, since=NOW + 6) == [second]
