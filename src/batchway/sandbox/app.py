"""The sandbox as an ASGI application: finds the provider by its prefix, lets faults strike, delivers, books."""

from collections.abc import Awaitable, Callable
from functools import partial

from msgspec import structs

from batchway.sandbox import admin
from batchway.sandbox.blobs import Blob
from batchway.sandbox.contract import Dialect, Outcome, Peek, Plan, Refused, Route, Visit
from batchway.sandbox.delivery import ClientLeft, Connection, Message, Receive, Send, deliver, deliver_whole
from batchway.sandbox.dialects import speak
from batchway.sandbox.faults import AnyFault
from batchway.sandbox.ledger import Line
from batchway.sandbox.state import Sandbox

Application = Callable[[Message, Receive, Send], Awaitable[None]]

BARE = "openai"
"""Whose API answers without a prefix, at `/v1/...`."""


def app(sandbox: Sandbox) -> Application:
    """The ASGI application of a sandbox. It needs the server of `serving`, which lets it close connections."""
    return _App(sandbox)


class _App:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._dialects: dict[str, Dialect] = {}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        connection = Connection(scope, receive, send, self._sandbox.sleep)
        try:
            await self._answer(scope, connection)
        except ClientLeft:
            return  # before its request was whole, or after its call was booked: nothing is left to do

    async def _answer(self, scope: Message, connection: Connection) -> None:
        provider, path = split(scope["path"])
        if provider in admin.PLACES:
            await self._show(scope, connection)
            return
        dialect = self._dialect(provider)
        headers = tuple(scope["headers"])
        route = dialect.find(scope["method"], path) or _nowhere(scope["method"], path)
        receive = connection.spool if route.bulky else connection.body
        body = await receive(self._sandbox.max_body)
        visit = Visit(
            number=self._sandbox.next_number(),
            at=self._sandbox.now(),
            provider=provider,
            method=scope["method"],
            path=path,
            query=scope["query_string"],
            headers=headers,
            body=body if isinstance(body, bytes) else b"",
            bulk=body if isinstance(body, Blob) else None,
            key=dialect.key(headers),
        )
        if route.settled:
            await self._sandbox.batches.settle(visit.at)
        rules = self._sandbox.faults.strike(route.endpoint, visit, dialect)
        visit = structs.replace(visit, faults=rules) if rules else visit
        plan = self._plan(dialect, _too_large if body is None else route.answer, visit, rules)
        book = partial(_book, self._sandbox, dialect, visit, route.endpoint, rules)
        if plain(plan):
            await deliver_whole(plan, connection, book)
        else:
            await deliver(plan, connection, book, self._sandbox.count)

    async def _show(self, scope: Message, connection: Connection) -> None:
        """Answer about the sandbox itself, batches brought up to the present."""
        body = await connection.body(self._sandbox.max_body)
        await self._sandbox.batches.settle(self._sandbox.now())
        plan = admin.answer(self._sandbox, scope["method"], scope["path"], scope["query_string"], body or b"")
        await deliver_whole(plan, connection, _book_nothing)

    def _plan(
        self, dialect: Dialect, answer: Callable[[Visit], Plan], visit: Visit, rules: tuple[AnyFault, ...]
    ) -> Plan:
        plan = Plan(outcome="refused") if any(rule.refuses for rule in rules) else _decide(dialect, answer, visit)
        if not rules:
            return plan
        refused = plan.outcome == "refused"
        for rule in rules:
            if rule.for_streams in (None, plan.streaming):
                plan = rule.bend(plan, dialect)
        return structs.replace(plan, outcome="refused") if refused else plan

    def _dialect(self, provider: str) -> Dialect:
        if provider not in self._dialects:
            self._dialects[provider] = speak(provider, self._sandbox)
        return self._dialects[provider]


def split(path: str) -> tuple[str, str]:
    """Provider and the path below its prefix: `/groq/v1/models` is groq's `/v1/models`, `/v1/models` is openai's."""
    first, slash, rest = path[1:].partition("/")
    return (BARE, path) if first == "v1" else (first, slash + rest)


def plain(plan: Plan) -> bool:
    """Whether the plan is one part, sent at once and as it is."""
    return len(plan.parts) == 1 and not (plan.streaming or plan.delay or plan.hang_up) and plan.rate is None


def _decide(dialect: Dialect, answer: Callable[[Visit], Plan], visit: Visit) -> Plan:
    identity = (b"x-request-id", visit.request_id.encode())
    try:
        headers = dialect.admit(visit)
        plan = answer(visit)
    except Refused as refused:
        plan, headers = dialect.refusal(refused), ()
    return structs.replace(plan, headers=(*plan.headers, identity, *headers))


def _nowhere(method: str, path: str) -> Route:
    def answer(_: Visit) -> Plan:
        raise Refused(404, f"Invalid URL ({method} {path})", code="unknown_url")

    return Route("unknown", answer)


def _too_large(_: Visit) -> Plan:
    raise Refused(413, "The request body is larger than the sandbox takes (max_body).", code="request_too_large")


def _book(
    sandbox: Sandbox,
    dialect: Dialect,
    visit: Visit,
    endpoint: str,
    rules: tuple[AnyFault, ...],
    plan: Plan,
    outcome: Outcome,
    output: int,
) -> None:
    refused = outcome == "refused"
    bill = plan.bill
    peek = dialect.peek(visit) if refused else Peek(model=bill.model, stream=plan.streaming, lane=bill.lane)
    sandbox.ledger.append(
        Line(
            n=sandbox.ledger.next,
            at=visit.at,
            provider=visit.provider,
            endpoint=endpoint,
            model=peek.model,
            key=visit.key[-4:],
            lane=peek.lane,
            tier=bill.tier,
            status=plan.status if plan.parts else None,
            outcome=outcome,
            input=0 if refused else bill.input,
            output=0 if refused else output,
            cached=0 if refused else bill.cached,
            written=0 if refused else bill.written,
            written_hour=0 if refused else bill.written_hour,
            stream=peek.stream,
            request_id=visit.request_id,
            request_hash=visit.digest,
            idempotency_key=visit.header(b"idempotency-key"),
            faults=tuple(rule.kind for rule in rules),
        )
    )


def _book_nothing(_plan: Plan, _outcome: Outcome, _output: int) -> None:
    """Talk about the sandbox itself is not billed."""
