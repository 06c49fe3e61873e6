"""What is kept of a request when its texts go: enough to decide about it again, nothing of what was said.

A store keeps `Traits` beside the columns of a request, so that a replay needs no bodies; the shadow planner keeps them
in memory. `prompt_of` makes of them a prompt that decisions can be made on.
"""

from functools import lru_cache
from hashlib import blake2b

from msgspec import Struct

from batchway.core.types import Endpoint, Optimize, Outline, Packing, Prompt, Request, Reuse


class Traits(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """See the module. Lengths are characters."""

    kin: str = ""
    """A hash, equal for requests of one model that differ in nothing but their last user text; empty where the last
    message is not a user's text."""
    item: int = 0
    """Length of the last user text."""
    text: int = 0
    """Length of all texts."""
    turns: int = 0
    """Texts but for the system's."""
    stream: bool = False
    temperature: float | None = None
    seed: int | None = None
    n: int = 1
    max_output: int | None = None
    features: tuple[str, ...] = ()
    reuse: Reuse = "auto"
    packing: Packing = "never"
    optimize: Optimize = "off"


def traits_of(request: Request) -> Traits:
    """What is kept of this request."""
    prompt = request.prompt
    return Traits(
        kin=_kin(request.endpoint, prompt),
        item=len(prompt.last_user or ""),
        text=sum(map(len, prompt.texts)),
        turns=len(prompt.texts) - (1 if prompt.system and len(prompt.texts) > 1 else 0),
        stream=prompt.stream,
        temperature=prompt.temperature,
        seed=prompt.seed,
        n=prompt.n,
        max_output=prompt.max_output,
        features=prompt.features,
        reuse=request.reuse,
        packing=request.packing,
        optimize=request.optimize,
    )


def prompt_of(traits: Traits, model: str, *, tokens: int, answer: int) -> Prompt:
    """A prompt without texts. `tokens` of its whole input, `answer` of its output, as billed or as expected."""
    share = traits.item / traits.text if traits.text else 0.0
    outline = Outline(
        kin=traits.kin,
        item=max(1, round(tokens * share)) if traits.kin else None,
        answer=answer,
        # As `core.analysis` finds it where no word says more: somebody reads along, or talks.
        tolerance="low" if traits.stream or traits.turns > 2 else "medium",
    )
    return Prompt(
        model=model,
        stream=traits.stream,
        temperature=traits.temperature,
        seed=traits.seed,
        n=traits.n,
        max_output=traits.max_output,
        features=traits.features,
        outline=outline,
    )


def _kin(endpoint: Endpoint, prompt: Prompt) -> str:
    if endpoint != "chat" or prompt.last_user is None:
        return ""
    others = list(prompt.texts)
    if prompt.last_user in others:
        others.reverse()
        others.remove(prompt.last_user)
    said = (prompt.temperature, prompt.top_p, prompt.seed, prompt.n, prompt.max_output, prompt.features)
    digest = _begun((prompt.model, *said, len(others))).copy()
    for text in others:
        digest.update(f"{len(text)}:".encode())
        digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


@lru_cache(maxsize=256)
def _begun(said: tuple[object, ...]) -> blake2b:
    """Writing it out costs more than the rest, and thousands of requests say the same."""
    return blake2b(repr(said).encode(), digest_size=8)
