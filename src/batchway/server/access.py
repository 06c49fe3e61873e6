"""Who may come in: gateway keys, Host names, origins. Found out before a body is read."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address

from msgspec.structs import replace

from batchway.assemble import PROFILES
from batchway.core.errors import Forbidden, Unauthorized
from batchway.core.types import Hints
from batchway.engine.intake import Identity
from batchway.settings import KeyEntry, find_key, index_keys
from batchway.wire.hints import NO_HINTS, overlay

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""Names a Host header may carry wherever we listen, as addresses may. Any other must be allowed by a setting: a page
of a foreign name that resolves to our address (DNS rebinding) is refused by its Host."""

MANY = 1000
"""Callers and host names that are remembered: hashing a key costs as much as finding whose it is."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Access:
    """Checks each request. Without gateway keys everyone is the tenant `default` (or its own forwarded bearer)."""

    def __init__(
        self,
        keys: Sequence[KeyEntry],
        allowed_hosts: Sequence[str],
        cors_origins: Sequence[str],
        defaults: Hints,
        apart: Hints = NO_HINTS,
    ) -> None:
        """`defaults` hold where a key says nothing; `apart`, which no profile is in, beneath a profile of its own."""
        self._settled = tuple(keys)
        self._defaults = defaults
        self._apart = apart
        self._guarded = False
        self.know(())
        self._anyone = Identity(tenant="default", key="default", scope="admin", defaults=defaults)
        self._hosts = LOOPBACK | frozenset(allowed_hosts)
        self._is_ours = lru_cache(maxsize=MANY)(self._is_one_of_ours)
        self._origins = frozenset(cors_origins)

    def know(self, stored: Sequence[KeyEntry]) -> None:
        """These keys are in the store now, beside those of the settings. Once there was a key, one is needed: whoever
        revokes the last one shuts the gateway, and does not open it to everyone."""
        keys = (*self._settled, *stored)
        self._guarded = self._guarded or bool(keys)
        self._keys = index_keys(keys)
        self._known = lru_cache(maxsize=MANY)(self._known_by)
        self._identities = {key.hash: self._identity(key) for key in keys}

    @property
    def keyed(self) -> bool:
        """Whether a gateway key is needed."""
        return self._guarded

    def check_site(self, method: str, headers: Mapping[str, str]) -> None:
        """Refuse a foreign Host, and a change asked for by another site's page. Raises Forbidden."""
        host = headers.get("host", "").lower()
        if not self._is_ours(host):
            raise Forbidden(
                f"Host '{host[:100]}' is not one of this gateway's; add it to allowed_hosts (BATCHWAY_ALLOWED_HOSTS).",
                code="host_not_allowed",
            )
        if method in SAFE_METHODS:
            return
        origin = headers.get("origin")
        cross = headers.get("sec-fetch-site") == "cross-site"
        if origin is not None:
            cross = origin.lower() not in self._origins and origin.partition("://")[2].lower() != host
        if cross:
            raise Forbidden(
                "A page of another site asked for this; add its origin to cors_origins (BATCHWAY_CORS_ORIGINS).",
                code="origin_not_allowed",
            )

    def _is_one_of_ours(self, host: str) -> bool:
        name = _without_port(host)
        return host in self._hosts or name in self._hosts or _is_address(name)

    @property
    def cors(self) -> bool:
        """Whether pages of any other origin may call."""
        return bool(self._origins)

    def allows_origin(self, origin: str) -> bool:
        """Whether answers to a page of this origin may be read by it (CORS)."""
        return origin.lower() in self._origins

    def identify(self, headers: Mapping[str, str]) -> Identity:
        """Who asks. Raises Unauthorized when gateway keys are configured and none of them came."""
        authorization = headers.get("authorization")
        if not self._guarded:
            return self._anyone if authorization is None else replace(self._anyone, authorization=authorization)
        if authorization is None:
            raise Unauthorized("Send your gateway key: 'Authorization: Bearer bw-…'.", code="missing_api_key")
        return self._known(authorization)

    def _known_by(self, authorization: str) -> Identity:
        scheme, _, key = authorization.partition(" ")
        entry = find_key(self._keys, key.strip()) if scheme.lower() == "bearer" else None
        if entry is None:
            raise Unauthorized("This is not a key of this gateway; ask its owner for one (batchway keys create NAME).")
        return self._identities[entry.hash]

    def require_admin(self, headers: Mapping[str, str]) -> None:
        """Management needs the scope `admin`. Raises Unauthorized or Forbidden."""
        if self._guarded and self.identify(headers).scope != "admin":
            raise Forbidden("This needs a key of scope 'admin'.", code="scope_not_allowed")

    def _identity(self, key: KeyEntry) -> Identity:
        own = Hints(deadline=key.deadline, reuse=key.reuse, packing=key.packing)
        beneath = (self._defaults,) if key.profile is None else (PROFILES[key.profile], self._apart)
        return Identity(
            tenant=key.tenant,
            key=key.name,
            scope=key.scope,
            defaults=overlay(own, *beneath),
            lanes=key.lanes,
            retention=key.retention,
        )


def _is_address(name: str) -> bool:
    """An IP address is nobody's name: no page can have its own name lead here by it. Load balancers ask by it."""
    try:
        return not ip_address(name.strip("[]")).is_unspecified
    except ValueError:
        return False


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
