"""Runs the gateway as a real HTTP server: within a running loop (`serve`) or for a command line (`run`)."""

import asyncio
import contextlib
import gc
import ipaddress
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import cast

import uvicorn

from batchway.assemble import Gateway, gateway
from batchway.assemble.policies import RuleBook
from batchway.core.errors import Refusal, SettingsError
from batchway.ports import Clock, Listener
from batchway.server import app
from batchway.server.access import Access
from batchway.server.connections import KEEP_ALIVE, PATIENCE, Connection, Idlers
from batchway.server.exchange import App
from batchway.settings import Settings

BACKLOG = 2048

KEYS_SECONDS = 2.0
"""Seconds between two looks at the store's keys."""

TICKS_PER_SECOND = 10
"""How often uvicorn's server ticks."""


class _Server(uvicorn.Server):
    """uvicorn's server, which on stopping also drains the engine: whoever waits gets an answer or a clear fault."""

    def __init__(self, config: uvicorn.Config, served: Gateway, idlers: Idlers) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self._served = served
        self._idlers = idlers

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_PER_SECOND == 0:
            self._idlers.sweep(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        draining = asyncio.create_task(self._served.engine.drain())
        await super().shutdown(sockets)
        await draining


@contextlib.asynccontextmanager
async def serve(
    settings: Settings,
    *,
    sandbox: str | None = None,
    listener: socket.socket | None = None,
    listeners: Sequence[Listener] = (),
    rules: RuleBook | None = None,
    what_if: Callable[[], Mapping[str, object]] | None = None,
    clock: Clock | None = None,
    patience: float = PATIENCE,
    keep_alive: float = KEEP_ALIVE,
) -> AsyncIterator[tuple[str, Gateway]]:
    """Serve within the running loop; gives the base address and the gateway. Leaving drains it.

    Raises SettingsError for an address that may not be used without keys, OSError for one that cannot be bound.
    """
    listener = listener or bind(settings.host, settings.port)
    async with gateway(
        settings, sandbox=sandbox, clock=clock, listeners=listeners, rules=rules, what_if=what_if
    ) as served:
        access = app.make_access(served)
        access.know(await served.stored_keys())
        check_address(settings, keyed=access.keyed)
        idlers = Idlers(patience, keep_alive)
        server = _Server(_config(app.build(served, access), settings), served, idlers)
        following = asyncio.create_task(_follow_keys(served, access))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        ready = asyncio.create_task(server.ready.wait())
        try:
            await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
            yield address_of(listener), served
        finally:
            ready.cancel()
            following.cancel()
            server.should_exit = True
            await serving


async def _follow_keys(served: Gateway, access: Access) -> None:
    """Keys that are made or revoked in the store open and shut within seconds."""
    while True:
        await asyncio.sleep(KEYS_SECONDS)
        try:
            access.know(await served.stored_keys())
        except Refusal as refusal:
            served.engine.store_failed(refusal.fault)


def run(
    settings: Settings,
    *,
    sandbox: Callable[[], contextlib.AbstractAsyncContextManager[str]] | None = None,
    listener: socket.socket | None = None,
    listeners: Sequence[Listener] = (),
    rules: RuleBook | None = None,
    what_if: Callable[[], Mapping[str, object]] | None = None,
    announce: Callable[[str, Gateway], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM. `sandbox` is entered first, and stands in for every provider."""

    async def main() -> None:
        spare_the_collector()
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with contextlib.AsyncExitStack() as stack:
            standing_in = await stack.enter_async_context(sandbox()) if sandbox else None
            address, served = await stack.enter_async_context(
                serve(
                    settings, sandbox=standing_in, listener=listener, listeners=listeners, rules=rules, what_if=what_if
                )
            )
            if announce is not None:
                announce(address, served)
            await stop.wait()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())


def spare_the_collector() -> None:
    """Tell the garbage collector that what is loaded by now stays, and to look less often: requests leave no cycles,
    so counting reference by reference frees them, and the collector's rounds are a tenth of the CPU for nothing."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed."""
    return uvicorn.Config("batchway", loop="auto", log_config=None).get_loop_factory()


def check_address(settings: Settings, *, keyed: bool) -> None:
    """Without gateway keys only this machine may reach the gateway: whoever reaches it spends the owner's money."""
    if keyed or settings.insecure or _is_loopback(settings.host):
        return
    raise SettingsError(
        f"host: '{settings.host}' can be reached from outside, and no gateway keys are configured. Make one with "
        "'batchway keys create NAME', or insist with --insecure."
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bind(host: str, port: int) -> socket.socket:
    """A listening address. Raises OSError that names it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends without delay only where a socket says that it is TCP: else a small answer may wait for 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


def address_of(listener: socket.socket) -> str:
    """The base URL of a listening address."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _config(application: App, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        cast("uvicorn._types.ASGIApplication", application),
        http=Connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        # The engine's drain refuses whoever still waits; this only bounds writing to those who do not read.
        timeout_graceful_shutdown=int(settings.drain_timeout) + 5,
    )
