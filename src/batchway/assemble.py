"""Assemble: the only place that joins parts, and where the clock, the ids and the dice are made."""

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime

from msgspec import Struct, structs

from batchway import sandbox as simulated
from batchway.core.catalog import Catalog, Find
from batchway.core.errors import SettingsError
from batchway.core.planner import Planner
from batchway.core.policy import RULES, Policy, WindowRule
from batchway.core.router import Offers
from batchway.core.tokens import TokenCounts
from batchway.core.types import PICODOLLARS, Hints, Lane
from batchway.data.prices import finder
from batchway.data.vocabulary import Vocabularies
from batchway.engine.driver import Engine
from batchway.engine.intake import Defaults, Intake
from batchway.engine.log import Log
from batchway.engine.metrics import Metrics
from batchway.engine.models import Models
from batchway.engine.stats import Stats
from batchway.ports import Alarm, Clock, Dialect, Listener
from batchway.providers.http import HttpSender
from batchway.providers.registry import DIALECTS, ROWS, Account, row_of
from batchway.settings import Loaded, ProviderNames, ProviderSettings, Settings, load
from batchway.wire.hints import overlay

PROFILES: Mapping[str, Hints] = {
    "transparent": Hints(),
    "saver": Hints(packing="auto", optimize="fit"),
    "batcher": Hints(priority="low"),
}
"""What each profile says where a request and its key say nothing."""


DAY = 86_400
"""Seconds of a day: midnight UTC is a multiple of it."""

PROVIDERS = tuple(
    ProviderNames(name=row.name, key_variables=row.key_variables, url_variables=row.url_variables) for row in ROWS
)
"""The names and variables of the shipped providers, for the settings."""


class LiveClock:
    """The machine's clock and the running loop's alarms."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def call_at(self, when: float, action: Callable[[], None]) -> Alarm:
        """Do this at that time."""
        return asyncio.get_running_loop().call_later(max(0.0, when - time.time()), action)


def load_settings(flags: Mapping[str, object], *, environment: Mapping[str, str] | None = None) -> Loaded:
    """The settings in force, the providers' variables among them."""
    return load(flags, providers=PROVIDERS, environment=environment)


def accounts(settings: Settings, sandbox: str | None = None) -> dict[str, Account]:
    """The providers that can be used, by name. With a sandbox's address, every provider lives there, with a key."""
    known = [row.name for row in ROWS] + [name for name in settings.providers if row_of(name) is None]
    found = {}
    for name in known:
        account = _account(name, _given(settings, name), sandbox)
        if account is not None:
            found[name] = account
    return found


def _given(settings: Settings, name: str) -> ProviderSettings:
    return settings.providers.get(name, ProviderSettings())


def _account(name: str, given: ProviderSettings, sandbox: str | None) -> Account | None:
    row = row_of(name)
    base_url = given.base_url or (row.base_url if row else None)
    key = given.key.get_secret_value() if given.key else None
    if sandbox is not None:
        base_url, key = f"{sandbox}/{name}{row.sandbox_path if row else '/v1'}", "sandbox-key"
    if base_url is None or not given.enabled:
        return None
    version = given.version or (row.version if row else None)
    return Account(name=name, base_url=base_url, key=key, lanes=given.lanes, version=version)


def _dialect(account: Account, settings: Settings) -> Dialect:
    row = row_of(account.name)
    given = _given(settings, account.name)
    name = given.dialect or (row.dialect if row else "openai")
    if name not in DIALECTS:
        raise SettingsError(f"providers.{account.name}.dialect: '{name}' is not one of {', '.join(DIALECTS)}.")
    return DIALECTS[name](account)


def _offers(account: Account, max_in_flight: int | None) -> Offers:
    def closed(lane: Lane, otherwise: str | None) -> str | None:
        if account.lanes is not None and lane not in account.lanes:
            return f"the settings do not allow the {lane} lane to {account.name}"
        return otherwise

    row, offers = row_of(account.name), Offers()
    no_batch = None if row is None or row.batch_api else f"{account.name} has no Batch API"
    no_flex = None if row is None or row.flex else f"{account.name} has no flex tier"
    return Offers(
        direct=closed("direct", None),
        flex=closed("flex", no_flex or offers.reasons["flex"]),
        batch=closed("batch", no_batch or offers.reasons["batch"]),
        max_in_flight=max_in_flight,
    )


def _pack_rule(settings: Settings) -> WindowRule:
    rule, wait, size = RULES["pack"], settings.batch_window_ms, settings.max_batch_size
    return structs.replace(
        rule,
        max_wait=rule.max_wait if wait is None else wait / 1000,
        max_size=rule.max_size if size is None else size,
    )


def _policy(settings: Settings) -> Policy:
    return Policy(
        pack=_pack_rule(settings),
        pack_stake=round(settings.pack_stake_usd * PICODOLLARS),
        context_tokens=settings.context_tokens,
        meta_overhead_tokens=settings.meta_overhead_tokens or 0,
        max_queue=settings.max_queue,
        max_queue_bytes=settings.max_queue_bytes,
        max_in_flight=settings.max_in_flight,
        max_retries=settings.max_retries,
        retry_unknown=settings.retry_unknown,
        cache_ttl=settings.cache_ttl,
        cache_entries=settings.cache_entries,
        cache_bytes=settings.cache_bytes,
        abandon_grace=settings.abandon_grace,
    )


def _intake(settings: Settings, found: Mapping[str, Account], catalog: Catalog, ids: Callable[[], str]) -> Intake:
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
        ids=ids,
        max_depth=settings.max_json_depth,
    )


class DailyPrices:
    """The catalogue, its prices renewed at each midnight UTC: providers announce changes for a day to come."""

    def __init__(self, clock: Clock, models: Mapping[str, Mapping[str, object]]) -> None:
        self._clock = clock
        self._models = models
        self.catalog = Catalog(self._find())
        self._alarm = self._set_alarm()

    def _find(self) -> Find:
        return finder(datetime.fromtimestamp(self._clock.now(), UTC).date(), self._models)

    def _set_alarm(self) -> Alarm:
        tomorrow = (self._clock.now() // DAY + 1) * DAY
        return self._clock.call_at(tomorrow, self._renew)

    def _renew(self) -> None:
        self.catalog.renew(self._find())
        self._alarm = self._set_alarm()

    def close(self) -> None:
        """Renew no more."""
        self._alarm.cancel()


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

    def defaults(self) -> Hints:
        """What holds where neither a request nor its key says anything."""
        settings = self.settings
        # seeds/000: whoever sets its window or size wants its packing.
        seeds = settings.batch_window_ms is not None or settings.max_batch_size is not None
        packing = settings.packing or ("always" if seeds else None)
        own = Hints(reuse=settings.reuse, packing=packing, optimize=settings.optimize)
        return overlay(own, PROFILES[settings.profile])

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
) -> AsyncIterator[Gateway]:
    """A running gateway. `sandbox`: the address of a sandbox that stands in for all providers."""
    clock = clock or LiveClock()
    started_at = clock.now()
    found = accounts(settings, sandbox)
    ids = Ids(random.Random())  # noqa: S311
    dialects = {name: _dialect(account, settings) for name, account in found.items()}
    prices = DailyPrices(clock, settings.models)
    vocabularies = Vocabularies()
    await asyncio.to_thread(vocabularies.encoding, "o200k_base")
    counts = TokenCounts({name: _counter(vocabularies, name) for name in ("o200k_base", "cl100k_base")})
    planner = Planner(
        _policy(settings),
        catalog=prices.catalog,
        offers={name: _offers(account, _given(settings, name).max_in_flight) for name, account in found.items()},
        counts=counts,
        ids=ids,
        dice=dice or random.Random(),  # noqa: S311
    )
    metrics, stats = Metrics(), Stats()
    heard: list[Listener] = [stats, metrics, Log(detailed=settings.log_level == "debug"), *listeners]
    sender = HttpSender(
        connect_timeout=settings.connect_timeout,
        request_timeout=settings.request_timeout,
        max_body=settings.max_response_bytes,
    )
    intake = _intake(settings, found, prices.catalog, ids)
    with closing(prices):
        async with (
            sender,
            Engine(
                planner,
                dialects,
                sender,
                clock,
                heard,
                count=counts.text,
                max_body=settings.max_response_bytes,
                drain_timeout=settings.drain_timeout,
            ) as engine,
        ):
            joined = Gateway(
                settings=settings,
                engine=engine,
                intake=intake,
                models=Models(dialects, intake.default_provider, sender, clock),
                dialects=dialects,
                accounts=found,
                metrics=metrics,
                stats=stats,
                planner=planner,
                clock=clock,
                started_at=started_at,
            )
            metrics.watch(engine.load, joined.cache_size)
            yield joined


def _counter(vocabularies: Vocabularies, name: str) -> Callable[[str], int]:
    """A counter whose vocabulary is loaded when the first text is counted: not every gateway needs each."""

    def count(text: str) -> int:
        return vocabularies.counter(name)(text)

    return count


class Ids:
    """UUIDs (version 8): random for this process, counted within it. No id is a secret, every look-up is by tenant."""

    def __init__(self, dice: random.Random) -> None:
        digits = f"{dice.getrandbits(76):019x}"
        self._process = f"{digits[:8]}-{digits[8:12]}-8{digits[12:15]}-a{digits[15:18]}-"
        self._count = dice.getrandbits(32)

    def __call__(self) -> str:
        """A new one."""
        self._count += 1
        return f"{self._process}{self._count:012x}"


def new_key_bytes() -> bytes:
    """The random bytes of a new gateway key."""
    return secrets.token_bytes(32)


def make_sandbox() -> simulated.Sandbox:
    """Simulated providers, which count tokens as the real models do. `sandbox.app` makes it an application."""
    return simulated.Sandbox(now=time.time, sleep=asyncio.sleep, count=_counter(Vocabularies(), "o200k_base"))
