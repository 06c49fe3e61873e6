"""Relaying: calls about files, batches and stored answers go to the default provider as they are, about one's own only.

One key of ours serves all tenants, so the provider cannot tell them apart: whose an object is stands in our store.
Where the caller's own key is forwarded, the provider knows, and nothing is kept here.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode

import msgspec
from msgspec import Raw, Struct, structs

from batchway.core.commands import Reply
from batchway.core.errors import BadRequest, KeyRefused, NotFound, NotServed, UpstreamMalformed, UpstreamRefused
from batchway.core.events import Answered, Unclaimed
from batchway.core.types import Answer, Request
from batchway.ports import (
    Belonging,
    Belongings,
    Clock,
    Flow,
    Incoming,
    IncomingStream,
    RelayDialect,
    Relayed,
    Sender,
    Span,
)
from batchway.wire import objects
from batchway.wire.objects import EMPTY_PAGE, PAGES, Act, Kind, Named, Page, Place

MOST_PAGES = 200
"""Pages of a provider's list that are looked through for those of one tenant."""

SHOWN = 100
"""Characters of an unknown id that its error repeats."""

Read = TypeVar("Read")


class Caller(Struct, frozen=True, kw_only=True):
    """Who asks."""

    tenant: str
    authorization: str | None
    """The bearer that is forwarded; None: the key is ours."""


class Wanted(Struct, frozen=True, kw_only=True):
    """What a caller wants of a list."""

    limit: int
    after: str | None
    order: str
    rest: tuple[tuple[str, str], ...]
    """Other parameters, which are the provider's to read."""


class Relay:
    """Of all calls. It also listens, for answers that stay at the provider."""

    def __init__(
        self,
        provider: str,
        dialect: RelayDialect | None,
        sender: Sender,
        belongings: Belongings | None,
        clock: Clock,
        *,
        key_setting: str | None,
    ) -> None:
        """`dialect`: None where the provider has no such objects; `belongings`: None where no store is open.
        `key_setting`: where the provider's key is set; None: callers' own are forwarded."""
        self._provider = provider
        self._dialect = dialect
        self._sender = sender
        self._belongings = belongings
        self._clock = clock
        self._key_setting = key_setting

    # What may be done

    async def check(self, caller: Caller, place: Place) -> None:
        """Raises NotServed, or NotFound for what is not the caller's."""
        self._spoken()
        if caller.authorization is None:
            self._kept()
            if place.id is not None:
                await self._check_owned(caller, place.kind, place.id, "id")

    async def check_input(self, caller: Caller, content: bytes) -> None:
        """A batch is made of a file of its tenant's. Raises NotFound."""
        name = objects.input_file(content)
        if caller.authorization is None and name is not None:
            await self._check_owned(caller, "file", name, "input_file_id")

    async def check_used(self, request: Request, continued: str | None) -> None:
        """A response that is gone on from (`continued`), and files that are read, are their tenant's. Raises BadRequest
        as the provider would."""
        if not self._keeps(request):
            return
        caller = _caller_of(request)
        if continued is not None and not await self._owned(caller, "response", [continued]):
            what = f"Previous response with id '{continued[:SHOWN]}' not found."
            raise BadRequest(what, param="previous_response_id", code="previous_response_not_found")
        files = objects.files_in(request.body)
        if files and (strange := files - await self._owned(caller, "file", sorted(files))):
            raise BadRequest(f"There is no file '{min(strange)[:SHOWN]}'.", param="file_id", code="file_not_found")

    async def _check_owned(self, caller: Caller, kind: Kind, name: str, param: str) -> None:
        if not await self._owned(caller, kind, [name]):
            raise NotFound(f"There is no {kind} '{name[:SHOWN]}'.", param=param)

    async def _owned(self, caller: Caller, kind: Kind, names: list[str]) -> frozenset[str]:
        # A name that no provider gives: databases do not take all of them.
        asked = [name for name in names if name.isprintable()]
        return await self._kept().owned(caller.tenant, self._provider, kind, asked)

    def _spoken(self) -> RelayDialect:
        if self._dialect is None:
            raise NotServed(
                f"Files, batches and stored answers are relayed to the default provider, and '{self._provider}' does "
                "not have them as OpenAI does."
            )
        return self._dialect

    def _kept(self) -> Belongings:
        if self._belongings is None:
            raise NotServed(
                "Files, batches and stored answers need a store that knows whose they are, and this gateway has none "
                "(database_url=none)."
            )
        return self._belongings

    # Calls

    @asynccontextmanager
    async def open(
        self, caller: Caller, relayed: Relayed, content: Flow | None = None
    ) -> AsyncIterator[IncomingStream]:
        """Make the call; its response as it comes. Raises errors of `core.errors.Theirs`."""
        async with self._sender.stream(self._spoken().encode_relay(relayed, caller.authorization), content) as incoming:
            if not 200 <= incoming.status < 300:
                raise self._refused(incoming.status, incoming.headers, await incoming.body())
            yield incoming

    async def send(self, caller: Caller, relayed: Relayed) -> Incoming:
        """Make the call; its whole response. Raises errors of `core.errors.Theirs`."""
        incoming = await self._sender.send(self._spoken().encode_relay(relayed, caller.authorization))
        if not 200 <= incoming.status < 300:
            raise self._refused(incoming.status, incoming.headers, incoming.body)
        return incoming

    def _refused(self, status: int, headers: Mapping[str, str], content: bytes) -> UpstreamRefused:
        fault = self._spoken().fault(Incoming(status=status, headers=headers, body=content))
        return UpstreamRefused(KeyRefused.or_as_it_is(fault, self._provider, self._key_setting))

    async def settle(self, caller: Caller, place: Place, act: Act, content: bytes) -> None:
        """Keep whose it is that was made, or shown as the result of what was made; forget what was deleted."""
        if caller.authorization is not None:
            return
        if act == "delete" and place.id is not None:
            await self._kept().forget(self._provider, place.kind, place.id)
        elif act == "create" or place.kind == "batch":
            made = _read(objects.named, content)
            await self._kept().add(self._made(caller.tenant, place.kind, made))

    def _made(self, tenant: str, kind: Kind, made: Named) -> list[Belonging]:
        """The object, and the files that are a batch's results: they are made after it."""
        at = self._clock.now() if made.made_at is None else made.made_at
        names: list[tuple[Kind, str]] = [(kind, made.id)]
        names += [("file", name) for name in (made.output_file_id, made.error_file_id) if name]
        return [
            Belonging(provider=self._provider, kind=kind, id=name, tenant=tenant, created_at=at) for kind, name in names
        ]

    # Lists

    async def list(self, caller: Caller, kind: Kind, relayed: Relayed) -> bytes:
        """A page of the caller's own: the provider's pages are read until it is full, or nothing of its can follow."""
        if caller.authorization is not None:
            return (await self.send(caller, relayed)).body
        wanted = _wanted(kind, relayed.query)
        if wanted.after is not None:
            await self._check_owned(caller, kind, wanted.after, "after")
        span = await self._kept().span(caller.tenant, self._provider, kind)
        return EMPTY_PAGE if span is None else await self._gather(caller, kind, relayed, wanted, span)

    async def _gather(self, caller: Caller, kind: Kind, relayed: Relayed, wanted: Wanted, span: Span) -> bytes:
        first, after = b"", wanted.after
        found: list[Raw] = []
        for _ in range(MOST_PAGES):
            content, page = await self._page(caller, kind, relayed, wanted, after)
            first = first or content
            names = [_read(objects.named, each) for each in page.data]
            mine = await self._owned(caller, kind, [each.id for each in names])
            found += [each for name, each in zip(names, page.data, strict=True) if name.id in mine]
            last = names[-1] if names and page.has_more else None
            if len(found) > wanted.limit or last is None or _is_past(last, span, kind, wanted.order):
                return objects.join_page(first, found[: wanted.limit], has_more=len(found) > wanted.limit)
            after = last.id
        raise UpstreamMalformed(
            f"The list of all {kind} objects is too long to find yours in it; look them up by their ids.",
            code="upstream_list_too_long",
        )

    async def _page(
        self, caller: Caller, kind: Kind, relayed: Relayed, wanted: Wanted, after: str | None
    ) -> tuple[bytes, Page]:
        _, most, _ = PAGES[kind]
        query = [*wanted.rest, ("limit", str(most)), *([] if after is None else [("after", after)])]
        content = (await self.send(caller, structs.replace(relayed, query=urlencode(query)))).body
        return content, _read(objects.page, content)

    # Answers that stay at the provider

    @property
    def hears(self) -> Mapping[type, Callable[..., None]]:
        """Answers, told or not."""
        return {Answered: self._on_answered, Unclaimed: self._on_unclaimed}

    def _on_answered(self, event: Answered) -> None:
        self.note(event.reply.request, event.reply.answer)

    def _on_unclaimed(self, event: Unclaimed) -> None:
        if isinstance(event.ending, Reply):
            self.note(event.ending.request, event.ending.answer)

    def note(self, request: Request, answer: Answer) -> None:
        """What the request left at the provider is its tenant's."""
        if "stateful" not in request.prompt.features or not self._keeps(request):
            return
        kind = _STORED.get(request.endpoint)
        try:
            made = objects.named(answer.body)
        except msgspec.DecodeError:
            return  # It has no name that anybody could look it up by.
        if kind is not None:
            (belonging,) = self._made(request.tenant, kind, made)
            self._kept().note(belonging)

    def _keeps(self, request: Request) -> bool:
        """Whether it is known here whose is what the request is about at its provider."""
        here = self._dialect is not None and request.provider == self._provider
        return here and self._belongings is not None and request.authorization is None


def _caller_of(request: Request) -> Caller:
    return Caller(tenant=request.tenant, authorization=request.authorization)


_STORED: Mapping[str, Kind] = {"chat": "completion", "responses": "response"}


def _wanted(kind: Kind, query: str) -> Wanted:
    default, most, order = PAGES[kind]
    given = parse_qsl(query, keep_blank_values=True)
    said = dict(given)
    limit = said.get("limit", str(default))
    if not (limit.isdecimal() and limit.isascii() and len(limit) < 7 and 1 <= int(limit) <= most):
        raise BadRequest(f"limit: '{limit[:20]}' is not a number from 1 to {most}.", param="limit")
    return Wanted(
        limit=int(limit),
        after=said.get("after"),
        order=said.get("order", order),
        rest=tuple([(name, value) for name, value in given if name not in ("limit", "after")]),
    )


def _is_past(last: Named, span: Span, kind: Kind, order: str) -> bool:
    """Whether nothing of the caller's can come behind this. (A batch's files are newer than what is kept of them.)"""
    if last.made_at is None or (order == "asc" and kind == "file"):
        return False
    return last.made_at > span.newest if order == "asc" else last.made_at < span.oldest


def _read(read: Callable[[bytes | Raw], Read], content: bytes | Raw) -> Read:
    try:
        return read(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UpstreamMalformed(f"The provider answered with something that is not its object ({error}).") from error
