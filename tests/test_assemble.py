"""What assemble makes: ids that never repeat, and prices of the day."""

from datetime import UTC, datetime
from random import Random

from batchway.assemble import DailyPrices, Ids
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
