"""What becomes of a session's plan from now on, as one sentence or two for the person who has just decided.

What belongs here: reading it off the timetable and the send window, without doing anything.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from hrp_core.calendar import NEW_YORK, nyse
from hrp_core.execution.send_window import SendAt, send_window
from hrp_core.ledger.types import FrozenPlan, OrderStatus, PlanStatus
from hrp_core.portfolio.types import OrderType
from hrp_core.timetable import EVERY_TEN_MINUTES, TRADER, DeskState, Run, row_of, should_run


def plan_outlook(plan: FrozenPlan | None, state: DeskState, now: datetime) -> str:
    """Return what happens next to the plan of the decision session, and what a person can do about it.

    Args:
        plan: its newest daily plan; None without one.
        state: what is known of the installation at `now`.
        now: timezone-aware.
    """
    calendar = nyse()
    session = calendar.decision_session(now)
    if plan is None or plan.session != session:
        return f"Session {session} has no plan; predictions_job freezes one."
    pending = [intent for intent in plan.intents if intent.status is OrderStatus.PENDING]
    if plan.status is PlanStatus.SENT or not (pending or plan.crosses):
        return f"Plan {plan.plan_id} has nothing left to send."
    if plan.status not in (PlanStatus.PROPOSED, PlanStatus.APPROVED):
        return (
            f"Plan {plan.plan_id} is {plan.status.value}: nothing of it is sent, and session "
            f"{calendar.next(session)} decides anew."
        )
    send_at = SendAt.PREOPEN if state.preopen else SendAt.EVENING
    kinds = {intent.order_type for intent in pending} or {OrderType.MARKET}
    windows = [send_window(calendar, session, kind, send_at) for kind in sorted(kinds)]
    closes = max(window.closes for window in windows)
    if now >= closes:
        return (
            f"The send window of plan {plan.plan_id} closed at {_told(closes)}: its orders are not sent any "
            f"more and expire. Session {calendar.next(session)} decides anew from what is held."
        )
    expire = f"what is not sent by {_told(closes)} expires"
    if plan.status is PlanStatus.PROPOSED:
        return f"Plan {plan.plan_id} waits for approval (`hrp plan show`, `hrp plan approve`); {expire}."
    if state.halted:
        return (
            f"Trading is halted: {state.halted}. Plan {plan.plan_id} is sent only after `hrp resume`; "
            f"{expire}."
        )
    if state.dry_run:
        return f"This is a dry run (HRP_DRY_RUN): nothing of plan {plan.plan_id} is sent; {expire}."
    opens = max(now, min(window.opens for window in windows))
    by_hand = f"`hrp job run live-trader --session {session}`"
    asked = _next_try(state, now, closes) if state.trading_on else None
    if asked is not None:
        return (
            f"live_trader_schedule sends plan {plan.plan_id} at {_told(asked)}, if the trade gate says go; "
            f"sooner by hand: {by_hand}. Otherwise {expire}."
        )
    why = "is not asked again" if state.trading_on else "is off"
    return (
        f"live_trader_schedule {why}: send plan {plan.plan_id} by hand, from {_told(opens)}, with {by_hand}; "
        f"{expire}."
    )


def _next_try(state: DeskState, now: datetime, closes: datetime) -> datetime | None:
    """Return when the timetable starts the trader next, as far as is known now; None when it does not."""
    return next(
        (at for at in _ticks(state, now, closes) if isinstance(should_run(TRADER, at, state), Run)), None
    )


def _ticks(state: DeskState, now: datetime, closes: datetime) -> Iterator[datetime]:
    """Yield the moments from `now` on at which the trader's schedule ticks, New York time."""
    day, last = now.astimezone(NEW_YORK).date(), closes.astimezone(NEW_YORK).date()
    while day <= last:
        for slot in row_of(TRADER, preopen=state.preopen).slots:
            at = datetime.combine(day, slot.at, NEW_YORK)
            while at <= min(datetime.combine(day, slot.until, NEW_YORK), closes):
                if at >= now:
                    yield at
                at += EVERY_TEN_MINUTES
        day += timedelta(days=1)


def _told(moment: datetime) -> str:
    return f"{moment.astimezone(NEW_YORK):%a %Y-%m-%d %H:%M} New York"
