"""Storage: the store opened, and what works on it joined: journal, records behind, jobs and their caretaker."""

import random
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import platformdirs
from msgspec import Struct, convert
from sqlalchemy import URL

from batchway.assemble.clockwork import crash_points
from batchway.assemble.policies import job_policy, rescue_rule
from batchway.core.catalog import Catalog
from batchway.core.turnaround import Turnarounds
from batchway.engine.caretaker import Caretaker, CatchUp, Pace
from batchway.engine.driver import Engine
from batchway.engine.job_calls import Account
from batchway.engine.job_forming import Naming
from batchway.engine.job_terms import Learning
from batchway.engine.jobs import Jobs
from batchway.engine.recorder import Recorder
from batchway.engine.rescuing import Rescuing
from batchway.ports import Clock, Sender
from batchway.settings import KeyEntry, Settings
from batchway.store import Database
from batchway.store.behind import StoreBehind
from batchway.store.connections import read_url
from batchway.store.custody import Custodian
from batchway.store.jobstore import StoreJobs
from batchway.store.journal import StoreJournal
from batchway.store.keys import StoredKey
from batchway.store.places import warn_reasons

NONE = "none"
"""The value of `database_url` that opens no store."""

REMEMBERED = 30 * 86_400.0
"""Seconds that turnarounds say something about the next ones."""


class Storage(Struct, kw_only=True):
    """An open store, and everything that works on it."""

    database: Database
    journal: StoreJournal
    custodian: Custodian
    jobs: StoreJobs
    recorder: Recorder
    learning: Learning
    turnarounds: Turnarounds
    reached: Callable[[str], None]
    """Is told of the named places in the code, for proofs."""
    shared: bool
    """Other processes may use it."""


def store_url(settings: Settings) -> str | None:
    """Where the store is; None: there is none."""
    if settings.database_url == NONE:
        return None
    return settings.database_url or str(Path(platformdirs.user_data_dir("batchway")) / "batchway.db")


def store_place(settings: Settings) -> str:
    """Where the store is, as it may be shown: without who opens it, and with what."""
    url = store_url(settings)
    if url is None:
        return NONE
    address = read_url(url)
    if address.get_backend_name() == "sqlite":
        return address.database or ""
    return URL.create("postgresql", host=address.host, port=address.port, database=address.database).render_as_string()


def unsafe_reasons(settings: Settings) -> tuple[str, ...]:
    """Why what is acknowledged may be lost there."""
    url = store_url(settings)
    if url is None:
        return ()
    address = read_url(url)
    if address.get_backend_name() != "sqlite":
        return ()
    return warn_reasons(address.database or "")


def no_batch_lane(settings: Settings) -> str | None:
    """Why there is no batch lane, whatever providers offer; None: there is."""
    if store_url(settings) is None:
        return "no store is configured (database_url=none)"
    reasons = unsafe_reasons(settings)
    if reasons and not settings.unsafe_store:
        return f"the store is not safe there: {reasons[0]} (unsafe_store insists)"
    return None


@asynccontextmanager
async def open_storage(
    settings: Settings, catalog: Catalog, clock: Clock, ids: Callable[[], str]
) -> AsyncIterator[Storage | None]:
    """The store, until the block ends; None where none is configured."""
    url = store_url(settings)
    if url is None:
        yield None
        return
    async with await Database.open(url, now=clock.now) as database:
        reached = crash_points(settings.crash_at)
        custodian = Custodian(database, ids, clock.now, host=socket.gethostname(), seconds=settings.lease)
        jobs = StoreJobs(database, custodian, catalog, clock.now)
        behind = StoreBehind(database, clock.now, record=settings.record, retention=settings.retention)
        journal = StoreJournal(
            database,
            custodian,
            clock.now,
            retention=settings.retention,
            cache_ttl=settings.cache_ttl,
            rescue=rescue_rule(settings),
            reached=reached,
        )
        yield Storage(
            database=database,
            journal=journal,
            custodian=custodian,
            jobs=jobs,
            recorder=Recorder(behind),
            learning=Learning(await jobs.learnt()),
            turnarounds=Turnarounds(await jobs.turnarounds(clock.now() - REMEMBERED)),
            reached=reached,
            shared=read_url(url).get_backend_name() != "sqlite",
        )


def entry_of(key: StoredKey) -> KeyEntry:
    """A stored key as the settings would describe it."""
    return convert({name: getattr(key, name) for name in KeyEntry.__struct_fields__}, KeyEntry)


class Tools(Struct, kw_only=True):
    """What everything live is made with."""

    clock: Clock
    ids: Callable[[], str]
    dice: random.Random
    sender: Sender
    catalog: Catalog


@asynccontextmanager
async def work_on_jobs(
    storage: Storage,
    engine: Engine,
    catch_up: CatchUp,
    settings: Settings,
    batches: Iterable[Account],
    tools: Tools,
) -> AsyncIterator[Jobs]:
    """Have jobs driven and requests looked after, until the block ends."""
    jobs = Jobs(
        storage.jobs,
        tools.sender,
        {account.id: account for account in batches},
        engine,
        tools.clock,
        policy=job_policy(settings),
        window=settings.completion_window,
        metadata=settings.metadata_pairs(),
        lease=settings.lease * 2,
        learning=storage.learning,
        naming=Naming(tools.ids),
        dice=tools.dice,
        looked=catch_up.looked,
        reached=storage.reached,
    )
    engine.batch_with(jobs)
    rule, reached = rescue_rule(settings), storage.reached
    caretaker = Caretaker(
        storage.custodian,
        storage.journal,
        storage.jobs,
        engine,
        tools.clock,
        catch_up,
        Rescuing(storage.custodian, storage.journal, engine, tools.catalog, rule, reached),
        pace=Pace(lease=settings.lease, tick=min(1.0, settings.lease / 3), sweep=min(60.0, settings.lease * 20)),
        shared=storage.shared,
        wake=jobs.wake,
        reached=reached,
    )
    async with caretaker, jobs:
        yield jobs
