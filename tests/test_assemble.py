"""What assemble makes: ids that never repeat, prices of the day, and a clock that never runs backwards."""

from datetime import UTC, datetime
from random import Random

from structlog.testing import capture_logs

from batchway.assemble import DailyPrices, Ids, LiveClock
from tests.clock import HandClock


def test_ids_are_uuids_and_never_the_same() -> None:
    one, other = Ids(Random(1)), Ids(Random(2))
    made = [one() for _ in range(1000)] + [other() for _ in range(1000)]
    assert len(set(made)) == 2000
    assert all([len(part) for part in name.split("-")] == [8, 4, 4, 4, 12] for name in made)


def test_announced_prices_come_into_force_at_their_midnight() -> None:
    """gemini-4-argon doubles on 2026-12-01, as genai-prices has it."""
    clock = HandClock(datetime(2026, 11, 30, 23, 0, tzinfo=UTC).timestamp())
    prices = DailyPrices(clock, {})

    def input_price() -> int:
        rates = prices.catalog.rates("gemini", "gemini-4-argon", "direct", 1000)
        assert rates is not None
        return rates.input

    before = input_price()
    clock.move(3599)
    assert input_price() == before
    clock.move(2)
    assert input_price() == 2 * before
    prices.close()
    clock.move(86_400)


def test_the_owners_prices_stay_in_force() -> None:
    clock = HandClock()
    prices = DailyPrices(clock, {"generic/mine": {"input": "0.10", "output": "0.40"}})
    clock.move(86_400 * 2)
    rates = prices.catalog.rates("generic", "mine", "direct", 10)
    assert rates is not None and rates.input == 100_000


def test_a_clock_that_is_set_back_keeps_nobody_waiting() -> None:
    machine = [1000.0]
    clock = LiveClock(lambda: machine[0])

    def told_after(moved: float) -> float:
        machine[0] += moved
        return clock.now()

    with capture_logs() as lines:
        assert [told_after(moved) for moved in (5.0, -3600.0, 2.0, 8.0)] == [1005.0, 1005.0, 1007.0, 1015.0]
        assert [told_after(moved) for moved in (-0.25, 1.0)] == [1015.0, 1016.0], "and again, a little"
        # Put right: from here on it is the machine's again.
        assert [told_after(moved) for moved in (3610.0, 1.0)] == [machine[0] - 1, machine[0]]
        assert [told_after(moved) for moved in (-0.5, 1.0)] == [machine[0] - 0.5, machine[0]]
    assert [line["seconds"] for line in lines] == [3600.0], "a time server's corrections are no news"
