"""`batchway pack`: which requests of a file would share calls, what each call would say, and its arithmetic."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from batchway.assemble import DailyPrices, LiveClock, gateway, load_settings, make_counts
from batchway.cli.reading import read_text
from batchway.core import facts
from batchway.core.analysis import analyse
from batchway.core.catalog import Catalog
from batchway.core.commands import Call
from batchway.core.cost import dollars
from batchway.core.errors import InputError, Refusal
from batchway.core.packing import FORMATS
from batchway.core.packing_guard import LEAST_SAMPLED, Guard
from batchway.core.packing_worth import Load, Verdict, weigh
from batchway.core.tokens import TokenCounts
from batchway.core.types import Request
from batchway.engine import packing
from batchway.engine.intake import Identity
from batchway.settings import Settings
from batchway.wire.endpoints import FRONTS

NOWHERE = "http://127.0.0.1:9"
"""Stands for every provider's address: nothing is sent."""


class Asked(Struct, frozen=True):
    """A request of the file."""

    place: int
    """Counted from 1."""
    content: bytes


def pack(file: str, flags: Mapping[str, object], *, model: str | None = None, system: str | None = None) -> str:
    """What the planner would make of the requests of a file if they came at once; the file is not touched.

    The file is a JSON list or JSON lines of prompts (texts) or bodies of chats; also lines as for a provider's Batch
    API, whose `body` is taken. `model` and `system` are for prompts, `flags` are settings.
    """
    given = {"packing": "always", "optimize": "off", "reuse": "off", "database_url": "none"}
    settings = load_settings({**given, **flags}).settings
    asked = [Asked(place, _body(file, place, each, model, system)) for place, each in _values(file)]
    if not asked:
        raise InputError(f"{file}: there is no request in it.")
    return "\n".join(asyncio.run(_explain(file, _unbounded(settings, len(asked)), asked)))


def _unbounded(settings: Settings, calls: int) -> Settings:
    """So many calls may go at once. No call is sent here, so that none ever ends and lets another go."""
    providers = {name: given.model_copy(update={"max_in_flight": None}) for name, given in settings.providers.items()}
    return settings.model_copy(update={"max_in_flight": max(calls, settings.max_in_flight), "providers": providers})


def _values(file: str) -> Iterator[tuple[int, Any]]:
    """The values of a JSON list, or of JSON lines, with their places."""
    content = read_text(Path(file))
    try:
        whole = msgspec.json.decode(content)
    except msgspec.DecodeError:
        yield from _lines(file, content)
        return
    if isinstance(whole, list):
        yield from enumerate(whole, 1)
    else:
        yield 1, whole


def _lines(file: str, content: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(content.split("\n"), 1):
        if line.strip():
            try:
                yield number, msgspec.json.decode(line)
            except msgspec.DecodeError as error:
                what = "give a JSON list, or one JSON value a line: a text, or the body of a chat"
                raise InputError(f"{file}: line {number}: is no JSON ({error}); {what}.") from error


def _body(file: str, place: int, value: Any, model: str | None, system: str | None) -> bytes:
    if isinstance(value, dict) and isinstance(value.get("body"), dict):
        value = value["body"]
    if isinstance(value, str):
        before = [] if system is None else [{"role": "system", "content": system}]
        value = {"messages": [*before, {"role": "user", "content": value}]}
    if not isinstance(value, dict) or "messages" not in value:
        raise InputError(f"{file}: request {place}: is neither a text nor the body of a chat (with messages).")
    if model is not None and not value.get("model"):
        value = {"model": model, **value}
    return msgspec.json.encode(value)


async def _explain(file: str, settings: Settings, asked: Sequence[Asked]) -> list[str]:
    async with gateway(settings, sandbox=NOWHERE) as joined:
        now = joined.clock.now()
        identity = Identity(tenant="default", key="default", defaults=joined.defaults())
        places: dict[str, int] = {}
        commands = []
        for each in asked:
            try:
                request = joined.intake.take(FRONTS["chat"], each.content, {}, identity, now).request
            except Refusal as refusal:
                raise InputError(f"{file}: request {each.place}: {refusal}") from refusal
            places[request.ask] = each.place
            commands += joined.planner.receive(facts.Asked(request), now)
        commands += joined.planner.receive(facts.Flush(), now)
        calls = [command for command in commands if isinstance(command, Call)]
        with closing(DailyPrices(LiveClock(), settings.models)) as prices:
            return list(_report(calls, places, prices.catalog))


def _report(calls: Sequence[Call], places: Mapping[str, int], catalog: Catalog) -> Iterator[str]:
    shared = [call for call in calls if call.packed is not None]
    company = sum(len(call.requests) for call in shared)
    of_their_own = f"{len(places) - company} would go singly"
    yield f"{_many(len(places), 'request')}: {company} would share {_many(len(shared), 'call')}, {of_their_own}."
    counts = make_counts()
    for number, call in enumerate(shared, 1):
        yield ""
        yield from _call(number, call, places, catalog, counts)
    singles = [call for call in calls if call.packed is None]
    if singles:
        yield ""
    for call in singles:
        yield f"Request {places[call.requests[0].ask]} goes singly: {call.why}."


def _call(number: int, call: Call, places: Mapping[str, int], catalog: Catalog, counts: TokenCounts) -> Iterator[str]:
    first = call.requests[0]
    who = ", ".join(str(places[request.ask]) for request in call.requests)
    yield f"Call {number}: requests {who} by {first.provider}, {first.prompt.model}"
    yield from _arithmetic(call, catalog, counts)
    assert call.packed is not None, "only packed calls are shown so"
    sent = msgspec.json.decode(packing.pack(call, call.packed).body)
    before = len(sent["messages"]) - 1
    after = f" after {_many(before, 'message')} that they have in common" if before else ""
    yield f"  The message that asks them all{after} (the ids are drawn anew for each call):"
    yield from (f"  | {line}" for line in sent["messages"][-1]["content"].split("\n"))


def _arithmetic(call: Call, catalog: Catalog, counts: TokenCounts) -> Iterator[str]:
    assert call.packed is not None, "only packed calls are weighed"
    form = FORMATS[call.packed.format]
    load = _load(call.requests, counts)
    first, count = call.requests[0], len(load.items)
    together = load.shared + sum(load.items) + form.overhead + form.per_item * count
    rates = catalog.rates(first.provider, first.prompt.model, call.lane, together)
    failing = Guard().failing((first.provider, first.prompt.model, form.name), 0.0)
    verdict = weigh(load, form, rates, cached=0.0, failing=failing, sampled=LEAST_SAMPLED) if rates else None
    alone = sum(load.shared + item for item in load.items)
    said = sum(load.answers)
    yield f"  {'':22}{'calls':>7}{'input':>10}{'output':>9}  USD"
    yield _line("singly", count, alone, said, verdict.alone if verdict else None)
    yield _line("together", 1, together, said + form.per_answer * count, verdict.together if verdict else None)
    if verdict is None:
        yield "  Its price is not known: packing=auto would not pack it. Give it by the setting `models`."
        return
    yield from _balance(verdict)


def _balance(verdict: Verdict) -> Iterator[str]:
    again = verdict.alone - verdict.together - verdict.saving
    yield f"  {f'{verdict.failing:.0%} asked again, samples':48}  {dollars(again)}"
    yield f"  {'saved':48}  {dollars(verdict.saving)} ({verdict.saving / max(1, verdict.alone):.0%})"
    yield f"  packing=auto: {verdict.why}."


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _line(name: str, calls: int, inputs: int, outputs: int, picodollars: int | None) -> str:
    money = "" if picodollars is None else dollars(picodollars)
    return f"  {name:22}{calls:>7}{inputs:>10,}{outputs:>9,}  {money}"


def _load(requests: Sequence[Request], counts: TokenCounts) -> Load:
    """As the planner weighs them: the answers are as long as the analysis expects."""
    prompts = [request.prompt for request in requests]
    items = tuple([counts.text(prompt.model, prompt.last_user or "") for prompt in prompts])
    shared = min(counts.bound(prompt) - item for prompt, item in zip(prompts, items, strict=True))
    expected = [analyse(prompt).output_tokens for prompt in prompts]
    bounds = [prompt.max_output for prompt in prompts]
    answers = [min(each, bound or each) for each, bound in zip(expected, bounds, strict=True)]
    return Load(shared=shared, items=items, answers=tuple(answers))
