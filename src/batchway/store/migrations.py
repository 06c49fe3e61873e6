"""Migrations: brings a store to the tables of today, once, however many processes start at the same time.

A store without a version gets today's tables. Any other runs the steps from its version on, all in one transaction, so
that a step that fails leaves the store as it was. To change the tables: change `store.tables`, append a step to
`STEPS`, and write the new shape down (`python -m tests.store.shapes`); a test takes every earlier shape through them.
"""

from collections.abc import Callable, Sequence

from sqlalchemy import Column, Connection, Integer, MetaData, Table, func, insert, inspect, select, text, update

from batchway.core.errors import SettingsError
from batchway.store import tables

Step = Callable[[Connection], None]


def _keep_hours(connection: Connection) -> None:
    """Charges say what of a prompt the provider's cache keeps for an hour. Of earlier ones that is not known."""
    connection.execute(text("ALTER TABLE charges ADD COLUMN cache_written_hour BIGINT DEFAULT 0 NOT NULL"))


STEPS: tuple[Step, ...] = (_keep_hours,)
"""What leads from version 1 to 2, from 2 to 3, and so on. Only ever added to."""

NEWEST = len(STEPS) + 1
"""The version of today's tables."""

_version = Table("schema_version", MetaData(), Column("version", Integer, nullable=False))

_LOCK = 0x62617463687761
"""The name of our lock among the advisory locks of a PostgreSQL database: `batchwa` in bytes."""


def migrate(connection: Connection, steps: Sequence[Step] = STEPS) -> None:
    """Bring the store to the newest version, within the connection's transaction.

    Raises SettingsError where it is another program's, or a newer batchway has written it: an older one would not
    understand what is there.
    """
    newest = len(steps) + 1
    _wait_for_turn(connection)
    version = examine(connection, steps)
    if version is None:
        tables.metadata.create_all(connection, checkfirst=False)
        _version.create(connection)
        connection.execute(insert(_version).values(version=newest))
        return
    for step in steps[version - 1 :]:
        step(connection)
    if version < newest:
        connection.execute(update(_version).values(version=newest))


def examine(connection: Connection, steps: Sequence[Step] = STEPS) -> int | None:
    """The version of the store as it is; None: there is none yet. Nothing is changed. Raises as `migrate`."""
    newest, version = len(steps) + 1, read_version(connection)
    if version is None:
        _refuse_foreign(connection)
    elif version > newest:
        raise SettingsError(
            f"database_url: the store is of version {version}, and this batchway knows {newest} at most; "
            "use the batchway that wrote it, or name another store."
        )
    return version


def _refuse_foreign(connection: Connection) -> None:
    """A SQLite file of another program is not written into, named by mistake. (One PostgreSQL may serve several.)"""
    if connection.dialect.name == "sqlite" and inspect(connection).get_table_names():
        raise SettingsError("database_url: the file is another program's database; name another file.")


def read_version(connection: Connection) -> int | None:
    """The version that the store's tables are of; None: there are none."""
    if not inspect(connection).has_table(_version.name):
        return None
    version: int = connection.execute(select(_version.c.version)).scalar_one()
    return version


def _wait_for_turn(connection: Connection) -> None:
    """One at a time. On SQLite the transaction itself began by taking the write lock."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
