"""The lab: joins planner, world, jobs and outcome for one policy, and lets it answer a trace."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from itertools import count

from msgspec import Struct

from batchway.assemble import make_counts
from batchway.assemble.accounts import accounts, batch_account, given_of, offers_of
from batchway.assemble.policies import job_policy, rescue_rule
from batchway.core.catalog import Catalog
from batchway.core.job import BatchTerms, JobPolicy
from batchway.core.limits import Dice
from batchway.core.planner import Planner
from batchway.core.planner.plan import Watch
from batchway.core.rescue import RescueRule
from batchway.core.router import Offers
from batchway.core.tokens import TokenCounts
from batchway.core.turnaround import Turnarounds
from batchway.core.types import Hints, Request
from batchway.data.prices import AS_OF, finder
from batchway.ports import Listener
from batchway.settings import Settings
from batchway.simulate.driver import Simulation
from batchway.simulate.jobs import Jobs
from batchway.simulate.luck import Luck
from batchway.simulate.modelled import Modelled
from batchway.simulate.outcome import Outcome
from batchway.simulate.policies import Defaults, Setup
from batchway.simulate.world import Conditions, World


class LuckyDice:
    """Dice whose throws follow from a seed, one after the other."""

    def __init__(self, luck: Luck, name: str) -> None:
        self._luck = luck
        self._name = name
        self._thrown = count(1)

    def random(self) -> float:
        """At least 0, less than 1."""
        return self._luck.draw(self._name, next(self._thrown))


class Lab(Struct, frozen=True, kw_only=True):
    """What is the same for every policy that is compared."""

    catalog: Catalog
    offers: Mapping[str, Offers]
    """What each provider offers, by name."""
    terms: Mapping[str, BatchTerms]
    """Of each provider's Batch API."""
    conditions: Conditions = Conditions()
    seed: int = 0
    counts: Callable[[], TokenCounts] = lambda: TokenCounts({})
    """Makes a counter of tokens, which learns from bills; requests that bring their tokens need no tokenizer."""
    jobs: JobPolicy = JobPolicy()
    rescue: RescueRule = RescueRule()
    turnarounds: Callable[[], Turnarounds] = Turnarounds
    """What is known of batches at the start."""

    def luck(self) -> Luck:
        """The same for every policy."""
        return Luck(self.seed)

    def simulation(
        self,
        setup: Setup,
        *listeners: Listener,
        watch: Watch | None = None,
        world: World | None = None,
        dice: Dice | None = None,
    ) -> Simulation:
        """A run that is about to begin. `watch` looks on as windows close; `world`, `dice`: others than conditions and
        seed make."""
        luck = self.luck()
        world = world or Modelled(self.conditions, luck)
        counts = self.counts()
        planner = Planner(
            setup.policy,
            catalog=self.catalog,
            offers=self.offers,
            counts=counts,
            ids=counting("call-"),
            dice=dice or LuckyDice(luck, "planner"),
            watch=watch,
            turnarounds=self.turnarounds(),
        )
        jobs = Jobs(
            world,
            self.catalog,
            terms=self.terms,
            policy=self.jobs,
            ids=counting("job-"),
            dice=LuckyDice(luck, "jobs"),
        )
        return Simulation(planner, world, jobs, listeners, catalog=self.catalog, rescue=self.rescue, count=counts.text)

    def rehearse(
        self,
        setups: Sequence[Setup],
        requests: Iterable[Request],
        *,
        before: Hints = Hints(),  # noqa: B008  # It is frozen.
        measured: Sequence[float] = (),
    ) -> list[Outcome]:
        """What each policy makes of these requests, which come in the order of their times and are read once.

        `before`: the defaults under which they were recorded; what equals them was not asked for: the policy's hold.
        `measured`: seconds that batches took, where that is known.
        """
        outcomes = [Outcome() for _ in setups]
        worlds = [Modelled(self.conditions, self.luck(), measured=measured) for _ in setups]
        runs = [
            (self.simulation(setup, outcome, watch=outcome.watch, world=world), Defaults(setup.requests, before))
            for setup, outcome, world in zip(setups, outcomes, worlds, strict=True)
        ]
        for request in requests:
            for simulation, fill in runs:
                simulation.ask(fill(request))
        for simulation, _ in runs:
            simulation.finish()
        return outcomes


def counting(prefix: str) -> Callable[[], str]:
    """Ids that count up."""
    numbers = count(1)
    return lambda: f"{prefix}{next(numbers)}"


def make_lab(settings: Settings, *, conditions: Conditions | None = None, seed: int = 0, today: date = AS_OF) -> Lab:
    """The lab of these settings: every provider can be used, as if each had a key. `today`: whose prices hold."""
    found = accounts(settings, sandbox="http://nowhere.invalid")
    batching = {name: batch_account(account, settings) for name, account in found.items()}
    offers = {name: offers_of(account, given_of(settings, name).max_in_flight, None) for name, account in found.items()}
    return Lab(
        catalog=Catalog(finder(today, settings.models)),
        offers=offers,
        terms={name: made.dialect.terms for name, made in batching.items() if made is not None},
        conditions=conditions or Conditions(),
        seed=seed,
        counts=make_counts,
        jobs=job_policy(settings),
        rescue=rescue_rule(settings),
    )
