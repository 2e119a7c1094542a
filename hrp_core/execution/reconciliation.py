"""A reconciliation run: every difference with its class, what follows from it, and the row that records it.

What belongs here: classifying, the suspense account, the latch, and `reconciliation_runs`. Comparing is
`reconcile`, asking and journaling `sync`, dividends that are expected `dividends`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from hrp_core.calendar import nyse
from hrp_core.execution.broker import Broker
from hrp_core.execution.dividends import ExpectedDividend, expected_dividends, matching_dividends
from hrp_core.execution.reconcile import broker_shares
from hrp_core.execution.splits import untaken_splits
from hrp_core.execution.sync import REPORTING_LAG, Observation, observe
from hrp_core.ledger.book import read_carve_out
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.splits import split_shares
from hrp_core.ledger.types import (
    Attempt,
    BookedSplit,
    Break,
    BreakClass,
    BreakKind,
    CashFlow,
    ExternalPolicy,
    FlowKind,
    Intent,
    LatchState,
    OrderStatus,
)
from hrp_core.money import to_money
from hrp_core.settings import Settings
from hrp_core.store import EventType, Store, append_event

SUSPENSE_FLOOR = Decimal(5)
SUSPENSE_SHARE = Decimal("0.0001")
_RUN_AGAIN = (
    "; the fills of the last quarter of an hour may explain it, which the broker shows later: run it again"
)


class ReconciliationStatus(StrEnum):
    """What a run allows, mildest first."""

    RECONCILED = "reconciled"
    WARNING = "warning"  # a small difference in cash went to the suspense account
    REDUCE_ONLY = "reduce_only"  # cash differs by more: entries wait until it is classified
    HALTED = "halted"  # shares or orders differ: nothing may be sent


@dataclass(frozen=True, slots=True)
class ClassifiedBreak:
    """One difference and what it most likely is."""

    kind: BreakKind | None
    cause: BreakClass
    message: str
    symbol: str = ""


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One run.

    Attributes:
        session: execution session whose state was compared: the newest that has opened.
        cash_difference: broker less ledger before the suspense account took it, USD.
        suspense: what this run booked to the suspense account, USD; 0 for nothing.
        dividends: expected dividends that this run recorded as paid.
    """

    reconciliation_id: str
    session: date
    taken_at: datetime
    status: ReconciliationStatus
    breaks: tuple[ClassifiedBreak, ...]
    cash_difference: Decimal
    suspense: Decimal
    mode: str
    account: str
    dividends: tuple[CashFlow, ...] = ()


def classify_breaks(
    breaks: Iterable[Break],
    missing: Sequence[str],
    *,
    ledger: Mapping[str, int],
    broker: Mapping[str, int],
    unknown: Iterable[tuple[Attempt, Intent]] = (),
    splits: Mapping[str, Fraction] | None = None,
    dividends: Sequence[ExpectedDividend] = (),
    cash_difference: Decimal = Decimal(0),
    recent: Mapping[str, int] | None = None,
) -> tuple[ClassifiedBreak, ...]:
    """Return each difference with its most likely cause; what nothing explains is UNKNOWN.

    Args:
        breaks: as found by comparing.
        missing: messages about orders whose executions are not all here.
        ledger: account shares by symbol, the carve-out included.
        broker: account shares by symbol.
        unknown: orders of unknown fate; one that may have traded the difference explains it.
        splits: new shares for one old one, by symbol, of splits that the ledger does not have.
        dividends: that the account is owed; ones that match the difference in cash to the cent explain it.
        cash_difference: broker less ledger, USD.
        recent: signed shares by symbol that traded minutes ago; the broker may not show them yet (F13).
    """
    found = [ClassifiedBreak(None, BreakClass.MISSED_FILL, message) for message in missing]
    fates = list(unknown)
    for item in breaks:
        cause, more = BreakClass.UNKNOWN, ""
        if item.kind is BreakKind.EXTERNAL:
            cause = BreakClass.EXTERNAL_ORDER
        elif item.kind is BreakKind.CASH:
            cause = BreakClass.FEE_OR_DIVIDEND
            paid = matching_dividends(dividends, cash_difference)
            if paid:
                cause, more = BreakClass.DIVIDEND, f"; paid: {'; '.join(map(str, paid))}"
            elif recent:
                cause, more = BreakClass.RECENT_FILL, _RUN_AGAIN
            elif dividends:
                more = f"; dividends expected: {'; '.join(map(str, dividends))}"
        elif item.kind is BreakKind.SHARES:
            cause = _cause_of_shares(
                item.symbol,
                ledger.get(item.symbol, 0),
                broker.get(item.symbol, 0),
                fates,
                splits or {},
                (recent or {}).get(item.symbol, 0),
            )
            if cause is BreakClass.RECENT_FILL:
                more = _RUN_AGAIN
            if cause is BreakClass.CORPORATE_ACTION:
                more = (
                    f"; the known split of {(splits or {})[item.symbol]} new for 1 old explains it. Nothing "
                    f"is sent until the ledger has it too: see `hrp split {item.symbol}`"
                )
        found.append(ClassifiedBreak(item.kind, cause, f"{item.message}{more}", item.symbol))
    return tuple(found)


def _cause_of_shares(
    symbol: str,
    ledger: int,
    broker: int,
    fates: Iterable[tuple[Attempt, Intent]],
    splits: Mapping[str, Fraction],
    recent: int,
) -> BreakClass:
    difference = broker - ledger
    if difference * recent < 0 and abs(difference) <= abs(recent):
        return BreakClass.RECENT_FILL
    for attempt, intent in fates:
        signed = intent.side.sign * (attempt.quantity - attempt.filled)
        if intent.contract.symbol == symbol and difference * signed > 0 and abs(difference) <= abs(signed):
            return BreakClass.MISSED_FILL
    ratio = splits.get(symbol)
    if ratio is not None and split_shares(ledger, ratio) == broker:
        return BreakClass.CORPORATE_ACTION
    return BreakClass.UNKNOWN


def suspense_limit(nav: Decimal) -> Decimal:
    """Return the largest difference in cash that goes to the suspense account: $5, or 1 bp of NAV."""
    return max(SUSPENSE_FLOOR, to_money(nav * SUSPENSE_SHARE))


def run_reconciliation(
    settings: Settings, store: Store, journal: Journal, broker: Broker, now: datetime, *, run_id: str
) -> Reconciliation:
    """Compare ledger and broker, classify what differs, book what explains cash, record the run.

    An empty ledger and an empty account are reconciled, from the first day on. A difference that nothing
    explains closes the latch (HALTED), cash that differs by more than the suspense limit closes it to exits
    (REDUCING); nothing here ever opens it. What fills of the last minutes explain closes nothing, and is no
    reconciliation either.

    Args:
        settings: names the mode and what to do about orders placed elsewhere.
        store: known splits and dividends are read from it, the run is appended to it.
        journal: the journal of this mode.
        broker: connected; a reader is enough.
        now: from the clock.
        run_id: who runs it.

    Raises:
        IncompleteSnapshotError, RefusedError, BrokerConnectionError: as `sync_broker`; nothing is recorded.
    """
    calendar, mode = nyse(), settings.mode.value
    session = calendar.next(calendar.book_session(now))
    seen = observe(broker, journal, now, mode=mode, external=ExternalPolicy(settings.external_orders))
    carve_out = read_carve_out(journal)
    ledger = {symbol: holding.shares for symbol, holding in seen.book.holdings.items()}
    for symbol, holding in carve_out.holdings.items():
        ledger[symbol] = ledger.get(symbol, 0) + holding.shares
    difference = seen.snapshot.values.cash - seen.book.cash - carve_out.cash
    owed = expected_dividends(store, journal, session, calendar) if seen.breaks else ()
    breaks = classify_breaks(
        seen.breaks,
        seen.missing,
        ledger=ledger,
        broker=broker_shares(seen.snapshot.positions),
        unknown=journal.sent_with_status(OrderStatus.UNKNOWN).values(),
        splits=_ratios(untaken_splits(store, journal, now)) if seen.breaks else {},
        dividends=owed,
        cash_difference=difference,
        recent=_recent_fills(journal, seen.snapshot.asked_at),
    )
    paid = _to_dividends(journal, seen, breaks, matching_dividends(owed, difference), session, now)
    suspense = Decimal(0) if paid else _to_suspense(journal, seen, breaks, difference, session, now)
    result = Reconciliation(
        reconciliation_id=f"{mode}-{broker.account}-{seen.snapshot.asked_at:%Y%m%dT%H%M%S}-{run_id}",
        session=session,
        taken_at=seen.snapshot.asked_at,
        status=ReconciliationStatus.RECONCILED if paid else _status(breaks, suspense),
        breaks=breaks,
        cash_difference=difference,
        suspense=suspense,
        mode=mode,
        account=broker.account,
        dividends=paid,
    )
    # The latch first: a run that cannot be recorded must still stop what it has found.
    _close_latch(journal, result, suspense_limit(seen.snapshot.values.net_liquidation), now)
    _append(store, result, run_id)
    return result


def _ratios(splits: Iterable[BookedSplit]) -> dict[str, Fraction]:
    """Return new shares for one old one by symbol, of all of `splits`."""
    ratios: dict[str, Fraction] = {}
    for split in splits:
        ratios[split.symbol] = ratios.get(split.symbol, Fraction(1)) * split.ratio
    return ratios


def _only_cash(seen: Observation, breaks: Sequence[ClassifiedBreak]) -> bool:
    """Whether cash is all that differs, and no commission is still to come."""
    cash = bool(breaks) and all(item.kind is BreakKind.CASH for item in breaks)
    return cash and not seen.book.unreported_commissions


def _to_dividends(
    journal: Journal,
    seen: Observation,
    breaks: Sequence[ClassifiedBreak],
    paid: Sequence[ExpectedDividend],
    session: date,
    now: datetime,
) -> tuple[CashFlow, ...]:
    """Record dividends that explain the whole difference in cash to the cent, when nothing else differs."""
    if not _only_cash(seen, breaks):
        return ()
    flows = tuple(item.flow(session, now) for item in paid)
    for flow in flows:
        journal.record_cash_flow(flow)
    return flows


def _recent_fills(journal: Journal, asked_at: datetime) -> dict[str, int]:
    """Return the signed shares by symbol that traded in the quarter of an hour before `asked_at`."""
    day, found = asked_at.date(), dict[str, int]()
    for item in journal.executions(day, day):
        if item.executed_at > asked_at - REPORTING_LAG:
            symbol = item.contract.symbol
            found[symbol] = found.get(symbol, 0) + item.side.sign * item.shares
    return found


def _close_latch(journal: Journal, result: Reconciliation, limit: Decimal, now: datetime) -> None:
    recent = any(item.cause is BreakClass.RECENT_FILL for item in result.breaks)
    unexplained = [item.message for item in result.breaks if item.cause is BreakClass.UNKNOWN]
    cash = [item.message for item in result.breaks if item.kind is BreakKind.CASH]
    if unexplained:
        state, reason = LatchState.HALTED, "; ".join(unexplained)
    elif cash and not result.dividends and not recent and abs(result.cash_difference) > limit:
        state, reason = LatchState.REDUCING, "; ".join(cash)
    else:
        return
    journal.tighten_latch(
        state, by="reconciliation", reason=reason, evidence=result.reconciliation_id, now=now
    )


def _to_suspense(
    journal: Journal,
    seen: Observation,
    breaks: Sequence[ClassifiedBreak],
    difference: Decimal,
    session: date,
    now: datetime,
) -> Decimal:
    """Book a small difference in cash, when nothing else differs and no commission is still to come."""
    limit = suspense_limit(seen.snapshot.values.net_liquidation)
    # What was classed as a dividend is one, and waits until it can be recorded as such; what may be a fill
    # that the broker shows later waits for that.
    classed = any(item.cause in (BreakClass.DIVIDEND, BreakClass.RECENT_FILL) for item in breaks)
    if classed or not _only_cash(seen, breaks) or abs(difference) > limit:
        return Decimal(0)
    journal.record_cash_flow(
        CashFlow(
            reference=f"suspense-{len(journal.cash_flows()) + 1}",
            kind=FlowKind.SUSPENSE,
            amount=difference,
            session=session,
            at=now,
            by="reconciliation",
            note=breaks[0].message,
        )
    )
    return difference


def _status(breaks: Sequence[ClassifiedBreak], suspense: Decimal) -> ReconciliationStatus:
    if not breaks:
        return ReconciliationStatus.RECONCILED
    if any(item.kind is not BreakKind.CASH for item in breaks):
        return ReconciliationStatus.HALTED
    return ReconciliationStatus.WARNING if suspense else ReconciliationStatus.REDUCE_ONLY


def _append(store: Store, result: Reconciliation, run_id: str) -> None:
    details = [
        {"kind": item.kind, "cause": item.cause, "symbol": item.symbol, "message": item.message}
        for item in result.breaks
    ]
    with store.write() as connection:
        connection.execute(
            "INSERT INTO reconciliation_runs (reconciliation_id, session, taken_at, status, breaks, "
            "cash_difference, details, run_id, mode, account) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                result.reconciliation_id,
                result.session,
                result.taken_at,
                result.status.value,
                len(result.breaks),
                result.cash_difference,
                json.dumps(details),
                run_id,
                result.mode,
                result.account,
            ],
        )
        if result.breaks:
            append_event(
                connection,
                EventType.RECONCILIATION_BREAK,
                "reconciliation",
                details={"reconciliation_id": result.reconciliation_id, "breaks": details},
                now=result.taken_at,
            )
