"""`batchway start` and `batchway sandbox`: settings, logging, and what is said at the start."""

import functools
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import structlog
import typer

from batchway import sandbox as simulated
from batchway.assemble import Gateway, LiveClock, load_settings, make_sandbox
from batchway.assemble.policies import RuleBook
from batchway.assemble.storage import NONE, no_batch_lane, store_place, store_url, unsafe_reasons
from batchway.core.errors import SettingsError
from batchway.engine.lifecycle import Lifecycle
from batchway.ports import Listener
from batchway.server import serving
from batchway.settings import Settings
from batchway.simulate import policies
from batchway.simulate.shadow import make_shadow
from batchway.wire.endpoints import FRONTS

_log = structlog.get_logger()

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure_logging(settings: Settings) -> None:
    """Log lines to standard error, for people or as JSON."""
    last: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[settings.log_level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def start(flags: Mapping[str, object], *, sandbox: bool, reload: bool) -> None:
    """Run until SIGINT or SIGTERM."""
    settings = load_settings(flags).settings
    listener = serving.bind(settings.host, settings.port)
    if reload:
        _start_again_on_change(flags, sandbox, listener)
    else:
        _run(flags, sandbox, [listener])


def _run(flags: Mapping[str, object], sandbox: bool, sockets: list[socket.socket]) -> None:
    with passing_store(flags) if sandbox else nullcontext(flags) as given:
        _serve(load_settings(given).settings, sandbox, sockets)


@contextmanager
def passing_store(flags: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """Flags for simulated providers: unless a store is named, it is a file that ends with them. Money that was never
    paid has no place in the owner's ledger."""
    if load_settings(flags).settings.database_url is not None:
        yield flags
        return
    with TemporaryDirectory(prefix="batchway-") as folder:
        yield {**flags, "database_url": f"{folder}/sandbox.db", "unsafe_store": True}


def _serve(settings: Settings, sandbox: bool, sockets: list[socket.socket]) -> None:
    configure_logging(settings)
    shadow = None if settings.what_if == "off" else make_shadow(settings, settings.what_if, _today())
    with _lifecycle(settings) as listeners:
        serving.run(
            settings,
            sandbox=simulated_providers if sandbox else None,
            listener=sockets[0],
            listeners=listeners if shadow is None else (*listeners, shadow),
            rules=_rules(settings),
            what_if=None if shadow is None else shadow.figures,
            announce=functools.partial(_announce, sandbox=sandbox),
        )


def _rules(settings: Settings) -> RuleBook | None:
    """Those of the policy file, if one is named."""
    if settings.policy is None:
        return None
    setup = policies.load(settings.policy, policies.on(settings))
    return RuleBook(policy=setup.policy, requests=setup.requests)


def _today() -> date:
    return datetime.fromtimestamp(LiveClock().now(), UTC).date()


@contextmanager
def _lifecycle(settings: Settings) -> Iterator[Sequence[Listener]]:
    """Whoever writes lifecycle events, if that is asked for; the last one says that the gateway ends."""
    if settings.events is None:
        yield ()
        return
    with nullcontext(sys.stdout.buffer) if settings.events == "-" else _appended(settings.events) as file:
        broken = False

        def write(line: bytes) -> None:
            nonlocal broken
            try:
                file.write(line)
                file.flush()
            except OSError as error:
                # A full disk, a reader that is gone: it costs events, never a request.
                if not broken:
                    _log.error("lifecycle events cannot be written", events=settings.events, reason=str(error))
                broken = True
            else:
                broken = False

        paths = {front.endpoint: f"/v1{front.path}" for front in FRONTS.values()}
        lifecycle = Lifecycle(write, dict(settings.metadata_pairs()), paths, LiveClock().now)
        yield (lifecycle,)
        lifecycle.closing()


def _appended(events: str) -> BinaryIO:
    try:
        return Path(events).open("ab", buffering=0)
    except OSError as error:
        raise SettingsError(f"events: {events} cannot be written ({error.strerror}); name another file.") from error


def _start_again_on_change(flags: Mapping[str, object], sandbox: bool, listener: socket.socket) -> None:
    import uvicorn
    from uvicorn.supervisors import ChangeReload

    config = uvicorn.Config("batchway", reload=True, log_config=None)
    ChangeReload(config, target=functools.partial(_run, dict(flags), sandbox), sockets=[listener]).run()


def simulated_providers() -> AbstractAsyncContextManager[str]:
    """A sandbox on a free port of this machine."""
    return simulated.serve(simulated.app(make_sandbox()))


def _announce(address: str, served: Gateway, *, sandbox: bool) -> None:
    lines = [f"batchway listens on {address}  (API docs: {address}/docs)"]
    if sandbox:
        lines.append("Providers are simulated: no key is needed, nothing is billed.")
    for name, account in sorted(served.accounts.items()):
        if account.key is not None:
            lines.append(f"  {name}: its key is configured; a caller's own bearer is not forwarded")
    if not any(account.key for account in served.accounts.values()):
        lines.append("No provider key is configured: callers' own bearers are forwarded, each its own tenant.")
    lines.append(_store_line(served.settings))
    if served.settings.keys:
        lines.append(f"Gateway keys: {len(served.settings.keys)} in the settings; every request needs one.")
    elif served.settings.database_url == NONE:
        lines.append("No gateway keys: everyone on this machine may use it.")
    else:
        lines.append("Gateway keys: those in the store (`batchway keys list`); without any everyone here may use it.")
    typer.echo("\n".join(lines), err=True)


def _store_line(settings: Settings) -> str:
    why_not = no_batch_lane(settings)
    if store_url(settings) is None:
        return "Store: none, so that there is no batch lane and no record (database_url=none)."
    unsafe = [f"; not safe there, though unsafe_store insists: {reason}" for reason in unsafe_reasons(settings)]
    return f"Store: {store_place(settings)}" + (f"; no batch lane: {why_not}" if why_not else "".join(unsafe))


def sandbox(host: str, port: int) -> None:
    """Run the simulated providers until SIGINT or SIGTERM."""
    if not host.strip():
        raise SettingsError("--host: give an address of this machine; empty would be all of them.")
    listening = "sandbox listens on {0}: OpenAI at {0}/v1, others at {0}/NAME/v1, faults and ledger at {0}/sandbox"
    application = simulated.app(make_sandbox())
    simulated.run(application, host, port, announce=lambda address: typer.echo(listening.format(address), err=True))
