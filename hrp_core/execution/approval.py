"""Deciding about a frozen plan: approving, rejecting, taking a name out of it.

What belongs here: who may approve what, and when an approval would be about something else than what was
looked at. What does not: the figures of a plan (`review`), sending it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, cast

from hrp_core.calendar import require_decision_session
from hrp_core.errors import NotReadyError, RefusedError
from hrp_core.execution.review import limits_of, net_cost
from hrp_core.execution.send_checks import require_same_ledger
from hrp_core.ledger.book import read_book
from hrp_core.ledger.controls import Drop
from hrp_core.ledger.database import canonical_json
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import FrozenPlan, Intent, PlanStatus
from hrp_core.portfolio.decide import limits_from_settings
from hrp_core.portfolio.types import (
    OrderSide,
    Plan,
    PlannedOrder,
    PortfolioLimits,
    Purpose,
    Reason,
    Strategy,
)
from hrp_core.settings import Mode, Settings
from hrp_core.store import EventType, Store, log_event, migrate

SHORTEST_HASH = 8


# --- names taken out by a person -------------------------------------------------------------------------


def apply_drops(plan: Plan, drops: Mapping[str, Drop], limits: PortfolioLimits) -> Plan:
    """Return the plan without the orders and crosses in the dropped names; nothing else of it changes.

    Args:
        plan: as decided.
        drops: by symbol.
        limits: the plan's.

    Raises:
        RefusedError: without a dropped sale the purchases would cost more than there is.
    """
    if not drops:
        return plan
    kept = tuple(order for order in plan.orders if order.symbol not in drops)
    require_cash(plan.equity, plan.cash, plan.orders, kept, limits)
    notes = [f"{symbol}: dropped by {drops[symbol].by}: {drops[symbol].reason}" for symbol in sorted(drops)]
    targets = tuple(
        replace(
            row,
            shares_target=row.shares_before,
            weight_target=row.weight_before,
            reason=Reason.DROP_PERSON,
            note=f"wanted {row.shares_target} shares",
        )
        if row.symbol in drops and row.shares_target != row.shares_before
        else row
        for row in plan.targets
    )
    crosses = tuple(cross for cross in plan.crosses if cross.symbol not in drops)
    return replace(plan, targets=targets, orders=kept, crosses=crosses, notes=(*plan.notes, *notes))


def require_cash(
    equity: Decimal,
    cash: Decimal,
    orders: Iterable[PlannedOrder | Intent],
    kept: Iterable[PlannedOrder | Intent],
    limits: PortfolioLimits,
) -> None:
    """Refuse to keep orders whose purchases need the money of a sale that is not kept.

    Raises:
        RefusedError: cash after `kept` is below the buffer, and below what `orders` would have left.
    """
    kept = list(kept)
    before, after = cash - net_cost(orders), cash - net_cost(kept)
    buffer = equity * limits.capital * Decimal(str(limits.cash_buffer_pct))
    if any(order.side is OrderSide.BUY for order in kept) and after < min(before, buffer):
        raise RefusedError(
            f"without the dropped sales the purchases leave {after:,.2f} USD of cash, below the buffer of "
            f"{buffer:,.2f}: drop purchases first (`hrp plan show` lists them), or reject the plan"
        )


def drop_from_plan(
    store: Store, journal: Journal, session: date, symbol: str, *, by: str, reason: str, now: datetime
) -> FrozenPlan:
    """Take a name out of a session's newest plan, which is SUPERSEDED; return it as it was.

    The session is then to be planned again: the new plan leaves the name out, and needs its own approval.

    Raises:
        NotReadyError: the session has no plan.
        RefusedError: no reason; the session is over; the plan orders nothing in the name, needs its sale, or
            was sent.
    """
    if not reason.strip():
        raise RefusedError("a name is dropped with a reason: say why; nothing was changed")
    require_decision_session(session, now)
    plan = newest_plan(journal, session)
    kept = [intent for intent in plan.intents if intent.contract.symbol != symbol]
    require_cash(plan.equity, plan.cash, plan.intents, kept, limits_of(plan))
    journal.drop_symbol(plan.plan_id, symbol, by=by, reason=reason, now=now)
    _log(store, EventType.PLAN_CHANGED, by, plan, {"dropped": symbol, "reason": reason}, now)
    return plan


# --- deciding ----------------------------------------------------------------------------------------------


def approves_itself(settings: Settings) -> bool:
    """Return whether plans of this mode need no person: sim, and paper unless the setting says otherwise."""
    return settings.mode is Mode.SIM or (settings.mode is Mode.PAPER and settings.paper_approval == "auto")


def person_decides(journal: Journal, session: date) -> bool:
    """Return whether a person rejected a plan of the session: what replaces it waits for a person too."""
    return any(plan.status is PlanStatus.REJECTED for plan in journal.plans(session, session, Purpose.DAILY))


def newest_plan(journal: Journal, session: date) -> FrozenPlan:
    """Return the newest daily plan of a session.

    Raises:
        NotReadyError: it has none.
    """
    plan = journal.latest_plan(session)
    if plan is None:
        raise NotReadyError(f"session {session} has no plan; run predictions_job for it first")
    return plan


def approve_plan(
    settings: Settings,
    store: Store,
    journal: Journal,
    strategies: Sequence[Strategy],
    session: date,
    *,
    seen: str | None,
    by: str,
    reason: str,
    now: datetime,
) -> FrozenPlan:
    """Approve the newest plan of a session, as it was looked at, if what it was decided from still holds.

    Args:
        settings: the limits of now.
        store: takes the event.
        journal: of this mode.
        strategies: as their files have them now.
        session: the decision session.
        seen: first characters (at least 8) of the hash that was shown; None when the plan is the only one
            that waits for a decision, which is not enough in live.
        by: the person.
        reason: free text.
        now: timezone-aware.

    Raises:
        NotReadyError: the session has no plan.
        RefusedError: the hash is another plan's, the plan does not wait for approval, or ledger, limits,
            strategies or controls have changed since it was decided.
    """
    require_decision_session(session, now)
    if seen is None and settings.mode is Mode.LIVE:
        # The session may have been planned again since it was looked at.
        raise RefusedError(
            "in live a plan is approved by its hash: look at it with `hrp plan show`, then run `hrp plan "
            "approve --hash HASH`. Nothing was approved"
        )
    plan = _looked_at(journal, session, seen)
    if plan.status is PlanStatus.APPROVED:
        return plan
    changed = changed_inputs(settings, journal, plan, strategies)
    if changed:
        raise RefusedError(
            f"plan {plan.plan_id} was decided from other inputs than those of now ({'; '.join(changed)}): it "
            "was not approved. Run predictions_job again and look at the new plan"
        )
    journal.approve(plan.plan_id, by=by, plan_hash=plan.inputs_hash, now=now, reason=reason)
    _log(store, EventType.PLAN_APPROVED, by, plan, {"reason": reason}, now)
    return journal.plan(plan.plan_id)


def reject_plan(
    store: Store, journal: Journal, session: date, *, seen: str | None, by: str, reason: str, now: datetime
) -> FrozenPlan:
    """Reject the newest plan of a session, of which nothing was sent.

    Raises:
        NotReadyError, RefusedError: as `approve_plan`; no reason is given.
    """
    if not reason.strip():
        raise RefusedError("a plan is rejected with a reason: say why; nothing was changed")
    plan = _looked_at(journal, session, seen)
    journal.reject(plan.plan_id, by=by, plan_hash=plan.inputs_hash, now=now, reason=reason)
    _log(store, EventType.PLAN_REJECTED, by, plan, {"reason": reason}, now)
    return journal.plan(plan.plan_id)


def changed_inputs(
    settings: Settings, journal: Journal, plan: FrozenPlan, strategies: Sequence[Strategy]
) -> tuple[str, ...]:
    """Return what of a plan's inputs is not as it was when the plan was decided, one phrase each."""
    changed = []
    state = read_book(journal).state()
    try:
        require_same_ledger(plan, read_book(journal))
    except RefusedError:
        changed.append("the ledger's shares")
    ledger = cast(Mapping[str, Any], plan.inputs.get("ledger") or {})
    if ledger and Decimal(ledger["cash"]) != state.cash:
        changed.append("the ledger's cash")
    now: dict[str, object] = {
        "controls": dict(journal.symbol_controls(plan.session)),
        "dropped": sorted(journal.drops(plan.session)),
    }
    changed += [f"the {name}" for name in changed_settings(settings, plan, strategies)]
    changed += [f"the {name}" for name, value in now.items() if _differs(plan, name, value)]
    return tuple(changed)


def changed_settings(settings: Settings, plan: FrozenPlan, strategies: Sequence[Strategy]) -> tuple[str, ...]:
    """Return which of `limits` and `strategies` are not as they were when the plan was decided.

    Args:
        settings: the limits of now.
        plan: a daily one.
        strategies: as their files have them now.
    """
    now: dict[str, object] = {
        "limits": asdict(limits_from_settings(settings)),
        "strategies": [asdict(strategy) for strategy in strategies],
    }
    return tuple(name for name, value in now.items() if _differs(plan, name, value))


def _differs(plan: FrozenPlan, name: str, value: object) -> bool:
    then = plan.inputs.get(name)
    # What was empty was not frozen.
    return json.loads(canonical_json(value)) != (then if then is not None else type(value)())


def _looked_at(journal: Journal, session: date, seen: str | None) -> FrozenPlan:
    newest = newest_plan(journal, session)
    if seen is None:
        waiting = [
            plan
            for plan in journal.plans(session, session, Purpose.DAILY)
            if plan.status is PlanStatus.PROPOSED
        ]
        if len(waiting) > 1:
            raise RefusedError(
                f"{len(waiting)} plans of {session} wait for a decision: say which with "
                "--hash (`hrp plan show`)"
            )
        return newest
    if len(seen) < SHORTEST_HASH:
        raise RefusedError(f"give at least {SHORTEST_HASH} characters of the plan's hash, not {seen!r}")
    if not newest.inputs_hash.startswith(seen.lower()):
        raise RefusedError(
            f"the newest plan of {session} is {newest.plan_id} with hash {newest.inputs_hash[:12]}, not "
            f"{seen}: it was decided again since. Look at it with `hrp plan show` and decide again"
        )
    return newest


def _log(
    store: Store, kind: EventType, by: str, plan: FrozenPlan, more: Mapping[str, object], now: datetime
) -> None:
    migrate(store)
    log_event(
        store, kind, by, details={"plan_id": plan.plan_id, "plan_hash": plan.inputs_hash, **more}, now=now
    )
