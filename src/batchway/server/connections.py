"""Connections: bounds where uvicorn has none: a head that never ends, a request that never comes, an end unread."""

import asyncio
from collections.abc import Iterable
from typing import Protocol, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

MAX_HEAD = 512 * 1024
"""Bytes of a request's head. More than one read brings, so that the end of a body before it is never the reason."""

PATIENCE = 30.0
"""Seconds that a connection may be idle where uvicorn has no bound. Whoever opens connections and never asks, or sends
a header an hour, would keep them until our file descriptors are used up."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection, hung up on when a head grows past all measure: nobody else counts it."""

    head_size = 0

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is not None and cycle.scope is self.scope:
            self.head_size = 0
            return
        self.head_size += len(data)
        if self.head_size > MAX_HEAD:
            self.transport.abort()


class _Cycle(Protocol):
    response_complete: bool


class Watched(Protocol):
    """What is looked at of a connection."""

    cycle: _Cycle | None
    """The last request whose head was complete; None before the first."""
    timeout_keep_alive_task: asyncio.TimerHandle | None
    """Bounds the wait for the next request; ends with the first byte that comes."""
    transport: asyncio.Transport


class Idlers:
    """Finds and hangs up on those that wait for a head too long, or do not read the end of what was sent to them.

    Requests pay nothing for it: whether a connection idles can be seen from outside, at any time. `patience`: seconds.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since: dict[Watched, tuple[_Cycle | None, float]] = {}

    def sweep(self, connections: Iterable[object], now: float) -> None:
        """Look at all connections. `now`: seconds of a steady clock."""
        since: dict[Watched, tuple[_Cycle | None, float]] = {}
        for connection in cast("Iterable[Watched]", connections):
            if not _idles(connection):
                continue
            before = self._since.get(connection)
            # With another request in between it has begun to idle anew.
            same = before is not None and before[0] is connection.cycle
            since[connection] = before if before is not None and same else (connection.cycle, now)
            if now - since[connection][1] >= self._patience:
                connection.transport.abort()
        self._since = since


def _idles(connection: Watched) -> bool:
    cycle = connection.cycle
    if cycle is None or connection.transport.is_closing():
        return True
    return cycle.response_complete and connection.timeout_keep_alive_task is None
