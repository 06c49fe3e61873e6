"""Chooses the model of a request that says `auto`: of the configured providers' models, one that can be asked this."""

from collections.abc import Callable, Collection, Mapping, Sequence

from batchway.core.analysis import analyse
from batchway.core.catalog import Catalog
from batchway.core.errors import BadRequest
from batchway.core.model_choice import choose_model
from batchway.core.types import Endpoint, Prompt, Request
from batchway.ports import Dialect

AUTO = "auto"
"""The model of a request that leaves the choice to us."""

Make = Callable[[str, str], Request]
"""Makes the request for this provider and this model of it."""


class Choosing:
    """`names` are the (provider, model) that may be chosen, of providers that `dialects` has."""

    def __init__(self, names: Sequence[tuple[str, str]], catalog: Catalog, dialects: Mapping[str, Dialect]) -> None:
        self._names = tuple((provider, name) for provider, name in names if provider in dialects)
        self.providers = frozenset(provider for provider, _ in self._names)
        self._catalog = catalog
        self._dialects = dialects

    def choose(self, endpoint: Endpoint, prompt: Prompt, providers: Collection[str], make: Make) -> tuple[Request, str]:
        """The request for the best model of these providers, and why it is that one.

        A model whose provider cannot be asked this (its dialect says so) is passed over. Raises BadRequest where none
        is left, with what the last of them could not be asked.
        """
        if endpoint == "embeddings":
            raise BadRequest(f"model: '{AUTO}' chooses no model for embeddings; name one.", param="model")
        analysis = analyse(prompt)
        names = [each for each in self._names if each[0] in providers]
        refused: BadRequest | None = None
        while True:
            try:
                option, why = choose_model(prompt, analysis, names, self._catalog)
            except BadRequest as error:
                raise refused or error from error
            request = make(option.provider, option.name)
            try:
                self._dialects[option.provider].encode(request)
            except BadRequest as error:
                refused = error
                names.remove((option.provider, option.name))
            else:
                return request, why
