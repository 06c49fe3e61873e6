"""Rescues and a store that fails in the middle of them: who left the batch lane on disk is asked directly."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import Struct
from tests.store.things import NOW, entry

from batchway.core.catalog import Catalog
from batchway.core.events import Event
from batchway.core.facts import Fact, Rescue
from batchway.core.rescue import RescueRule
from batchway.engine.rescuing import Rescuing
from batchway.store import Database, StoreDown, requests
from batchway.store.custody import Custodian
from batchway.store.journal import StoreJournal

RULE = RescueRule(undirected=frozenset({"shy"}))


class Desk(Struct):
    """Whom rescues are told."""

    told: list[Fact]

    def tell(self, fact: Fact) -> None:
        self.told.append(fact)

    def publish(self, event: Event) -> None:
        """Nobody listens."""


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A file."""
    async with await Database.open(str(tmp_path / "store.db"), now=lambda: NOW) as opened:
        yield opened


@pytest.mark.parametrize("other", [{"provider": "shy"}, {"on_deadline": "fail"}], ids=["left where it is", "refused"])
async def test_a_rescue_is_told_before_anything_else_may_fail(database: Database, other: dict[str, str]) -> None:
    """From the moment that it is on disk as going directly, no tick finds it again."""
    custodian = Custodian(database, lambda: "one", lambda: NOW, host="here", seconds=60.0)
    journal = StoreJournal(database, custodian, lambda: NOW, retention=None, cache_ttl=0, rescue=RULE)
    await custodian.enter()
    asked = [entry("a-1", owner="one", rescue_at=NOW, deadline=NOW + 60)]
    asked += [entry("a-2", owner="one", rescue_at=NOW, deadline=NOW, **other)]
    await database.write(requests.save, asked)

    def reached(place: str) -> None:
        if place == "rescue.after":
            connection = database._writing.raw_connection()
            connection.cursor().execute("PRAGMA query_only = ON")
            connection.close()

    desk = Desk([])
    rescuing = Rescuing(custodian, journal, desk, Catalog.of([]), RULE, reached)

    with pytest.raises(StoreDown):
        await rescuing.see_to(NOW)

    assert [fact.request.ask for fact in desk.told if isinstance(fact, Rescue)] == ["a-1"]
    assert [pending.request.ask for pending in await custodian.due(NOW, NOW, 9)] == ["a-2"], "it is seen to again"
