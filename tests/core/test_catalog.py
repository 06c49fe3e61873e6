"""What the catalogue answers, how it picks a step, and that it remembers no more than it may."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from batchway.core.catalog import LONGEST_NAME, Catalog, Model, Rates, Step


def flat(price: int) -> Rates:
    return Rates(input=price, output=price, cached=price, cache_written=price)


LUNA = Model(
    provider="openai",
    id="gpt-6-luna",
    prices={
        "direct": (Step(from_tokens=0, rates=flat(4)), Step(from_tokens=100, rates=flat(8))),
        "batch": (Step(from_tokens=0, rates=flat(2)),),
    },
)
FREE = Model(provider="own", id="small", prices={"direct": (Step(from_tokens=0, rates=flat(0)),)})
UNPRICED = Model(provider="own", id="unpriced", window=10)


class Lookup:
    """A real `find` that counts its questions."""

    def __init__(self, *models: Model) -> None:
        self.models = {(model.provider, model.id): model for model in models}
        self.asked: list[tuple[str, str]] = []

    def __call__(self, provider: str, name: str) -> Model | None:
        self.asked.append((provider, name))
        return self.models.get((provider, name))


@pytest.mark.parametrize(("tokens", "price"), [(0, 4), (99, 4), (100, 8), (10**9, 8)])
def test_a_step_holds_for_the_whole_request_from_its_length_on(tokens: int, price: int) -> None:
    assert Catalog.of([LUNA]).rates("openai", "gpt-6-luna", "direct", tokens) == flat(price)


@pytest.mark.parametrize(
    ("provider", "name", "lane"),
    [
        ("openai", "gpt-6-luna", "flex"),
        ("openai", "nope", "direct"),
        ("own", "unpriced", "direct"),
        ("?", "?", "batch"),
    ],
)
def test_what_is_not_known_is_none(provider: str, name: str, lane: str) -> None:
    assert Catalog.of([LUNA, UNPRICED]).rates(provider, name, lane, 5) is None


def test_zero_given_by_the_owner_is_known() -> None:
    assert Catalog.of([FREE]).rates("own", "small", "direct", 5) == flat(0)


def test_a_name_is_looked_up_once_whether_known_or_not() -> None:
    find = Lookup(LUNA)
    catalog = Catalog(find)
    for _ in range(3):
        assert catalog.model("openai", "gpt-6-luna") is LUNA
        assert catalog.model("openai", "nope") is None
    assert find.asked == [("openai", "gpt-6-luna"), ("openai", "nope")]


def test_only_so_many_names_are_remembered() -> None:
    find = Lookup(LUNA)
    catalog = Catalog(find, remembered=2)
    for name in ("a", "b", "b", "a", "c", "c", "b"):
        catalog.model("openai", name)
    assert [name for _, name in find.asked] == ["a", "b", "c", "b"], "with the third all are forgotten"


def test_an_absurdly_long_name_is_neither_looked_up_nor_remembered() -> None:
    find = Lookup(LUNA)
    catalog = Catalog(find)
    assert catalog.model("openai", "x" * (LONGEST_NAME + 1)) is None
    assert find.asked == []
    catalog.model("openai", "x" * LONGEST_NAME)
    assert len(find.asked) == 1


def test_the_first_candidate_that_knows_the_name_has_it() -> None:
    other = Model(provider="openrouter", id="gpt-6-luna")
    catalog = Catalog.of([LUNA, other, FREE])
    assert catalog.provider_of("gpt-6-luna", ("own", "openrouter", "openai")) == "openrouter"
    assert catalog.provider_of("gpt-6-luna", ("openai", "openrouter")) == "openai"
    assert catalog.provider_of("gpt-6-luna", ("own",)) is None
    assert catalog.provider_of("gpt-6-lun", ("openai", "openrouter", "own")) is None


def test_who_looks_up_while_prices_are_renewed_leaves_none_of_yesterdays() -> None:
    """As the thread that prices what lands, when it is midnight in the loop's."""
    today = Model(provider="openai", id="gpt-6-luna", window=2)

    def yesterdays(provider: str, name: str) -> Model | None:
        catalog.renew(Lookup(today))
        return LUNA

    catalog = Catalog(yesterdays)
    catalog.model("openai", "gpt-6-luna")
    assert catalog.model("openai", "gpt-6-luna") is today

    catalog = Catalog(yesterdays)
    catalog.provider_of("gpt-6-luna", ("openai",))
    assert catalog.model("openai", "gpt-6-luna") is today


def test_threads_that_make_room_at_the_same_moment_are_not_in_each_others_way() -> None:
    catalog = Catalog(Lookup(), remembered=2)

    def look_up(who: str) -> None:
        for number in range(60_000):
            name = f"{who}-{number % 50}"
            catalog.model("openai", name)
            catalog.provider_of(name, ("openai",))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(3) as threads:
            for looking in [threads.submit(look_up, who) for who in "abc"]:
                looking.result()
    finally:
        sys.setswitchinterval(interval)


def test_renewed_prices_replace_the_remembered_ones() -> None:
    catalog = Catalog(Lookup(LUNA))
    assert catalog.model("openai", "gpt-6-luna") is LUNA
    assert catalog.provider_of("gpt-6-luna", ("openai",)) == "openai"
    catalog.renew(Lookup())
    assert catalog.model("openai", "gpt-6-luna") is None
    assert catalog.provider_of("gpt-6-luna", ("openai",)) is None
