"""`batchway doctor`: which providers have keys, answer, and offer which lanes; and whether the store is safe."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import typer
from msgspec import Struct

from batchway.assemble import load_settings
from batchway.assemble.accounts import accounts, dialect_of, given_of, offers_of
from batchway.assemble.storage import NONE, no_batch_lane, store_place, store_url, unsafe_reasons
from batchway.cli.storing import NoStore, with_store
from batchway.cli.tables import print_json, print_table
from batchway.core.errors import BatchwayError, Refusal, SettingsError
from batchway.providers.http import HttpSender
from batchway.providers.registry import ROWS, Account
from batchway.settings import Settings
from batchway.store import Database
from batchway.store.connections import read_url

PATIENCE = 10.0
"""Seconds that a provider has to answer."""


class Provider(Struct, frozen=True, kw_only=True):
    """What was found out about one."""

    provider: str
    key: bool
    answers: str
    """`yes`, or why not; `not asked` where there is no key."""
    direct: str
    flex: str
    batch: str
    """`open`, or why not."""


class Store(Struct, frozen=True, kw_only=True):
    """What was found out about the store."""

    place: str
    works: str
    warnings: tuple[str, ...] = ()


def diagnose(flags: Mapping[str, object], sandbox: str | None, *, json: bool) -> bool:
    """Print it all. False: something that is configured does not work."""
    settings = load_settings(flags).settings
    if sandbox is not None and not sandbox.startswith(("http://", "https://")):
        raise SettingsError(f"--sandbox '{sandbox}': give an address such as http://127.0.0.1:9090.")
    providers = asyncio.run(_providers(settings, sandbox))
    store = _store(flags, settings)
    sound = store.works in ("yes", "off") and all(found.answers in ("yes", "not asked") for found in providers)
    if json:
        print_json({"providers": providers, "store": store, "sound": sound})
        return sound
    columns = Provider.__struct_fields__
    rows = [tuple([_word(getattr(found, name)) for name in columns]) for found in providers]
    print_table(columns, rows)
    typer.echo(f"Store: {store.place}  works: {store.works}")
    for warning in store.warnings:
        typer.echo(f"  warning: {warning}")
    return sound


def _word(value: object) -> object:
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value


async def _providers(settings: Settings, sandbox: str | None) -> list[Provider]:
    found = accounts(settings, sandbox)
    without = no_batch_lane(settings)
    async with HttpSender(connect_timeout=PATIENCE, request_timeout=PATIENCE, max_body=1 << 24) as sender:
        asked = [_ask(sender, account, settings) for account in found.values()]
        answers = dict(zip(found, await asyncio.gather(*asked), strict=True))
    configured = [_provider(account, settings, without, answers[name]) for name, account in found.items()]
    missing = [row.name for row in ROWS if row.name not in found]
    return configured + [
        Provider(provider=name, key=False, answers="not asked", direct="no base URL", flex="", batch="")
        for name in missing
    ]


def _provider(account: Account, settings: Settings, without: str | None, answers: str) -> Provider:
    offers = offers_of(account, given_of(settings, account.name).max_in_flight, without)
    lanes = {lane: reason or "open" for lane, reason in offers.reasons.items()}
    return Provider(provider=account.name, key=account.key is not None, answers=answers, **lanes)


async def _ask(sender: HttpSender, account: Account, settings: Settings) -> str:
    """Its list of models costs nothing and needs the key."""
    if account.key is None:
        return "not asked"
    dialect = dialect_of(account, settings)
    try:
        incoming = await sender.send(dialect.encode_models(None, None))
    except Refusal as refusal:
        return refusal.fault.message
    return "yes" if incoming.status < 300 else dialect.fault(incoming).message


def _store(flags: Mapping[str, object], settings: Settings) -> Store:
    url = store_url(settings)
    if url is None:
        return Store(place=NONE, works="off", warnings=("there is no batch lane and no record",))
    place, warnings = store_place(settings), unsafe_reasons(settings)
    try:
        with_store(flags, _write)
    except NoStore:
        # Whoever made it here would own its file, and the gateway may run as somebody else.
        return Store(place=place, works=_can_be_made(url), warnings=(*warnings, "there is none yet; `start` makes it"))
    except BatchwayError as error:
        return Store(place=place, works=str(error), warnings=warnings)
    return Store(place=place, works="yes", warnings=warnings)


def _can_be_made(url: str) -> str:
    """`yes`, or why not."""
    address = read_url(url)
    if address.get_backend_name() != "sqlite":
        return "yes"
    folder = next(folder for folder in Path(address.database or "").parents if folder.exists())
    return "yes" if os.access(folder, os.W_OK | os.X_OK) else f"{folder} cannot be written"


async def _write(database: Database, _: Settings) -> None:
    await database.write(_nothing)


def _nothing(connection: object) -> None:
    """A transaction is begun and committed around this: that it can be is what is found out."""
