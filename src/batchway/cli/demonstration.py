"""`batchway demo`: gateway and simulated providers on this machine, a mixed load through the real OpenAI client, and
what each way answered and saved."""

import asyncio
import signal
from collections.abc import Sequence

import typer
from rich.console import Console
from rich.table import Table

from batchway import sandbox as simulated
from batchway.assemble import Gateway, load_settings, make_sandbox
from batchway.cli.mixed_load import Part, Row, ask_everything
from batchway.cli.starting import configure_logging, passing_store
from batchway.core.cost import dollars
from batchway.core.errors import SettingsError
from batchway.sandbox.faults import Delay
from batchway.server import serving
from batchway.settings import Settings

LATENCY = 0.2
"""Seconds that a simulated provider thinks, so that questions asked at once meet in flight, as they do in life."""
WIDTH = 100
STAKE = 0.01
"""US dollars that `packing=auto` may risk, so that it shows from the first letters on what it does."""


def demonstrate(*, once: bool, port: int | None) -> None:
    """Run it; without `once` the server stays up afterwards."""
    try:
        import openai  # noqa: F401
    except ImportError as error:
        raise SettingsError("The demo needs the OpenAI client: pip install 'batchway[client]'.") from error
    with asyncio.Runner(loop_factory=serving.loop_factory()) as runner:
        runner.run(_demonstrate(once=once, port=port))


async def _demonstrate(*, once: bool, port: int | None) -> None:
    flags: dict[str, object] = {
        "log_level": "error", "profile": "saver", "pack_stake_usd": STAKE,
        # A batch that nobody has to wait for long.
        "flush_interval": 0.5, "poll_interval": 0.5, "settle": 1,
    }  # fmt: skip
    if port is not None or once:
        # A demonstration that ends takes any free port, so that it runs beside whatever is there.
        flags["port"] = port if port is not None else 0
    with passing_store(flags) as given:
        settings = load_settings(given).settings
        configure_logging(settings)
        await _show(settings, once=once)


async def _show(settings: Settings, *, once: bool) -> None:
    console = Console(width=WIDTH)
    providers = make_sandbox()
    providers.faults.switch_on([Delay(count=None, seconds=LATENCY)])
    async with (
        simulated.serve(simulated.app(providers)) as sandbox,
        serving.serve(settings, sandbox=sandbox) as (address, served),
    ):
        console.print(f"batchway listens on {address}; profile saver, simulated providers, nothing is billed.\n")
        rows, parts = await ask_everything(address)
        _show_rows(console, rows)
        _show_parts(console, parts)
        _show_money(console, served)
        if not once:
            await _stay(console, address)


def _show_rows(console: Console, rows: Sequence[Row]) -> None:
    table = Table(title="What was asked, and how it was answered", title_justify="left")
    for name in ("asked", "requests", "answered"):
        table.add_column(name, justify="right" if name == "requests" else "left")
    for row in rows:
        table.add_row(row.asked, str(row.requests), row.answered)
    console.print(table)


def _show_parts(console: Console, parts: Sequence[Part]) -> None:
    """One packed call: what each of its requests asked, got and pays."""
    if not parts:
        return
    table = Table(title=f"One packed call, and its {len(parts)} parts", title_justify="left")
    for name in ("asked", "answered", "tokens", "paid", "saved"):
        words = name in ("asked", "answered")
        table.add_column(name, justify="left" if words else "right", no_wrap=True, max_width=26 if words else None)
    for part in parts:
        table.add_row(part.letter, part.said, f"{part.input} + {part.output}", f"${part.cost}", f"${part.saved}")
    console.print(table)
    console.print(f"Why: {parts[0].why}.", width=WIDTH)


def _show_money(console: Console, served: Gateway) -> None:
    stats = served.stats
    answered = sum(stats.answered.values())
    would_have_cost = stats.paid + stats.saved
    share = 100 * stats.saved / would_have_cost if would_have_cost else 0.0
    table = Table(title="What it cost", title_justify="left")
    for name in ("requests", "upstream calls", "paid", "each sent alone", "saved"):
        table.add_column(name, justify="right")
    table.add_row(
        str(answered),
        str(stats.calls),
        f"${dollars(stats.paid)}",
        f"${dollars(would_have_cost)}",
        f"${dollars(stats.saved)} ({share:.0f} %)",
    )
    console.print(table)


async def _stay(console: Console, address: str) -> None:
    body = '{"model":"gpt-6-luna","messages":[{"role":"user","content":"Say hello"}]}'
    console.print(f"\nTry it (Ctrl-C ends it; API docs: {address}/docs):")
    typer.echo(f"  curl -s {address}/v1/chat/completions -H 'Content-Type: application/json' -d '{body}'")
    typer.echo('  and, at half the price, the same with "priority":"low" beside its model.')
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
