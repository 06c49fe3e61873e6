"""Every statement is tested on both databases: a real SQLite file and a real PostgreSQL."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete
from tests.clock import HandClock
from tests.postgres import Server, postgres, postgres_url  # noqa: F401  # Fixtures.

from batchway.store import Database, tables
from batchway.store.connections import make_engine, read_url
from batchway.store.migrations import migrate

Opens = Callable[..., Awaitable[Database]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What stands on the fixture `kind` runs once for each database."""
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", ["sqlite", "postgresql"])


@pytest.fixture
def url(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A place for a store."""
    if kind == "sqlite":
        return str(tmp_path / "store.db")
    empty: str = request.getfixturevalue("postgres_url")
    return empty


@pytest.fixture(scope="session")
def postgres_store(postgres: Server) -> Iterator[Engine]:  # noqa: F811
    """One PostgreSQL store for all tests of statements, emptied before each."""
    with postgres.database() as url:
        engine = _migrated(url)
        yield engine
        engine.dispose()


@pytest.fixture
def engine(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An empty store, for statements on connections of one's own."""
    if kind == "sqlite":
        made = _migrated(str(tmp_path / "store.db"))
        yield made
        made.dispose()
        return
    shared: Engine = request.getfixturevalue("postgres_store")
    with shared.begin() as connection:
        for table in reversed(tables.metadata.sorted_tables):
            connection.execute(delete(table))
    yield shared


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A transaction in an empty store, undone at the end."""
    with engine.connect() as connected:
        yield connected


@pytest.fixture
async def opens(url: str, clock: HandClock) -> AsyncIterator[Opens]:
    """Opens databases on one store, and closes them at the end."""
    async with AsyncExitStack() as stack:

        async def open_one(**options: Any) -> Database:
            return await stack.enter_async_context(await Database.open(url, now=clock.now, **options))

        yield open_one


@pytest.fixture
async def database(opens: Opens) -> Database:
    """An open store."""
    return await opens()


def _migrated(url: str) -> Engine:
    engine = make_engine(read_url(url), writes=True, size=4)
    with engine.begin() as connection:
        migrate(connection)
    return engine
