"""Assemble: the only place that joins parts, and where the clock, the ids and the dice are made.

clockwork   clock, ids, dice, daily prices       accounts   providers: keys, dialects, lanes
policies    settings as the core's rules         storage    the store and what works on it
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing

from msgspec import Struct, structs

from batchway import sandbox as simulated
from batchway.assemble.accounts import (
    PROVIDERS,
    accounts,
    batch_account,
    dialect_of,
    given_of,
    key_settings,
    offers_of,
    relay_dialect,
)
from batchway.assemble.clockwork import DailyPrices, Ids, LiveClock, new_key_bytes
from batchway.assemble.policies import PROFILES, RuleBook, rules_of
from batchway.assemble.storage import Storage, Tools, entry_of, no_batch_lane, open_storage, work_on_jobs
from batchway.core.catalog import Catalog
from batchway.core.errors import SettingsError
from batchway.core.planner import Planner
from batchway.core.tokens import TokenCounts
from batchway.core.types import Hints
from batchway.data.prices import tiered
from batchway.data.vocabulary import Vocabularies
from batchway.engine.caretaker import CatchUp
from batchway.engine.choosing import Choosing
from batchway.engine.driver import Engine
from batchway.engine.intake import Defaults, Intake
from batchway.engine.jobs import Jobs
from batchway.engine.log import Log
from batchway.engine.metrics import Metrics
from batchway.engine.models import Models
from batchway.engine.relay import Relay
from batchway.engine.stats import Stats
from batchway.engine.tallies import Tallies
from batchway.ports import Clock, Dialect, Listener
from batchway.providers.http import HttpSender
from batchway.providers.registry import ROWS, Account, row_of
from batchway.settings import KeyEntry, Loaded, Settings, load
from batchway.store import keys
from batchway.store.belongings import StoreBelongings

__all__ = [
    "PROFILES",
    "PROVIDERS",
    "DailyPrices",
    "Gateway",
    "Ids",
    "LiveClock",
    "gateway",
    "load_settings",
    "make_counts",
    "make_dice",
    "make_sandbox",
    "new_key_bytes",
]


def load_settings(flags: Mapping[str, object], *, environment: Mapping[str, str] | None = None) -> Loaded:
    """The settings in force, the providers' variables among them."""
    return load(flags, providers=PROVIDERS, environment=environment)


def _intake(
    settings: Settings,
    found: Mapping[str, Account],
    dialects: Mapping[str, Dialect],
    catalog: Catalog,
    ids: Callable[[], str],
    *,
    store: bool,
) -> Intake:
    names = {name: name for name in found}
    names |= {alias: row.name for row in ROWS if row.name in found for alias in row.aliases}
    if settings.default_provider not in names:
        raise SettingsError(
            f"default_provider: '{settings.default_provider}' is not configured; configured: {', '.join(sorted(found))}"
        )
    defaults = Defaults(
        provider=names[settings.default_provider],
        model=settings.default_model,
        max_output_tokens=settings.default_max_output_tokens,
        temperature=settings.default_temperature,
        top_p=settings.default_top_p,
    )
    return Intake(
        defaults=defaults,
        names=names,
        keyed=frozenset(name for name, account in found.items() if account.key is not None),
        keyless=frozenset(name for name in found if (row := row_of(name)) is None or not row.needs_key),
        catalog=catalog,
        choosing=Choosing(
            [(names.get(provider, provider), model) for provider, model in tiered(settings.models)], catalog, dialects
        ),
        ids=ids,
        max_depth=settings.max_json_depth,
        store=store,
    )


class Gateway(Struct, kw_only=True):
    """Everything joined: what the surfaces use."""

    settings: Settings
    engine: Engine
    intake: Intake
    models: Models
    dialects: Mapping[str, Dialect]
    accounts: Mapping[str, Account]
    metrics: Metrics
    stats: Stats
    planner: Planner
    clock: Clock
    started_at: float
    storage: Storage | None
    """None: no store is configured."""
    jobs: Jobs | None
    rules: RuleBook
    what_if: Callable[[], Mapping[str, object]] | None = None
    """What another policy would have made of the traffic so far; None: nobody works it out."""
    relay: Relay

    def defaults(self) -> Hints:
        """What holds where neither a request nor its key says anything."""
        return self.rules.requests

    async def stored_keys(self) -> tuple[KeyEntry, ...]:
        """The gateway keys in the store."""
        if self.storage is None:
            return ()
        return tuple([entry_of(key) for key in await self.storage.database.read(keys.listed)])

    def uptime(self) -> float:
        """Seconds since the start."""
        return self.clock.now() - self.started_at

    def stopping(self) -> bool:
        """Whether it takes nothing new."""
        return self.engine.stopping

    def cache_size(self) -> tuple[int, int]:
        """Entries and bytes of the cache."""
        return len(self.planner.memory.cache), self.planner.memory.cache.size

    def providers_healthy(self) -> dict[str, bool]:
        """By provider, whether it has a key, or needs none."""
        return {
            row.name: (account := self.accounts.get(row.name)) is not None
            and (account.key is not None or not row.needs_key)
            for row in ROWS
            if row.base_url is not None or row.name in self.accounts
        } | {name: True for name in self.accounts if row_of(name) is None}


@asynccontextmanager
async def gateway(
    settings: Settings,
    *,
    sandbox: str | None = None,
    clock: Clock | None = None,
    dice: random.Random | None = None,
    listeners: Sequence[Listener] = (),
    rules: RuleBook | None = None,
    what_if: Callable[[], Mapping[str, object]] | None = None,
) -> AsyncIterator[Gateway]:
    """A running gateway. `sandbox`: the address of a sandbox that stands in for all providers. `rules`: instead of
    what the settings make of them. `what_if`: what another policy would have made of the traffic so far."""
    clock = clock or LiveClock()
    started_at = clock.now()
    rules = rules or rules_of(settings)
    found = accounts(settings, sandbox)
    ids = Ids(random.Random())  # noqa: S311
    dice = dice or random.Random()  # noqa: S311
    vocabularies = Vocabularies()
    # Loaded before the first request needs it: it takes half a second.
    await asyncio.to_thread(vocabularies.encoding, "o200k_base")
    counts = _counts(vocabularies)
    sender = HttpSender(
        connect_timeout=settings.connect_timeout,
        request_timeout=settings.request_timeout,
        max_body=settings.max_response_bytes,
    )
    async with AsyncExitStack() as stack:
        prices = stack.enter_context(closing(DailyPrices(clock, settings.models)))
        storage = await stack.enter_async_context(open_storage(settings, prices.catalog, clock, ids))
        await stack.enter_async_context(sender)
        dialects = {name: dialect_of(account, settings) for name, account in found.items()}
        no_batch = no_batch_lane(settings)
        planner = Planner(
            structs.replace(rules.policy, store=storage is not None),
            catalog=prices.catalog,
            offers={
                name: offers_of(account, given_of(settings, name).max_in_flight, no_batch)
                for name, account in found.items()
            },
            counts=counts,
            ids=ids,
            dice=dice,
            turnarounds=storage.turnarounds if storage else None,
        )
        intake = _intake(settings, found, dialects, prices.catalog, ids, store=storage is not None)
        own_keys = key_settings(found)
        relay = Relay(
            intake.default_provider,
            relay_dialect(found[intake.default_provider], settings),
            sender,
            StoreBelongings(storage.database) if storage else None,
            clock,
            key_setting=own_keys.get(intake.default_provider),
        )
        tallies, catch_up = Tallies(), CatchUp()
        metrics, stats = Metrics(tallies), Stats(tallies)
        log = Log(detailed=settings.log_level == "debug", quotes=settings.record != "none")
        heard: list[Listener] = [tallies, stats, metrics, log, relay, *listeners]
        engine = Engine(
            planner,
            dialects,
            sender,
            clock,
            [*heard, storage.recorder] if storage else heard,
            count=counts.text,
            journal=storage.journal if storage else None,
            max_body=settings.max_response_bytes,
            key_settings=own_keys,
            drain_timeout=settings.drain_timeout,
        )
        jobs = None
        if storage is not None:
            batches = [made for account in found.values() if (made := batch_account(account, settings)) is not None]
            tools = Tools(clock=clock, ids=ids, dice=dice, sender=sender, catalog=prices.catalog)
            jobs = await stack.enter_async_context(work_on_jobs(storage, engine, catch_up, settings, batches, tools))
        await stack.enter_async_context(engine)
        joined = Gateway(
            settings=settings,
            engine=engine,
            intake=intake,
            models=Models(dialects, intake.default_provider, sender, clock, key_settings=own_keys),
            dialects=dialects,
            accounts=found,
            metrics=metrics,
            stats=stats,
            planner=planner,
            clock=clock,
            started_at=started_at,
            storage=storage,
            jobs=jobs,
            rules=rules,
            what_if=what_if,
            relay=relay,
        )
        metrics.watch(engine.load, joined.cache_size)
        yield joined


def make_dice(seed: int) -> random.Random:
    """Dice that fall the same way for the same seed: for what is worked out offline."""
    return random.Random(seed)  # noqa: S311


def make_counts() -> TokenCounts:
    """Token counters of the shipped vocabularies, each loaded when the first text is counted with it."""
    return _counts(Vocabularies())


def _counts(vocabularies: Vocabularies) -> TokenCounts:
    return TokenCounts({name: _counter(vocabularies, name) for name in ("o200k_base", "cl100k_base")})


def _counter(vocabularies: Vocabularies, name: str) -> Callable[[str], int]:
    """A counter whose vocabulary is loaded when the first text is counted: not every gateway needs each."""

    def count(text: str) -> int:
        return vocabularies.counter(name)(text)

    return count


def make_sandbox() -> simulated.Sandbox:
    """Simulated providers, which count tokens as the real models do. `sandbox.app` makes it an application."""
    return simulated.Sandbox(now=time.time, sleep=asyncio.sleep, count=_counter(Vocabularies(), "o200k_base"))
