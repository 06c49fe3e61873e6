"""Results: a tenant's requests whose ids begin alike, all of them and no others, page by page, on both databases."""

from collections.abc import Sequence
from itertools import product

import pytest
from sqlalchemy import Connection
from tests.store.things import FAULT, NOW, answer, entry, result

from batchway.store import answers, requests, results, retention
from batchway.store.results import STATUSES, Alike, Entry
from batchway.store.withdrawal import withdraw

SIGNS = "aA%_-~!\\"
"""What means something to LIKE, to a language's order, or to an escape, and the first and last sign of an id."""

IDS = ["".join(signs) for length in (1, 2, 3) for signs in product(SIGNS, repeat=length)]


def save(connection: Connection, ids: Sequence[str], tenant: str = "t") -> None:
    requests.save(connection, [entry(f"{tenant}:{name}", id=name, tenant=tenant) for name in ids])


def walk(connection: Connection, which: Alike, limit: int = 1000) -> list[Entry]:
    """All pages."""
    found: list[Entry] = []
    while page := results.page(connection, which, found[-1].request_id if found else None, limit):
        assert len(page) <= limit
        found += page
    return found


def names(connection: Connection, prefix: str = "", tenant: str = "t", limit: int = 1000) -> list[str]:
    which = Alike(tenant=tenant, prefix=prefix)
    found = [each.request_id for each in walk(connection, which, limit)]
    assert results.count(connection, which) == ({"pending": len(found)} if found else {})
    return found


def test_a_prefix_finds_what_begins_with_it_and_nothing_else(connection: Connection) -> None:
    save(connection, IDS)
    for prefix in ["", *[each for each in IDS if len(each) < 3], "a%_", "~~~", "!!!", "nothing", "aaaa"]:
        found = names(connection, prefix)
        assert sorted(found) == sorted([each for each in IDS if each.startswith(prefix)]), prefix


@pytest.mark.parametrize("prefix", ["a\0", "\0", "a ", "é", "\x7f", "\U0001f600", "a" * 5000])
def test_a_prefix_that_no_id_can_have_finds_nothing(connection: Connection, prefix: str) -> None:
    save(connection, ["a", "aa", "~"])
    assert names(connection, prefix) == []


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_pages_follow_each_other_and_miss_none(connection: Connection, limit: int) -> None:
    ids = IDS[:100]
    save(connection, ids)
    in_order = names(connection)
    found = names(connection, limit=limit)
    assert found == in_order
    assert sorted(found) == sorted(ids)
    if connection.dialect.name == "sqlite":
        assert in_order == sorted(ids), "by their bytes; other databases have an order of their own"
    assert names(connection, "a", limit=limit) == [each for each in in_order if each.startswith("a")]


def test_no_tenant_finds_anothers(connection: Connection) -> None:
    save(connection, ["run-1", "run-2"], "one")
    save(connection, ["run-1", "mine"], "two")
    assert names(connection, tenant="one") == ["run-1", "run-2"]
    assert names(connection, "run", tenant="two") == ["run-1"]
    assert names(connection, tenant="on") == []
    (found,) = walk(connection, Alike(tenant="two", prefix="run"))
    assert found.ask == "two:run-1"


def test_what_became_of_them(connection: Connection) -> None:
    save(connection, ["waits", "answered", "failed", "taken-back"])
    requests.save(connection, [entry("t:swept", id="swept", retention=1.0)])
    answers.add(connection, [result("t:swept")])
    assert retention.sweep(connection, NOW + 1e9) == 1
    long = answer("x" * 5000)
    answers.add(connection, [result("t:answered", outcome=long), result("t:failed", outcome=FAULT, charges=())])
    withdraw(connection, "t", "taken-back", NOW)

    for status, ids in {
        "pending": ["waits"], "completed": ["answered", "swept"], "failed": ["failed"], "cancelled": ["taken-back"],
    }.items():  # fmt: skip
        which = Alike(tenant="t", statuses=(status,))
        assert [each.request_id for each in walk(connection, which, limit=1)] == ids
        assert results.count(connection, which) == {status: len(ids)}
    both = Alike(tenant="t", statuses=("pending", "failed"), prefix="f")
    assert [each.request_id for each in walk(connection, both)] == ["failed"]
    assert walk(connection, Alike(tenant="t", statuses=())) == []
    assert results.count(connection, Alike(tenant="t")).keys() == set(STATUSES)

    sizes = {each.request_id: each.size for each in walk(connection, Alike(tenant="t"))}
    assert sizes["answered"] == len(long.body) > 5000
    assert sizes["failed"] == len(FAULT.body or b"")
    assert (sizes["waits"], sizes["swept"]) == (0, 0)


def test_what_may_have_left_something_at_its_provider_is_known(connection: Connection) -> None:
    stored = b'{"model": "gpt-4o-mini", "store": true, "messages": [{"role": "user", "content": "hi"}]}'
    says_so = b'{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "a \\"stateful\\" word"}]}'
    requests.save(connection, [entry("a-1", body=stored), entry("a-2"), entry("a-3", body=says_so)])
    assert [each.stateful for each in walk(connection, Alike(tenant="t"))] == [True, False, False]


def test_they_are_loaded_as_they_are_found_one_by_one(connection: Connection) -> None:
    requests.save(connection, [entry(f"a-{number}", retention=1.0) for number in range(4)])
    answers.add(connection, [result("a-0"), result("a-1", outcome=FAULT, charges=()), result("a-2")])
    retention.sweep(connection, NOW + 1e9, limit=1)

    found = results.load(connection, ["a-3", "a-2", "a-1", "a-0", "unknown"])

    assert found == {name: answers.find(connection, "t", name) for name in ("a-0", "a-1", "a-2", "a-3")}
    assert results.load(connection, []) == {}
