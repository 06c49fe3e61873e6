"""The store: what must outlast a crash, in SQLite or PostgreSQL. Statements are plain functions of a connection.

database     open, write (group commit), post (behind), read    writer, grouping, posts: how
requests     saving, reading back, owners' leases               answers, charges, events: what came of them
jobs, steps  provider batches: form, claim, write if still ours batches: looking at them
keys, learnt, retention, places                                 tables, migrations, connections, failures: what holds
"""

from batchway.store.database import Database, Health
from batchway.store.failures import StoreDown, Taken
from batchway.store.posts import Gap, Room

__all__ = ["Database", "Gap", "Health", "Room", "StoreDown", "Taken"]
