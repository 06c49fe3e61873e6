"""A request that its owner takes back: not pending any more, told, and its job perhaps free."""

from sqlalchemy import Connection
from tests.store.things import NOW, OWNER, charge, entry, job, result

from batchway.store import answers, charges, events, jobs, requests
from batchway.store.charges import Sums
from batchway.store.withdrawal import Withdrawal, withdraw


def test_the_last_live_row_empties_its_job(connection: Connection) -> None:
    requests.save(connection, [entry("a-1"), entry("a-2"), entry("a-3"), entry("a-4")])
    jobs.form(connection, job(1, n=3), ["a-1", "a-2", "a-3"], OWNER)
    answers.add(connection, [result("a-3")])

    assert withdraw(connection, "t", "a-1", NOW) == Withdrawal(ask="a-1", emptied=None)
    assert withdraw(connection, "t", "a-2", NOW) == Withdrawal(ask="a-2", emptied="j-1")
    assert withdraw(connection, "t", "a-4", NOW) == Withdrawal(ask="a-4", emptied=None), "it is in no job"
    assert answers.find(connection, "t", "a-2").status == "cancelled"  # type: ignore[union-attr]
    told = [each for each in events.of_request(connection, "t", "a-2") if each.ask is not None]
    assert [(each.kind, each.at) for each in told] == [("request.cancelled", NOW)]


def test_what_has_ended_or_is_anothers_is_not_taken_back(connection: Connection) -> None:
    requests.save(connection, [entry("a-1"), entry("a-2")])
    answers.add(connection, [result("a-1")])

    assert withdraw(connection, "t", "a-1", NOW) is None
    assert withdraw(connection, "other", "a-2", NOW) is None
    assert withdraw(connection, "t", "a-2", NOW) is not None
    assert withdraw(connection, "t", "a-2", NOW) is None


def test_the_sums_of_a_job(connection: Connection) -> None:
    unpriced = charge("j-1", "a-3", cost=None, counterfactual=None)
    charges.book(connection, [charge("j-1", "a-1"), charge("j-1", "a-2"), unpriced, charge("j-2", "a-1")])

    assert charges.of_job(connection, "j-1") == Sums(cost=100, saved=100, unpriced=1)
    assert charges.of_job(connection, "nothing") == Sums(cost=0, saved=0, unpriced=0)


def test_an_equal_answer_of_a_time(connection: Connection) -> None:
    requests.save(connection, [entry(name, fingerprint="same") for name in ("a-1", "a-2")])
    answers.add(connection, [result("a-1", finished_at=NOW + 10), result("a-2", finished_at=NOW + 20)])

    def newest(since: float, until: float | None = None) -> str | None:
        found = answers.find_shared(connection, "t", "same", since, until)
        return None if found is None else found.ask

    assert (newest(0), newest(0, NOW + 15), newest(NOW + 15, NOW + 15)) == ("a-2", "a-1", None)
