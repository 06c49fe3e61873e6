"""Settings: one frozen object from flags, the environment, `.env`, TOML and defaults, and the origin of every value.

The only package that looks at the environment.
"""

from batchway.settings.keys import (
    KeyEntry,
    Profile,
    Scope,
    find_key,
    format_key,
    hash_key,
    index_keys,
    make_key,
    read_keys,
)
from batchway.settings.listing import describe
from batchway.settings.model import ProviderSettings, Settings
from batchway.settings.resolution import Loaded, load
from batchway.settings.sources import ProviderNames
from batchway.settings.template import render_template

__all__ = [
    "KeyEntry",
    "Loaded",
    "Profile",
    "ProviderNames",
    "ProviderSettings",
    "Scope",
    "Settings",
    "describe",
    "find_key",
    "format_key",
    "hash_key",
    "index_keys",
    "load",
    "make_key",
    "read_keys",
    "render_template",
]
