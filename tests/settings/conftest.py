"""Providers as the tests name them to the settings, and a way to load that sees nothing of this machine."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from batchway.settings import Loaded, ProviderNames, load

PROVIDERS = (
    ProviderNames(
        name="openai",
        key_variables=("OPENAI_API_KEY", "OPENAI_KEY"),
        url_variables=("OPENAI_BASE_URL", "OPENAI_API_BASE"),
    ),
    ProviderNames(name="grok", key_variables=("XAI_API_KEY",), url_variables=("XAI_BASE_URL",)),
    ProviderNames(name="far-away", key_variables=("FAR_KEY",)),
    ProviderNames(name="generic", key_variables=("DOWNSTREAM_API_KEY",), url_variables=("DOWNSTREAM_URL",)),
)


class LoadFrom(Protocol):
    def __call__(
        self,
        *,
        flags: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        dotenv: str | None = None,
        toml: str | None = None,
    ) -> Loaded: ...


@pytest.fixture
def providers() -> Sequence[ProviderNames]:
    return PROVIDERS


@pytest.fixture
def load_from(tmp_path: Path) -> LoadFrom:
    """Load from these four sources; the last two are written as files into a folder of their own."""

    def load_written(
        *,
        flags: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        dotenv: str | None = None,
        toml: str | None = None,
    ) -> Loaded:
        for name, text in ((".env", dotenv), ("batchway.toml", toml)):
            if text is not None:
                (tmp_path / name).write_text(text)
        return load(flags or {}, providers=PROVIDERS, environment=environment or {}, folder=str(tmp_path))

    return load_written
