"""Selling everything, to the share, while trading is halted.

What belongs here: the offer with its one-use confirmation, and the plan that it confirms. The orders are
journaled and sent as those of any other plan.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from hrp_core.calendar import Clock, nyse
from hrp_core.errors import RefusedError
from hrp_core.execution.bookkeeping import Connect
from hrp_core.execution.broker import Broker
from hrp_core.execution.crosses import after_crosses
from hrp_core.execution.latching import StillWorking, cancel_working
from hrp_core.execution.order_manager import OrderManager
from hrp_core.execution.send_window import SendAt, SendWindow, send_window
from hrp_core.execution.submit_report import SubmitReport
from hrp_core.execution.sync import SyncReport, sync_broker
from hrp_core.execution.writer_lock import WriterLock
from hrp_core.ledger.book import read_book
from hrp_core.ledger.database import canonical_json, sha256
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import ExternalPolicy, FrozenPlan, Intent, LatchState
from hrp_core.portfolio.types import LedgerState, OrderSide, OrderType, Plan, Purpose
from hrp_core.settings import Settings
from hrp_core.store import EventType, Store, log_event, migrate

CODE_LASTS = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class FlattenOffer:
    """What a flatten would sell, and the code that confirms exactly this, once.

    Attributes:
        positions: signed shares by symbol; all of it is sold (shorts are bought back).
        executes_at: open of the execution session.
        expires_at: end of the code.
    """

    code: str
    account: str
    positions: Mapping[str, int]
    executes_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class FlattenReport:
    """What a flatten did.

    Attributes:
        report: what became of its plan.
        cancelled: orderRefs that worked before and were cancelled first.
        working: orders that could not be cancelled; nothing was sent in their contracts.
    """

    report: SubmitReport
    cancelled: tuple[str, ...]
    working: tuple[StillWorking, ...]
    executes_at: datetime

    @property
    def is_complete(self) -> bool:
        """Whether every share held has its order at the broker."""
        return not (
            self.working or self.report.skipped or self.report.stopped or self.report.pending
        ) and not (self.report.unknown)


def offer_flatten(
    settings: Settings, journal: Journal, broker: Broker, *, by: str, now: datetime
) -> FlattenOffer:
    """Return what would be sold, with a confirmation code that lasts a quarter of an hour.

    Args:
        settings: mode.
        journal: of this mode.
        broker: connected; a reader is enough.
        by: the person.
        now: from the clock.

    Raises:
        RefusedError: trading is not halted, nothing is held, or a flatten cannot be sent now; the message
            says when it can.
        ReconciliationBreakError: ledger and broker disagree: what is held is not known.
    """
    _require_halted(settings, journal)
    window = _require_window(now)
    state = _sync(settings, journal, broker, now).book.state()
    if not state.shares:
        raise RefusedError(f"account {broker.account} holds no shares: there is nothing to sell")
    code, expires_at = secrets.token_hex(4), min(now + CODE_LASTS, window.closes)
    journal.offer_flatten(
        code,
        broker.account,
        _positions_hash(broker.account, state, now),
        expires_at=expires_at,
        by=by,
        now=now,
    )
    return FlattenOffer(
        code, broker.account, dict(sorted(state.shares.items())), _executes_at(now), expires_at
    )


def flatten(
    settings: Settings,
    store: Store,
    journal: Journal,
    connect: Connect,
    code: str,
    *,
    by: str,
    reason: str,
    clock: Clock,
) -> FlattenReport:
    """Cancel what works, then send market orders for everything the ledger holds.

    What other plans of the session have not sent is given up, their crosses included. Calling it again, with
    a new code, cancels what is left of the first call's orders and sells what is held then.

    Args:
        settings: mode, lock, waits.
        store: takes the event.
        journal: of this mode.
        connect: opens the writer's connection; in live an armed one.
        code: the confirmation, as it was shown.
        by: the person.
        reason: why, never empty.
        clock: the clock of the mode.

    Raises:
        RefusedError: as `offer_flatten`; no reason; the code is used up, expired, or for other positions;
            another process is the order writer. Nothing was sent.
        ReconciliationBreakError: ledger and broker disagree. Nothing was sent.
    """
    if not reason.strip():
        raise RefusedError("a flatten needs a reason: say why; nothing was sent")
    _require_halted(settings, journal)
    _require_window(clock.now())
    # A wrong code must not cancel the sales of an earlier flatten.
    account, held = journal.binding()[1], read_book(journal).state()
    journal.check_flatten_code(code, account, _positions_hash(account, held, clock.now()), now=clock.now())
    with (
        WriterLock(settings.broker_lock_path, timeout=settings.lock_timeout, purpose="flatten"),
        connect() as broker,
    ):
        cancelled, working = cancel_working(settings, journal, broker, clock)
        now = clock.now()
        _require_window(now)
        state = _sync(settings, journal, broker, now, writer=True).book.state()
        # Crosses count at the open, before its executions: each strategy sells what it will hold then.
        owned = after_crosses(journal, nyse().decision_session(now), state.strategy_shares)
        intents = _intents(broker, state, owned)
        positions = _positions_hash(broker.account, state, now)
        journal.use_flatten_code(code, broker.account, positions, by=by, reason=reason, now=now)
        plan = _freeze(settings, journal, state, intents, code, reason, now)
        journal.approve(plan.plan_id, by=by, plan_hash=plan.inputs_hash, now=now, reason=reason)
        for other in journal.plans(plan.session, plan.session):
            if other.plan_id != plan.plan_id:
                journal.expire_pending(other.plan_id, f"flattened by {by}: {reason}")
        manager = OrderManager(
            broker,
            journal,
            clock=clock,
            mode=settings.mode.value,
            ack_timeout=settings.send_ack_timeout,
            max_in_flight=settings.max_in_flight,
            external=ExternalPolicy(settings.external_orders),
            send_at=SendAt.EVENING,
        )
        report = manager.submit_plan(plan.plan_id)
    migrate(store)
    details = {"plan_id": plan.plan_id, "plan_hash": plan.inputs_hash, "reason": reason}
    log_event(store, EventType.PLAN_APPROVED, by, details=details, now=now)
    return FlattenReport(report, cancelled, working, _executes_at(now))


def _require_halted(settings: Settings, journal: Journal) -> None:
    latch = journal.latch()
    if latch.state is not LatchState.HALTED:
        raise RefusedError(
            f"a flatten runs while trading is halted; the latch is {latch.state.value} and nothing was sent. "
            "Run `hrp halt --reason ...` first"
        )
    if settings.is_dry_run:
        raise RefusedError(
            "HRP_DRY_RUN is on, so nothing would be sent. Run the command with HRP_DRY_RUN=false, or sell in "
            "TWS"
        )


def _require_window(now: datetime) -> SendWindow:
    """Return the window of the coming open, or say when there is one."""
    calendar = nyse()
    session = calendar.decision_session(now)
    window = send_window(calendar, session)
    if window.contains(now):
        return window
    coming = window if now < window.opens else send_window(calendar, calendar.next(session))
    raise RefusedError(
        f"market orders for the open cannot be sent at {now:%a %Y-%m-%d %H:%M}; nothing was sent. From "
        f"{coming.opens:%a %Y-%m-%d %H:%M} New York they can, and execute at the next open. To be out before "
        "then, sell in TWS by hand, with the latch closed, and run `hrp reconcile` afterwards"
    )


def _executes_at(now: datetime) -> datetime:
    calendar = nyse()
    return calendar.open(calendar.next(calendar.decision_session(now)))


def _sync(
    settings: Settings, journal: Journal, broker: Broker, now: datetime, writer: bool = False
) -> SyncReport:
    return sync_broker(
        broker,
        journal,
        now,
        mode=settings.mode.value,
        writer=writer,
        external=ExternalPolicy(settings.external_orders),
    )


def _positions_hash(account: str, state: LedgerState, now: datetime) -> str:
    session = nyse().decision_session(now)
    return sha256(canonical_json({"account": account, "session": session, "shares": dict(state.shares)}))


def _intents(broker: Broker, state: LedgerState, owned: Mapping[str, Mapping[str, int]]) -> list[Intent]:
    symbols = sorted(state.shares)
    contracts = broker.qualify(symbols)
    unknown = [symbol for symbol in symbols if symbol not in contracts]
    if unknown:
        raise RefusedError(
            f"the broker knows no US stock {', '.join(unknown)}, which is held; nothing was sent. Sell it in "
            "TWS, run `hrp reconcile`, then flatten the rest"
        )
    return [
        Intent(
            intent_id="",
            plan_id="",
            contract=contracts[symbol],
            side=OrderSide.SELL if state.shares[symbol] > 0 else OrderSide.BUY,
            quantity=abs(state.shares[symbol]),
            leg="decrease",
            order_type=OrderType.MARKET,
            limit_price=None,
            reference_price=None,
            allocations=tuple(
                (name, -held[symbol]) for name, held in sorted(owned.items()) if held.get(symbol)
            ),
        )
        for symbol in symbols
    ]


def _freeze(
    settings: Settings,
    journal: Journal,
    state: LedgerState,
    intents: Sequence[Intent],
    code: str,
    reason: str,
    now: datetime,
) -> FrozenPlan:
    calendar = nyse()
    session = calendar.decision_session(now)
    plan = Plan(session, calendar.next(session), Decimal(0), state.cash, (), (), (f"flatten: {reason}",))
    return journal.freeze_intents(
        plan,
        intents,
        mode=settings.mode.value,
        account=journal.binding()[1],
        purpose=Purpose.FLATTEN,
        inputs={"ledger": asdict(state), "confirmation": code},
        now=now,
    )
