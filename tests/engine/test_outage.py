"""An outage of the store, by the clock: how often it is told of, and when it is over."""

from typing import Any

from structlog.testing import capture_logs
from tests.clock import HandClock

from batchway.engine.outage import EVERY, QUIET, Outage

BEGAN, LASTS, OVER = "the store cannot be used", "the store cannot be used yet", "the store works again"


def told(lines: list[Any]) -> list[str]:
    return [line["event"] for line in lines]


def test_however_much_fails_it_is_told_now_and_then_with_what_waits(clock: HandClock) -> None:
    outage = Outage(clock.now)
    with capture_logs() as lines:
        for number in range(300):
            outage.waits(f"a-{number}", "no disk")
            outage.refused("no disk")
            clock.move(EVERY / 128)
    assert told(lines) == [BEGAN, LASTS, LASTS]
    assert [line["waiting"] for line in lines] == [1, 129, 257]
    assert all(line["reason"] == "no disk" for line in lines)


def test_it_is_over_when_nothing_waits_and_nothing_fails(clock: HandClock) -> None:
    outage = Outage(clock.now)
    with capture_logs() as lines:
        outage.worked()
        outage.waits("a-1", "no disk")
        clock.move(QUIET)
        outage.worked()
        assert told(lines) == [BEGAN], "one ending waits yet"
        outage.failed("no disk")
        outage.written("a-1")
        assert told(lines) == [BEGAN], "something failed just now: on a full disk some writes go through"
        clock.move(QUIET)
        outage.worked()
        outage.worked()
    assert told(lines) == [BEGAN, OVER]
    assert (lines[-1]["written"], lines[-1]["refused"], lines[-1]["seconds"]) == (1, 0, 2 * QUIET)


def test_the_next_one_is_counted_anew(clock: HandClock) -> None:
    outage = Outage(clock.now)
    with capture_logs() as lines:
        for _ in range(2):
            outage.refused("no disk")
            clock.move(QUIET)
            outage.worked()
    assert told(lines) == [BEGAN, OVER] * 2
    assert [line["refused"] for line in lines if line["event"] == OVER] == [1, 1]


def test_who_stops_in_the_middle_is_told_what_waits(clock: HandClock) -> None:
    outage = Outage(clock.now)
    with capture_logs() as lines:
        outage.end()
        outage.waits("a-1", "no disk")
        outage.waits("a-1", "no disk")
        outage.end()
    assert [line.get("waiting") for line in lines] == [1, 1]
