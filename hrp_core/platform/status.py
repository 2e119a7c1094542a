"""The state of an installation in a dozen facts, and what happens next.

What belongs here: reading, without a broker and without making anything. What does not: printing.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

import pandas as pd

from hrp_core.calendar import nyse
from hrp_core.errors import NotReadyError
from hrp_core.execution.send_window import SendAt, send_window
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.nav import official_rows
from hrp_core.ledger.types import FrozenPlan, Latch, LatchState, OrderStatus, PlanStatus
from hrp_core.portfolio.types import OrderType, Purpose
from hrp_core.settings import Settings
from hrp_core.store import TABLES, Store, read_table, stored_ranges, table


@dataclass(frozen=True, slots=True)
class Status:
    """What `hrp status` shows. What does not exist yet is None or empty.

    Attributes:
        clock: of the mode, New York time; None before a simulated gateway was ever started.
        latch: active, reducing or halted.
        plan: id of the newest daily plan.
        orders: orders of that plan by state.
        unknown_orders: orders of unknown fate, each of which locks its contract.
        newest: newest stored session of each asset; of the NAV the newest official one.
        decision_session: the session that is decided on now; `execution_session` is the one after it.
        valued_at: valuation session of the newest official NAV.
        nav: that NAV, USD.
        provisional_at: moment of the broker's prices behind a NAV that is newer than it; None without one.
        provisional_nav: that one, USD.
        next_step: what happens, or has to happen, next.
    """

    mode: str
    account: str | None
    clock: datetime | None
    dry_run: bool
    latch: str
    latch_reason: str
    plan: str | None
    plan_status: str | None
    orders: Mapping[str, int]
    unknown_orders: int
    newest: Mapping[str, date | None]
    decision_session: date | None
    execution_session: date | None
    valued_at: date | None
    nav: Decimal | None
    provisional_at: datetime | None
    provisional_nav: Decimal | None
    next_step: str


def read_status(settings: Settings) -> Status:
    """Return the state of an installation, also of one that has nothing yet.

    Raises:
        StoreError: the database stays locked, or is newer than this code.
    """
    try:
        now = settings.clock().now()
    except NotReadyError:
        now = None
    account, plan, latch, unknown = _from_journal(settings)
    newest = _newest(settings)
    navs = _navs(settings)
    official, last = official_rows(navs).tail(1), navs.tail(1)
    newest["nav"] = next(iter(official["session"]), None)
    provisional = last.drop(official.index, errors="ignore")
    decided = None if now is None else nyse().decision_session(now)
    return Status(
        mode=settings.mode.value,
        account=account,
        clock=now,
        dry_run=settings.is_dry_run,
        latch=latch.state.value,
        latch_reason=latch.reason,
        plan=None if plan is None else plan.plan_id,
        plan_status=None if plan is None else plan.status.value,
        orders=dict(Counter(intent.status.value for intent in plan.intents)) if plan else {},
        unknown_orders=unknown,
        newest=newest,
        decision_session=decided,
        execution_session=None if decided is None else nyse().next(decided),
        valued_at=next(iter(official["valuation_session"]), None),
        nav=next(iter(official["nav"]), None),
        provisional_at=next((at.to_pydatetime() for at in provisional["mark_time"]), None),
        provisional_nav=next(iter(provisional["nav"]), None),
        next_step=next_step(
            now, newest, plan, latch, unknown=unknown, dry_run=settings.is_dry_run, send_at=settings.send_at
        ),
    )


def next_step(
    now: datetime | None,
    newest: Mapping[str, date | None],
    plan: FrozenPlan | None,
    latch: Latch,
    *,
    unknown: int = 0,
    dry_run: bool = False,
    send_at: str = "evening",
) -> str:
    """Return what happens next, in one sentence.

    Args:
        now: from the clock; None where there is none yet.
        newest: newest stored session by asset.
        plan: the newest daily plan.
        latch: the trading latch.
        unknown: orders of unknown fate.
        dry_run: whether orders are withheld.
        send_at: `HRP_SEND_AT`.
    """
    if now is None:
        return "nothing runs yet: start the simulated gateway with `hrp gateway serve`, or run `hrp demo`"
    if latch.state is LatchState.HALTED:
        return f"trading is halted by {latch.by}: {latch.reason}; a person ends it with `hrp resume --reason`"
    calendar = nyse()
    session = calendar.decision_session(now)
    executed = calendar.next(session)
    prices = newest.get("prices")
    if prices is None:
        return "no prices are stored: run `hrp data load`, or `hrp demo`"
    if prices < session:
        return f"market_data_job of {session} (17:30 New York): prices end on {prices}"
    booked, before = newest.get("nav"), calendar.previous(session)
    if booked is not None and booked < before:
        return f"book_job of {before} (17:45 New York): the book ends with session {booked}"
    if plan is None or plan.session < session:
        return f"predictions_job of {session} (18:15 New York): the session has no plan"
    if plan.session > session:
        return f"plan {plan.plan_id} is of a later session than {session}; check the clock"
    if unknown:
        return f"{unknown} orders are of unknown fate; look at `hrp orders`, then `hrp sync`"
    if plan.status is PlanStatus.PROPOSED and not dry_run:
        return f"plan {plan.plan_id} waits for the approval of a person"
    if plan.status is PlanStatus.REJECTED:
        return f"plan {plan.plan_id} was rejected; nothing is sent in {executed}"
    pending = {intent.order_type for intent in plan.intents if intent.status is OrderStatus.PENDING}
    if pending:
        return _to_send(now, session, sorted(pending)[0], dry_run, send_at)
    opens = calendar.open(executed)
    if now < opens:
        return f"orders execute at the open of {executed} ({opens:%H:%M} New York)"
    return f"book_job of {session} after the close of {executed} (17:45 New York)"


def _to_send(now: datetime, session: date, kind: OrderType, dry_run: bool, send_at: str) -> str:
    window = send_window(nyse(), session, kind, SendAt(send_at))
    if now >= window.closes:
        return f"the window for orders of {session} closed at {window.closes:%a %H:%M}: nothing more is sent"
    what = f"live_trader_job of {session} (sends from {window})"
    return f"{what}; in a dry run it sends nothing" if dry_run else what


def _from_journal(settings: Settings) -> tuple[str | None, FrozenPlan | None, Latch, int]:
    if not settings.journal_path.exists():
        return None, None, Latch(LatchState.ACTIVE), 0
    journal = Journal(settings.journal_path)
    try:
        try:
            account = journal.binding()[1]
        except NotReadyError:
            account = None
        plans = journal.plans(purpose=Purpose.DAILY)
        return account, plans[-1] if plans else None, journal.latch(), len(journal.locked_contracts())
    finally:
        journal.close()


def _newest(settings: Settings) -> dict[str, date | None]:
    try:
        return {item.table: item.last for item in stored_ranges(Store(settings.database_path))}
    except NotReadyError:
        return dict.fromkeys(TABLES, None)


def _navs(settings: Settings) -> pd.DataFrame:
    try:
        return read_table(Store(settings.database_path), table("nav"))
    except NotReadyError:
        return pd.DataFrame(columns=list(table("nav").column_names))
