"""Gateway keys in the store: made, listed, revoked, and found by the hash of what a caller presents."""

from typing import Any, Literal

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from batchway.core.types import Lane, Packing, Reuse
from batchway.store.failures import Taken
from batchway.store.tables import keys

_json = msgspec.json.Encoder()
_lanes = msgspec.json.Decoder(tuple[Lane, ...])
_retention = msgspec.json.Decoder(float | Literal["none"])


class StoredKey(Struct, frozen=True, kw_only=True):
    """A gateway key, as `settings.keys.KeyEntry` describes one; the key itself is nowhere."""

    name: str
    hash: str
    """SHA-256, as 64 hexadecimal digits."""
    tenant: str
    scope: str
    created_at: float
    profile: str | None = None
    lanes: tuple[Lane, ...] | None = None
    deadline: float | None = None
    reuse: Reuse | None = None
    packing: Packing | None = None
    retention: float | Literal["none"] | None = None
    revoked_at: float | None = None


def create(connection: Connection, key: StoredKey) -> None:
    """Add a key. Raises Taken where its name is one of a valid key, or its hash of any."""
    row = msgspec.structs.asdict(key) | {"lanes": _written(key.lanes), "retention": _written(key.retention)}
    try:
        with connection.begin_nested():
            connection.execute(insert(keys).values(row))
    except IntegrityError as error:
        raise Taken(f"there is a valid key named '{key.name}' already; revoke it, or choose another name") from error


def listed(connection: Connection, *, revoked: bool = False) -> list[StoredKey]:
    """The valid keys by name, or (`revoked`) all that ever were."""
    found = select(keys).order_by(keys.c.name, keys.c.created_at)
    if not revoked:
        found = found.where(keys.c.revoked_at.is_(None))
    return [_key(read) for read in connection.execute(found)]


def revoke(connection: Connection, name: str, at: float) -> bool:
    """It opens nothing any more. False: no valid key has this name."""
    valid = update(keys).where(keys.c.name == name, keys.c.revoked_at.is_(None))
    return connection.execute(valid.values(revoked_at=at)).rowcount == 1


def find(connection: Connection, hashed: str) -> StoredKey | None:
    """The valid key of this hash."""
    read = connection.execute(select(keys).where(keys.c.hash == hashed, keys.c.revoked_at.is_(None))).one_or_none()
    return None if read is None else _key(read)


def _written(value: object) -> str | None:
    return None if value is None else _json.encode(value).decode()


def _key(read: Any) -> StoredKey:
    fields = dict(read._mapping)
    for name, decoder in (("lanes", _lanes), ("retention", _retention)):
        fields[name] = None if fields[name] is None else decoder.decode(fields[name])
    return StoredKey(**fields)
