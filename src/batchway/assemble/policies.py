"""Policies: what the settings make of the core's rules, and what a request gets that says nothing."""

from collections.abc import Mapping

from msgspec import Struct, structs

from batchway.core.job import JobPolicy
from batchway.core.packing_bank import RISK
from batchway.core.policy import RULES, Policy, WindowRule
from batchway.core.rescue import RescueRule
from batchway.core.types import PICODOLLARS, Hints
from batchway.settings import Settings
from batchway.wire.hints import overlay

PROFILES: Mapping[str, Hints] = {
    "transparent": Hints(),
    "saver": Hints(packing="auto", optimize="fit"),
    "batcher": Hints(priority="low"),
}
"""What each profile says where a request and its key say nothing."""


def defaults_of(settings: Settings) -> Hints:
    """What holds where neither a request nor its key says anything."""
    return overlay(without_profile(settings), PROFILES[settings.profile])


def without_profile(settings: Settings) -> Hints:
    """The same for a key that has a profile of its own: what the settings say beside theirs."""
    # seeds/000: whoever sets its window or size wants its packing, and whoever sets its budget its fitting.
    seeds = settings.batch_window_ms is not None or settings.max_batch_size is not None
    packing = settings.packing or ("always" if seeds else None)
    optimize = settings.optimize or ("fit" if settings.context_tokens is not None else None)
    return Hints(reuse=settings.reuse, packing=packing, optimize=optimize)


def planner_policy(settings: Settings, *, store: bool) -> Policy:
    """What the planner is told to keep to. `store`: one is open."""
    return Policy(
        pack=_pack_rule(settings),
        job=WindowRule(max_wait=settings.flush_interval, max_size=settings.batch_size, max_idle=settings.idle_timeout),
        flex_timeout=settings.flex_timeout,
        store=store,
        pack_format=settings.pack_format,
        pack_stake=round(settings.pack_stake_usd * PICODOLLARS),
        pack_risk=_pack_risk(settings),
        context_tokens=settings.context_tokens,
        meta_overhead_tokens=settings.meta_overhead_tokens or 0,
        max_queue=settings.max_queue,
        max_queue_bytes=settings.max_queue_bytes,
        max_in_flight=settings.max_in_flight,
        max_retries=settings.max_retries,
        retry_unknown=settings.retry_unknown,
        cache_ttl=settings.cache_ttl,
        cache_entries=settings.cache_entries,
        cache_bytes=settings.cache_bytes,
        abandon_grace=settings.abandon_grace,
    )


def job_policy(settings: Settings) -> JobPolicy:
    """How patient we are with provider batches."""
    default = JobPolicy()
    return structs.replace(
        default,
        settle=settings.settle,
        poll_interval=settings.poll_interval,
        backoff_cap=max(settings.poll_interval, min(default.backoff_cap, settings.poll_interval * 15)),
        vanish_grace=settings.vanish_grace,
        max_jobs_per_row=settings.max_jobs_per_row,
        on_unknown=settings.on_unknown,
        on_overdue=settings.on_overdue,
        refusal_wait=min(default.refusal_wait, settings.settle),
        token_wait=min(default.token_wait, settings.poll_interval * 5),
    )


def rescue_rule(settings: Settings) -> RescueRule:
    """When batched requests are asked directly."""
    cap = settings.rescue_cap_usd
    return RescueRule(
        margin=settings.rescue_margin,
        call_seconds=settings.rescue_call_seconds,
        at_once=max(1, settings.max_in_flight // 8),
        cap=None if cap is None else round(cap * PICODOLLARS),
        undirected=frozenset(
            name
            for name, given in settings.providers.items()
            if given.lanes is not None and "direct" not in given.lanes
        ),
    )


def _pack_risk(settings: Settings) -> float:
    """Whoever chooses to save invests a little; nobody else's money is risked unasked."""
    if settings.pack_risk is not None:
        return settings.pack_risk
    return RISK if settings.profile == "saver" else 0.0


def _pack_rule(settings: Settings) -> WindowRule:
    rule, wait, size = RULES["pack"], settings.batch_window_ms, settings.max_batch_size
    return structs.replace(
        rule,
        max_wait=rule.max_wait if wait is None else wait / 1000,
        max_size=rule.max_size if size is None else size,
    )


class RuleBook(Struct, frozen=True, kw_only=True):
    """What the planner keeps to, and what holds for requests that say nothing."""

    policy: Policy
    requests: Hints


def rules_of(settings: Settings) -> RuleBook:
    """What the settings say."""
    return RuleBook(policy=planner_policy(settings, store=False), requests=defaults_of(settings))
