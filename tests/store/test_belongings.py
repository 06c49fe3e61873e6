"""Whose the objects at a provider are: a tenant finds its own, at once and after a restart."""

from sqlalchemy import Connection
from tests.store.conftest import Opens
from tests.store.things import NOW

from batchway.ports import Belonging, Span
from batchway.store import belongings
from batchway.store.belongings import StoreBelongings
from batchway.wire.objects import Kind


def file(name: str, tenant: str = "t", *, kind: Kind = "file", at: float = NOW, provider: str = "openai") -> Belonging:
    return Belonging(provider=provider, kind=kind, id=name, tenant=tenant, created_at=at)


def test_a_tenant_has_its_own(connection: Connection) -> None:
    belongings.add(
        connection, [file("f-1"), file("f-2", "other"), file("f-3", kind="batch"), file("f-4", provider="x")]
    )

    names = ["f-1", "f-2", "f-3", "f-4", "f-9"]
    assert belongings.owners(connection, "openai", "file", names) == {"f-1": "t", "f-2": "other"}
    assert belongings.owners(connection, "openai", "batch", names) == {"f-3": "t"}
    assert belongings.owners(connection, "openai", "file", []) == {}


def test_who_made_it_last_has_it_but_nobody_gets_it_by_noting_it(connection: Connection) -> None:
    belongings.add(connection, [file("f-1")])
    belongings.keep(connection, [file("f-1", "other"), file("f-2", "other")])
    assert belongings.owners(connection, "openai", "file", ["f-1", "f-2"]) == {"f-1": "t", "f-2": "other"}

    belongings.add(connection, [file("f-1", "other", at=NOW + 5), file("f-1", "other", at=NOW + 5)])
    assert belongings.owners(connection, "openai", "file", ["f-1"]) == {"f-1": "other"}
    assert belongings.span(connection, "other", "openai", "file") == Span(oldest=NOW, newest=NOW + 5)


def test_what_is_forgotten_is_nobodys(connection: Connection) -> None:
    belongings.add(connection, [file("f-1"), file("f-1", kind="batch")])
    belongings.forget(connection, "openai", "file", "f-1")
    assert belongings.span(connection, "t", "openai", "file") is None
    assert belongings.span(connection, "t", "openai", "batch") == Span(oldest=NOW, newest=NOW)


async def test_what_was_noted_is_known_at_once_and_after_a_restart(opens: Opens) -> None:
    database = await opens()
    mine = StoreBelongings(database)
    mine.note(file("r-1", kind="response", at=NOW + 1))
    mine.note(file("r-1", "other", kind="response"))
    assert await mine.owned("t", "openai", "response", ["r-1", "r-2"]) == {"r-1"}
    assert await mine.owned("other", "openai", "response", ["r-1"]) == frozenset()
    assert await mine.span("t", "openai", "response") == Span(oldest=NOW + 1, newest=NOW + 1)
    await mine.add([file("r-2", kind="response", at=NOW)])

    another = StoreBelongings(database)
    another.note(file("r-1", "other", kind="response"))
    assert await another.owned("other", "openai", "response", ["r-1"]) == frozenset(), "it was another's before"
    assert await another.owned("t", "openai", "response", ["r-1", "r-2"]) == {"r-1", "r-2"}
    assert await another.span("t", "openai", "response") == Span(oldest=NOW, newest=NOW + 1)
    await another.forget("openai", "response", "r-1")
    assert await another.owned("t", "openai", "response", ["r-1"]) == frozenset()
