"""Bringing the journal up to date with the broker, and refusing what does not add up.

What belongs here: one snapshot, journaled whole, then judged: complete in itself, equal to the ledger. Who
sends what afterwards is the order manager's business.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from hrp_core.calendar import Calendar, nyse
from hrp_core.errors import IncompleteSnapshotError, ReconciliationBreakError, RefusedError
from hrp_core.execution.broker import Broker, BrokerSnapshot
from hrp_core.execution.order_ref import parse_order_ref
from hrp_core.execution.reconcile import (
    broker_shares,
    describe,
    missing_fills,
    order_breaks,
    reconcile,
)
from hrp_core.ledger.book import Book, read_book, read_carve_out
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import (
    Attempt,
    Break,
    BreakKind,
    CashFlow,
    Evidence,
    ExternalPolicy,
    FlowKind,
    OrderStatus,
    SnapshotRow,
    Source,
)

# Closing auctions print after the close, and positions lag their fills by minutes (F13).
REPORTING_LAG = timedelta(minutes=15)
OPENING = "opening"


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What one synchronisation learned; ledger and broker agree to the share.

    Attributes:
        snapshot: the answers it is based on.
        book: the ledger afterwards.
        opening: the opening balance, USD, when this was the first one; else None.
        new_executions: executions that the journal did not know.
        unknown: orderRefs that are UNKNOWN afterwards.
        expired: orderRefs whose fate was resolved as never having traded.
        cash_breaks: differences in cash; they do not stop trading by themselves.
    """

    snapshot: BrokerSnapshot
    book: Book
    opening: Decimal | None
    new_executions: int
    unknown: tuple[str, ...]
    expired: tuple[str, ...]
    cash_breaks: tuple[Break, ...]


@dataclass(frozen=True, slots=True)
class Observation:
    """A snapshot as it was journaled, with whatever does not add up.

    Attributes:
        missing: one message for each order of ours whose executions are not all here.
        breaks: contradictions between ledger, journal and broker.
    """

    snapshot: BrokerSnapshot
    book: Book
    opening: Decimal | None
    new_executions: int
    missing: tuple[str, ...]
    breaks: tuple[Break, ...]


def sync_broker(
    broker: Broker,
    journal: Journal,
    now: datetime,
    *,
    mode: str,
    writer: bool = False,
    external: ExternalPolicy = ExternalPolicy.HALT,
    calendar: Calendar | None = None,
) -> SyncReport:
    """Ask the broker for everything, journal it, and check that it adds up.

    Args:
        broker: connected.
        journal: the journal of this mode; the first call binds it to the broker's account.
        now: timezone-aware.
        mode: sim, paper or live.
        writer: whether the caller holds the writer lock and has nothing in flight. Only then, or once its
            session has closed, does an order that was claimed but never acknowledged, and is not at the
            broker, become UNKNOWN.
        external: what to do about orders placed elsewhere that nothing was decided about yet.
        calendar: default the New York Stock Exchange.

    Raises:
        IncompleteSnapshotError: the executions do not add up to the order lists; it names the orders.
        ReconciliationBreakError: shares differ, or an order or execution is not ours, or not what was sent.
        RefusedError: the journal belongs to another account or mode, or this is the first connection to an
            account that is already in use.
        BrokerConnectionError: the connection ended.
    """
    calendar = calendar or nyse()
    seen = observe(broker, journal, now, mode=mode, writer=writer, external=external, calendar=calendar)
    snapshot = seen.snapshot
    require_complete(seen)
    hard = [item for item in seen.breaks if item.kind is not BreakKind.CASH]
    if hard:
        raise ReconciliationBreakError(
            f"ledger and broker disagree on account {snapshot.account}: {describe(hard)}. Nothing is "
            "sent until this is explained: compare with the broker's statement"
        )
    expired = _expire_unseen(journal, snapshot, now, calendar)
    return SyncReport(
        snapshot=snapshot,
        book=seen.book,
        opening=seen.opening,
        new_executions=seen.new_executions,
        unknown=tuple(journal.sent_with_status(OrderStatus.UNKNOWN)),
        expired=expired,
        cash_breaks=tuple(item for item in seen.breaks if item.kind is BreakKind.CASH),
    )


def require_complete(seen: Observation) -> None:
    """Refuse an observation whose executions do not add up to the order lists.

    Raises:
        IncompleteSnapshotError: it names the orders.
    """
    if seen.missing:
        raise IncompleteSnapshotError(
            f"the broker's answers do not add up: {'; '.join(seen.missing)}. Nothing may be sent or valued; "
            "run it again in a few minutes, and compare with the broker's statement if it stays"
        )


def observe(
    broker: Broker,
    journal: Journal,
    now: datetime,
    *,
    mode: str,
    writer: bool = False,
    external: ExternalPolicy = ExternalPolicy.HALT,
    calendar: Calendar | None = None,
) -> Observation:
    """Ask the broker for everything, journal it, and return what does not add up instead of refusing it.

    Args: as `sync_broker`.

    Raises:
        IncompleteSnapshotError: an end marker is missing.
        RefusedError, BrokerConnectionError: as `sync_broker`.
    """
    calendar = calendar or nyse()
    journal.bind(mode, broker.account, now)
    used = broker.used_order_id()
    older = "" if used is None else journal.check_order_ids(used, now)
    as_of = journal.sequence()
    live = journal.live_attempts()
    snapshot = broker.snapshot()
    opening = _opening_balance(journal, snapshot, now, calendar)
    refs = [order.order_ref for order in (*snapshot.open_orders, *snapshot.completed_orders)]
    over = _over(journal, live, now, calendar)
    new_executions = journal.record(
        [*_sightings(snapshot, journal.sent(refs)), *_unseen(live, snapshot, writer, over)],
        snapshot.executions,
        now=now,
        as_of=as_of,
    )
    sent = journal.sent(refs)
    orders = (*snapshot.open_orders, *snapshot.completed_orders)
    missing = missing_fills(orders, {ref: attempt.filled for ref, (attempt, _) in sent.items()})
    if not missing:
        # One that does not add up covers nothing: its day stays a gap until a later one has asked (F34).
        journal.record((), now=now, as_of=as_of, snapshot=_account_row(snapshot))
    journal.decide_external(_placed_elsewhere(journal, snapshot), external, now)
    book = read_book(journal)
    return Observation(
        snapshot=snapshot,
        book=book,
        opening=opening,
        new_executions=new_executions,
        missing=missing,
        breaks=(
            *([Break(BreakKind.OLDER_JOURNAL, older)] if older else ()),
            *journal.breaks(),
            *order_breaks(orders, sent, journal.external_orders()),
            *reconcile(book, snapshot, read_carve_out(journal)),
        ),
    )


def _account_row(snapshot: BrokerSnapshot) -> SnapshotRow:
    return SnapshotRow(
        account=snapshot.account,
        asked_at=snapshot.asked_at,
        shares=broker_shares(snapshot.positions),
        cash=snapshot.values.cash,
        net_liquidation=snapshot.values.net_liquidation,
    )


def _opening_balance(
    journal: Journal, snapshot: BrokerSnapshot, now: datetime, calendar: Calendar
) -> Decimal | None:
    """Record the broker's cash as the opening balance of a new journal, if nothing else is there."""
    if journal.cash_flows() or journal.executions():
        return None
    positions = broker_shares(snapshot.positions)
    if positions or snapshot.executions or snapshot.open_orders:
        held = ", ".join(f"{shares} {symbol}" for symbol, shares in positions.items()) or "no shares"
        raise RefusedError(
            f"account {snapshot.account} is new to this journal but in use: it holds {held}, with "
            f"{len(snapshot.open_orders)} open orders and {len(snapshot.executions)} executions today. Start "
            "with an account that holds only cash: close its positions and orders by hand and connect again "
            "on the next day"
        )
    cash = snapshot.values.cash
    journal.record_cash_flow(
        CashFlow(
            reference=OPENING,
            kind=FlowKind.OPENING,
            amount=cash,
            session=calendar.next(calendar.decision_session(now)),
            at=now,
            by="first connection",
            note="cash of the account when it was first connected",
        )
    )
    return cash


def _sightings(snapshot: BrokerSnapshot, ours: Iterable[str]) -> list[Evidence]:
    """Return what the order lists say of our orders; others are breaks, not evidence."""
    known = set(ours)
    return [
        Evidence(
            order.order_ref,
            source,
            order.status,
            perm_id=order.perm_id,
            filled=order.filled,
            message=order.raw_status,
        )
        for source, orders in (
            (Source.OPEN, snapshot.open_orders),
            (Source.COMPLETED, snapshot.completed_orders),
        )
        for order in orders
        if order.order_ref in known
    ]


def _over(journal: Journal, live: Sequence[Attempt], now: datetime, calendar: Calendar) -> frozenset[str]:
    """Return the orderRefs whose execution session has closed: nobody can be sending them any more."""
    sent = journal.sent([attempt.order_ref for attempt in live if attempt.status is OrderStatus.SENT])
    return frozenset(
        ref
        for ref, (_, intent) in sent.items()
        if now >= calendar.close(journal.plan(intent.plan_id).execution_session)
    )


def _unseen(
    live: Sequence[Attempt], snapshot: BrokerSnapshot, writer: bool, over: Container[str]
) -> list[Evidence]:
    """Return that the broker does not list an order which could still fill. Silence is no rejection (F5)."""
    listed = {order.order_ref for order in (*snapshot.open_orders, *snapshot.completed_orders)}
    return [
        Evidence(
            attempt.order_ref,
            Source.UNSEEN,
            message="in none of the broker's lists of open and completed orders",
        )
        for attempt in live
        if attempt.order_ref not in listed
        # Another process may be sending it at this moment, unless its session is over.
        and (writer or attempt.status is not OrderStatus.SENT or attempt.order_ref in over)
    ]


def _placed_elsewhere(journal: Journal, snapshot: BrokerSnapshot) -> dict[int, str]:
    """Return the orderRef by permId of each order at the broker that no journal of ours can have sent.

    An orderRef of our own form that this journal does not know is no such order: it is a break, always.
    """
    orders = (*snapshot.open_orders, *snapshot.completed_orders)
    sent = journal.sent([order.order_ref for order in orders])
    found = {order.perm_id: order.order_ref for order in orders if order.order_ref not in sent}
    found |= {fill.perm_id: fill.order_ref for fill in journal.foreign_executions()}
    return {perm_id: ref for perm_id, ref in found.items() if parse_order_ref(ref) is None}


def _expire_unseen(
    journal: Journal, snapshot: BrokerSnapshot, now: datetime, calendar: Calendar
) -> tuple[str, ...]:
    """Resolve UNKNOWN orders that can have traded in no session but one whose executions are all here.

    A DAY order lives until the close of its execution session. When a snapshot was taken after that close on
    the same day, the ledger equals the positions now, and nothing works in the contract, it has not traded
    and never will.
    """
    working = {order.contract.con_id for order in snapshot.open_orders}
    expired = []
    for attempt, intent in journal.sent_with_status(OrderStatus.UNKNOWN).values():
        session = journal.plan(intent.plan_id).execution_session
        until = journal.covered_until(session)
        covered = until is not None and until >= calendar.close(session) + REPORTING_LAG
        if covered and intent.contract.con_id not in working:
            journal.resolve(
                attempt.order_ref,
                OrderStatus.EXPIRED_UNSEEN,
                by="unseen",
                reason=f"nowhere at the broker after the close of {session}, positions equal to the ledger",
                now=now,
            )
            expired.append(attempt.order_ref)
    return tuple(expired)
