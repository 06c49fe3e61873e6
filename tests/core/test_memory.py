"""The shelves forget by time, by bytes and by number, the least recently used first."""

import pytest
from tests.core.asking import request

from batchway.core.fingerprint import adoption_key
from batchway.core.memory import OVERHEAD, Known, Memory, Shelf
from batchway.core.policy import Policy
from batchway.core.types import Answer


def kept(size: int = 0, call_id: str = "c") -> Known:
    """An answer that takes `size` bytes beside the overhead."""
    return Known(answer=Answer(body=b"x" * size), call_id=call_id, fingerprint="f", worth=None)


def shelf(*, ttl: float = 60.0, max_bytes: int = 10 * OVERHEAD, max_entries: int = 10) -> Shelf[str]:
    return Shelf(ttl, max_bytes, max_entries)


def names(held: Shelf[str], now: float, candidates: str) -> str:
    """Which of the candidates are there; looking is using, so in the order of use."""
    return "".join(name for name in candidates if held.get(name, now))


def test_what_was_put_is_given_again() -> None:
    held = shelf()
    assert held.put("a", kept(5), 0.0)
    assert held.get("a", 1.0) == held.get("a", 2.0) == kept(5)
    assert held.get("b", 2.0) is None
    assert (len(held), held.size) == (1, OVERHEAD + 5)


@pytest.mark.parametrize(("now", "there"), [(100.0, True), (159.999, True), (160.0, False), (1e9, False)])
def test_time(now: float, there: bool) -> None:
    held = shelf(ttl=60.0)
    held.put("a", kept(), 100.0)
    assert (held.get("a", now) is not None) is there


def test_putting_again_begins_its_time_again() -> None:
    held = shelf(ttl=60.0)
    held.put("a", kept(call_id="1"), 0.0)
    held.put("a", kept(call_id="2"), 50.0)
    found = held.get("a", 100.0)
    assert found is not None
    assert found.call_id == "2"
    assert len(held) == 1


def test_looking_does_not_begin_it_again() -> None:
    held = shelf(ttl=60.0)
    held.put("a", kept(), 0.0)
    assert held.get("a", 59.0)
    assert held.get("a", 61.0) is None


@pytest.mark.parametrize("ttl", [0.0, -1.0])
def test_no_time_no_shelf(ttl: float) -> None:
    held = shelf(ttl=ttl)
    assert not held.put("a", kept(), 0.0)
    assert held.get("a", 0.0) is None


def test_the_least_recently_used_goes_first() -> None:
    held = shelf(max_entries=3)
    for name in "abc":
        held.put(name, kept(), 0.0)
    assert held.get("a", 1.0)
    held.put("d", kept(), 2.0)
    assert names(held, 3.0, "abcd") == "acd"


def test_what_is_over_goes_before_what_is_not() -> None:
    held = shelf(ttl=10.0, max_entries=2)
    held.put("old", kept(), 0.0)
    held.put("new", kept(), 9.0)
    held.get("old", 9.5)
    held.put("newest", kept(), 10.0)
    assert (held.get("old", 11.0), len(held)) == (None, 2)
    assert held.get("new", 11.0)


def test_bytes() -> None:
    held = shelf(max_bytes=10 * OVERHEAD, max_entries=10)
    held.put("a", kept(3 * OVERHEAD), 0.0)
    held.put("b", kept(3 * OVERHEAD), 0.0)
    assert held.size == 8 * OVERHEAD
    held.put("c", kept(3 * OVERHEAD), 0.0)
    assert (names(held, 0.0, "abc"), held.size) == ("bc", 8 * OVERHEAD)


def test_small_answers_are_bounded_in_number() -> None:
    held = shelf(max_bytes=1_000_000, max_entries=4)
    for number in range(10):
        held.put(str(number), kept(), 0.0)
    assert len(held) == 4
    assert held.size <= 1_000_000


@pytest.mark.parametrize(("size", "fits"), [(9 * OVERHEAD, True), (9 * OVERHEAD + 1, False)])
def test_what_is_larger_than_the_shelf_is_not_kept(size: int, fits: bool) -> None:
    held = shelf(max_bytes=10 * OVERHEAD)
    held.put("a", kept(), 0.0)
    assert held.put("b", kept(size), 0.0) is fits
    assert names(held, 0.0, "ab") == ("b" if fits else "a")


def test_taking_leaves_nothing() -> None:
    held = shelf()
    held.put("a", kept(), 0.0)
    assert held.take("a", 1.0) == kept()
    assert (held.take("a", 1.0), held.get("a", 1.0), len(held), held.size) == (None, None, 0, 0)
    held.put("b", kept(), 0.0)
    assert held.take("b", 1e9) is None


def test_clearing_forgets_all() -> None:
    held = shelf()
    held.put("a", kept(), 0.0)
    held.clear()
    assert (held.get("a", 0.0), len(held), held.size) == (None, 0, 0)


def test_a_clock_that_steps_back_loses_nothing() -> None:
    held = shelf(ttl=10.0)
    held.put("a", kept(), 100.0)
    assert held.get("a", 50.0)
    assert held.put("b", kept(), 50.0)
    assert names(held, 55.0, "ab") == "ab"


def test_the_undelivered_is_given_once_and_to_its_own_key_only() -> None:
    memory = Memory(Policy(undelivered_ttl=600.0))
    mine, other = request(), request(key="other")
    assert memory.undelivered_of(mine, 0.0) is None
    memory.undelivered.put(adoption_key(mine), kept(), 0.0)
    assert memory.undelivered_of(other, 1.0) is None
    assert memory.undelivered_of(mine, 1.0) == kept()
    assert memory.undelivered_of(mine, 1.0) is None


def test_each_shelf_has_its_time() -> None:
    memory = Memory(Policy(cache_ttl=10.0, undelivered_ttl=20.0))
    memory.cache.put("f", kept(), 0.0)
    memory.named.put(("t", "r-1"), kept(), 0.0)
    assert (memory.cache.get("f", 15.0), memory.named.get(("t", "r-1"), 15.0)) == (None, kept())
    assert memory.named.get(("u", "r-1"), 15.0) is None


def test_no_cache_is_a_policy() -> None:
    memory = Memory(Policy(cache_ttl=0.0))
    assert not memory.cache.put("f", kept(), 0.0)
    assert memory.named.put(("t", "r-1"), kept(), 0.0)
    assert not Memory(Policy(cache_bytes=0)).cache.put("f", kept(), 0.0)
