"""The providers known by name: dialect, base URL, key variables, lanes. A truly compatible vendor is one row."""

from collections.abc import Callable, Mapping

from msgspec import Struct

from batchway.core.types import Lane
from batchway.ports import BatchDialect, Dialect, RelayDialect
from batchway.providers.anthropic import AnthropicBatchDialect, AnthropicDialect
from batchway.providers.batch_forms import BATCH_FORMS
from batchway.providers.gemini import GeminiBatchDialect, GeminiDialect
from batchway.providers.mistral import MistralDialect
from batchway.providers.mistral_batch import MistralBatchDialect
from batchway.providers.openai import OpenAIDialect
from batchway.providers.openai_batch import OpenAIBatchDialect
from batchway.providers.openai_relay import OpenAIRelay
from batchway.providers.openrouter_batch import OpenRouterBatchDialect
from batchway.providers.xai_batch import XAIBatchDialect


class Row(Struct, frozen=True, kw_only=True):
    """One provider as shipped; settings may change its base URL, key and lanes."""

    name: str
    dialect: str
    base_url: str | None
    """None: it must be set (a `generic` upstream)."""
    key_variables: tuple[str, ...]
    url_variables: tuple[str, ...]
    batch_api: bool = False
    flex: bool = False
    aliases: tuple[str, ...] = ()
    needs_key: bool = True
    version: str | None = None
    """The version of its API that is spoken unless settings say otherwise, where it has versions."""
    sandbox_path: str = "/v1"
    """What follows the provider's name in a sandbox's address: as much of the base URL as its own SDK is given."""


ROWS: tuple[Row, ...] = (
    # providers.md §1 (base URLs, variables), §2 (batch APIs), §15 (flex)
    Row(
        name="openai",
        dialect="openai",
        base_url="https://api.openai.com/v1",
        key_variables=("OPENAI_API_KEY",),
        url_variables=("OPENAI_BASE_URL",),
        batch_api=True,
        flex=True,
    ),
    Row(
        name="anthropic",
        dialect="anthropic",
        base_url="https://api.anthropic.com",
        key_variables=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
        url_variables=("ANTHROPIC_BASE_URL",),
        batch_api=True,
        sandbox_path="",
        version="2023-06-01",
    ),
    Row(
        name="grok",
        dialect="xai",
        base_url="https://api.x.ai/v1",
        key_variables=("XAI_API_KEY",),
        url_variables=("XAI_BASE_URL", "XAI_API_BASE"),
        batch_api=True,
        aliases=("xai",),
    ),
    Row(
        name="deepinfra",
        dialect="openai",
        base_url="https://api.deepinfra.com/v1/openai",
        key_variables=("DEEPINFRA_API_KEY", "DEEPINFRA_TOKEN"),
        url_variables=("DEEPINFRA_BASE_URL",),
        batch_api=True,
    ),
    Row(
        name="groq",
        dialect="openai",
        base_url="https://api.groq.com/openai/v1",
        key_variables=("GROQ_API_KEY",),
        url_variables=("GROQ_BASE_URL",),
        batch_api=True,
    ),
    Row(
        name="doubleword",
        dialect="openai",
        base_url="https://api.doubleword.ai/v1",
        key_variables=("DOUBLEWORD_API_KEY",),
        url_variables=("DOUBLEWORD_BASE_URL",),
        batch_api=True,
    ),
    Row(
        name="openrouter",
        dialect="openrouter",
        base_url="https://openrouter.ai/api/v1",
        key_variables=("OPENROUTER_API_KEY",),
        url_variables=("OPENROUTER_BASE_URL",),
        batch_api=True,
    ),
    Row(
        name="gemini",
        dialect="gemini",
        base_url="https://generativelanguage.googleapis.com",
        key_variables=("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        url_variables=("GEMINI_BASE_URL",),
        batch_api=True,
        flex=True,
        version="v1beta",
        sandbox_path="",
    ),
    Row(
        name="mistral",
        dialect="mistral",
        base_url="https://api.mistral.ai/v1",
        key_variables=("MISTRAL_API_KEY",),
        url_variables=("MISTRAL_BASE_URL",),
        batch_api=True,
    ),
    Row(
        name="generic",
        dialect="openai",
        base_url=None,
        key_variables=("DOWNSTREAM_API_KEY",),
        url_variables=("DOWNSTREAM_URL",),
        needs_key=False,
    ),
)


class Account(Struct, frozen=True, kw_only=True):
    """A provider as configured here: what a dialect needs to speak for us."""

    name: str
    base_url: str
    key: str | None
    """None: none is configured; the caller's own bearer is forwarded, where the request carries one."""
    lanes: tuple[Lane, ...] | None = None
    """Lanes that the settings allow; None: all that it offers."""
    version: str | None = None
    """The version of its API, where it has versions."""


DIALECTS: Mapping[str, Callable[[Account], Dialect]] = {
    "anthropic": lambda account: AnthropicDialect(
        account.name,
        account.base_url,
        account.key,
        account.version or "2023-06-01",
        errors=OpenAIDialect(account.name, account.base_url, account.key),
    ),
    "gemini": lambda account: GeminiDialect(account.name, account.base_url, account.key, account.version),
    "mistral": lambda account: MistralDialect(OpenAIDialect(account.name, account.base_url, account.key)),
    "openai": lambda account: OpenAIDialect(account.name, account.base_url, account.key),
    # Direct calls of these are OpenAI's; their batches are not.
    "openrouter": lambda account: OpenAIDialect(account.name, account.base_url, account.key),
    "xai": lambda account: OpenAIDialect(account.name, account.base_url, account.key),
}
"""Every dialect by name: how to make one for an account."""

BATCH_DIALECTS: Mapping[str, Callable[[Account], BatchDialect]] = {
    "anthropic": lambda account: AnthropicBatchDialect(
        account.name,
        account.base_url,
        account.key,
        account.version or "2023-06-01",
        errors=OpenAIDialect(account.name, account.base_url, account.key),
    ),
    "gemini": lambda account: GeminiBatchDialect(account.name, account.base_url, account.key, account.version),
    "mistral": lambda account: MistralBatchDialect(account.name, account.base_url, account.key),
    "openai": lambda account: OpenAIBatchDialect(
        account.name, account.base_url, account.key, BATCH_FORMS.get(account.name, BATCH_FORMS["generic"])
    ),
    "openrouter": lambda account: OpenRouterBatchDialect(account.name, account.base_url, account.key),
    "xai": lambda account: XAIBatchDialect(account.name, account.base_url, account.key),
}
"""The same for Batch APIs, by the name of the dialect that direct calls are made in."""


RELAY_DIALECTS: Mapping[str, Callable[[Account], RelayDialect]] = {
    "openai": lambda account: OpenAIRelay(
        account.base_url, account.key, errors=OpenAIDialect(account.name, account.base_url, account.key)
    ),
}
"""The same for OpenAI's own objects (files, batches, stored answers): who has them, and speaks of them alike."""


def row_of(name: str) -> Row | None:
    """The row of this name or alias."""
    return next((row for row in ROWS if name == row.name or name in row.aliases), None)
