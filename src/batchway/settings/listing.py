"""What `batchway config` shows: every setting in force, its value with secrets masked, and where it came from."""

from collections.abc import Mapping

import msgspec
from pydantic import ByteSize, SecretStr

from batchway.settings.keys import KeyEntry
from batchway.settings.model import Settings
from batchway.settings.resolution import Loaded
from batchway.settings.wording import format_size, mask_secret, mask_url

UNSET = ""
"""How a setting without a value is shown."""


def describe(loaded: Loaded) -> list[tuple[str, str, str]]:
    """Rows of (setting, value, origin), in the order of the model; then what was set of providers."""
    return [(name, _show(name, _find(loaded.settings, name)), origin) for name, origin in loaded.origins.items()]


def _show(name: str, value: object) -> str:
    shown = show_value(value)
    # A PostgreSQL URL holds a password; a path is no URL.
    return mask_url(shown) if name == "database_url" and "@" in shown and "://" in shown else shown


def _find(settings: Settings, name: str) -> object:
    if name in Settings.model_fields:
        return getattr(settings, name)
    # A provider's name may hold a dot; its field may not.
    provider, _, field = name.removeprefix("providers.").rpartition(".")
    return getattr(settings.providers[provider], field)


def show_value(value: object) -> str:
    """A value as one would write it in a variable, secrets masked."""
    match value:
        case None:
            return UNSET
        case bool():
            return str(value).lower()
        case SecretStr():
            return mask_secret(value.get_secret_value())
        case ByteSize():
            return format_size(value)
        case float():
            return f"{value:.12g}"
        case KeyEntry():
            return _show_key(value)
        case tuple():
            return ",".join(map(show_value, value))
        case Mapping():
            return msgspec.json.encode(dict(value)).decode() if value else UNSET
    return str(value)


def _show_key(entry: KeyEntry) -> str:
    """The key as in `BATCHWAY_KEYS`, then the defaults that it sets."""
    defaults = {field: getattr(entry, field) for field in entry.__struct_fields__[4:]}
    words = [f"{field}={show_value(value)}" for field, value in defaults.items() if value is not None]
    return " ".join([f"{entry.name}:{mask_secret(entry.hash)}:{entry.scope}:{entry.tenant}", *words])
