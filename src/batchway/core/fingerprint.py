"""When two requests are the same, and when one's answer may serve the other.

Three ways of reuse, from the widest to the narrowest rule:
- cache and coalescing: the request allows it (`reuse`), see `reusable`;
- a given request_id: the same id and body attaches, whatever `reuse` says;
- adoption: an identical request of the same key whose predecessor's caller left without its answer gets that one's,
  whatever `reuse` says, because it is the same caller trying again (SDKs time out and retry without an id).
"""

from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

from batchway.core.types import Answer, Endpoint, Optimize, Packing, Prompt, Request, Reuse

if TYPE_CHECKING:
    from hashlib import _Hash

UNANSWERING = frozenset(
    {
        "metadata",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "stream",
        "stream_options",
        "user",
    }
)
"""Fields of a body that do not change its answer, and so are not part of the fingerprint of what may be shared."""


def fingerprint(tenant: str, provider: str, endpoint: str, said: bytes, manner: str = "") -> str:
    """A hash of whose request it is, where it goes and what it says. Never equal for two tenants.

    `said` is the body in one spelling, without our hints and without `UNANSWERING` (`wire.body.canonical`); or as it
    came, for a request that only its caller's own retry may be equal to. `manner` tells apart who allows its answer to
    be made otherwise (see `manner`).
    """
    digest = _begun(tenant, provider, endpoint, manner).copy()
    digest.update(said)
    return digest.hexdigest()


@lru_cache(maxsize=256)
def _begun(tenant: str, provider: str, endpoint: str, manner: str) -> "_Hash":
    """Of what thousands of requests have in common."""
    return sha256(f"{len(tenant)}:{tenant}/{len(provider)}:{provider}/{endpoint}/{manner}".encode())


def manner(packing: Packing, optimize: Optimize) -> str:
    """How an answer may be altered for this request. What one allows, another gets only if it allows the same: a
    packed answer is never given to a request that asked for one of its own."""
    return "" if packing == "never" and optimize == "off" else f"{packing}/{optimize}/"


def pack_key(canonical: bytes) -> str:
    """A hash of what a request has in common with those that it can share a call with: all but its last message."""
    return sha256(canonical).hexdigest()


def reusable(request: Request) -> str | None:
    """None if the request may share an answer with its twins, else why not."""
    return unshared(request.prompt, request.endpoint, request.reuse)


def unshared(prompt: Prompt, endpoint: Endpoint, reuse: Reuse) -> str | None:
    """Why a request like this shares no answer with its twins; None if it may.

    `auto` shares only what asks to be repeatable: temperature 0 and no seed, or an embedding. Repeated sampling is
    never collapsed unasked: someone's evaluation depends on it.
    """
    if reuse == "off":
        return "reuse is off"
    if "stateful" in prompt.features:
        return "the request reads or leaves state at the provider"
    if reuse == "all" or endpoint == "embeddings":
        return None
    if prompt.temperature != 0:
        return "reuse=auto shares only requests with temperature 0"
    if prompt.seed is not None:
        return "reuse=auto does not share requests with a seed"
    return None


def cacheable(answer: Answer) -> bool:
    """Only complete answers are kept: truncated, filtered and failed ones never are."""
    return answer.complete


def twin_key(request: Request) -> tuple[str, bool]:
    """Two requests in flight with equal keys can be answered by one call (a stream only by a stream)."""
    return request.fingerprint, request.prompt.stream


def adoption_key(request: Request) -> tuple[str, str, str]:
    """What a retry has in common with the request that its caller gave up on."""
    return request.tenant, request.key, request.fingerprint
