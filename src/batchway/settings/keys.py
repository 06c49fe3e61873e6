"""Gateway keys: how one is made, how it is kept (hashed), and what its bearer may do.

A key is `bw-` and 43 url-safe characters: 32 random bytes. Settings hold its SHA-256 only. A plain hash without salt
or stretching is right here: those defend guessable passwords, and nobody guesses 256 random bits. Whoever reads the
settings cannot get in with what stands there: a bearer is hashed before it is looked up, so that a hash presented as a
key is hashed once more and found nowhere.
"""

from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from batchway.core.types import Lane, Packing, Reuse
from batchway.settings.wording import suggest

Profile = Literal["transparent", "saver", "batcher"]
Scope = Literal["infer", "admin"]

# 40 characters at most: a whole key (46) pasted into the place of a name is refused, not shown.
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,40}$")]
Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
# Infinity has no JSON: a key that was stored with it could not be read again.
Seconds = Annotated[float, Meta(gt=0, lt=1e10)]

LINE = "name:hash[:scope[:tenant]]"
"""Shape of one key in `BATCHWAY_KEYS`; commas stand between keys."""

KEY_BYTES = 32


class KeyEntry(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One gateway key as the settings hold it, with the defaults of the requests that come with it (None: unset)."""

    name: Name
    hash: Hash
    tenant: Name = ""
    """Whose data its requests are; the key's name where none was given."""
    scope: Scope = "infer"
    profile: Profile | None = None
    lanes: Annotated[tuple[Lane, ...], Meta(min_length=1)] | None = None
    """The lanes that its requests may take."""
    deadline: Seconds | None = None
    """Seconds from acceptance."""
    reuse: Reuse | None = None
    packing: Packing | None = None
    retention: Literal["none"] | Seconds | None = None
    """Seconds that bodies are kept, or `none`: they are never stored."""

    def __post_init__(self) -> None:
        if not self.tenant:
            force_setattr(self, "tenant", self.name)


_NAME_ALLOWED = "1 to 40 letters, digits, dots, dashes and underscores"
ALLOWED: Mapping[str, str] = {
    "name": _NAME_ALLOWED,
    "hash": "64 hexadecimal digits, as `batchway keys create` prints them (never the key itself)",
    "tenant": _NAME_ALLOWED,
    "scope": ", ".join(get_args(Scope)),
    "profile": ", ".join(get_args(Profile)),
    "lanes": "a list of " + ", ".join(get_args(Lane)),
    "deadline": "seconds above 0 and below 1e10",
    "reuse": ", ".join(get_args(Reuse)),
    "packing": ", ".join(get_args(Packing)),
    "retention": "seconds above 0 and below 1e10, or none",
}
"""What each field of a key accepts, in words. (The decoder's own messages would quote what may be a secret.)"""


def make_key(random_bytes: bytes) -> str:
    """A new gateway key from 32 random bytes, which the caller draws."""
    if len(random_bytes) != KEY_BYTES:
        raise ValueError(f"a key is made of {KEY_BYTES} random bytes, not {len(random_bytes)}")
    return "bw-" + urlsafe_b64encode(random_bytes).decode().rstrip("=")


def hash_key(key: str) -> str:
    """SHA-256 of a key, as 64 lower-case hexadecimal digits: what the settings hold in its place."""
    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def index_keys(entries: Iterable[KeyEntry]) -> dict[str, KeyEntry]:
    """The entries by their hash: what `find_key` looks in."""
    return {entry.hash: entry for entry in entries}


def find_key(index: Mapping[str, KeyEntry], bearer: str) -> KeyEntry | None:
    """The entry of the key that a caller presented, or None where it is not one of ours."""
    return index.get(hash_key(bearer))


def format_key(entry: KeyEntry) -> str:
    """The entry as one key of `BATCHWAY_KEYS`, trailing defaults left out. Its defaults for requests need TOML."""
    if entry.tenant != entry.name:
        return f"{entry.name}:{entry.hash}:{entry.scope}:{entry.tenant}"
    return f"{entry.name}:{entry.hash}" + (f":{entry.scope}" if entry.scope != "infer" else "")


def read_keys(value: object) -> tuple[KeyEntry, ...]:
    """Keys from `BATCHWAY_KEYS` or from TOML's [[keys]]. ValueError says which entry is wrong, and never quotes it."""
    given = _split_line(value) if isinstance(value, str) else value
    if not isinstance(given, list | tuple):
        raise ValueError(f"allowed are {LINE} with commas between, or [[keys]] tables in TOML")
    entries = tuple(_read_entry(entry, number) for number, entry in enumerate(given, start=1))
    _refuse_twins("name", [entry.name for entry in entries])
    _refuse_twins("hash", [entry.hash for entry in entries])
    return entries


def _split_line(line: str) -> list[dict[str, str]]:
    keys = [key.strip() for key in line.split(",") if key.strip()]
    return [_split_key(key, number) for number, key in enumerate(keys, start=1)]


def _split_key(key: str, number: int) -> dict[str, str]:
    parts = key.split(":")
    if not 2 <= len(parts) <= 4:
        raise ValueError(f"key {number} has {len(parts)} part(s); allowed is {LINE}")
    return dict(zip(("name", "hash", "scope", "tenant"), parts, strict=False))


def _read_entry(given: object, number: int) -> KeyEntry:
    if isinstance(given, KeyEntry):
        return given
    if not isinstance(given, dict):
        raise ValueError(f"key {number} is not a table with name and hash")
    if unknown := [str(field) for field in given if field not in ALLOWED]:
        raise ValueError(f"key {number} has no field {unknown[0]!r}{suggest(unknown[0], ALLOWED)}")
    try:
        return msgspec.convert(given, KeyEntry)
    except msgspec.ValidationError:
        # Not chained: the decoder quotes the value, and that may be a key in the wrong place.
        raise ValueError(f"key {number}: {_explain(given)}") from None


def _explain(given: dict[str, object]) -> str:
    if missing := [field for field in ("name", "hash") if field not in given]:
        return f"it has no {missing[0]}; allowed is {ALLOWED[missing[0]]}"
    types = {field.name: field.type for field in msgspec.structs.fields(KeyEntry)}
    wrong = next(field for field, value in given.items() if not _fits(value, types[field]))
    return f"its {wrong} is wrong; allowed is {ALLOWED[wrong]}"


def _fits(value: object, kind: object) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _refuse_twins(field: str, values: list[str]) -> None:
    for number, value in enumerate(values, start=1):
        if value in values[: number - 1]:
            raise ValueError(f"keys {values.index(value) + 1} and {number} have the same {field}; each must be its own")
