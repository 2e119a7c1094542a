"""Plans whose time has passed: nothing stays APPROVED for ever, and what was not sent says why.

What belongs here: closing plans after their send window. What does not: expiring orders while a basket is
being sent (`order_manager`).
"""

from datetime import datetime

from hrp_core.calendar import Calendar, nyse
from hrp_core.execution.send_window import SendAt, send_window
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import FrozenPlan, LatchState, OrderStatus, PlanStatus
from hrp_core.portfolio.types import OrderType


def close_plans(
    journal: Journal,
    now: datetime,
    send_at: SendAt,
    *,
    dry_run: bool = False,
    calendar: Calendar | None = None,
) -> dict[str, PlanStatus]:
    """Close every plan of which nothing may be sent any more; return the state each ended in, by plan id.

    Its orders that were never sent become EXPIRED, with what held them back; the plan is SENT when anything
    of it was, and EXPIRED otherwise. Calling it again changes nothing.

    Args:
        journal: of this mode.
        now: from the clock.
        send_at: when sending may begin.
        dry_run: nothing was to be sent.
        calendar: default the New York Stock Exchange.
    """
    calendar = calendar or nyse()
    closed: dict[str, PlanStatus] = {}
    for plan in journal.open_plans():
        pending = {intent.order_type for intent in plan.intents if intent.status is OrderStatus.PENDING}
        # Crosses, and a plan that changes nothing, have the window of the open.
        windows = [
            send_window(calendar, plan.session, kind, send_at)
            for kind in sorted(pending or {OrderType.MARKET})
        ]
        last = max(windows, key=lambda window: window.closes)
        if now < last.closes:
            continue
        why = "".join(f"{cause}; " for cause in _causes(journal, plan, dry_run))
        closed[plan.plan_id] = journal.close_plan(
            plan.plan_id, f"{why}not sent before the window closed ({last})"
        )
    return closed


def _causes(journal: Journal, plan: FrozenPlan, dry_run: bool) -> list[str]:
    """Return what kept a whole plan from being sent, as far as it still does."""
    causes = []
    if plan.status is PlanStatus.PROPOSED:
        causes.append("nobody approved the plan")
    if dry_run:
        causes.append("a dry run sends nothing")
    latch = journal.latch()
    if latch.state is LatchState.HALTED:
        causes.append(f"trading is halted by {latch.by}: {latch.reason}")
    return causes
