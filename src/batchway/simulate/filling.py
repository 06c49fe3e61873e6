"""Fills in what a request of a trace does not say: its id, analysis, tokens and model. What it says is kept."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from difflib import get_close_matches

from msgspec import Struct

from batchway.core.analysis import JUDGED, NOTHING_FOUND, Analysis, analyse_text, read_analysis
from batchway.core.catalog import Catalog, Model
from batchway.core.errors import BadRequest
from batchway.core.model_choice import choose_model
from batchway.core.types import Prompt
from batchway.simulate.files import wrong_at
from batchway.simulate.inputs import Entry
from batchway.simulate.timing import Timed

REMEMBERED = 100_000
"""Ids that are remembered (the same one twice among so many requests is an error), and names of models."""


class Ready(Struct, frozen=True, kw_only=True, gc=False):
    """A request of a trace of which nothing is missing."""

    entry: Entry
    """As it was given."""
    order: int
    """Its place in the file, from 0."""
    request_id: str
    at_ms: int
    """When it arrives, in milliseconds."""
    analysis: Analysis
    tokens: int
    """Input tokens."""
    model: str
    provider: str | None
    """Whose model it is; None: the catalogue does not know it."""
    why: str
    """Why this model."""


class Filler:
    """Makes the requests of one file ready, in the order of their times.

    `names` are the (provider, model) to choose from, `providers` those whose models may be named; `count` gives the
    tokens of a text in the encoding of a model (or of none); `any_model`: names that the catalogue does not know are
    taken as well. `fill` raises InputError that names the line and the field.
    """

    def __init__(
        self,
        name: str,
        *,
        catalog: Catalog,
        names: Sequence[tuple[str, str]],
        providers: Sequence[str],
        count: Callable[[str, str], int],
        any_model: bool = False,
    ) -> None:
        self._name = name
        self._catalog = catalog
        self._names = names
        self._providers = tuple(providers)
        self._count = count
        self._any_model = any_model
        self._lines: OrderedDict[str, int] = OrderedDict()
        self._models: dict[str, tuple[str | None, Model | None]] = {}

    def fill(self, timed: Timed) -> Ready:
        """The request, with all that is missing."""
        entry = timed.entry
        tokens = self._tokens(entry)
        analysis = self._analysis(entry, tokens)
        model, provider, why = self._model(entry, analysis)
        return Ready(
            entry=entry,
            order=timed.order,
            request_id=self._id(entry, timed.order),
            at_ms=timed.at_ms,
            analysis=analysis,
            tokens=tokens,
            model=model,
            provider=provider,
            why=why,
        )

    def _id(self, entry: Entry, order: int) -> str:
        found = entry.request_id or f"r{order + 1}"
        if found in self._lines:
            raise wrong_at(self._name, entry.line, f"request_id: {found!r} was on line {self._lines[found]} already.")
        self._lines[found] = entry.line
        if len(self._lines) > REMEMBERED:
            self._lines.popitem(last=False)
        return found

    def _tokens(self, entry: Entry) -> int:
        if entry.token_count is not None:
            return entry.token_count
        return self._count(entry.selected_model or "", entry.text or "")

    def _analysis(self, entry: Entry, tokens: int) -> Analysis:
        given = entry.analysis_json or {}
        known = entry.text is None or given.keys() >= JUDGED
        found = NOTHING_FOUND if known else analyse_text(entry.text or "")
        try:
            return read_analysis({"input_tokens": tokens} | given, over=found)
        except BadRequest as error:
            raise wrong_at(self._name, entry.line, f"analysis_json.{error}") from error

    def _model(self, entry: Entry, analysis: Analysis) -> tuple[str, str | None, str]:
        if entry.selected_model is not None:
            return entry.selected_model, self._named(entry, entry.selected_model, analysis.input_tokens), "as given"
        prompt = Prompt(model="", texts=(entry.text or "",))
        try:
            option, why = choose_model(prompt, analysis, self._names, self._catalog)
        except BadRequest as error:
            raise wrong_at(self._name, entry.line, str(error).replace("model:", "selected_model:", 1)) from error
        return option.name, option.provider, why

    def _named(self, entry: Entry, name: str, tokens: int) -> str | None:
        """The provider of a model that was named, which must be able to read so much."""
        found = self._models.get(name)
        if found is None:
            if len(self._models) >= REMEMBERED:
                self._models.clear()
            found = self._models[name] = self._look_up(entry, name)
        provider, model = found
        if model is not None and model.window is not None and tokens > model.window:
            what = f"token_count: {tokens:,} tokens are more than {name} reads; its window is {model.window:,}."
            raise wrong_at(self._name, entry.line, what)
        return provider

    def _look_up(self, entry: Entry, name: str) -> tuple[str | None, Model | None]:
        prefix, _, rest = name.partition("/")
        if prefix in self._providers and (model := self._catalog.model(prefix, rest)) is not None:
            return prefix, model
        provider = self._catalog.provider_of(name, self._providers)
        if provider is not None:
            return provider, self._catalog.model(provider, name)
        if self._any_model:
            return None, None
        close = get_close_matches(name, [known for _, known in self._names], n=1)
        meant = f" {close[0]} is meant?" if close else ""
        advice = "add it to the models setting, or say --any-model"
        what = f"selected_model: the catalogue has no {name[:60]!r};{meant} {advice}."
        raise wrong_at(self._name, entry.line, what)
