"""Connections: bounds where uvicorn has none: a head that never ends, a request that never comes, an end unread."""

import asyncio
from collections.abc import Iterable
from typing import NamedTuple, Protocol, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from batchway.server.cycle import Cycle

MAX_HEAD = 512 * 1024
"""Bytes of a request's head. More than one read brings, so that the end of a body before it is never the reason."""

PATIENCE = 30.0
"""Seconds that a connection may be idle where uvicorn has no bound. Whoever opens connections and never asks, or sends
a header an hour, would keep them until our file descriptors are used up."""

KEEP_ALIVE = 75.0
"""Seconds that a connection stays open between two requests: longer than SDKs keep theirs, so that no reused one dies
under them."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection, hung up on when a head grows past all measure: nobody else counts it."""

    cycle: RequestResponseCycle | None  # type: ignore[assignment]
    """The last request whose head was complete; None before the first."""
    head_size = 0
    """Bytes since the last request's head: of its body, or of the next head."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle = self.cycle
        if cycle is not None and cycle.scope is self.scope:
            self.head_size = 0
            return
        self.head_size += len(data)
        if self.head_size > MAX_HEAD:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        """As uvicorn's, without what this server has not (upgrades, a root path, a bound on concurrency), and with a
        cycle that writes whole responses in one piece."""
        scope, url = self.scope, httptools.parse_url(self.url)
        version, path = self.parser.get_http_version(), url.path.decode("ascii")
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["http_version"] = version
        scope["path"] = unquote(path) if "%" in path else path
        scope["raw_path"] = url.path
        scope["query_string"] = url.query or b""
        before = self.cycle
        self.cycle = Cycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_response_complete(self) -> None:
        """As uvicorn's, but for its timer that ends the wait for the next request: one for each answer would cost as
        much as reading the request. `Idlers` bound that wait."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())


class _Cycle(Protocol):
    response_complete: bool


class Watched(Protocol):
    """What is looked at of a connection."""

    cycle: _Cycle | None
    """The last request whose head was complete; None before the first."""
    head_size: int
    """Bytes of the next head that have come."""
    transport: asyncio.Transport


class _Rest(NamedTuple):
    """A connection at rest: after which request, with a head begun or not, and since when."""

    cycle: _Cycle | None
    begun: bool
    since: float


class Idlers:
    """Finds and hangs up on those that wait for a head too long, or do not read the end of what was sent to them.

    Requests pay nothing for it: whether a connection idles can be seen from outside, at any time.
    """

    def __init__(self, patience: float, keep_alive: float) -> None:
        """Seconds: `patience` with who never asked, is in the middle of a head, or does not read; `keep_alive` between
        two requests."""
        self._patience = patience
        self._keep_alive = keep_alive
        self._rests: dict[Watched, _Rest] = {}

    def sweep(self, connections: Iterable[object], now: float) -> None:
        """Look at all connections. `now`: seconds of a steady clock."""
        rests: dict[Watched, _Rest] = {}
        for connection in cast("Iterable[Watched]", connections):
            bound = self._bound(connection)
            if bound is None:
                continue
            rest = _Rest(connection.cycle, connection.head_size > 0, now)
            before = self._rests.get(connection, rest)
            # With another request in between it has begun to idle anew.
            rest = before if before[:2] == rest[:2] else rest
            rests[connection] = rest
            if now - rest.since >= bound:
                connection.transport.abort()
        self._rests = rests

    def _bound(self, connection: Watched) -> float | None:
        """Seconds that it may go on as it is; None: it works."""
        cycle = connection.cycle
        if cycle is None or connection.transport.is_closing():
            return self._patience
        if not cycle.response_complete:
            return None
        return self._patience if connection.head_size else self._keep_alive
