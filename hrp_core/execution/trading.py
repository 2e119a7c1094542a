"""Sending the plan of a session: one writer, the frozen plan, and the rows that say what became of it.

What belongs here: the frame around the order manager. What does not: how an order is sent (`order_manager`).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

import pandas as pd

from hrp_core.calendar import Clock, nyse, require_decision_session
from hrp_core.errors import NotReadyError
from hrp_core.execution.bookkeeping import Connect
from hrp_core.execution.gate_record import Permission, require_permission
from hrp_core.execution.order_manager import OrderManager
from hrp_core.execution.send_window import SendAt, send_window
from hrp_core.execution.submit_report import SubmitReport
from hrp_core.execution.writer_lock import WriterLock
from hrp_core.ledger.frames import orders_frame
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import ExternalPolicy, FrozenPlan, OrderStatus
from hrp_core.settings import Settings
from hrp_core.store import Store

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TradedSession:
    """What became of a session's plan.

    Attributes:
        orders: rows of the `orders` table.
        report: what this run sent and saw.
    """

    orders: pd.DataFrame
    report: SubmitReport


def trade_session(
    settings: Settings, store: Store, journal: Journal, connect: Connect, session: date, clock: Clock
) -> TradedSession:
    """Send the frozen plan of `session` as the trade gate lets it, or go on where an earlier run stopped.

    Args:
        settings: lock, limits on sending, dry run.
        store: holds the verdict of the trade gate.
        journal: holds the plan; every order is in it before it is sent.
        connect: opens the writer's connection to the broker.
        session: decision session D.
        clock: the clock of the mode.

    Raises:
        RefusedError: `session` is not the decision session, the trade gate has not said yes to exactly this
            plan and these contents a short while ago, the send window is closed, the plan is not approved, or
            another process is the order writer. Nothing was sent.
        NotReadyError: the session has no plan.
        ReconciliationBreakError: ledger and broker disagree. Nothing was sent.
    """

    def permit(plan: FrozenPlan) -> Permission:
        mode, account = journal.binding()
        return require_permission(store, plan, clock.now(), mode=mode, account=account)

    return send_session(settings, journal, connect, session, clock, permit)


def send_session(
    settings: Settings,
    journal: Journal,
    connect: Connect,
    session: date,
    clock: Clock,
    permit: Callable[[FrozenPlan], Permission],
) -> TradedSession:
    """Send the frozen plan of `session` as `permit` lets it.

    Args:
        settings: lock, limits on sending, dry run.
        journal: holds the plan.
        connect: opens the writer's connection to the broker.
        session: decision session D.
        clock: the clock of the mode.
        permit: asked under the writer lock, before connecting; raises when nothing may be sent.

    Raises:
        RefusedError, NotReadyError, ReconciliationBreakError: as `trade_session`.
    """
    require_decision_session(session, clock.now())
    with WriterLock(settings.broker_lock_path, timeout=settings.lock_timeout, purpose=f"orders of {session}"):
        plan = journal.latest_plan(session)
        if plan is None:
            raise NotReadyError(f"session {session} has no plan; run predictions_job for it first")
        if not settings.is_dry_run:
            _expire_missed(journal, plan, SendAt(settings.send_at), clock.now())
        permission = permit(plan)
        with connect() as broker:
            manager = OrderManager(
                broker,
                journal,
                clock=clock,
                mode=settings.mode.value,
                dry_run=settings.is_dry_run,
                ack_timeout=settings.send_ack_timeout,
                max_in_flight=settings.max_in_flight,
                external=ExternalPolicy(settings.external_orders),
                send_at=SendAt(settings.send_at),
            )
            report = manager.submit_plan(plan.plan_id, exits_only=permission.exits_only)
        return TradedSession(session_orders(journal, session), report)


def _expire_missed(journal: Journal, plan: FrozenPlan, send_at: SendAt, now: datetime) -> None:
    """Give up the orders whose send window is over, whatever the gate says: they are never sent late."""
    for kind in {intent.order_type for intent in plan.intents if intent.status is OrderStatus.PENDING}:
        window = send_window(nyse(), plan.session, kind, send_at)
        if now >= window.closes:
            journal.expire_pending(plan.plan_id, f"not sent before the window closed ({window})", kind)


def session_orders(journal: Journal, session: date) -> pd.DataFrame:
    """Return the rows of the `orders` table of the newest plan of a session, from the journal alone.

    Raises:
        NotReadyError: the session has no plan.
    """
    plan = journal.latest_plan(session)
    if plan is None:
        raise NotReadyError(f"session {session} has no plan; run predictions_job for it first")
    return plan_orders(journal, plan)


def plan_orders(journal: Journal, plan: FrozenPlan) -> pd.DataFrame:
    """Return the rows of the `orders` table of one plan, of whatever purpose."""
    attempts = {intent.intent_id: journal.attempts(intent.intent_id) for intent in plan.intents}
    newest = {intent_id: tried[-1] for intent_id, tried in attempts.items() if tried}
    return orders_frame(plan, newest)
