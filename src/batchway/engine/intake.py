"""Intake: from a body as it came in to a Request that can be decided upon, hints and defaults resolved."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from hashlib import sha256
from typing import Literal

import msgspec
from msgspec import Raw, Struct, structs

from batchway.core.catalog import Catalog
from batchway.core.errors import BadRequest, Unauthorized, Unconfigured
from batchway.core.fingerprint import UNANSWERING, fingerprint, manner, pack_key, unshared
from batchway.core.router import resolve_model
from batchway.core.types import Hints, Lane, Prompt, Request
from batchway.engine.choosing import AUTO, Choosing
from batchway.wire import body, hints, packed
from batchway.wire.endpoints import Front
from batchway.wire.reading import Reading


class Identity(Struct, frozen=True, kw_only=True, gc=False):
    """Who asks, as the access check found it."""

    tenant: str
    key: str
    scope: str = "infer"
    defaults: Hints = hints.NO_HINTS
    """What holds where a request says nothing: its key's, its profile's, the settings'."""
    lanes: tuple[Lane, ...] | None = None
    """The lanes that its key may use; None: all."""
    retention: float | Literal["none"] | None = None
    """How long its key wants bodies kept."""
    authorization: str | None = None
    """The caller's own bearer, to be forwarded where the gateway has no key of the provider; None: never forward."""


class Defaults(Struct, frozen=True, kw_only=True, gc=False):
    """What is filled in where a request says nothing. None: nothing is put into a request that did not ask for it."""

    provider: str
    model: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None


class Taken(Struct, frozen=True, kw_only=True, gc=False):
    """A request, and what its caller wants to see of the answer."""

    request: Request
    include_usage: bool
    native: bool
    """The caller used a native field, so that its answer carries `content`."""
    chosen: str | None = None
    """Why its model was chosen, where it said `auto`."""
    continues: str | None = None
    """The stored response that it goes on from."""
    refers: bool = False
    """It may name objects that its provider keeps."""


class Naming(Struct, frozen=True, gc=False):
    """How a request is called that came with others."""

    prefix: str
    """Before whatever it is called."""
    name: str
    """What it is called where it has no `request_id` of its own."""


class _Asking(Struct, frozen=True, gc=False):
    """What came in: who asks what, and how."""

    front: Front
    content: bytes
    reading: Reading
    said: Hints
    """With the defaults that hold for who asks."""
    name: str | None
    """The id that it was given."""
    identity: Identity
    now: float
    detached: bool


class _HeldTo(Struct, frozen=True, gc=False):
    """What holds for requests that are alike in these, whatever they say."""

    identity: Identity
    said: Hints
    front: Front
    detached: bool
    request: Request
    """Says nothing. It names its provider, for which the same holds."""


class Intake:
    """Makes requests. `names` maps every name of a configured provider to its own; `keyed` are those with a key."""

    def __init__(
        self,
        *,
        defaults: Defaults,
        names: Mapping[str, str],
        keyed: frozenset[str],
        keyless: frozenset[str],
        catalog: Catalog,
        choosing: Choosing,
        ids: Callable[[], str],
        max_depth: int,
        store: bool,
    ) -> None:
        """`store`: one is open, so that a request with an id of its own, or one that nobody waits for, is durable."""
        self._defaults = defaults
        self._names = names
        self._providers = tuple(sorted(set(names.values())))
        self._keyed = keyed
        self._keyless = keyless
        self._catalog = catalog
        self._choosing = choosing
        self._ids = ids
        self._max_depth = max_depth
        self._store = store
        self._last: _HeldTo | None = None

    def take(
        self,
        front: Front,
        content: bytes,
        headers: Mapping[str, str],
        identity: Identity,
        now: float,
        *,
        detached: bool = False,
        naming: Naming | None = None,
    ) -> Taken:
        """Read, check and resolve. Raises a Refusal that names the field. `detached`: nobody will wait for it."""
        body.check(content, self._max_depth)
        reading = front.read(content)
        said = hints.overlay(reading.hints, hints.from_headers(headers), identity.defaults)
        name = said.request_id if naming is None else hints.named(said, naming.prefix, naming.name)
        model = reading.prompt.model or self._defaults.model
        if not model:
            raise BadRequest(
                "model: missing; name one, or set DEFAULT_MODEL.", param="model", code="missing_required_parameter"
            )

        if detached:
            self._check_detached(reading.prompt, identity)
        asking = _Asking(front, content, reading, said, name, identity, now, detached)
        chosen = None
        if model == AUTO:
            prompt, usable = self._filled(reading.prompt), self._usable(said.provider)
            request, chosen = self._choosing.choose(front.endpoint, prompt, usable, partial(self._make, asking))
        else:
            request = self._make(asking, *self.resolve(model, said.provider))
        return Taken(
            request=request,
            include_usage=reading.include_usage,
            native=bool(reading.ours),
            chosen=chosen,
            continues=reading.continues,
            refers=front.endpoint == "responses" or "images" in reading.prompt.features,
        )

    def _make(self, asking: "_Asking", provider: str, model: str) -> Request:
        """The request for this provider and model, its body as they get it."""
        content, reading = asking.content, asking.reading
        prompt = reading.prompt
        changes = self._changes(asking.front, reading, model)
        if changes or reading.ours:
            content = _rewrite(content, reading, changes)
        if changes:
            # What was filled in is part of the question.
            prompt = asking.front.read(content).prompt
        return self._request(asking, self._held_to(asking, provider), content, prompt)

    def _filled(self, prompt: Prompt) -> Prompt:
        """The prompt with the defaults that will be in it."""
        defaults = self._defaults
        return structs.replace(
            prompt,
            max_output=defaults.max_output_tokens if prompt.max_output is None else prompt.max_output,
            temperature=defaults.temperature if prompt.temperature is None else prompt.temperature,
            top_p=defaults.top_p if prompt.top_p is None else prompt.top_p,
        )

    def _usable(self, hinted: str | None) -> Collection[str]:
        """The providers whose models may be chosen: the one that was asked for, or all that can be used without the
        caller's own key; where there is none, the default one, to which that key is forwarded."""
        if hinted is not None:
            return (self.resolve(AUTO, hinted)[0],)
        return (self._keyed | self._keyless) & self._choosing.providers or (self._defaults.provider,)

    @property
    def default_provider(self) -> str:
        """Where models go that name no provider."""
        return self._defaults.provider

    def resolve(self, model: str, hinted: str | None = None) -> tuple[str, str]:
        """The provider that a model name means, and the name there."""
        return resolve_model(
            model,
            hinted,
            default=self._defaults.provider,
            names=self._names,
            providers=self._providers,
            catalog=self._catalog,
        )

    def _request(self, asking: "_Asking", like: Request, content: bytes, prompt: Prompt) -> Request:
        """`like`: what it is held to, whatever it says."""
        ask, name, said = self._ids(), asking.name, asking.said
        kin = packed.kin(content) if like.packing != "never" and prompt.last_user is not None else None
        compared = name is not None or unshared(prompt, like.endpoint, like.reuse) is None
        return structs.replace(
            like,
            id=name or ask,
            ask=ask,
            caller=said.caller_id or asking.reading.user or like.key,
            body=content,
            prompt=prompt,
            pack_key=None if kin is None else pack_key(kin.key),
            apart=None if kin is None else kin.apart,
            fingerprint=fingerprint(
                like.tenant,
                like.provider,
                like.endpoint,
                _canonical(content) if compared else content,
                manner(like.packing, like.optimize),
            ),
            asked_at=asking.now,
            deadline=hints.resolve_deadline(said.deadline, asking.now),
            named=name is not None,
            tags=said.tags,
            durable=like.durable or (name is not None and self._store and like.retention != "none"),
        )

    def _held_to(self, asking: "_Asking", provider: str) -> Request:
        """What holds for it whatever it says, as a request that says nothing. Requests that come one after the other
        mostly have it in common, so the last is kept, but for a caller's own bearer."""
        last = self._last
        if (
            last is not None
            and last.identity is asking.identity
            and last.said == asking.said
            and last.front is asking.front
            and last.detached == asking.detached
            and last.request.provider == provider
        ):
            return last.request
        said, identity = asking.said, asking.identity
        tenant, authorization = self.account(provider, identity)
        unkept = identity.retention == "none"
        request = Request(
            id="",
            ask="",
            tenant=tenant,
            key=identity.key,
            caller=identity.key,
            provider=provider,
            endpoint=asking.front.endpoint,
            body=b"",
            prompt=Prompt(model=""),
            fingerprint="",
            asked_at=asking.now,
            priority=said.priority or "normal",
            strategy=said.strategy or "auto",
            reuse=said.reuse or "auto",
            packing="never" if unkept else said.packing or "never",
            optimize=said.optimize or "off",
            on_deadline=said.on_deadline or "escalate",
            lanes=_lanes(identity),
            durable=self._store and asking.detached and not unkept,
            detached=asking.detached,
            retention=identity.retention,
            authorization=authorization,
        )
        if authorization is None:
            self._last = _HeldTo(identity, said, asking.front, asking.detached, request)
        return request

    def _check_detached(self, prompt: Prompt, identity: Identity) -> None:
        """Accepted now and answered later: it must be on disk before its caller goes."""
        if not self._store:
            raise BadRequest(
                "An answer that is fetched later needs a store, and this gateway has none (database_url=none)."
            )
        if identity.retention == "none":
            raise BadRequest(
                "An answer that is fetched later has to be kept, and this key keeps nothing (retention=none)."
            )
        if prompt.stream:
            raise BadRequest("stream: an answer that is fetched later is not streamed; leave it out.", param="stream")

    def _changes(self, front: Front, reading: Reading, model: str) -> dict[str, Raw]:
        """Fields to set in the body: the model's name at its provider, and defaults that the settings give."""
        prompt, defaults = reading.prompt, self._defaults
        changes: dict[str, Raw] = {}
        if model != prompt.model:
            changes["model"] = body.raw(model)
        if front.endpoint == "embeddings":
            return changes
        if defaults.max_output_tokens is not None and prompt.max_output is None:
            output = "max_tokens" if front.endpoint == "chat" else "max_output_tokens"
            changes[output] = body.raw(defaults.max_output_tokens)
        if defaults.temperature is not None and prompt.temperature is None:
            changes["temperature"] = body.raw(defaults.temperature)
        if defaults.top_p is not None and prompt.top_p is None:
            changes["top_p"] = body.raw(defaults.top_p)
        return changes

    def provider_named(self, name: str) -> str | None:
        """The configured provider that goes by this name, or by this alias."""
        return self._names.get(name)

    def tenants(self, identity: Identity) -> tuple[str, ...]:
        """Every tenant whose data this caller's is: its own, and that of its bearer where it was forwarded."""
        if identity.authorization is None:
            return (identity.tenant,)
        return identity.tenant, _tenant_of(identity.authorization)

    def account(self, provider: str, identity: Identity) -> tuple[str, str | None]:
        """The tenant, and the bearer to forward. A forwarded key is its own tenant: its hash names it.

        Raises Unauthorized or Unconfigured where there is no key for the provider at all.
        """
        if provider in self._keyed:
            return identity.tenant, None
        if identity.authorization is not None:
            return _tenant_of(identity.authorization), identity.authorization
        if provider in self._keyless:
            return identity.tenant, None
        if identity.key == "default":
            raise Unauthorized(
                f"No key for '{provider}': configure one for the gateway, or send your own as a bearer.",
                code="missing_api_key",
            )
        raise Unconfigured(f"The gateway has no key for '{provider}'; its owner must configure one.")


def _tenant_of(authorization: str) -> str:
    return "bearer-" + sha256(authorization.encode()).hexdigest()[:32]


def _lanes(identity: Identity) -> tuple[Lane, ...] | None:
    """Who wants nothing kept cannot have it wait in a batch."""
    if identity.retention != "none":
        return identity.lanes
    return tuple([lane for lane in identity.lanes or ("direct", "flex") if lane != "batch"])


def _canonical(content: bytes) -> bytes:
    """The body in one spelling. One that has none (a number past all floats, in a field that we do not read) stands for
    itself: it goes through as it is, and its provider judges it."""
    try:
        return body.canonical(content, UNANSWERING)
    except (msgspec.ValidationError, OverflowError):
        return content


def _rewrite(content: bytes, reading: Reading, changes: dict[str, Raw]) -> bytes:
    fields = body.fields(content)
    for name in reading.ours:
        given = fields.get(name)
        if not (name == "provider" and given is not None and bytes(given).startswith(b"{")):
            fields.pop(name, None)
    fields.update(changes)
    return body.join(fields)
