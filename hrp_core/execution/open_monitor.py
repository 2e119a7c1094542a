"""Watching the open: connected while the basket trades, and a decision about what is left of it.

What belongs here: the watch from five minutes before the open to fifteen minutes after it. What is to be
traded is decided before (`preopen`), what it means for the book afterwards (`bookkeeping`).
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum, StrEnum, auto

from hrp_core.calendar import NEW_YORK, Calendar, Clock, nyse
from hrp_core.errors import BrokerConnectionError, RefusedError
from hrp_core.execution.bookkeeping import Connect
from hrp_core.execution.broker import Broker
from hrp_core.execution.send_window import send_window
from hrp_core.execution.sender import Sender
from hrp_core.execution.sync import Observation, observe
from hrp_core.execution.withdrawal import (
    SentOrder,
    Withdrawal,
    looked_up,
    record_withdrawals,
    sent_orders,
    withdraw,
)
from hrp_core.execution.writer_lock import WriterLock
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import Break, ExternalPolicy, OrderStatus
from hrp_core.portfolio.types import Purpose
from hrp_core.settings import Settings
from hrp_core.store import Store

log = logging.getLogger(__name__)

STARTS_BEFORE_OPEN = timedelta(minutes=5)
ENDS_AFTER_OPEN = timedelta(minutes=15)
# Longest wait for one event, real seconds: so often the clock and the latch are looked at.
_LISTEN_SECONDS = 0.5
_CONNECTIONS = 10
_ACTOR = "open_monitor"


class ResidualPolicy(StrEnum):
    """What to do at the end of the watch about what the open did not fill (`HRP_RESIDUAL_POLICY`)."""

    LEAVE = "leave"
    CANCEL = "cancel"


class _Ended(Enum):
    AT_THE_END = auto()
    LOST = auto()
    LATCH_SET = auto()
    CLOCK_STANDS = auto()


@dataclass(frozen=True, slots=True)
class OpenReport:
    """One watch, or the part of it that this run saw.

    Attributes:
        session: decision session D.
        started_at: when this run began to look, New York time; `ended_at` when it looked last.
        finished: the watch lasted to its end, and the residual policy was applied.
        stopped: why it ended before; empty when it did not. It is safe to run again.
        orders: the orders of the session that were sent, as they stand.
        withdrawn: orders that were to be cancelled at the end.
        missing: orders whose executions are not all here yet.
        breaks: what ledger and broker differ in. Positions lag their fills by minutes (F13), so that right
            after an open this is no proof; the book of the session judges it.
    """

    session: date
    execution_session: date
    started_at: datetime
    ended_at: datetime
    finished: bool
    stopped: str
    orders: tuple[SentOrder, ...]
    withdrawn: tuple[Withdrawal, ...]
    missing: tuple[str, ...]
    breaks: tuple[Break, ...]

    def count(self, *statuses: OrderStatus) -> int:
        """Return how many orders stand at one of `statuses`."""
        return sum(order.attempt.status in statuses for order in self.orders)

    @property
    def working(self) -> tuple[str, ...]:
        """OrderRefs that still stand at the broker."""
        return tuple(order.attempt.order_ref for order in self.orders if order.is_working)


def monitor_open(
    settings: Settings,
    store: Store,
    journal: Journal,
    connect: Connect,
    clock: Clock,
    *,
    patience: float = 5.0,
    monotonic: Callable[[], float] = time.monotonic,
) -> OpenReport:
    """Stay connected through the open and journal what the broker says, as it says it.

    At the end, fifteen minutes after the open, what still works of the orders for the open is left or
    cancelled, as `HRP_RESIDUAL_POLICY` says; orders for the close, and those of a flatten, are left. A lost
    connection is opened again and everything is asked for first. Run again, or after an interruption, it goes
    on from where the broker is; run after the end of the watch it looks once and applies the policy.

    It holds the writer's lock and connection. When somebody sets the trading latch meanwhile it gives both up
    at once, because cancelling needs them.

    Args:
        settings: lock, residual policy, dry run (in which nothing is cancelled).
        store: cancellations are recorded in its lineage.
        journal: what the broker says is recorded in it.
        connect: opens the writer's connection to the broker.
        clock: the clock of the mode. In sim it moves only when somebody moves it.
        patience: longest wait for a clock that stands still, real seconds; then the watch ends unfinished.
        monotonic: measures the waits, seconds.

    Raises:
        RefusedError: it is not within the session from five minutes before its open to its close, or another
            process is the order writer.
        BrokerConnectionError: the broker cannot be reached; run it again.
        IncompleteSnapshotError: an answer of the broker has no end; run it again.
    """
    calendar = nyse()
    session, execution_session = _sessions(clock.now(), calendar)
    until = calendar.open(execution_session) + ENDS_AFTER_OPEN
    started_at = clock.now()
    withdrawn: tuple[Withdrawal, ...] = ()
    purpose = f"open of {execution_session}"
    with WriterLock(settings.broker_lock_path, timeout=settings.lock_timeout, purpose=purpose):
        for _ in range(_CONNECTIONS):
            with connect() as broker:
                sender = Sender(
                    broker,
                    journal,
                    clock,
                    max_in_flight=settings.max_in_flight,
                    ack_timeout=settings.send_ack_timeout,
                    monotonic=monotonic,
                )
                try:
                    # Whatever happened before this connection comes first (F6).
                    seen = _observe(settings, journal, broker, clock.now(), calendar)
                    ended, stopped = _watch(sender, broker, journal, clock, until, patience, monotonic)
                    if ended is _Ended.AT_THE_END and settings.residual_policy == ResidualPolicy.CANCEL:
                        left = _residual(journal, session, execution_session, calendar)
                        confirmed = [item for item in withdrawn if not item.problem]
                        again = withdraw(sender, journal, left, dry_run=settings.is_dry_run)
                        withdrawn = (*confirmed, *again)
                    if ended in (_Ended.AT_THE_END, _Ended.CLOCK_STANDS):
                        seen = _observe(settings, journal, broker, clock.now(), calendar)
                        withdrawn = looked_up(journal, withdrawn)
                except BrokerConnectionError as error:
                    log.warning("the connection was lost while watching the open: %s", error)
                    continue
            if ended is not _Ended.LOST:
                break
            log.warning("the connection was lost while watching the open; connecting again")
        else:
            raise BrokerConnectionError(
                f"the connection was lost {_CONNECTIONS} times during the open of {execution_session}; what "
                "was heard is journaled. Look at TWS or IB Gateway, then run it again"
            )
        record_withdrawals(store, _ACTOR, withdrawn, clock.now())
    return OpenReport(
        session=session,
        execution_session=execution_session,
        started_at=started_at,
        ended_at=clock.now(),
        finished=ended is _Ended.AT_THE_END,
        stopped=stopped,
        orders=sent_orders(journal, session),
        withdrawn=withdrawn,
        missing=seen.missing,
        breaks=seen.breaks,
    )


def _sessions(now: datetime, calendar: Calendar) -> tuple[date, date]:
    session = calendar.decision_session(now)
    execution_session = calendar.next(session)
    begins = calendar.open(execution_session) - STARTS_BEFORE_OPEN
    if now < begins:
        raise RefusedError(
            f"the open of {execution_session} is watched from {begins:%H:%M} New York of that day; it is "
            f"{now.astimezone(NEW_YORK):%a %Y-%m-%d %H:%M}. Nothing was done"
        )
    return session, execution_session


def _watch(
    sender: Sender,
    broker: Broker,
    journal: Journal,
    clock: Clock,
    until: datetime,
    patience: float,
    monotonic: Callable[[], float],
) -> tuple[_Ended, str]:
    """Return how the watch ended and, where it ended early, why."""
    latch = journal.latch()
    newest, moved_at = clock.now(), monotonic()
    while broker.is_connected():
        now = clock.now()
        if now >= until:
            return _Ended.AT_THE_END, ""
        current = journal.latch()
        if current != latch:
            return _Ended.LATCH_SET, f"{current.by} set the latch to {current.state.value}: {current.reason}"
        if now > newest:
            newest, moved_at = now, monotonic()
        waited = monotonic() - moved_at
        if waited >= patience:
            why = f"the clock stands still at {now:%H:%M}; run it again to watch on to {until:%H:%M} New York"
            return _Ended.CLOCK_STANDS, why
        left = (until - now).total_seconds()
        sender.listen(min(_LISTEN_SECONDS, left, patience - waited))
    return _Ended.LOST, "the connection was lost"


def _residual(
    journal: Journal, session: date, execution_session: date, calendar: Calendar
) -> dict[str, tuple[str, str]]:
    """Return the working orders that were meant for the open, with symbol and reason, by orderRef."""
    opens = calendar.open(execution_session)
    return {
        order.attempt.order_ref: (order.symbol, f"the open of {execution_session} did not fill it")
        for order in sent_orders(journal, session)
        # A flatten sells to the last share: what of it waits for a late open must not be taken back.
        if order.purpose is not Purpose.FLATTEN
        and order.is_working
        and send_window(calendar, session, order.intent.order_type).closes <= opens
    }


def _observe(
    settings: Settings, journal: Journal, broker: Broker, now: datetime, calendar: Calendar
) -> Observation:
    return observe(
        broker,
        journal,
        now,
        mode=settings.mode.value,
        writer=True,
        external=ExternalPolicy(settings.external_orders),
        calendar=calendar,
    )
