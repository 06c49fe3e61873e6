"""Which dialect a provider speaks: one row per provider that does not speak OpenAI's."""

from collections.abc import Callable, Mapping
from typing import Final

from batchway.sandbox.anthropic import Anthropic
from batchway.sandbox.contract import Dialect
from batchway.sandbox.gemini import Gemini
from batchway.sandbox.mistral import Mistral
from batchway.sandbox.openai import OpenAI
from batchway.sandbox.openrouter import OpenRouter
from batchway.sandbox.state import Sandbox
from batchway.sandbox.xai import XAI

DIALECTS: Final[Mapping[str, Callable[[Sandbox], Dialect]]] = {
    "anthropic": Anthropic,
    "gemini": Gemini,
    "grok": XAI,
    "mistral": Mistral,
    "openai": OpenAI,
    "openrouter": OpenRouter,
}
"""Provider name (the first segment of the path) to its dialect."""


def speak(provider: str, sandbox: Sandbox) -> Dialect:
    """The dialect of a provider, with fresh state; a name without a row speaks OpenAI's."""
    return DIALECTS.get(provider, OpenAI)(sandbox)
