"""Gateway keys in the store."""

import pytest
from sqlalchemy import Connection
from tests.store.things import NOW

from batchway.store import Taken, keys
from batchway.store.keys import StoredKey

PLAIN = StoredKey(name="plain", hash="0" * 64, tenant="t", scope="infer", created_at=NOW)
WHOLE = StoredKey(
    name="whole",
    hash="1" * 64,
    tenant="t",
    scope="admin",
    created_at=NOW,
    profile="saver",
    lanes=("direct", "batch"),
    deadline=60.0,
    reuse="all",
    packing="auto",
    retention=3600.0,
)
FORGETFUL = StoredKey(name="x", hash="2" * 64, tenant="x", scope="infer", created_at=NOW, retention="none")


def test_keys_are_found_by_their_hash_and_listed_by_name(connection: Connection) -> None:
    for key in (WHOLE, FORGETFUL, PLAIN):
        keys.create(connection, key)

    assert [keys.find(connection, key.hash) for key in (PLAIN, WHOLE, FORGETFUL)] == [PLAIN, WHOLE, FORGETFUL]
    assert keys.listed(connection) == [PLAIN, WHOLE, FORGETFUL]
    assert keys.find(connection, "3" * 64) is None


def test_a_revoked_key_opens_nothing_and_frees_its_name(connection: Connection) -> None:
    keys.create(connection, PLAIN)

    assert keys.revoke(connection, "plain", NOW + 1)
    assert not keys.revoke(connection, "plain", NOW + 2)

    assert keys.find(connection, PLAIN.hash) is None
    assert keys.listed(connection) == []
    again = StoredKey(name="plain", hash="4" * 64, tenant="t", scope="infer", created_at=NOW + 3)
    keys.create(connection, again)
    assert keys.listed(connection) == [again]
    assert [key.revoked_at for key in keys.listed(connection, revoked=True)] == [NOW + 1, None]


def test_a_name_has_one_valid_key(connection: Connection) -> None:
    keys.create(connection, PLAIN)

    with pytest.raises(Taken, match="plain"):
        keys.create(connection, StoredKey(name="plain", hash="5" * 64, tenant="t", scope="infer", created_at=NOW))
    assert keys.listed(connection) == [PLAIN]
