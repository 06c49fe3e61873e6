"""Charges are added once and summed exactly."""

from sqlalchemy import Connection
from tests.store.things import NOW, OWNER, charge, entry, job

from batchway.core.types import Usage
from batchway.store import charges, jobs, requests
from batchway.store.charges import LedgerLine

DAY = int(NOW // 86_400)


def test_a_charge_comes_back_as_it_was(connection: Connection) -> None:
    whole = charge(
        usage=Usage(input=1, output=2, cached=3, cache_written=4, cache_written_hour=2**40, reasoning=5, tier="flex"),
        cost=2**62,
        at=NOW + 0.25,
    )
    unknown = charge("call-2", cost=None, counterfactual=None, at=NOW + 1)

    charges.book(connection, [unknown, whole])

    assert charges.of_request(connection, "t", "a-1") == [whole, unknown]
    assert charges.of_request(connection, "other", "a-1") == []


def test_the_same_charge_is_booked_once(connection: Connection) -> None:
    charges.book(connection, [charge(), charge("call-1", "overhead")])
    charges.book(connection, [charge(cost=999), charge("call-2")])

    booked = charges.of_request(connection, "t", "a-1")
    assert [(each.call_id, each.cost) for each in booked] == [("call-1", 50), ("call-2", 50)]


def test_nothing_to_book_is_no_statement(connection: Connection) -> None:
    charges.book(connection, [])


def test_the_ledger_sums_by_day_way_model_and_key(connection: Connection) -> None:
    charges.book(
        connection,
        [
            charge("1"),
            charge("2", cost=70),
            charge("3", cost=None),
            charge("9", cost=None, counterfactual=None),
            charge("4", via="cache", cost=0),
            charge("5", key="other"),
            charge("6", at=NOW - 86_400),
            charge("7", "overhead", counterfactual=0),
            charge("7", tenant="two"),
            charge("8", at=NOW - 10 * 86_400),
        ],
    )

    found = charges.ledger(connection, since_day=DAY - 1, until_day=DAY, tenant="t")

    common = {"provider": "openai", "model": "gpt-4o-mini"}
    assert found == [
        LedgerLine(
            day=DAY,
            via="batch",
            key="k",
            charges=5,
            cost=170,
            overhead=50,
            counterfactual=200,
            saved=30,
            unpriced=2,
            input=50,
            output=25,
            **common,
        ),
        _single(day=DAY, via="batch", key="other", cost=50, saved=50, **common),
        _single(day=DAY, via="cache", key="k", cost=0, saved=100, **common),
        _single(day=DAY - 1, via="batch", key="k", cost=50, saved=50, **common),
    ]
    everyone = charges.ledger(connection, since_day=DAY, until_day=DAY)
    assert sum(line.charges for line in everyone) == 8
    assert all(line.cost + line.saved == line.counterfactual for line in everyone), "unpriced is in none of them"


def _single(**fields: object) -> LedgerLine:
    return LedgerLine(charges=1, overhead=0, counterfactual=100, unpriced=0, input=10, output=5, **fields)  # type: ignore[arg-type]


def test_rescues_are_direct_charges_of_requests_in_jobs(connection: Connection) -> None:
    requests.save(connection, [entry(ask) for ask in ("rescued", "by-batch", "in-no-job", "yesterday")])
    jobs.form(connection, job(n=3), ["rescued", "by-batch", "yesterday"], OWNER)
    charges.book(
        connection,
        [
            charge("call-1", "rescued", via="direct", cost=70),
            charge("call-2", "rescued", via="direct", cost=7),
            charge("j-1", "by-batch", via="batch", cost=500),
            charge("call-3", "in-no-job", via="direct", cost=500),
            charge("call-4", "yesterday", via="direct", cost=500, at=NOW - 86_400),
        ],
    )

    assert charges.rescued(connection, DAY) == 77
    assert charges.rescued(connection, DAY + 1) == 0
