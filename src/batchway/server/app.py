"""The ASGI application: hot routes go straight to their endpoint, everything else to FastAPI."""

from batchway.assemble import Gateway
from batchway.assemble.policies import without_profile
from batchway.core.errors import Refusal, TooMany
from batchway.server import api
from batchway.server.access import Access
from batchway.server.bulk import Bulk, either
from batchway.server.exchange import App, Message, Receive, Scope, Send, read_headers, send_fault
from batchway.server.openai import Endpoint
from batchway.server.relay import Relayer
from batchway.server.visits import Visits
from batchway.wire.endpoints import FRONTS, Front
from batchway.wire.objects import find


def make_access(gateway: Gateway) -> Access:
    """Who may come in, by the settings."""
    settings = gateway.settings
    hosts = (*settings.allowed_hosts, settings.host.lower())
    apart = without_profile(settings)
    return Access(settings.keys, hosts, settings.cors_origins, gateway.defaults(), apart)


def build(gateway: Gateway, access: Access) -> App:
    """The application of this gateway, which must be entered already."""
    settings = gateway.settings
    visits = Visits(settings.body_timeout)
    rest = api.build(gateway, access, visits)

    def endpoint(front: Front, *, native: bool = False) -> Endpoint:
        return Endpoint(
            front,
            gateway.engine,
            gateway.intake,
            access,
            visits,
            gateway.relay,
            max_body=settings.max_body_bytes,
            retries=settings.max_retries > 0,
            native=native,
            recorded=gateway.storage is not None and settings.record == "all",
        )

    routes: dict[str, App] = {"/v1" + front.path: endpoint(front) for front in FRONTS.values()}
    bulk = Bulk(
        gateway.engine,
        gateway.intake,
        access,
        visits,
        gateway.relay,
        database=None if gateway.storage is None else gateway.storage.database,
        longest=settings.max_body_bytes,
    )
    routes["/submit"] = either(endpoint(FRONTS["chat"], native=True), bulk)
    relayer = Relayer(gateway.relay, gateway.intake, access, visits, max_body=settings.max_body_bytes)
    return _Application(routes, relayer, rest, access, settings.max_connections)


class _Application:
    """Finds the route, bounds how many are inside, and adds what every answer needs (CORS, no sniffing)."""

    def __init__(self, routes: dict[str, App], relayer: App, rest: App, access: Access, max_inside: int) -> None:
        self._routes = routes
        self._relayer = relayer
        self._rest = rest
        self._access = access
        self._max_inside = max_inside
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        if self._access.cors:
            origin = read_headers(scope).get("origin")
            if origin is not None and self._access.allows_origin(origin):
                send = _readable_by(origin, send)
                if scope["method"] == "OPTIONS":
                    await _preflight(send)
                    return
        if self._inside >= self._max_inside:
            full = TooMany(f"{self._inside} requests are inside already (max_connections).", retry_after=1.0)
            await send_fault(send, full.fault, None)
            return
        self._inside += 1
        try:
            hot = self._routes.get(scope["path"])
            if hot is None or scope["method"] != "POST":
                await self._cold(scope, hot)(scope, receive, send)
            else:
                await hot(scope, receive, send)
        finally:
            self._inside -= 1

    def _cold(self, scope: Scope, hot: App | None) -> App:
        """Stored completions are listed under the path by which they are made."""
        return hot or self._others if find(scope["path"]) is None else self._relayer

    async def _others(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._access.check_site(scope["method"], read_headers(scope))
        except Refusal as refusal:
            await send_fault(send, refusal.fault, None)
            return
        if scope["path"].startswith("/docs"):
            send = _with_headers([(b"content-security-policy", api.DOCS_POLICY.encode())], send)
        await self._rest(scope, receive, send)


def _with_headers(headers: list[tuple[bytes, bytes]], send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *headers]
        await send(message)

    return sending


def _readable_by(origin: str, send: Send) -> Send:
    return _with_headers(
        [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-expose-headers", b"*"),
            (b"vary", b"origin"),
        ],
        send,
    )


async def _preflight(send: Send) -> None:
    headers = [
        (b"access-control-allow-methods", b"GET, POST, PUT, DELETE, OPTIONS"),
        (b"access-control-allow-headers", b"authorization, content-type, *"),
        (b"access-control-max-age", b"600"),
        (b"content-length", b"0"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
