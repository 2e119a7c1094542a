"""The plan of a session: read what is stored, decide, freeze.

What belongs here: the order of the steps and the evidence that is frozen with the plan. What does not: the
decision itself (`hrp_core.portfolio.decide`), sending (`order_manager`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from decimal import Decimal

from hrp_core.calendar import nyse, require_decision_session
from hrp_core.errors import NotReadyError, RefusedError
from hrp_core.execution.approval import apply_drops, approves_itself, person_decides
from hrp_core.execution.broker import Broker
from hrp_core.execution.sync import sync_broker
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.nav import official_rows
from hrp_core.ledger.types import Contract, ExternalPolicy, FrozenPlan, LatchState, OrderStatus, PlanStatus
from hrp_core.money import is_price, to_money
from hrp_core.portfolio.decide import decide, limits_from_settings
from hrp_core.portfolio.risk import REDUCING, latch_of
from hrp_core.portfolio.stored import read_signals, session_panel
from hrp_core.portfolio.types import (
    NEVER_VALUED,
    LedgerState,
    OrderSide,
    Performance,
    Plan,
    PortfolioLimits,
    RuleAction,
    SessionPanel,
    Strategy,
    StrategySignals,
    SymbolAction,
)
from hrp_core.settings import Settings
from hrp_core.store import Store, newest_session, read_table, table
from hrp_core.timetable import LAST_TICK, moment_of


@dataclass(frozen=True, slots=True)
class PlannedSession:
    """A decision and the frozen plan that stands for it in the journal."""

    plan: Plan
    frozen: FrozenPlan


def plan_session(
    settings: Settings,
    store: Store,
    journal: Journal,
    broker: Broker,
    strategies: Sequence[Strategy],
    session: date,
    now: datetime,
) -> PlannedSession:
    """Decide on `session` and freeze the plan; where no person is needed (`approves_itself`) it is approved.

    Once a person has rejected a plan of the session, one is needed for every other plan of it.

    The journal is brought up to date first, and the plan is made only when ledger and broker agree to the
    share. Calling it again with unchanged inputs gives the plan that is there.

    Args:
        settings: limits and mode.
        store: holds universe, prices and signals of the session.
        journal: the order journal of this mode.
        broker: connected; a reader is enough.
        strategies: deployed and paused ones.
        session: decision session D.
        now: from the clock.

    Raises:
        RefusedError: `session` is not the decision session, or another plan of it was sent already.
        ReconciliationBreakError: ledger and broker disagree.
        NotReadyError: an input is not stored yet.
    """
    require_decision_session(session, now)
    ledger = sync_broker(
        broker, journal, now, mode=settings.mode.value, external=ExternalPolicy(settings.external_orders)
    ).book.state()
    limits = limits_from_settings(settings)
    with store.reading():
        performance = read_performance(store, session)
        panel = session_panel(store, session, ledger.shares)
        signals = read_signals(store, session)
    # HALTED is the sender's: a plan that a person lets go on must be the one that was made.
    reducing = journal.latch().state is LatchState.REDUCING
    locked = locked_names(journal, panel)
    controls, drops = journal.symbol_controls(session), journal.drops(session)
    plan, contracts = _decide_tradable(
        broker,
        lambda names: decide(
            panel, signals, ledger, strategies, limits, names, controls, performance, reducing=reducing
        ),
        locked,
    )
    set_risk_latch(journal, plan, now)
    # The rule that sets REDUCING also blocks by itself: planning again, with the latch set, is the same plan.
    reducing = reducing or latch_of(plan.verdicts) == REDUCING
    plan = apply_drops(plan, drops, limits)
    frozen = journal.freeze_plan(
        plan,
        mode=settings.mode.value,
        account=broker.account,
        contracts=contracts,
        inputs={
            **frozen_inputs(
                panel, signals, ledger, strategies, limits, locked, controls, performance, reducing=reducing
            ),
            **({"dropped": sorted(drops)} if drops else {}),
        },
        now=now,
    )
    if (
        frozen.status is PlanStatus.PROPOSED
        and approves_itself(settings)
        and not person_decides(journal, session)
    ):
        journal.approve(frozen.plan_id, by=settings.mode.value, plan_hash=frozen.inputs_hash, now=now)
        frozen = journal.plan(frozen.plan_id)
    return PlannedSession(plan, frozen)


def read_performance(store: Store, session: date) -> Performance | None:
    """Return what the account earned up to the close of `session`; None where its official NAV is not stored.

    Args:
        store: holds the table `nav`.
        session: decision session D, whose close the newest row must be valued at.
    """
    columns = ["valuation_session", "daily_return", "drawdown", "mark_source"]
    with store.reading():
        if newest_session(store, table("nav")) is None:
            return NEVER_VALUED
        rows = official_rows(read_table(store, table("nav"), columns=columns))
    rows = rows.loc[rows["valuation_session"] <= session]
    if rows.empty:
        return NEVER_VALUED
    newest = rows.loc[rows["valuation_session"] == session]
    if newest.empty:
        return None
    daily, lost = (float(newest[name].iloc[0]) for name in ("daily_return", "drawdown"))
    return Performance(None if math.isnan(daily) else daily, None if math.isnan(lost) else lost)


def require_book(store: Store, journal: Journal, session: date, now: datetime) -> None:
    """Refuse to plan before the account is valued at the close of `session`, once there is a book at all.

    The loss limits are judged on that NAV; a plan made without it buys nothing. Where the book cannot be
    closed, a plan made by hand after the last try of the evening still lets exits go.

    Args:
        store: holds the table `nav`.
        journal: of this mode; the first plan in it began the book.
        session: decision session D.
        now: from the clock.

    Raises:
        NotReadyError: the official NAV is not stored; the message names the job that makes it.
    """
    book = nyse().previous(session)
    begun = min(journal.plan_facts(), default=None)
    if begun is None or begun > book:
        return
    performance = read_performance(store, session)
    evening = moment_of(session, LAST_TICK)
    if performance is NEVER_VALUED or (performance is None and now <= evening):
        raise NotReadyError(
            f"the account is not valued at the close of {session} yet, and the loss limits are judged on "
            f"that: run book_job of {book} first. Where it cannot be closed, a plan made after "
            f"{evening:%H:%M} New York lets only exits go"
        )


def set_risk_latch(journal: Journal, plan: Plan, now: datetime) -> None:
    """Set the latch that the verdicts of a plan ask for; one that is as tight already stays as it is."""
    asked = latch_of(plan.verdicts)
    if not asked:
        return
    halts = [each for each in plan.verdicts if each.action is RuleAction.HALT]
    journal.tighten_latch(
        LatchState(asked),
        by="risk",
        reason="; ".join(each.reason for each in halts),
        evidence=f"session {plan.session}: {', '.join(each.rule for each in halts)}",
        now=now,
    )


def locked_names(journal: Journal, panel: SessionPanel) -> dict[str, Decimal]:
    """Return the names with an order that may still trade, and the USD it may still cost (0: a sale).

    Such an order counts at the worse of filled and unfilled: its purchase keeps its cash, its sale brings
    none. The working orders of the session's own daily plan do not count: planning it again must give the
    plan that was sent.

    Raises:
        RefusedError: such an order has no price to value it at.
    """
    close = dict(zip(panel.symbols, panel.close.tolist(), strict=True))
    found: dict[str, Decimal] = {}
    own = journal.latest_plan(panel.session)
    for order_ref, (attempt, intent) in journal.sent(
        [attempt.order_ref for attempt in journal.live_attempts()]
    ).items():
        if own is not None and intent.plan_id == own.plan_id and attempt.status is not OrderStatus.UNKNOWN:
            continue
        symbol, cost = intent.contract.symbol, Decimal(0)
        if intent.side is OrderSide.BUY:
            prices = (close.get(symbol), intent.limit_price, intent.reference_price)
            price = next((to_money(value) for value in prices if value is not None and is_price(value)), None)
            if price is None:
                raise RefusedError(
                    f"{order_ref} buys {symbol}, may still trade, and {symbol} has no price: what it may "
                    "cost cannot be set aside. Plan again when it has ended"
                )
            cost = (attempt.quantity - attempt.filled) * price
        found[symbol] = found.get(symbol, Decimal(0)) + cost
    return found


def frozen_inputs(
    panel: SessionPanel,
    signals: Sequence[StrategySignals],
    ledger: LedgerState,
    strategies: Sequence[Strategy],
    limits: PortfolioLimits,
    locked: Mapping[str, Decimal],
    controls: Mapping[str, SymbolAction] | None = None,
    performance: Performance | None = None,
    *,
    reducing: bool = False,
) -> Mapping[str, object]:
    """Return everything `decide` was given, as plain data."""
    return {
        **({"locked": dict(locked)} if locked else {}),
        **({"controls": dict(controls)} if controls else {}),
        "performance": None if performance is None else asdict(performance),
        "reducing": reducing,
        "session": panel.session,
        "prices": dict(zip(panel.symbols, panel.close.tolist(), strict=True)),
        "last_prices": {}
        if panel.last_price is None
        else dict(zip(panel.symbols, panel.last_price.tolist(), strict=True)),
        "traded_values": {}
        if panel.traded_value is None
        else dict(zip(panel.symbols, panel.traded_value.tolist(), strict=True)),
        "universe": [
            symbol for symbol, inside in zip(panel.symbols, panel.in_universe, strict=True) if inside
        ],
        "removed": sorted(panel.removed),
        "predictions": {
            each.strategy_id: dict(zip(each.symbols, each.prediction.tolist(), strict=True))
            for each in signals
        },
        "signals": {
            each.strategy_id: dict(zip(each.symbols, each.signal.tolist(), strict=True)) for each in signals
        },
        "ledger": asdict(ledger),
        "strategies": [asdict(strategy) for strategy in strategies],
        "limits": asdict(limits),
    }


def _decide_tradable(
    broker: Broker, decide_with: Callable[[Mapping[str, Decimal]], Plan], locked: dict[str, Decimal]
) -> tuple[Plan, dict[str, Contract]]:
    """Decide, and decide again without the names that the broker does not know (F24).

    One unknown symbol stops only itself: it is added to `locked`, and what is held of it stays.
    """
    without: list[str] = []
    while True:
        plan = decide_with(locked)
        symbols = sorted({order.symbol for order in plan.orders})
        contracts = broker.qualify(symbols) if symbols else {}
        unknown = [symbol for symbol in symbols if symbol not in contracts]
        if not unknown:
            notes = [f"{symbol}: the broker knows no US stock contract of that name" for symbol in without]
            return replace(plan, notes=(*plan.notes, *notes)), contracts
        without += unknown
        locked.update(dict.fromkeys(unknown, Decimal(0)))
