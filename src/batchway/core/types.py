"""The values that travel between the rooms: frozen, comparable, without I/O.

They hold no cycles, and say so (`gc=False`): the garbage collector need not look at the thousands that are under way.

Times are seconds since the epoch, given by the caller's clock; sizes are bytes; money is integer picodollars
(10⁻¹² USD), so that the cheapest token in use ($0.01 per million = 10,000 picodollars) is a whole number.
"""

from typing import Literal

from msgspec import Struct, structs

Endpoint = Literal["chat", "embeddings", "responses"]
Lane = Literal["direct", "flex", "batch"]
Via = Literal["direct", "flex", "batch", "cache", "coalesced"]
Priority = Literal["low", "normal", "high"]
Strategy = Literal["auto", "direct", "flex", "batch"]
Reuse = Literal["off", "auto", "all"]
Packing = Literal["never", "auto", "always"]
Optimize = Literal["off", "fit"]
OnDeadline = Literal["escalate", "fail"]

PICODOLLARS = 10**12
"""Picodollars in one US dollar."""


class Hints(Struct, frozen=True, kw_only=True, gc=False):
    """What a caller (or the defaults of its key) says about how a request may be answered. None means unset."""

    provider: str | None = None
    priority: Priority | None = None
    strategy: Strategy | None = None
    deadline: float | str | None = None
    """Seconds from acceptance, or an RFC 3339 instant; `Request.deadline` holds it resolved."""
    request_id: str | None = None
    caller_id: str | None = None
    tags: dict[str, object] | None = None
    reuse: Reuse | None = None
    packing: Packing | None = None
    optimize: Optimize | None = None
    on_deadline: OnDeadline | None = None


class Outline(Struct, frozen=True, kw_only=True, gc=False):
    """What decisions need of a prompt whose texts are not at hand: of traffic that was recorded without them."""

    kin: str
    """Equal for prompts of one model that differ in nothing but their last user text."""
    item: int | None = None
    """Tokens of the last user text; None: the last message is not a user's text."""
    answer: int = 200
    """Output tokens of its answer, as expected."""
    tolerance: Literal["low", "medium", "high"] = "medium"
    """How long it may be kept for company (`core.policy.Tolerance`)."""


class Prompt(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What wire read from a body: all that a decision may depend on. Core never indexes the body itself."""

    model: str
    texts: tuple[str, ...] = ()
    """Every text the model will read, in order (system, turns, tool results; inputs of embeddings)."""
    system: str = ""
    """System and developer text, joined: part of the key of a pack window."""
    stream: bool = False
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    n: int = 1
    max_output: int | None = None
    """The caller's own bound on output tokens, if it gave one."""
    last_user: str | None = None
    """The text of the last message, where that is a user's and all text: what differs between requests that can share
    a call."""
    features: tuple[str, ...] = ()
    """What rules lanes out, sorted: audio, images, logprobs, response_format, stateful, tools."""
    outline: Outline | None = None
    """Stands in for the texts, where they are not at hand."""


class Request(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What one caller asked, with its hints resolved against the defaults in force.

    It is stored without the fields that stand at their defaults, so that a default is a part of the stored format:
    another one changes what rows mean that are there (tests/store/test_left_out.py).
    """

    id: str
    """What the caller sees, its own where it gave one."""
    ask: str
    """Unique for each time of asking: two callers may ask with one `id`, and one of them may leave."""
    tenant: str
    key: str
    """Name of the gateway key it came with; `default` where none are configured."""
    caller: str
    provider: str
    endpoint: Endpoint
    body: bytes
    """The body for the provider: as given, without our hints."""
    prompt: Prompt
    stored_size: int | None = None
    """Bytes of the body, where it is on disk alone, as are the texts of the prompt (`wordless`)."""
    pack_key: str | None = None
    """Equal for two requests that differ in nothing but their last user text; None where packing was not asked for."""
    apart: str | None = None
    """A field of its body that may mean something else in a call of several, where packing was asked for."""
    fingerprint: str
    """Equal for two requests of one tenant when the same answer would serve both. Of those that share with nobody, only
    where they are the same byte for byte, as a caller's retry is; see `core.fingerprint`."""
    asked_at: float
    deadline: float | None = None
    priority: Priority = "normal"
    strategy: Strategy = "auto"
    reuse: Reuse = "auto"
    packing: Packing = "never"
    optimize: Optimize = "off"
    on_deadline: OnDeadline = "escalate"
    lanes: tuple[Lane, ...] | None = None
    """The lanes that its key may use; None: all."""
    named: bool = False
    """The caller gave the id: the same id and fingerprint attaches to this request, another body is a conflict."""
    durable: bool = False
    """It must be on disk before it is sent or acknowledged (batch lane, 202, or a given id where a store is open)."""
    detached: bool = False
    """Nobody waits for its answer: its caller is told as soon as it is on disk, and looks the answer up later."""
    tokens: int | None = None
    """Input tokens, where they were counted already. Counting costs as much as all else that is done for a request, so
    it is put off until a decision depends on it (`core.tokens`)."""
    tags: dict[str, object] | None = None
    """What the caller says that it is for; kept beside it, never sent."""
    retention: float | Literal["none"] | None = None
    """Seconds that its key wants bodies kept; `none`: not at all, so that it may neither wait in a batch nor share a
    call; None: as the settings say."""
    authorization: str | None = None
    """The caller's own bearer, where the gateway has no provider key and forwards it. Never logged."""

    @property
    def size(self) -> int:
        """Bytes of the body. No tokenizer makes more tokens than bytes, so this is a bound on the tokens as well."""
        return len(self.body) if self.stored_size is None else self.stored_size

    def wordless(self) -> "Request":
        """The same without what it says, which is on disk: what waits for hours, by the ten thousand, takes no memory
        for it."""
        prompt = structs.replace(self.prompt, texts=("",) * len(self.prompt.texts), system="", last_user=None)
        return structs.replace(self, stored_size=self.size, body=b"", prompt=prompt)

    @property
    def likely_tokens(self) -> int:
        """Input tokens, roughly where not counted: four bytes each, as in English. For comparing, not for limits."""
        return self.tokens if self.tokens is not None else self.size // 4


class Usage(Struct, frozen=True, kw_only=True, gc=False):
    """Tokens as billed by the provider. `cached` and `cache_written` are parts of `input`, `reasoning` of `output`, and
    `cache_written_hour` (what the provider's cache keeps for an hour, at a price of its own) of `cache_written`."""

    input: int = 0
    output: int = 0
    cached: int = 0
    cache_written: int = 0
    cache_written_hour: int = 0
    reasoning: int = 0
    tier: str | None = None
    """The service tier that the provider says it used (`flex`, `priority`, …), where it says so."""


class Answer(Struct, frozen=True, kw_only=True, gc=False):
    """A result as the endpoint's object, in the shape of the front that asked."""

    body: bytes
    usage: Usage | None = None
    complete: bool = True
    """Every choice ended by itself (`stop` or `tool_calls`): only such an answer may be cached."""
    finished_at: float = 0.0
    said: str | None = None
    """The text of the answer, where the planner compares it: parts of packed calls, and their samples."""


class Fault(Struct, frozen=True, kw_only=True, gc=False):
    """The typed failure of one request; `core.errors` holds the tree that makes them."""

    whose: Literal["yours", "theirs", "ours"]
    status: int
    type: str
    code: str | None
    message: str
    param: str | None = None
    retry_after: float | None = None
    """Seconds after which trying again makes sense, where known."""
    billed: Literal["no", "unknown"] = "no"
    """`unknown`: the provider may have done the work and may charge for it, so nobody retries it unasked."""
    passing: bool = False
    """The same request may succeed when sent again later."""
    body: bytes | None = None
    """The provider's own error body (scrubbed), passed through to the caller."""
    usage: Usage | None = None
    """What the provider bills for it although it failed: a part of a packed call that could not be told apart."""
    healthy: bool = True
    """False: the failure says something about the provider's health, not about this request."""


class Charge(Struct, frozen=True, kw_only=True, gc=False):
    """One line of what a call cost one request, beside what it would have cost sent alone and directly."""

    call_id: str
    """The call whose answer it got; a cache hit names the call that made the cached answer."""
    request_id: str
    """Or `overhead`, for what no request asked for: guard samples and double-paid rows."""
    tenant: str
    key: str
    provider: str
    model: str
    via: Via
    usage: Usage
    cost: int | None
    """Picodollars; None where the model has no known price."""
    counterfactual: int | None
    at: float
