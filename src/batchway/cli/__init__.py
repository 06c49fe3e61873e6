"""The command line: `batchway`."""

import sys
from io import TextIOWrapper
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
GATEWAY = "http://127.0.0.1:8080"

UNANSWERED = 3
"""The exit code where a command did what it was told, and requests failed, were cancelled or were refused."""

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
    policy: Annotated[str | None, typer.Option(help="A policy file, as `batchway tune` writes one.")] = None,
    log_level: LogLevel = None,
    insecure: Annotated[
        bool | None, typer.Option("--insecure", help="Listen beyond this machine without gateway keys.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Requests that close a window of the batch lane [100].")
    ] = None,
    flush_interval: Annotated[
        float | None, typer.Option(help="Seconds after which such a window closes at the latest [300].")
    ] = None,
    idle_timeout: Annotated[
        float | None, typer.Option(help="Seconds without a newcomer after which it closes [3600].")
    ] = None,
    poll_interval: Annotated[
        float | None, typer.Option(help="Seconds between two looks at a provider's batch [60].")
    ] = None,
    batch_metadata: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE put on every provider batch; may be repeated.")
    ] = None,
    events: Annotated[
        str | None, typer.Option(help="File for the lifecycle of provider batches as JSON lines; - is standard output.")
    ] = None,
    database_url: Annotated[
        str | None, typer.Option(help="The store: a path, a postgresql:// URL, or none [the user's data folder].")
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
        "batch_size": batch_size, "flush_interval": flush_interval, "idle_timeout": idle_timeout,
        "poll_interval": poll_interval, "batch_metadata": tuple(batch_metadata) if batch_metadata else None,
        "events": events, "database_url": database_url, "policy": policy,
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
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 9090,
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
    """Show what optimize=fit would take out of a prompt: a diff, and a report of what and why. Ends with 1 if it cannot
    be made to fit."""
    from batchway.cli import compressing

    shown = compressing.compress(file, budget, question)
    typer.echo(shown.text)
    if not shown.fits:
        raise typer.Exit(1)


@app.command()
def pack(
    file: Annotated[str, typer.Argument(help="JSON list or JSON lines of prompts or of bodies of chats.")],
    model: Annotated[str | None, typer.Option(help="Of prompts, and of bodies without one [default_model].")] = None,
    system: Annotated[str | None, typer.Option(help="System message before each prompt.")] = None,
    max_batch_size: Annotated[int | None, typer.Option(help="Requests that a call may answer [6].")] = None,
    pack_format: Annotated[str | None, typer.Option(help="xml or json [xml].")] = None,
    config: Config = None,
) -> None:
    """Show which requests would share calls, what these would say, and what that would cost; nothing is sent."""
    from batchway.cli import packing

    flags = _flags(config=config, max_batch_size=max_batch_size, pack_format=pack_format)
    typer.echo(packing.pack(file, flags, model=model, system=system))


SystemTokens = Annotated[
    int, typer.Option(min=0, max=10_000_000, help="Tokens of a system prompt before each prompt of a trace.")
]
OF_TRACES = "input", "arrivals", "rate", "provider", "any_model", "system_tokens"
WHOLE = "profile", "policy", "from_store", "report", "world"


@app.command()
def simulate(
    context: typer.Context,
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
    profile: Annotated[
        list[str] | None, typer.Option(help="Let the whole gateway answer by this policy; may be repeated.")
    ] = None,
    policy: Annotated[
        list[str] | None, typer.Option(help="The same by the policy of a TOML file; may be repeated.")
    ] = None,
    from_store: Annotated[
        bool, typer.Option("--from-store", help="Answer the gateway's own recorded traffic instead of a trace.")
    ] = False,
    days: Annotated[float, typer.Option(help="Of it, back from its last request.")] = 7.0,
    report: Annotated[str | None, typer.Option(help="Write the comparison as an HTML file too.")] = None,
    world: Annotated[str | None, typer.Option(help="TOML file that says how providers behave [as is assumed].")] = None,
    system_tokens: SystemTokens = 0,
    database_url: Annotated[str | None, typer.Option(help="The store [as the settings say].")] = None,
    config: Config = None,
) -> None:
    """Batch a trace by model, offline: what would go together, when and why; no model is called.

    With --profile, --policy, --from-store or --report the whole gateway answers it, policy by policy.
    """
    from batchway.cli import combining, simulating

    said = combining.Said(context)
    said.never_with(WHOLE, "csv", "max_wait_ms", "max_batch_size", "max_batch_tokens", "tolerance")
    said.never_with(("from_store",), *OF_TRACES)
    said.only_with(("from_store",), "days", "database_url")
    said.only_with(WHOLE, "system_tokens")
    rule = simulating.rule(max_wait_ms, max_batch_size, max_batch_tokens, tolerance)
    asked = simulating.Asked(
        file=input, json=json, csv=csv, seed=seed, arrivals=arrivals, rate=rate, rule=rule,
        providers=provider or (), any_model=any_model,
    )  # fmt: skip
    flags = _flags(config=config, database_url=database_url)
    if profile or policy or from_store or report or world:
        from batchway.cli import rehearsing

        wanted = rehearsing.Wanted(
            profiles=profile or (), policies=policy or (), from_store=from_store, days=days, report=report,
            world=world, system_tokens=system_tokens,
        )  # fmt: skip
        rehearsing.rehearse(asked, wanted, flags)
    else:
        simulating.simulate(asked, flags)


@app.command()
def tune(
    context: typer.Context,
    p95: Annotated[float, typer.Option("--p95", help="Seconds within which 95 of 100 requests must be answered.")],
    input: Annotated[  # noqa: A002  # the name of its flag
        str | None, typer.Option(help="Trace, as simulate reads it [the bundled prompts_batch.json].")
    ] = None,
    from_store: Annotated[
        bool, typer.Option("--from-store", help="The gateway's own recorded traffic instead of a trace.")
    ] = False,
    days: Annotated[float, typer.Option(help="Of it, back from its last request.")] = 7.0,
    profile: Annotated[str, typer.Option(help="Policy to begin with.")] = "saver",
    policy: Annotated[str | None, typer.Option(help="File of a policy to begin with, instead.")] = None,
    over: Annotated[
        list[str] | None,
        typer.Option(help="Field and values to try, as pack.max_wait=0.05,0.2; may be repeated [windows, sizes, …]."),
    ] = None,
    trials: Annotated[int, typer.Option(help="Policies to try; of more, a seeded choice.")] = 40,
    output: Annotated[str, typer.Option(help="The policy file that is written.")] = "tuned.toml",
    report: Annotated[str | None, typer.Option(help="Write the curve as an HTML file too.")] = None,
    json: Annotated[bool, typer.Option("--json", help="All that was tried, for programs.")] = False,
    seed: Annotated[int, typer.Option(help="Of all that is left to chance.")] = 1,
    arrivals: Annotated[str | None, typer.Option(help="Make new times: poisson, bursty or diurnal.")] = None,
    rate: Annotated[float, typer.Option(help="Requests a second of made times, in the mean.")] = 20.0,
    world: Annotated[str | None, typer.Option(help="TOML file that says how providers behave [as is assumed].")] = None,
    system_tokens: SystemTokens = 0,
    database_url: Annotated[str | None, typer.Option(help="The store [as the settings say].")] = None,
    config: Config = None,
) -> None:
    """Find the cheapest policy that answers quickly enough, offline, and write it for start --policy."""
    from batchway.cli import combining, simulating, tuning
    from batchway.simulate.tuning import Goal

    said = combining.Said(context)
    said.never_with(("from_store",), *OF_TRACES)
    said.only_with(("from_store",), "days", "database_url")
    said.never_with(("policy",), "profile")
    asked = simulating.Asked(file=input, json=json, seed=seed, arrivals=arrivals, rate=rate)
    wanted = tuning.Wanted(
        goal=Goal(p95=p95), profile=profile, policy=policy, over=over or (), trials=trials, output=output,
        report=report, world=world, from_store=from_store, days=days, system_tokens=system_tokens,
    )  # fmt: skip
    tuning.tune(asked, wanted, _flags(config=config, database_url=database_url))


Url = Annotated[str, typer.Option(envvar="BATCHWAY_URL", help="Address of the gateway.")]
AdminKey = Annotated[
    str | None, typer.Option("--key", envvar="BATCHWAY_API_KEY", help="A gateway key of scope admin, where keys are.")
]
AnyKey = Annotated[str | None, typer.Option("--key", envvar="BATCHWAY_API_KEY", help="A gateway key, where keys are.")]
Store = Annotated[str | None, typer.Option("--database-url", help="The store [as the settings say].")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Limit = Annotated[int, typer.Option(min=1, max=1_000_000, help="So many at most.")]


def _flags(**given: object) -> dict[str, object]:
    return {name: value for name, value in given.items() if value is not None}


@app.command()
def status(
    url: Url = GATEWAY, key: AdminKey = None, database_url: Store = None, config: Config = None, json: Json = False
) -> None:
    """What a running gateway says of itself: health, requests, money, queues and batches.

    Where none answers, what the store of the settings says. Ends with 1 if something does not work.
    """
    from batchway.cli import remote, standing

    flags = _flags(database_url=database_url, config=config)
    if not standing.status(remote.Where(url, key), flags, json=json):
        raise typer.Exit(1)


@app.command()
def flush(
    provider: Annotated[str, typer.Argument(help="Whose windows are closed.")],
    url: Url = GATEWAY,
    key: AdminKey = None,
    json: Json = False,
) -> None:
    """Close the open windows of a provider now: what waits in them becomes batches."""
    from batchway.cli import remote

    remote.flush(remote.Where(url, key), provider, json=json)


@app.command()
def purge(
    context: typer.Context,
    older_than: Annotated[float | None, typer.Option(min=0, max=1e10, help="Seconds since they were formed.")] = None,
    status: Annotated[str | None, typer.Option(help="finished, or statuses such as failed,expired.")] = None,
    batch_id: Annotated[str | None, typer.Option(help="This one; it is cancelled first if it is active.")] = None,
    local: Annotated[bool, typer.Option("--local", help="In the store itself, without a gateway.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which.")] = False,
    url: Url = GATEWAY,
    key: AdminKey = None,
    database_url: Store = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Show finished batches no more; their answers and charges stay."""
    from batchway.cli import combining, remote

    said = combining.Said(context)
    said.never_with(("batch_id",), "older_than", "status")
    said.never_with(("local",), "url", "key")
    said.only_with(("local",), "database_url", "config")
    which = remote.Purge(older_than=older_than, status=status, batch_id=batch_id, dry_run=dry_run)
    if local:
        remote.purge_local(_flags(database_url=database_url, config=config), which, json=json)
    else:
        remote.purge(remote.Where(url, key), which, json=json)


Out = Annotated[
    str | None, typer.Option(help="File for the results; it goes by this name once it is whole [standard output].")
]


@app.command()
def submit(
    file: Annotated[
        str,
        typer.Argument(
            help="JSON Lines: bodies of chats, or lines as OpenAI's Batch API takes them; - is standard input, kept in "
            "a temporary file meanwhile."
        ),
    ],
    prefix: Annotated[
        str | None,
        typer.Option(help="Begins every id [made of the file's bytes, so that another file has other ids]."),
    ] = None,
    url: Url = GATEWAY,
    key: AnyKey = None,
    out: Out = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until all are answered, then fetch the results.")] = False,
    json: Json = False,
) -> None:
    """Hand in a file of requests that can wait; `results` fetches what became of them.

    The same file again attaches to what is there: nothing is asked or paid twice. Ends with 3 if a line was refused,
    or a request has failed or was cancelled.
    """
    from batchway.cli import fetching, remote, submitting

    wanted = fetching.Wanted(out=out, wait=wait or out is not None, json=json)
    if not submitting.submit(remote.Where(url, key), file, prefix, wanted):
        raise typer.Exit(UNANSWERED)


@app.command()
def results(
    prefix: Annotated[str, typer.Argument(help="How the ids begin, as `submit` says.")],
    url: Url = GATEWAY,
    key: AnyKey = None,
    status: Annotated[
        str | None, typer.Option(help="Only pending, completed, failed or cancelled; several with commas between.")
    ] = None,
    requests: Annotated[
        bool, typer.Option("--requests", help="What was asked instead, as lines that `submit` takes.")
    ] = False,
    out: Out = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until all are answered.")] = False,
    counts: Annotated[bool, typer.Option("--counts", help="Only how many there are of each status.")] = False,
    json: Annotated[bool, typer.Option("--json", help="For programs (results are JSON Lines anyway).")] = False,
) -> None:
    """What became of requests whose ids begin alike, a line of JSON for each, by their ids.

    What failed is asked anew as a file of its own: results PREFIX --status failed --requests | submit -. Ends with 3 if
    some failed or were cancelled and --status does not name them.
    """
    from batchway.cli import fetching, remote

    wanted = fetching.Wanted(statuses=status, requests=requests, out=out, wait=wait, json=json)
    if not (fetching.count if counts else fetching.fetch)(remote.Where(url, key), prefix, wanted):
        raise typer.Exit(UNANSWERED)


@app.command()
def batches(
    status: Annotated[
        str | None, typer.Option(help="active, finished, all, or statuses such as completed,failed.")
    ] = None,
    limit: Limit = 50,
    database_url: Store = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Provider batches, newest first, read from the store."""
    from batchway.cli import bookkeeping

    bookkeeping.list_batches(_flags(database_url=database_url, config=config), status, limit, json=json)


@app.command()
def requests(
    status: Annotated[
        str | None, typer.Option(help="pending, completed, failed or cancelled; several with commas between.")
    ] = None,
    provider: Annotated[str | None, typer.Option(help="Where they went.")] = None,
    model: Annotated[str | None, typer.Option(help="What they asked.")] = None,
    lane: Annotated[str | None, typer.Option(help="direct, flex or batch.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Whose they are.")] = None,
    limit: Limit = 50,
    database_url: Store = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Requests, newest first, read from the store."""
    from batchway.cli import bookkeeping

    flags = _flags(database_url=database_url, config=config)
    asked = {"status": status, "provider": provider, "model": model, "lane": lane, "tenant": tenant}
    bookkeeping.list_requests(flags, asked, limit, json=json)


@app.command()
def explain(
    request_id: Annotated[str, typer.Argument(help="As the answer's request_id says.")],
    database_url: Store = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Follow one request: what happened to it in order, why, and what it cost."""
    from batchway.cli import bookkeeping

    bookkeeping.explain(_flags(database_url=database_url, config=config), request_id, json=json)


@app.command()
def ledger(
    by: Annotated[str, typer.Option(help="What to sum by: day, lane, model, key, with commas between.")] = "day,lane",
    days: Annotated[int, typer.Option(min=1, max=36_525, help="So many days back, today included (UTC).")] = 30,
    tenant: Annotated[str | None, typer.Option(help="Of this tenant alone.")] = None,
    database_url: Store = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """What was paid, and what the same requests would have cost alone and directly."""
    from batchway.cli import bookkeeping

    groups = [name.strip() for name in by.split(",") if name.strip()]
    bookkeeping.ledger(_flags(database_url=database_url, config=config), groups, days, tenant, json=json)


@app.command()
def doctor(
    sandbox: Annotated[str | None, typer.Option(help="Address of a sandbox that stands in for all providers.")] = None,
    database_url: Store = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Which providers have keys, answer, and offer which lanes; and whether the store is safe. Ends with 1 if not."""
    from batchway.cli import doctoring

    if not doctoring.diagnose(_flags(database_url=database_url, config=config), sandbox, json=json):
        raise typer.Exit(1)


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Name of the key; its requests are this tenant's.")],
    scope: Annotated[str, typer.Option(help="infer, or admin for management too.")] = "infer",
    tenant: Annotated[str | None, typer.Option(help="Whose data it is [the key's name].")] = None,
    profile: Annotated[str | None, typer.Option(help="Its defaults: transparent, saver or batcher.")] = None,
    lanes: Annotated[str | None, typer.Option(help="The lanes that it may use, with commas between.")] = None,
    deadline: Annotated[float | None, typer.Option(help="Seconds that its requests may take by default.")] = None,
    reuse: Annotated[str | None, typer.Option(help="off, auto or all.")] = None,
    packing: Annotated[str | None, typer.Option(help="never, auto or always.")] = None,
    retention: Annotated[str | None, typer.Option(help="Seconds that bodies are kept, or none.")] = None,
    print_only: Annotated[bool, typer.Option("--print", help="Store nothing: print a line for the settings.")] = False,
    database_url: Store = None,
    config: Config = None,
) -> None:
    """Make a gateway key: prints it once; the store keeps its hash, or `--print` gives the line for the settings."""
    from batchway.cli import keyring

    given = _flags(
        name=name, scope=scope, tenant=tenant, profile=profile, deadline=deadline, reuse=reuse, packing=packing,
        lanes=lanes.split(",") if lanes else None,
        retention=retention if retention in (None, "none") else keyring.seconds(retention),
    )  # fmt: skip
    keyring.create(_flags(database_url=database_url, config=config), given, print_only=print_only)


@keys.command("list")
def list_keys(
    revoked: Annotated[bool, typer.Option("--revoked", help="Those too that were revoked.")] = False,
    database_url: Store = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """List the gateway keys of the store."""
    from batchway.cli import keyring

    keyring.show(_flags(database_url=database_url, config=config), revoked=revoked, json=json)


@keys.command("revoke")
def revoke_key(
    name: Annotated[str, typer.Argument(help="Name of the key.")],
    database_url: Store = None,
    config: Config = None,
) -> None:
    """Revoke a gateway key of the store."""
    from batchway.cli import keyring

    keyring.revoke(_flags(database_url=database_url, config=config), name)


def main() -> None:
    """The entry point. What is wrong with the user's input is one clear message, never a traceback."""
    if isinstance(sys.stdout, TextIOWrapper):
        # A table is worth more than the few of its signs that a terminal cannot show.
        sys.stdout.reconfigure(errors="replace")
    try:
        app()
    except (BatchwayError, OSError) as error:
        print(f"batchway: {error}", file=sys.stderr)
        sys.exit(1)
    except UnicodeEncodeError as error:
        # Of what was typed: what is printed has signs in place of those that cannot be.
        print(f"batchway: {error.object!r} is not UTF-8; give it as such.", file=sys.stderr)
        sys.exit(1)
