"""Every setting there is: its name, default, bounds and meaning.

Adding a field here is all that a new setting needs: its variable (`BATCHWAY_` and the name in capitals), its flag and
TOML name, its line in .env.example and in `batchway config` follow from it.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_origin
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from batchway.core.types import Lane, Optimize, Packing, Reuse
from batchway.settings.keys import LINE, KeyEntry, Profile, read_keys
from batchway.settings.wording import bare_type, describe_allowed

KIB = 1 << 10
MIB = 1 << 20

PREFIX = "BATCHWAY_"

GENERIC = "generic"
"""The provider that is any upstream of the OpenAI shape: it has no base URL until one is set."""

ALIASES: Mapping[str, str] = {
    "default_provider": "DOWNSTREAM_PROVIDER",
    "request_timeout": "REQUEST_TIMEOUT_SEC",
    "cache_ttl": "CACHE_TTL_SEC",
    "cache_entries": "CACHE_MAX_ENTRIES",
    "default_model": "DEFAULT_MODEL",
    "default_max_output_tokens": "DEFAULT_MAX_OUTPUT_TOKENS",
    "default_temperature": "DEFAULT_TEMPERATURE",
    "default_top_p": "DEFAULT_TOP_P",
    "context_tokens": "DEFAULT_CONTEXT_TOKENS",
    "meta_overhead_tokens": "META_OVERHEAD_TOKENS",
    "batch_window_ms": "BATCH_WINDOW_MS",
    "max_batch_size": "MAX_BATCH_SIZE",
    "batch_size": "BATCH_THRESHOLD",
    "flush_interval": "BATCH_TIMEOUT",
    "idle_timeout": "BATCH_MAX_IDLE",
    "poll_interval": "BATCH_POLL_INTERVAL",
}
"""The batching middleware's variables, still understood; the variable with our prefix wins where both are given."""

_CHAT_SUFFIX = "/chat/completions"


def _setting(default: object, description: str, **bounds: Any) -> Any:
    return Field(default=default, description=description, **bounds)


def _check_base_url(url: str) -> str:
    """A URL that paths can be added to. People paste the whole chat URL, so its known end is cut off."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError("allowed is a URL such as https://host/v1")
    if "@" in parts.netloc:
        raise ValueError("a base URL carries no user or password; the provider's key is a setting of its own")
    if "?" in url or "#" in url:
        raise ValueError("a base URL has no query and no fragment")
    return url.rstrip("/").removesuffix(_CHAT_SUFFIX).rstrip("/")


def _check_key(key: SecretStr) -> SecretStr:
    """A key goes into a header: what would break one (or was pasted with it) is refused here, unquoted."""
    text = key.get_secret_value().strip()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("a key is printable ASCII without spaces")
    return SecretStr(text)


def _check_address(address: str) -> str:
    if any(mark.isspace() or mark == "/" for mark in address):
        raise ValueError("allowed is an address or a name, without spaces")
    return address


def _check_host(host: str) -> str:
    if not host or any(mark in host for mark in "/*@ "):
        raise ValueError("allowed is a host name such as llm.example.org, without scheme, path or *")
    return host.lower()


def _check_origin(origin: str) -> str:
    scheme, _, host = origin.partition("://")
    if scheme not in ("http", "https") or not host or any(mark in host for mark in "/*@?# "):
        raise ValueError("allowed are origins such as https://app.example.org, without a path; * is not one")
    return origin.lower()


def _check_pair(text: str) -> str:
    """Providers keep 16 pairs, keys of 64 and values of 512 characters (providers.md §3.3); one pair is our tag."""
    key, equals, value = text.partition("=")
    if not equals or not 0 < len(key) <= 64 or len(value) > 512 or key == "batchway":
        raise ValueError("allowed is KEY=VALUE, at most 64 and 512 characters, and not the key 'batchway'")
    return text


def _read_models(value: object) -> object:
    try:
        models = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        models = None
    if not isinstance(models, Mapping) or not all(isinstance(row, Mapping) for row in models.values()):
        raise ValueError('allowed is a table per model: [models."NAME"] in TOML, a JSON object in a variable')
    return models


class _Frozen(BaseModel):
    """What both models share. Variables and flags are text, so text is read as what the field wants."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        allow_inf_nan=False,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _read(cls, value: object, info: ValidationInfo) -> object:
        field = cls.model_fields[str(info.field_name)]
        kind = bare_type(field.annotation)
        if isinstance(value, bool) and kind is not bool:
            # Python takes True for 1; `max_retries = true` is a mistake.
            raise ValueError(f"allowed is {describe_allowed(field)}")
        if isinstance(value, str) and get_origin(kind) is Literal:
            return value.lower()
        if isinstance(value, str) and get_origin(kind) is tuple and info.field_name != "keys":
            return tuple(item.strip() for item in value.split(",") if item.strip())
        return value


BaseUrl = Annotated[str, AfterValidator(_check_base_url)]
Key = Annotated[SecretStr, AfterValidator(_check_key)]


class ProviderSettings(_Frozen):
    """What the user set about one provider; None leaves it to the registry."""

    base_url: BaseUrl | None = _setting(None, "Where its API is, http or https.")
    key: Key | None = _setting(None, "The API key; sent to this provider's host only.")
    dialect: str | None = _setting(None, "The wire format of an own provider, such as openai.", min_length=1)
    lanes: tuple[Lane, ...] | None = _setting(None, "The lanes that it may be used by.", min_length=1)
    max_in_flight: int | None = _setting(None, "Calls to it at a time, instead of max_in_flight.", ge=1)
    version: str | None = _setting(None, "The version of its API, such as 2026-10-21 for Anthropic.", min_length=1)
    account: str | None = _setting(
        None, "A name for its account that stays when its key is rotated; unset: the key stands for it.", min_length=1
    )
    enabled: bool = _setting(True, "false: it is not used, though it has a key.")


class Settings(_Frozen):
    """All settings in force; frozen. `batchway.settings.load` makes it and knows where each value came from."""

    host: Annotated[str, AfterValidator(_check_address)] = _setting(
        "127.0.0.1", "Address to listen on. Any but a loopback address needs gateway keys.", min_length=1
    )
    port: int = _setting(8080, "TCP port to listen on; 0 takes a free one.", ge=0, le=65535)
    insecure: bool = _setting(
        False, "Listen on any address without gateway keys. Everyone who reaches it spends your money."
    )
    allowed_hosts: tuple[Annotated[str, AfterValidator(_check_host)], ...] = _setting(
        (), "Names besides the loopback ones that a Host header may carry."
    )
    cors_origins: tuple[Annotated[str, AfterValidator(_check_origin)], ...] = _setting(
        (), "Web origins whose pages may call the gateway; none: CORS is off."
    )
    log_level: Literal["debug", "info", "warning", "error"] = _setting("info", "The least that is logged.")
    log_format: Literal["console", "json"] = _setting("console", "For people, or one JSON object a line.")

    keys: Annotated[tuple[KeyEntry, ...], BeforeValidator(read_keys)] = _setting(
        (), f"Gateway keys as {LINE}; `batchway keys create NAME` prints one. [[keys]] tables in TOML can say more."
    )

    profile: Profile = _setting("transparent", "The set of defaults: alter nothing, save, or batch what has no hint.")
    policy: str | None = _setting(
        None,
        "A policy file (TOML), as `batchway tune` writes one: laid over the profile and the windows.",
        min_length=1,
    )
    what_if: Literal["off", "transparent", "saver", "batcher"] = _setting(
        "saver", "The profile whose savings on the live traffic are worked out beside it, for /stats; off: none."
    )
    default_provider: str = _setting("openai", "Provider of models that name none.", min_length=1)
    default_model: str | None = _setting(None, "Model of requests without one; unset: they are refused.", min_length=1)
    default_max_output_tokens: int | None = _setting(
        None, "Output bound of requests without one; unset: none is sent.", ge=1
    )
    default_temperature: float | None = _setting(
        None, "Temperature of requests without one; unset: none is sent.", ge=0, le=2
    )
    default_top_p: float | None = _setting(None, "top_p of requests without one; unset: none is sent.", ge=0, le=1)

    packing: Packing | None = _setting(
        None,
        "Let prompts share a call: never, auto (where it is cheaper) or always; unset: as the profile says.",
    )
    pack_format: Literal["xml", "json"] = _setting("xml", "How prompts are written into one call.")
    pack_stake_usd: float = _setting(
        0, "US dollars that packing=auto may risk per tenant and model before it has saved any.", ge=0
    )
    pack_risk: float | None = _setting(
        None,
        "Share of what single calls cost that packing=auto may risk to find out whether a model can be packed; unset: "
        "0, and 0.005 in the profile saver.",
        ge=0,
        le=1,
    )
    optimize: Optimize | None = _setting(
        None, "fit: shorten prompts that do not fit their model's window or context_tokens; unset: as the profile says."
    )
    context_tokens: int | None = _setting(
        None,
        "Token budget of a prompt; unset: the model's window. Giving it makes optimize fit where that is unset.",
        ge=1,
    )
    meta_overhead_tokens: int | None = _setting(None, "Tokens of that budget set aside for framing.", ge=0)
    batch_window_ms: float | None = _setting(
        None,
        "Milliseconds that a pack window waits for company; giving it makes packing always where that is unset.",
        ge=0,
    )
    max_batch_size: int | None = _setting(
        None, "Requests that one packed call may answer; giving it makes packing always where that is unset.", ge=1
    )

    reuse: Reuse = _setting("auto", "Answer identical requests once: only repeatable ones (auto), every one, or never.")
    cache_ttl: float = _setting(300, "Seconds that an answer may be used again; 0 switches the cache off.", ge=0)
    cache_entries: int = _setting(10_000, "Answers kept in memory.", ge=0)
    cache_bytes: ByteSize = _setting(64 * MIB, "Memory for kept answers.", ge=0)

    database_url: str | None = _setting(
        None,
        "The store: a path or sqlite:/// URL of a file, a postgresql:// URL, or none; unset: a file in the user's data "
        "folder. Without a store there is no batch lane and no record.",
    )
    unsafe_store: bool = _setting(
        False, "Use the batch lane though the store's file lies in memory or on another machine."
    )
    record: Literal["all", "metadata", "none"] = _setting(
        "all", "What is kept of direct requests: everything, all but what was said, or only what they cost."
    )
    retention: float | None = _setting(
        604_800, "Seconds that bodies are kept after the answer; metadata and charges stay.", ge=0
    )

    batch_size: int = _setting(100, "Requests that close a window of the batch lane.", ge=1)
    flush_interval: float = _setting(300, "Seconds after which such a window closes at the latest.", ge=0)
    idle_timeout: float = _setting(3600, "Seconds without a newcomer after which it closes.", ge=0)
    poll_interval: float = _setting(60, "Seconds between two looks at a provider's batch, on average.", gt=0)
    completion_window: str = _setting(
        "24h", "The window that batches are bought with; one that is not sold becomes the provider's.", min_length=1
    )
    batch_metadata: tuple[Annotated[str, AfterValidator(_check_pair)], ...] = _setting(
        (), "KEY=VALUE pairs put on every provider batch, beside our own tag.", max_length=15
    )
    events: str | None = _setting(
        None, "A file that gets the lifecycle of provider batches as JSON lines; - is standard output.", min_length=1
    )
    on_unknown: Literal["hold", "resubmit", "fail"] = _setting(
        "hold", "When nobody can say whether a batch was created: wait, create again (paid twice, perhaps), or fail."
    )
    on_overdue: Literal["wait", "requeue", "reroute"] = _setting(
        "wait", "When a batch outlives its window by an hour: wait, or cancel it and send what is left another way."
    )
    max_jobs_per_row: int = _setting(2, "Batches that one request may be in before it fails.", ge=1)
    flex_timeout: float = _setting(600, "Seconds that a flex call may take before another lane is tried.", gt=0)
    rescue_margin: float = _setting(30, "Seconds before its deadline that a batched request is asked directly.", ge=0)
    rescue_call_seconds: float = _setting(30, "Seconds that such a direct call may need.", ge=0)
    rescue_cap_usd: float | None = _setting(None, "US dollars that rescues may cost a day; unset: no bound.", ge=0)
    settle: float = _setting(60, "Seconds after which a new batch shows in its provider's listings.", ge=0)
    vanish_grace: float = _setting(900, "Seconds of 404 after which a batch counts as lost.", ge=0)
    lease: float = _setting(
        30, "Seconds after which a process that does not stir is dead, and others take over its work.", ge=0.1
    )

    crash_at: str | None = _setting(
        None, "For proofs: end the process as kill -9 does at this named place, NAME or NAME:TIMES.", min_length=1
    )

    max_body_bytes: ByteSize = _setting(32 * MIB, "Largest request body.", ge=KIB)
    max_json_depth: int = _setting(64, "Deepest nesting of a body.", ge=4, le=500)
    body_timeout: float = _setting(30, "Seconds in which a body must arrive.", gt=0)
    max_response_bytes: ByteSize = _setting(64 * MIB, "Largest answer of a provider.", ge=KIB)
    max_connections: int = _setting(2000, "Requests accepted and not yet answered.", ge=1)
    max_in_flight: int = _setting(512, "Calls to one provider at a time.", ge=1)
    max_queue: int = _setting(1000, "Requests that wait for their turn; one more gets 429.", ge=0)
    max_queue_bytes: ByteSize = _setting(256 * MIB, "Bodies that wait for their turn.", ge=KIB)

    connect_timeout: float = _setting(5, "Seconds to connect to a provider.", gt=0)
    request_timeout: float = _setting(600, "Seconds for a provider to answer.", gt=0)
    max_retries: int = _setting(2, "Times that a failed call is sent again.", ge=0, le=10)
    retry_unknown: bool = _setting(False, "Send again also what a provider may have done, and billed, already.")
    abandon_grace: float = _setting(2.0, "Seconds that a call goes on after its last caller left.", ge=0)
    drain_timeout: float = _setting(30, "Seconds for open requests to end when stopping.", ge=0)

    providers: Annotated[Mapping[str, ProviderSettings], AfterValidator(MappingProxyType)] = _setting(
        {}, "Per provider, by name: base URL, key, lanes and so on."
    )
    models: Annotated[
        Mapping[str, Mapping[str, Any]], BeforeValidator(_read_models), AfterValidator(MappingProxyType)
    ] = _setting({}, "Prices and windows of models, laid over the catalogue; in a variable a JSON object.")

    def metadata_pairs(self) -> tuple[tuple[str, str], ...]:
        """`batch_metadata` taken apart."""
        return tuple([_pair(text) for text in self.batch_metadata])


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


def variable(*path: str) -> str:
    """The environment variable of a setting: `BATCHWAY_PORT`, `BATCHWAY_PROVIDERS__OPENAI__KEY`."""
    return PREFIX + "__".join(path).upper().replace("-", "_")
