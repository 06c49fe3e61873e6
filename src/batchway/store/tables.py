"""The tables: one set for SQLite and PostgreSQL. A change here needs a step in `store.migrations`.

    requests ──< bodies        what was asked            owners     who is alive
        │ └────< answers       what it got               keys       gateway keys, hashed
        │                                                learnt, turnarounds, gaps
    job_rows >── jobs          provider batches
    charges                    what it cost              events     what happened, for `explain`
    belongings                 whose the files, batches, stored completions and responses at providers are

Times are seconds since the epoch; money is integer picodollars; durations are seconds; sizes are bytes. Bodies and
answers stand beside their requests: inserting is cheaper than updating in place, and sweeping them leaves the metadata.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    literal,
    text,
)

metadata = MetaData()

PENDING = "pending"
"""Status of a request that has no answer yet; the others are `completed`, `failed` and `cancelled`."""

# SQLite counts rows by itself only where the key is called INTEGER.
_Number = BigInteger().with_variant(Integer(), "sqlite")

requests = Table(
    "requests",
    metadata,
    Column("ask", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("caller", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("priority", Text, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("on_deadline", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("asked_at", Double, nullable=False),
    Column("deadline", Double),
    Column("rescue_at", Double),
    Column("attempts", Integer, nullable=False),  # jobs that it was in
    Column("owner", Text),
    Column("job_id", Text),
    Column("tags", Text),  # JSON
    Column("tokens", BigInteger),
    Column("size", BigInteger, nullable=False),
    Column("named", Boolean, nullable=False),
    Column("forwarded", Boolean, nullable=False),  # it came with its caller's own bearer, which is never stored
    Column("retention", Double),
    Column("shared", Boolean, nullable=False),  # its answer may serve others that ask the same
    Column("why", Text, nullable=False),  # of its lane
    Column("traits", Text),  # `wire.outlines.Traits` as JSON: what a replay decides on
    # A request that was given no id has its `ask` as id, so this holds for all.
    UniqueConstraint("tenant", "request_id", name="requests_tenant_id"),
)
is_pending = requests.c.status == literal(PENDING, literal_execute=True)
"""The request has no answer yet. Written into the statement: a bound value would keep the partial index unused."""
Index("requests_pending", requests.c.owner, requests.c.rescue_at, sqlite_where=is_pending, postgresql_where=is_pending)

bodies = Table(
    "bodies",
    metadata,
    Column("ask", Text, ForeignKey("requests.ask"), primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("rest", LargeBinary, nullable=False),  # the Request without body, prompt and bearer, as MessagePack
)

answers = Table(
    "answers",
    metadata,
    Column("ask", Text, ForeignKey("requests.ask"), primary_key=True),
    Column("status", Integer, nullable=False),  # HTTP
    Column("body", LargeBinary),
    Column("answer", Text),  # the Answer without body, as JSON
    Column("fault", Text),  # or the Fault
    Column("fingerprint", Text),  # of its request, where the answer may serve others
    Column("via", Text, nullable=False),
    Column("batch_id", Text),
    Column("packed", Integer, nullable=False),
    Column("finished_at", Double, nullable=False),
    Column("keep_until", Double),  # for its body and its request's; NULL: kept, or swept already
    Column("cost", BigInteger),
    Column("saved", BigInteger),
    Column("why", Text, nullable=False),
)
_is_shared, _is_dated = answers.c.fingerprint.is_not(None), answers.c.keep_until.is_not(None)
Index(
    "answers_fingerprint",
    answers.c.fingerprint,
    answers.c.finished_at,
    sqlite_where=_is_shared,
    postgresql_where=_is_shared,
)
Index("answers_keep_until", answers.c.keep_until, sqlite_where=_is_dated, postgresql_where=_is_dated)

charges = Table(
    "charges",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("tenant", Text, primary_key=True),  # two of them may have given one id, and ride in one job
    Column("request_id", Text, primary_key=True),
    Column("key", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("via", Text, nullable=False),
    Column("input", BigInteger, nullable=False),
    Column("output", BigInteger, nullable=False),
    Column("cached", BigInteger, nullable=False),
    Column("cache_written", BigInteger, nullable=False),
    Column("reasoning", BigInteger, nullable=False),
    Column("tier", Text),
    Column("cost", BigInteger),
    Column("counterfactual", BigInteger),
    Column("at", Double, nullable=False),
    Column("day", Integer, nullable=False),  # days since the epoch, UTC
    Column("cache_written_hour", BigInteger, nullable=False, server_default=text("0")),
)
Index("charges_day", charges.c.day)
Index("charges_request", charges.c.tenant, charges.c.request_id)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("submit_tag", Text, nullable=False, unique=True),
    Column("provider", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("status", Text, nullable=False),  # the provider's, in our words
    Column("n", Integer, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("provider_batch_id", Text),
    Column("created_at", Double, nullable=False),
    Column("next_at", Double),  # when to look at it again; NULL: never
    Column("finished_at", Double),
    Column("hidden", Boolean, nullable=False),
    Column("cancel", Text),  # CancelAsked as JSON, until its holder has taken note of it
    Column("owner", Text),
    Column("fence", BigInteger, nullable=False),
    Column("lease_until", Double),
    Column("data", LargeBinary, nullable=False),  # the whole Job, as MessagePack
)
Index("jobs_next_at", jobs.c.next_at)
Index("jobs_provider_batch_id", jobs.c.provider_batch_id)

OPEN = "open"
"""State of a job's row that has no outcome yet; the others are `done`, `failed` and `requeued`."""

job_rows = Table(
    "job_rows",
    metadata,
    Column("job_id", Text, ForeignKey("jobs.id"), primary_key=True),
    Column("position", Integer, primary_key=True),  # its custom_id is made of this
    Column("ask", Text, ForeignKey("requests.ask"), nullable=False),
    Column("state", Text, nullable=False),
)
Index("job_rows_ask", job_rows.c.ask, job_rows.c.job_id, unique=True)

events = Table(
    "events",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("ask", Text),
    Column("job_id", Text),
    Column("kind", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("data", Text, nullable=False),  # JSON
    Column("picodollars", BigInteger),
)
Index("events_ask", events.c.ask)
Index("events_job", events.c.job_id)

owners = Table(
    "owners",
    metadata,
    Column("owner_id", Text, primary_key=True),
    Column("lease_until", Double, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("host", Text, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("profile", Text),
    Column("lanes", Text),  # JSON
    Column("deadline", Double),
    Column("reuse", Text),
    Column("packing", Text),
    Column("retention", Text),  # JSON: seconds, or "none"
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),
)
_is_valid = keys.c.revoked_at.is_(None)
Index("keys_name", keys.c.name, unique=True, sqlite_where=_is_valid, postgresql_where=_is_valid)

turnarounds = Table(
    "turnarounds",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=True),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("n", Integer, nullable=False),
)
Index("turnarounds_model", turnarounds.c.provider, turnarounds.c.model, turnarounds.c.at)

learnt = Table(
    "learnt",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),  # JSON
    Column("at", Double, nullable=False),
)

belongings = Table(
    "belongings",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("kind", Text, primary_key=True),  # file, batch, completion or response
    Column("id", Text, primary_key=True),  # the provider's
    Column("tenant", Text, nullable=False),
    Column("created_at", Double, nullable=False),  # as the provider says, or not after that
)
Index("belongings_tenant", belongings.c.tenant, belongings.c.provider, belongings.c.kind, belongings.c.created_at)

gaps = Table(
    "gaps",
    metadata,
    Column("id", _Number, primary_key=True, autoincrement=True),
    Column("since", Double, nullable=False),
    Column("until", Double, nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("charges", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
)
