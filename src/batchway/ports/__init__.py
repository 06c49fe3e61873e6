"""What the engine needs from outside, as small protocols. `assemble` joins them to the parts that do it."""

from batchway.ports.batching import BatchDialect, OutgoingRows, ResultReader
from batchway.ports.calling import Dialect, Flow, Incoming, IncomingStream, Outgoing, Sender
from batchway.ports.clock import Alarm, Clock
from batchway.ports.keeping import (
    Behind,
    Berth,
    Custody,
    Held,
    JobStore,
    Journal,
    Landing,
    Lesson,
    Made,
    Occupied,
    Orphans,
    Pending,
    Stepped,
    Successor,
)
from batchway.ports.listening import Listener
from batchway.ports.relaying import Belonging, Belongings, RelayDialect, Relayed, Span

__all__ = [
    "Alarm",
    "BatchDialect",
    "Behind",
    "Belonging",
    "Belongings",
    "Berth",
    "Clock",
    "Custody",
    "Dialect",
    "Flow",
    "Held",
    "Incoming",
    "IncomingStream",
    "JobStore",
    "Journal",
    "Landing",
    "Lesson",
    "Listener",
    "Made",
    "Occupied",
    "Orphans",
    "Outgoing",
    "OutgoingRows",
    "Pending",
    "RelayDialect",
    "Relayed",
    "ResultReader",
    "Sender",
    "Span",
    "Stepped",
    "Successor",
]
