"""Anthropic Messages: OpenAI chat in, Messages out, and the same way back (providers.md §10)."""

from batchway.providers.anthropic.batch import AnthropicBatchDialect
from batchway.providers.anthropic.dialect import AnthropicDialect

__all__ = ["AnthropicBatchDialect", "AnthropicDialect"]
