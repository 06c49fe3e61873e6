"""`batchway start` and `batchway sandbox`: settings, logging, and what is said at the start."""

import functools
import socket
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

import structlog
import typer

from batchway import sandbox as simulated
from batchway.assemble import Gateway, load_settings, make_sandbox
from batchway.server import serving
from batchway.settings import Settings

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
    serving.check_address(settings)
    listener = serving.bind(settings.host, settings.port)
    if reload:
        _start_again_on_change(flags, sandbox, listener)
    else:
        _run(flags, sandbox, [listener])


def _run(flags: Mapping[str, object], sandbox: bool, sockets: list[socket.socket]) -> None:
    settings = load_settings(flags).settings
    configure_logging(settings)
    serving.run(
        settings,
        sandbox=simulated_providers if sandbox else None,
        listener=sockets[0],
        announce=functools.partial(_announce, sandbox=sandbox),
    )


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
    if served.settings.keys:
        lines.append(f"Gateway keys: {len(served.settings.keys)}; every request needs one.")
    else:
        lines.append("No gateway keys: everyone on this machine may use it.")
    typer.echo("\n".join(lines), err=True)


def sandbox(host: str, port: int) -> None:
    """Run the simulated providers until SIGINT or SIGTERM."""
    listening = "sandbox listens on {0}: OpenAI at {0}/v1, others at {0}/NAME/v1, faults and ledger at {0}/sandbox"
    application = simulated.app(make_sandbox())
    simulated.run(application, host, port, announce=lambda address: typer.echo(listening.format(address), err=True))
