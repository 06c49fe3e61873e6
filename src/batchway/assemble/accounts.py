"""Accounts: which providers can be used here, by what key, dialect and lanes."""

from collections.abc import Mapping
from hashlib import blake2b

from batchway.core.errors import SettingsError
from batchway.core.router import Offers
from batchway.core.types import Lane
from batchway.engine.job_calls import Account as BatchAccount
from batchway.ports import Dialect, RelayDialect
from batchway.providers.registry import BATCH_DIALECTS, DIALECTS, RELAY_DIALECTS, ROWS, Account, row_of
from batchway.settings import ProviderNames, ProviderSettings, Settings

PROVIDERS = tuple(
    ProviderNames(name=row.name, key_variables=row.key_variables, url_variables=row.url_variables) for row in ROWS
)
"""The names and variables of the shipped providers, for the settings."""


def accounts(settings: Settings, sandbox: str | None = None) -> dict[str, Account]:
    """The providers that can be used, by name. With a sandbox's address, every provider lives there, with a key."""
    known = [row.name for row in ROWS] + [name for name in settings.providers if row_of(name) is None]
    found = {}
    for name in known:
        account = _account(name, given_of(settings, name), sandbox)
        if account is not None:
            found[name] = account
    return found


def key_settings(found: Mapping[str, Account]) -> dict[str, str]:
    """Where the gateway's own keys are set, by provider: what its owner looks for when one is refused."""
    return {name: _key_setting(name) for name, account in found.items() if account.key is not None}


def _key_setting(name: str) -> str:
    row = row_of(name)
    return " or ".join(row.key_variables) if row is not None else f"providers.{name}.key"


def given_of(settings: Settings, name: str) -> ProviderSettings:
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


def dialect_of(account: Account, settings: Settings) -> Dialect:
    """How its direct calls are spoken."""
    return DIALECTS[_dialect_name(account, settings)](account)


def batch_account(account: Account, settings: Settings) -> BatchAccount | None:
    """The same for its Batch API; None: its dialect has none.

    Its id says which key of which address: a batch is looked for only where it was made (failures.md #26). Whoever
    rotates a key of the same account names the account in the settings.
    """
    name = _dialect_name(account, settings)
    if name not in BATCH_DIALECTS:
        return None
    label = given_of(settings, account.name).account
    mark = label or blake2b(f"{account.base_url}|{account.key}".encode(), digest_size=6).hexdigest()
    return BatchAccount(id=f"{account.name}/{mark}", provider=account.name, dialect=BATCH_DIALECTS[name](account))


def relay_dialect(account: Account, settings: Settings) -> RelayDialect | None:
    """The same for OpenAI's own objects; None: it has none, or others."""
    make = RELAY_DIALECTS.get(_dialect_name(account, settings))
    return None if make is None else make(account)


def _dialect_name(account: Account, settings: Settings) -> str:
    row = row_of(account.name)
    given = given_of(settings, account.name)
    name = given.dialect or (row.dialect if row else "openai")
    if name not in DIALECTS:
        raise SettingsError(f"providers.{account.name}.dialect: '{name}' is not one of {', '.join(DIALECTS)}.")
    return name


def offers_of(account: Account, max_in_flight: int | None, no_store: str | None) -> Offers:
    """The lanes to it. `no_store`: why there is no batch lane at all; None: there is."""

    def closed(lane: Lane, otherwise: str | None) -> str | None:
        if account.lanes is not None and lane not in account.lanes:
            return f"the settings do not allow the {lane} lane to {account.name}"
        return otherwise

    row = row_of(account.name)
    no_batch = None if row is None or row.batch_api else f"{account.name} has no Batch API"
    if account.key is None and (row is None or row.needs_key):
        no_batch = no_batch or "it needs a key of the gateway's own"
    no_flex = None if row is not None and row.flex else f"{account.name} has no flex tier"
    return Offers(
        direct=closed("direct", None),
        flex=closed("flex", no_flex),
        batch=closed("batch", no_batch or no_store),
        max_in_flight=max_in_flight,
    )
