"""The Gemini dialect: OpenAI's chat and embeddings said in Google's words, and Google's answers in OpenAI's."""

from batchway.providers.gemini.batch import GeminiBatchDialect
from batchway.providers.gemini.dialect import GeminiDialect

__all__ = ["GeminiBatchDialect", "GeminiDialect"]
