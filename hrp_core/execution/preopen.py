"""The check before the open: is what waits at the broker still what was decided?

What belongs here: asking the broker, and the acts that follow from the judgement (`preopen_judgement`): a
name whose price basis changed overnight is taken back and locked (F33), a contradiction halts. Watching the
open itself is `open_monitor`.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from fractions import Fraction

from hrp_core.calendar import NEW_YORK, Calendar, Clock, nyse
from hrp_core.errors import BrokerConnectionError, BrokerError, RefusedError
from hrp_core.execution.broker import Broker, Quote
from hrp_core.execution.marks import Connect, official_marks
from hrp_core.execution.order_ref import parse_order_ref
from hrp_core.execution.preopen_judgement import (
    Basket,
    Concern,
    ConcernKind,
    OneSidedPolicy,
    SymbolLock,
    judge_preopen,
)
from hrp_core.execution.reconcile import broker_shares
from hrp_core.execution.reconciliation import ClassifiedBreak, classify_breaks
from hrp_core.execution.sender import Sender
from hrp_core.execution.splits import known_splits
from hrp_core.execution.sync import Observation, observe, require_complete
from hrp_core.execution.withdrawal import (
    Withdrawal,
    looked_up,
    record_withdrawals,
    sent_orders,
    withdraw,
)
from hrp_core.execution.writer_lock import WriterLock
from hrp_core.ledger.book import read_carve_out
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import (
    BreakClass,
    BreakKind,
    Contract,
    ExternalPolicy,
    LatchState,
    OrderStatus,
    PlanStatus,
)
from hrp_core.settings import Settings
from hrp_core.store import EventType, Store, log_event

_QUOTE_SECONDS = 15.0
_ACTOR = "preopen_check"
LockSymbol = Callable[[SymbolLock], object]


@dataclass(frozen=True, slots=True)
class PreopenReport:
    """One check.

    Attributes:
        session: decision session D.
        checked_at: when the broker was asked, New York time.
        working: orderRefs that wait at the broker afterwards.
        locks: names to lock; they have been handed to the caller's `lock`.
        withdrawn: orders that were to be cancelled, and what became of each.
        halted: why trading was halted by this check or stood halted before it; empty when it is not.
    """

    session: date
    execution_session: date
    checked_at: datetime
    working: tuple[str, ...]
    concerns: tuple[Concern, ...]
    locks: tuple[SymbolLock, ...]
    withdrawn: tuple[Withdrawal, ...]
    halted: str

    @property
    def is_clean(self) -> bool:
        """Whether there is nothing for a person to look at."""
        return not (self.concerns or self.halted)

    @property
    def still_live(self) -> tuple[Withdrawal, ...]:
        """Orders that should be gone and may still fill."""
        return tuple(item for item in self.withdrawn if item.problem)


def preopen_check(
    settings: Settings,
    store: Store,
    journal: Journal,
    connect: Connect,
    clock: Clock,
    *,
    lock: LockSymbol | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> PreopenReport:
    """Compare what waits at the broker with what was decided, and take back what no longer holds.

    Safe to repeat: what is cancelled stays so, and the same findings give the same acts.

    Args:
        settings: lock, policies, dry run (in which nothing is cancelled).
        store: closes and known splits are read from it, cancellations and a halt recorded in its lineage.
        journal: what the broker says is recorded in it, and a halt.
        connect: opens the writer's connection to the broker: only the writer cancels.
        clock: the clock of the mode; on the day of the execution session, before its open.
        lock: called for each name to lock, before its order is cancelled; the report has them all.
        monotonic: measures the waits for answers, seconds.

    Raises:
        RefusedError: it is not the morning of a session, or another process is the order writer.
        IncompleteSnapshotError: the broker's answers do not add up; nothing was judged.
        BrokerConnectionError: the connection ended; run it again.
    """
    calendar = nyse()
    session, execution_session = _sessions(clock.now(), calendar)
    purpose = f"check before the open of {execution_session}"
    with (
        WriterLock(settings.broker_lock_path, timeout=settings.lock_timeout, purpose=purpose),
        connect() as broker,
    ):
        seen = _observe(settings, journal, broker, clock.now(), calendar)
        basket, unquoted = _basket(store, journal, broker, seen, session, execution_session)
        judged = judge_preopen(basket, OneSidedPolicy(settings.one_sided_policy), calendar)
        # Before anything is cancelled: whoever is killed in between has locked too much, not too little.
        if lock is not None:
            for item in judged.locks:
                lock(item)
        if judged.halt:
            _halt(store, journal, judged.halt, clock.now())
        sender = Sender(
            broker,
            journal,
            clock,
            max_in_flight=settings.max_in_flight,
            ack_timeout=settings.send_ack_timeout,
            monotonic=monotonic,
        )
        withdrawn = withdraw(sender, journal, judged.cancel, dry_run=settings.is_dry_run)
        if withdrawn and broker.is_connected():
            _observe(settings, journal, broker, clock.now(), calendar)
            withdrawn = looked_up(journal, withdrawn)
        record_withdrawals(store, _ACTOR, withdrawn, clock.now())
    latch = journal.latch()
    return PreopenReport(
        session=session,
        execution_session=execution_session,
        checked_at=seen.snapshot.asked_at,
        working=tuple(order.attempt.order_ref for order in sent_orders(journal, session) if order.is_working),
        concerns=(*judged.concerns, *unquoted),
        locks=judged.locks,
        withdrawn=withdrawn,
        halted=f"{latch.by}: {latch.reason}" if latch.state is LatchState.HALTED else "",
    )


def _sessions(now: datetime, calendar: Calendar) -> tuple[date, date]:
    session = calendar.decision_session(now)
    execution_session = calendar.next(session)
    if now.astimezone(NEW_YORK).date() != execution_session or now >= calendar.open(execution_session):
        raise RefusedError(
            f"the check before the open belongs to the morning of {execution_session}, before "
            f"{calendar.open(execution_session):%H:%M} New York; it is {now:%a %Y-%m-%d %H:%M}. Nothing was "
            "checked"
        )
    return session, execution_session


def _observe(
    settings: Settings, journal: Journal, broker: Broker, now: datetime, calendar: Calendar
) -> Observation:
    seen = observe(
        broker,
        journal,
        now,
        mode=settings.mode.value,
        writer=True,
        external=ExternalPolicy(settings.external_orders),
        calendar=calendar,
    )
    require_complete(seen)
    return seen


def _basket(
    store: Store,
    journal: Journal,
    broker: Broker,
    seen: Observation,
    session: date,
    execution_session: date,
) -> tuple[Basket, tuple[Concern, ...]]:
    orders = sent_orders(journal, session)
    contracts: dict[str, Contract] = {
        position.contract.symbol: position.contract for position in seen.snapshot.positions
    }
    contracts |= {order.symbol: order.intent.contract for order in orders if order.is_live}
    quotes: dict[str, Quote] = {}
    unquoted: tuple[Concern, ...] = ()
    try:
        quotes = broker.quotes(list(contracts.values()), _QUOTE_SECONDS) if contracts else {}
    except BrokerConnectionError:
        raise
    except BrokerError as error:
        # Another session of the login has the data (10197): the rest of the check matters all the more.
        unquoted = (Concern(ConcernKind.NO_PRICE, f"the broker gives no quotes: {error}"),)
    splits = known_splits(store, session, execution_session)
    held = broker_shares(seen.snapshot.positions)
    basket = Basket(
        execution_session=execution_session,
        intents=tuple(
            intent
            for plan in journal.plans(session, session)
            if plan.status in (PlanStatus.APPROVED, PlanStatus.SENT)
            for intent in plan.intents
        ),
        orders=orders,
        held=tuple(held),
        quotes=quotes,
        closes=official_marks(store, session),
        splits=splits,
        breaks=_classified(journal, seen, splits),
        latch=journal.latch(),
    )
    return basket, unquoted


def _classified(
    journal: Journal, seen: Observation, splits: Mapping[str, Fraction]
) -> tuple[ClassifiedBreak, ...]:
    ledger = {symbol: holding.shares for symbol, holding in seen.book.holdings.items()}
    for symbol, holding in read_carve_out(journal).holdings.items():
        ledger[symbol] = ledger.get(symbol, 0) + holding.shares
    found = classify_breaks(
        seen.breaks,
        (),
        ledger=ledger,
        broker=broker_shares(seen.snapshot.positions),
        unknown=journal.sent_with_status(OrderStatus.UNKNOWN).values(),
        splits=splits,
    )
    # An order in our own name that this journal has not sent was not placed by somebody else.
    return tuple(
        replace(item, cause=BreakClass.UNKNOWN)
        if item.kind is BreakKind.EXTERNAL and parse_order_ref(raw.order_ref) is not None
        else item
        for item, raw in zip(found, seen.breaks, strict=True)
    )


def _halt(store: Store, journal: Journal, reason: str, now: datetime) -> None:
    """Halt trading, unless it is halted already: only a person resumes it."""
    if journal.tighten_latch(LatchState.HALTED, by=_ACTOR, reason=reason, now=now):
        log_event(store, EventType.TRADING_HALTED, _ACTOR, details={"reason": reason}, now=now)
