"""`batchway demo`: gateway and simulated providers on this machine, a mixed load through the real OpenAI client, and
what each way answered and saved."""

import asyncio
import signal
from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from batchway import sandbox as simulated
from batchway.assemble import Gateway, load_settings, make_sandbox
from batchway.cli.starting import configure_logging
from batchway.core.cost import dollars
from batchway.core.errors import SettingsError
from batchway.engine.stats import VIAS
from batchway.sandbox.faults import Delay
from batchway.server import serving

QUESTIONS = (
    "Is 'the parcel came two days late' a complaint? Answer yes or no.",
    "Translate 'good morning' into French.",
    "What is the capital of Peru?",
    "Give a synonym for 'quick'.",
)
MODEL = "gpt-6-luna"
REPEATS = 8
LATENCY = 0.2
"""Seconds that a simulated provider thinks, so that questions asked at once meet in flight, as they do in life."""
SIMULTANEOUS = 12
WIDTH = 100


def demonstrate(*, once: bool, port: int | None) -> None:
    """Run it; without `once` the server stays up afterwards."""
    try:
        import openai  # noqa: F401
    except ImportError as error:
        raise SettingsError("The demo needs the OpenAI client: pip install 'batchway[client]'.") from error
    with asyncio.Runner(loop_factory=serving.loop_factory()) as runner:
        runner.run(_demonstrate(once=once, port=port))


async def _demonstrate(*, once: bool, port: int | None) -> None:
    flags: dict[str, object] = {"log_level": "error"}
    if port is not None or once:
        # A demonstration that ends takes any free port, so that it runs beside whatever is there.
        flags["port"] = port if port is not None else 0
    settings = load_settings(flags).settings
    configure_logging(settings)
    console = Console(width=WIDTH)
    providers = make_sandbox()
    providers.faults.switch_on([Delay(count=None, seconds=LATENCY)])
    async with (
        simulated.serve(simulated.app(providers)) as sandbox,
        serving.serve(settings, sandbox=sandbox) as (address, served),
    ):
        console.print(f"batchway listens on {address}; the providers are simulated, nothing is billed.\n")
        lines = await _mixed_load(address)
        _show_lines(console, lines)
        _show_money(console, served)
        if not once:
            await _stay(console, address)


async def _mixed_load(address: str) -> list[tuple[str, int, str]]:
    """What was asked, how often, and how it was answered."""
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=f"{address}/v1", api_key="no-key-needed") as client:
        varied = [await _ask(client, question, temperature=1.0) for question in QUESTIONS]
        twins = await asyncio.gather(*(_ask(client, QUESTIONS[0], temperature=0) for _ in range(SIMULTANEOUS)))
        again = [await _ask(client, QUESTIONS[0], temperature=0) for _ in range(REPEATS)]
        streamed = [await _stream(client, question) for question in QUESTIONS[:2]]
        vectors = [await _embed(client, QUESTIONS[1]) for _ in range(3)]
    return [
        ("different questions, one after the other", len(varied), _ways(varied)),
        (f"one question {SIMULTANEOUS} times at once, temperature 0", len(twins), _ways(twins)),
        ("the same question later, again and again", len(again), _ways(again)),
        ("streamed answers", len(streamed), _ways(streamed)),
        ("one embedding asked for three times", len(vectors), _ways(vectors)),
    ]


async def _ask(client: Any, question: str, *, temperature: float) -> str:
    answer = await client.chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": question}], temperature=temperature
    )
    return str(answer.headers["x-batchway-routed-via"])


async def _stream(client: Any, question: str) -> str:
    raw = await client.chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": question}], stream=True
    )
    async for _ in raw.parse():
        pass
    return str(raw.headers["x-batchway-routed-via"])


async def _embed(client: Any, text: str) -> str:
    answer = await client.embeddings.with_raw_response.create(model="text-embedding-3-small", input=text)
    return str(answer.headers["x-batchway-routed-via"])


def _ways(vias: Sequence[str]) -> str:
    counts = {via: vias.count(via) for via in VIAS}
    return ", ".join(f"{count} {via}" for via, count in counts.items() if count)


def _show_lines(console: Console, lines: Sequence[tuple[str, int, str]]) -> None:
    table = Table(title="What was asked, and how it was answered", title_justify="left")
    for name in ("asked", "requests", "answered"):
        table.add_column(name, justify="right" if name == "requests" else "left")
    for asked, count, answered in lines:
        table.add_row(asked, str(count), answered)
    console.print(table)


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
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
