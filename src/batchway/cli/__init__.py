"""The command line: `batchway`."""

import sys
from typing import Annotated

import typer

from batchway import __version__
from batchway.core.errors import BatchwayError

app = typer.Typer(
    name="batchway",
    help="Gives every LLM request its cheapest way, and loses none of them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
keys = typer.Typer(help="Gateway keys.", no_args_is_help=True)
app.add_typer(keys, name="keys")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"batchway {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


# Each command imports what it needs when it runs, so that `--help` and `--version` are quick.

Host = Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")]
Port = Annotated[int | None, typer.Option(help="Port to listen on [8080]; 0 takes a free one.")]
Profile = Annotated[str | None, typer.Option(help="Set of defaults: transparent, saver or batcher [transparent].")]
LogLevel = Annotated[str | None, typer.Option(help="debug, info, warning or error [info].")]
Config = Annotated[str | None, typer.Option("--config", help="TOML file with settings [batchway.toml].")]


@app.command()
def start(
    host: Host = None,
    port: Port = None,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Simulated providers: no key, no cost.")] = False,
    profile: Profile = None,
    log_level: LogLevel = None,
    insecure: Annotated[
        bool | None, typer.Option("--insecure", help="Listen beyond this machine without gateway keys.")
    ] = None,
    config: Config = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Start again when the source changes (development).")
    ] = False,
) -> None:
    """Start the gateway."""
    from batchway.cli import starting

    flags = {
        "host": host, "port": port, "profile": profile, "log_level": log_level, "insecure": insecure, "config": config,
    }  # fmt: skip
    starting.start({name: value for name, value in flags.items() if value is not None}, sandbox=sandbox, reload=reload)


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the demonstration.")] = False,
    port: Port = None,
) -> None:
    """Show it at work: gateway and simulated providers, a mixed load, what each way answered and saved."""
    from batchway.cli import demonstration

    demonstration.demonstrate(once=once, port=port)


@app.command()
def sandbox(
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 9090,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Start the simulated providers alone: OpenAI's API below /v1, every provider's below its name."""
    from batchway.cli import starting

    starting.sandbox(host, port)


@app.command()
def config(
    profile: Profile = None,
    log_level: LogLevel = None,
    config: Config = None,
    template: Annotated[bool, typer.Option("--template", help="Print an example of a .env file instead.")] = False,
) -> None:
    """Print the settings in force and where each value came from; keys are masked."""
    from batchway.cli import showing

    flags = {"profile": profile, "log_level": log_level, "config": config}
    showing.show_config({name: value for name, value in flags.items() if value is not None}, template=template)


@app.command()
def compress(
    file: Annotated[str, typer.Argument(help="A text, or the JSON body of a chat; it is not changed.")],
    budget: Annotated[int, typer.Option(help="Tokens that it may have.")],
    question: Annotated[str, typer.Option(help="What will be asked about a text; a chat has its own question.")] = "",
) -> None:
    """Show what optimize=fit would take out of a prompt: a diff, and a report of what and why."""
    from batchway.cli import compressing

    typer.echo(compressing.compress(file, budget, question))


@app.command()
def simulate(
    input: Annotated[  # noqa: A002  # the name of its flag
        str | None,
        typer.Option(help="Trace: JSON list, JSON Lines or CSV; - is standard input [the bundled prompts_batch.json]."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object: requests, batches, summary.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="CSV, a row for each batch.")] = False,
    max_wait_ms: Annotated[float | None, typer.Option(min=0, help="Milliseconds until a batch closes [200].")] = None,
    max_batch_size: Annotated[int | None, typer.Option(min=1, help="Requests that close a batch [8].")] = None,
    max_batch_tokens: Annotated[int | None, typer.Option(min=0, help="Tokens of a batch [8000]; 0: any.")] = None,
    tolerance: Annotated[
        str | None,
        typer.Option(help="Multiples of the wait by latency tolerance low, medium, high, or a policy file [0.25,1,4]."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all that is left to chance.")] = 1,
    arrivals: Annotated[
        str | None, typer.Option(help="Make new times: poisson, bursty or diurnal [those of the trace, else poisson].")
    ] = None,
    rate: Annotated[float, typer.Option(help="Requests a second of made times, in the mean.")] = 20.0,
    provider: Annotated[
        list[str] | None, typer.Option(help="Whose models may be chosen; may be repeated [the default provider].")
    ] = None,
    any_model: Annotated[
        bool, typer.Option("--any-model", help="Take models that the catalogue does not know.")
    ] = False,
    config: Config = None,
) -> None:
    """Batch a trace of requests by model, offline: what would go together, when and why. No model is called."""
    from batchway.cli import simulating

    rule = simulating.rule(max_wait_ms, max_batch_size, max_batch_tokens, tolerance)
    asked = simulating.Asked(
        file=input, json=json, csv=csv, seed=seed, arrivals=arrivals, rate=rate, rule=rule,
        providers=provider or (), any_model=any_model,
    )  # fmt: skip
    simulating.simulate(asked, {"config": config} if config else {})


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Name of the key; its requests are this tenant's.")],
    scope: Annotated[str, typer.Option(help="infer, or admin for management too.")] = "infer",
    tenant: Annotated[str | None, typer.Option(help="Whose data it is [the key's name].")] = None,
) -> None:
    """Make a gateway key: prints it once, and the line for the settings."""
    from batchway.cli import showing

    showing.create_key(name, scope, tenant)


def main() -> None:
    """The entry point. What is wrong with the user's input is one clear message, never a traceback."""
    try:
        app()
    except (BatchwayError, OSError) as error:
        print(f"batchway: {error}", file=sys.stderr)
        sys.exit(1)
