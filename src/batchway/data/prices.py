"""Prices and windows: genai-prices' snapshot, corrected by `prices.toml`, and the owner's own rows over both.

    finder(today, overlay)  ->  find(provider, model name) -> Model | None, for `core.catalog.Catalog`

In rising order of authority: the snapshot that ships with genai-prices (never refreshed over the network), our rows,
a provider's general rules (a batch or flex discount where no price of that lane is known yet, what an hour in its cache
costs), the owner's `models` setting.
Text tokens only: audio, images and searches that a model bills apart are not in these rates.
"""

import tomllib
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from batchway.core.catalog import ABILITIES, Find, Model, Rates, Step
from batchway.core.errors import SettingsError

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, PriceVariant, Provider, TieredPrices

HOUSES: Final[Mapping[str, str]] = {"grok": "x-ai", "xai": "x-ai", "gemini": "google"}
"""Our names of providers that genai-prices calls otherwise."""

LISTED: Final = frozenset(
    {"anthropic", "doubleword", "fireworks", "google", "groq", "mistral", "openai", "openrouter", "together", "x-ai"}
)
"""The providers read from genai-prices. An own provider that happens to be called like another one there is not."""

ELSEWHERE: Final[Mapping[str, tuple[str, ...]]] = {"google": ("claude-",)}
"""Families that genai-prices lists there but the provider's own API does not serve (Vertex AI does)."""

VARIANTS: Final = frozenset({"processing", "service_tier", "speed"})
"""What may select a price variant; its value (batch, flex, priority, fast, …) becomes the name of the price list."""

RATE_FIELDS: Final[Mapping[str, str]] = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached": "cache_read_mtok",
    "cache_written": "cache_write_mtok",
}
"""Our names of rates -> genai-prices'."""

RATES: Final = (*RATE_FIELDS, "cache_written_hour")
"""All rates: genai-prices does not know what keeping an hour costs."""

BEYOND: Final = ("requests_kcount", "output_reasoning_mtok", "output_citation_mtok")
"""Ways of billing every call that `Rates` cannot say: a model with one of them has no known price."""

MICRODOLLARS: Final = 10**6
"""Picodollars per token in one US dollar per million tokens."""

HIGHEST_PRICE: Final = 10**6
"""USD per million tokens. A dollar a token is a slip of the pen."""


class Row(Struct, frozen=True, kw_only=True):
    """What one row of a price table says; what it leaves out is kept from the tables below it."""

    where: str
    """Its name in an error message."""
    rates: Rates | None = None
    """The direct price. Giving it replaces every price known before: a lane not named beside it is unknown then."""
    lanes: Mapping[str, Rates] = {}
    factors: Mapping[str, Decimal] = {}
    """By lane: its price as a part of the direct one."""
    hour_factor: Decimal | None = None
    """Of a provider: what it bills for tokens that its cache keeps for an hour, as a multiple of `input`."""
    window: int | None = None
    max_output: int | None = None
    abilities: tuple[str, ...] | None = None
    tier: int | None = None
    """0: none, whatever the tables below say."""


AS_OF: Final = date(2026, 11, 20)
"""The day of the shipped prices: what is worked out offline holds to it, so that it comes out the same tomorrow."""


def tiered(overlay: Mapping[str, Mapping[str, object]] | None = None) -> tuple[tuple[str, str], ...]:
    """The (provider, model) whose rows give a tier, ours in their order, then the owner's: those that may be chosen.

    An owner's row that takes the tier away (0) does not take the name out: `Model.tier` says what holds.
    """
    rows = (*_load_shipped()["models"].items(), *(overlay or {}).items())
    names = dict.fromkeys(key for key, row in rows if row.get("tier"))
    return tuple((provider, name) for provider, _, name in (key.partition("/") for key in names))


def finder(today: date, overlay: Mapping[str, Mapping[str, object]] | None = None) -> Find:
    """The lookup for a `Catalog`, with the prices in force on `today` (UTC).

    `overlay` is the `models` setting: "provider/model" -> fields as in `prices.toml`. Raises SettingsError for a field
    that is wrong. Call it again when the day changes and `Catalog.renew` with the result: that takes a millisecond.
    """
    prices = _Prices(today, read_rows(overlay or {}))
    prices.check_discounts()
    return prices.find


class _Prices:
    """The three tables, one over the other."""

    def __init__(self, today: date, own: Mapping[tuple[str, str], Row]) -> None:
        shipped = _load_shipped()
        self._moment = datetime(today.year, today.month, today.day, tzinfo=UTC)
        self._snapshot = _load_snapshot()
        self._rows = read_rows(shipped["models"])
        self._general = {
            _house(name): read_row(f"providers.{name}", row, PROVIDER_FIELDS)
            for name, row in shipped["providers"].items()
        }
        self._own = own

    def find(self, provider: str, name: str) -> Model | None:
        house = _house(provider)
        info = self._listed(house, name)
        model = None if info is None else read_model(provider, info, self._moment)
        names = (name,) if info is None else (name, info.id)
        model = _laid(self._row(self._rows, house, names), model, provider, name)
        if model is not None and house in self._general:
            model = _ruled(self._general[house], model)
        return _laid(self._row(self._own, house, names), model, provider, name)

    def check_discounts(self) -> None:
        """A discount on a price that nobody knows is a slip: say so at the start, not on the bill."""
        for (house, name), row in self._own.items():
            model = self.find(house, name)
            if row.factors and (model is None or "direct" not in model.prices):
                where = f"{row.where}.{next(iter(row.factors))}_discount"
                raise SettingsError(f"{where}: the model's direct price is not known; give input and output beside it.")

    def _listed(self, house: str, name: str) -> "ModelInfo | None":
        if house not in self._snapshot or name.lower().startswith(ELSEWHERE.get(house, ())):
            return None
        return self._snapshot[house].find_model(name)

    @staticmethod
    def _row(rows: Mapping[tuple[str, str], Row], house: str, names: Iterable[str]) -> Row | None:
        return next((rows[house, name] for name in names if (house, name) in rows), None)


def _load_shipped() -> dict[str, dict[str, dict[str, object]]]:
    return tomllib.loads(files(__package__).joinpath("prices.toml").read_text("utf-8"))


def _load_snapshot() -> "dict[str, Provider]":
    """Imports genai-prices, late: 0.1 to 0.2 s and 20 to 30 MB (measured) that `batchway --help` has no use for."""
    from genai_prices.data import providers  # noqa: PLC0415

    return {provider.id: provider for provider in providers if provider.id in LISTED}


def _house(provider: str) -> str:
    return HOUSES.get(provider, provider)


# Reading genai-prices


def read_model(provider: str, info: "ModelInfo", moment: datetime) -> Model:
    """A genai-prices model as ours, at the prices of that moment.

    Its `calc_price` silently gives the standard price where a batch price is not known, so the variants are read
    themselves: a lane without one stays unknown.
    """
    embeddings = "embed" in info.id.lower()
    contexts = [variant.when for variant in info.price_variants or () if _in_force(variant, moment)]
    named = {name: info.get_prices(moment, context) for context in contexts for name in context.values()}
    named["direct"] = info.get_prices(moment)
    steps = {} if _changes_by_hour(info) else {name: read_steps(price, embeddings) for name, price in named.items()}
    return Model(
        provider=provider,
        id=info.id,
        window=info.context_window,
        prices={name: found for name, found in steps.items() if found},
        abilities=("embeddings",) if embeddings else None,
    )


def read_steps(prices: "ModelPrice", embeddings: bool) -> tuple[Step, ...]:
    """The price steps of one price list, or () where it does not price text tokens. Embeddings have no output."""
    found = {ours: getattr(prices, theirs) for ours, theirs in RATE_FIELDS.items()}
    if embeddings and found["output"] is None:
        found["output"] = Decimal(0)
    if found["input"] is None or found["output"] is None or any(getattr(prices, key) is not None for key in BEYOND):
        return ()
    # A tier of genai-prices begins above its start, a step of ours at it.
    starts = {tier.start + 1 for price in found.values() for tier in getattr(price, "tiers", ())}
    return tuple(_step(start, found) for start in sorted({0} | starts))


def _step(start: int, prices: "Mapping[str, Decimal | TieredPrices | None]") -> Step:
    at = {field: _price_at(price, start) for field, price in prices.items()}
    return Step(from_tokens=start, rates=_rates({field: price for field, price in at.items() if price is not None}))


def _price_at(price: "Decimal | TieredPrices | None", tokens: int) -> int | None:
    if price is None:
        return None
    if not isinstance(price, Decimal):
        price = next((tier.price for tier in reversed(price.tiers) if tokens > tier.start), price.base)
    return round(price * MICRODOLLARS)


def _rates(given: Mapping[str, int]) -> Rates:
    """What has no price of its own is billed as ordinary input."""
    return Rates(
        input=given["input"],
        output=given["output"],
        cached=given.get("cached", given["input"]),
        cache_written=given.get("cache_written", given["input"]),
        cache_written_hour=given.get("cache_written_hour"),
    )


def _in_force(variant: "PriceVariant", moment: datetime) -> bool:
    """It prices input tokens (an empty variant says: no price of its own), for one condition that we can name."""
    if variant.prices.input_mtok is None or len(variant.when) != 1 or not VARIANTS.issuperset(variant.when):
        return False
    return variant.constraint is None or variant.constraint.active(moment)


def _changes_by_hour(info: "ModelInfo") -> bool:
    """Some models cost less at night. A catalogue of a day cannot say that, so their price is not known to it."""
    dated = [*(info.prices if isinstance(info.prices, list) else ()), *(info.price_variants or ())]
    return any(hasattr(entry.constraint, "start_time") for entry in dated)


# Laying rows over it


def _laid(row: Row | None, model: Model | None, provider: str, name: str) -> Model | None:
    if row is None:
        return model
    model = model or Model(provider=provider, id=name)
    if row.rates is not None:
        model = replace(model, prices={"direct": _flat(row.rates)})
    lanes = {lane: _flat(rates) for lane, rates in row.lanes.items()}
    return replace(
        model,
        prices=model.prices | lanes | _scaled(model, row.factors),
        window=row.window or model.window,
        max_output=row.max_output or model.max_output,
        abilities=model.abilities if row.abilities is None else row.abilities,
        tier=model.tier if row.tier is None else row.tier or None,
    )


def _ruled(general: Row, model: Model) -> Model:
    """With what holds for all models of its provider, where nothing more exact is known."""
    prices = _scaled(model, general.factors) | model.prices
    if general.hour_factor is not None:
        factor = general.hour_factor
        prices = {name: tuple(_hour_step(step, factor) for step in steps) for name, steps in prices.items()}
    return replace(model, prices=prices)


def _hour_step(step: Step, factor: Decimal) -> Step:
    if step.rates.cache_written_hour is not None:
        return step
    return replace(step, rates=replace(step.rates, cache_written_hour=round(step.rates.input * factor)))


def _flat(rates: Rates) -> tuple[Step, ...]:
    return (Step(from_tokens=0, rates=rates),)


def _scaled(model: Model, factors: Mapping[str, Decimal]) -> dict[str, tuple[Step, ...]]:
    direct = model.prices.get("direct")
    if direct is None:
        return {}
    return {lane: tuple(_scaled_step(step, factor) for step in direct) for lane, factor in factors.items()}


def _scaled_step(step: Step, factor: Decimal) -> Step:
    rates = {field: round(rate * factor) for field in RATES if (rate := getattr(step.rates, field)) is not None}
    return Step(from_tokens=step.from_tokens, rates=Rates(**rates))


# Reading rows of `prices.toml` and of the `models` setting


def read_rows(table: Mapping[str, Mapping[str, object]]) -> dict[tuple[str, str], Row]:
    """Rows by (provider as genai-prices calls it, model) from fields by "provider/model". Raises SettingsError."""
    rows: dict[tuple[str, str], Row] = {}
    for key, fields in table.items():
        provider, _, name = key.partition("/")
        where = f'models."{key}"'
        if not provider or not name:
            raise SettingsError(f"{where}: the name must be provider/model, as in openai/gpt-6-luna.")
        if (_house(provider), name) in rows:
            raise SettingsError(f"{where}: there is a row for this model under another name of its provider; keep one.")
        rows[_house(provider), name] = read_row(where, fields)
    return rows


ROW_FIELDS: Final = (
    *RATES,
    *("batch", "batch_discount", "flex", "flex_discount", "window", "max_output", "abilities", "tier"),
)
HOUR: Final = "cache_written_hour_factor"
PROVIDER_FIELDS: Final = ("batch_discount", "flex_discount", HOUR)


def read_row(where: str, fields: object, allowed: Iterable[str] = ROW_FIELDS) -> Row:
    """One row; `where` names it in errors. Raises SettingsError naming the field, its value and what is allowed."""
    table = _table(where, fields, allowed)
    lanes = [lane for lane in ("batch", "flex") if lane in table]
    discounts = [lane for lane in ("batch", "flex") if f"{lane}_discount" in table]
    for lane in lanes:
        if lane in discounts:
            raise SettingsError(f"{where}: {lane} and {lane}_discount are both given; keep one.")
    priced = any(field in table for field in RATES)
    return Row(
        where=where,
        rates=_read_rates(where, {field: table[field] for field in RATES if field in table}) if priced else None,
        lanes={lane: _read_rates(f"{where}.{lane}", _table(f"{where}.{lane}", table[lane])) for lane in lanes},
        factors={lane: _factor(f"{where}.{lane}_discount", table[f"{lane}_discount"]) for lane in discounts},
        window=_tokens(f"{where}.window", table["window"]) if "window" in table else None,
        max_output=_tokens(f"{where}.max_output", table["max_output"]) if "max_output" in table else None,
        abilities=_abilities(f"{where}.abilities", table["abilities"]) if "abilities" in table else None,
        tier=_tier(f"{where}.tier", table["tier"]) if "tier" in table else None,
        hour_factor=_multiple(f"{where}.{HOUR}", table[HOUR]) if HOUR in table else None,
    )


def _table(where: str, value: object, allowed: Iterable[str] = RATES) -> Mapping[str, object]:
    names = ", ".join(allowed)
    if not isinstance(value, Mapping):
        raise SettingsError(f"{where} is {value!r}: it must be a table of {names}.")
    for field in value:
        if field not in allowed:
            raise SettingsError(f"{where}.{field}: there is no such field; there are {names}.")
    return value


def _read_rates(where: str, fields: Mapping[str, object]) -> Rates:
    for field in ("input", "output"):
        if field not in fields:
            raise SettingsError(f"{where}.{field} is missing: give both input and output (0 if it costs nothing).")
    return _rates({field: _rate(f"{where}.{field}", value) for field, value in fields.items()})


def _rate(where: str, value: object) -> int:
    allowed = f"it must be USD per million tokens, 0 to {HIGHEST_PRICE}, in steps of 0.000001"
    price = _number(where, value, allowed, highest=HIGHEST_PRICE) * MICRODOLLARS
    if price % 1:
        raise SettingsError(f"{where} is {value!r}: {allowed}.")
    return int(price)


def _factor(where: str, value: object) -> Decimal:
    return 1 - _number(where, value, "it must be the part taken off the direct price, 0 to 1 (0.5: half)", highest=1)


def _multiple(where: str, value: object) -> Decimal:
    return _number(where, value, "it must be a multiple of the price of input, 0 to 100 (2: twice it)", highest=100)


def _number(where: str, value: object, allowed: str, *, highest: int) -> Decimal:
    """A number as its owner wrote it: a float counts as its shortest decimal, so that 0.1 is a tenth."""
    wrong = SettingsError(f"{where} is {value!r}: {allowed}.")
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise wrong from None
    if not number.is_finite() or not 0 <= number <= highest:
        raise wrong
    return number


def _tokens(where: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SettingsError(f"{where} is {value!r}: it must be a whole number of tokens, 1 or more.")
    return value


def _tier(where: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 3:
        raise SettingsError(f"{where} is {value!r}: it must be 1 (small), 2, 3 (the best), or 0: never chosen by auto.")
    return value


def _abilities(where: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or any(ability not in ABILITIES for ability in value):
        raise SettingsError(f"{where} is {value!r}: it must be a list of {', '.join(ABILITIES)}.")
    return tuple(sorted(set(value)))
