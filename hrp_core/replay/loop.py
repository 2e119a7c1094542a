"""The daily loop over history: decide, trade, fold, session after session.

What belongs here: the order of the steps. The decision, the market and the book are the ones of the daily
run: `decide`, the matching engine, `BookFold`.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import numpy as np

from hrp_core.calendar import nyse
from hrp_core.errors import DataError, HrpError, NotReadyError
from hrp_core.execution.marks import LAST_CLOSE_SESSIONS, last_close
from hrp_core.execution.order_terms import TERMS, passive_price
from hrp_core.ledger.book import BookFold
from hrp_core.ledger.crosses import cross_id_of
from hrp_core.ledger.nav import Returns
from hrp_core.ledger.types import BookedCross, BookedSplit, Contract, Execution, OrderAllocation
from hrp_core.matching import Engine, EngineState, Fill, NewOrder, OrderFilled, OrderRejected, Side, Tape
from hrp_core.matching.instruments import MIN_TICK
from hrp_core.money import from_units, to_money, to_units
from hrp_core.portfolio.decide import decide
from hrp_core.portfolio.risk import HALTED, latch_of
from hrp_core.portfolio.stored import panel_at
from hrp_core.portfolio.types import (
    LedgerState,
    OrderSide,
    Performance,
    Plan,
    PlannedOrder,
    PortfolioLimits,
    Strategy,
    StrategySignals,
    SymbolAction,
)
from hrp_core.replay.history import History

# Any moment of the evening gives the same fills; this one is inside every send window, half days included.
SEND_AFTER_CLOSE = timedelta(minutes=90)


@dataclass(frozen=True, slots=True)
class ReplayedFill:
    """One fill of the replay. Price and commission in USD."""

    session: date
    symbol: str
    side: OrderSide
    shares: int
    price: Decimal
    commission: Decimal


@dataclass(frozen=True, slots=True)
class ReplayedCross:
    """What strategies took from one another. Price in USD; None where the session has no bar of the name."""

    session: date
    symbol: str
    shares: tuple[tuple[str, int], ...]
    price: Decimal | None


@dataclass(frozen=True, slots=True)
class ReplayedSession:
    """One decision and what came of it.

    Attributes:
        session: decision session D; fills and crosses are of the session after it.
        nav: USD after that session, at its official closes.
        ledger: cash, and the shares of the account and of each strategy after that session.
        halted: whether a loss limit has ended trading; then nothing of the plan was sent.
    """

    session: date
    plan: Plan
    fills: tuple[ReplayedFill, ...]
    crosses: tuple[ReplayedCross, ...]
    cash: Decimal
    nav: Decimal
    ledger: LedgerState
    halted: bool = False


@dataclass(frozen=True, slots=True)
class Decided:
    """The state of the account that a decision was made in, as `decide` takes it."""

    performance: Performance | None
    reducing: bool


@dataclass(frozen=True, slots=True)
class Policy:
    """What decided on a session: the deployed strategies, the limits, and the names that were locked.

    Attributes:
        locked: as `decide` takes it; `controls` likewise.
        decided: what the account had earned and whether the latch was at REDUCING; None: what the replay has
            earned, and its own latch.
    """

    strategies: tuple[Strategy, ...]
    limits: PortfolioLimits
    locked: Mapping[str, Decimal] = field(default_factory=dict)
    controls: Mapping[str, SymbolAction] = field(default_factory=dict)
    decided: Decided | None = None


def replay(
    history: History,
    sessions: Sequence[date],
    policy: Callable[[date], Policy],
    *,
    cash: Decimal,
    flows: Mapping[date, Decimal] | None = None,
    splits: Sequence[BookedSplit] | None = None,
    on_session: Callable[[date], None] | None = None,
) -> list[ReplayedSession]:
    """Run the daily loop from an account with nothing but cash.

    Args:
        history: prices that reach one session beyond the last of `sessions`.
        sessions: decision sessions to trade, ascending; those left out are not traded. Nobody opens a latch
            here: REDUCING lasts the session that set it, HALTED ends trading.
        policy: strategies and limits of a session.
        cash: opening cash, USD.
        flows: cash that moved for another reason, by the first session decided with it, USD.
        splits: those that the account took, whose fractions of a share are paid in `flows`; default: those of
            the prices, and fractions are paid at the close. As the check before the open has it in the daily
            run, no order in a name executes on the session of its split.
        on_session: called after each session.

    Raises:
        NotReadyError: prices end before the session after the last one.
        DataError: a held name has no price that counts (`hrp_core.execution.marks.last_close`).
    """
    calendar = nyse()
    if not sessions:
        return []
    last_execution = calendar.next(sessions[-1])
    if last_execution > history.tape.last_session:
        raise NotReadyError(
            f"prices end on {history.tape.last_session}, and orders of {sessions[-1]} execute on "
            f"{last_execution}; end the replay earlier or load more prices"
        )
    moments = [calendar.close(session) + SEND_AFTER_CLOSE for session in sessions]
    engine = Engine(history.tape, EngineState.opening(now=moments[0], cash=cash))
    book = BookFold(cash)
    pending_flows = sorted((flows or {}).items())
    earlier: dict[str, list[frozenset[str]]] = {}
    done: list[ReplayedSession] = []
    taken: dict[date, list[BookedSplit]] = defaultdict(list)
    for split in history.splits if splits is None else splits:
        taken[split.session].append(split)
    earned = Returns(cash)
    halted = False
    for session, moment in zip(sessions, moments, strict=True):
        engine.advance(moment)
        while pending_flows and pending_flows[0][0] <= session:
            amount = pending_flows.pop(0)[1]
            book.add_cash(amount)
            engine.account.cash_units += to_units(amount)
            earned.add_flow(amount)
        chosen = policy(session)
        signals = history.signals(session, chosen.strategies, earlier)
        _remember(earlier, signals)
        ledger = book.state()
        removed = history.removed.get(session, frozenset())
        panel = panel_at(history.panel, session, history.members(session), ledger.shares, removed)
        now = chosen.decided or Decided(earned.performance(), reducing=False)
        plan = decide(
            panel,
            signals,
            ledger,
            chosen.strategies,
            chosen.limits,
            chosen.locked,
            chosen.controls,
            now.performance,
            reducing=now.reducing,
        )
        # What was really traded (`decided`) was sent after a person had opened the latch.
        halted = chosen.decided is None and (halted or latch_of(plan.verdicts) == HALTED)
        execution_session = calendar.next(session)
        sent = replace(plan, orders=(), crosses=()) if halted else plan
        for split in taken[execution_session]:
            _split(engine, split, book, pays=splits is None)
            sent = replace(sent, orders=tuple(each for each in sent.orders if each.symbol != split.symbol))
        # Crosses first: they take effect at the very moment at which the opening's executions begin.
        crosses = _cross(history.tape, sent, calendar.open(execution_session), book)
        fills = _trade(engine, sent, session, calendar.close(execution_session), book)
        state = book.state()
        nav = to_money(state.cash + _market_value(history.tape, execution_session, state.shares, taken))
        earned.add_nav(nav)
        done.append(ReplayedSession(session, plan, fills, crosses, state.cash, nav, state, halted))
        if on_session is not None:
            on_session(session)
    return done


def _split(engine: Engine, split: BookedSplit, book: BookFold, *, pays: bool) -> None:
    held = book.holdings.get(split.symbol)
    book.split(split)
    if held is None:
        return
    kept = book.holdings.get(split.symbol)
    shares, paid = 0 if kept is None else kept.shares, 0
    if pays:
        close = engine.tape.last_close_units(split.symbol, split.session) or 0
        paid = round((held.shares * split.ratio - shares) * close)
    book.add_cash(from_units(paid))
    engine.account.split(split.symbol, shares, paid)


def _trade(
    engine: Engine, plan: Plan, session: date, until: datetime, book: BookFold
) -> tuple[ReplayedFill, ...]:
    orders: dict[int, PlannedOrder] = {}
    for order in plan.orders:
        terms, limit = TERMS[order.order_type], order.limit_price
        placed = engine.place(
            NewOrder(
                symbol=order.symbol,
                side=Side.BUY if order.side is OrderSide.BUY else Side.SELL,
                quantity=order.quantity,
                order_type=terms.order_type,
                tif=terms.tif,
                limit_price=None if limit is None else passive_price(limit, MIN_TICK, order.side),
            )
        )
        for event in placed:
            if isinstance(event, OrderRejected):
                raise HrpError(
                    f"the simulated market rejects {order.side.value} {order.quantity} {order.symbol} of "
                    f"{session}: {event.order.reason}"
                )
            orders[event.order.perm_id] = order
    fills = []
    for event in engine.advance(until):
        if isinstance(event, OrderFilled):
            order = orders[event.fill.perm_id]
            book.trade(_execution(event.fill, order), _allocation(event.fill, order))
            fills.append(
                ReplayedFill(
                    session,
                    order.symbol,
                    order.side,
                    event.fill.quantity,
                    from_units(event.fill.price_units),
                    from_units(event.fill.commission_units),
                )
            )
    return tuple(fills)


def _cross(tape: Tape, plan: Plan, at: datetime, book: BookFold) -> tuple[ReplayedCross, ...]:
    crosses = []
    for cross in plan.crosses:
        session = plan.execution_session
        units = tape.price_units(session, cross.symbol, "open")
        units = tape.price_units(session, cross.symbol, "close") if units is None else units
        price = None if units is None else from_units(units)
        book.cross(
            BookedCross(
                cross_id=cross_id_of("replay", plan.session, cross.symbol),
                plan_id="replay",
                symbol=cross.symbol,
                session=session,
                shares=cross.shares,
                reference_price=cross.reference_price,
                executes_at=at,
                price=price,
            )
        )
        crosses.append(ReplayedCross(plan.session, cross.symbol, cross.shares, price))
    return tuple(crosses)


def _execution(fill: Fill, order: PlannedOrder) -> Execution:
    return Execution(
        exec_id=fill.exec_id,
        account="",
        order_ref=str(fill.perm_id),
        perm_id=fill.perm_id,
        contract=Contract(order.symbol, con_id=0),
        side=order.side,
        shares=fill.quantity,
        price=from_units(fill.price_units),
        executed_at=fill.time,
        commission=from_units(fill.commission_units),
    )


def _allocation(fill: Fill, order: PlannedOrder) -> OrderAllocation:
    return OrderAllocation(str(fill.perm_id), order.side, order.quantity, order.allocations)


def _remember(earlier: dict[str, list[frozenset[str]]], signals: Sequence[StrategySignals]) -> None:
    for each in signals:
        names = frozenset(np.array(each.symbols, dtype=object)[each.signal > 0].tolist())
        earlier.setdefault(each.strategy_id, []).append(names)


def _market_value(
    tape: Tape, session: date, shares: Mapping[str, int], taken: Mapping[date, Sequence[BookedSplit]]
) -> Decimal:
    """Return the value of the positions as the book has it: a name without a close keeps its last one."""
    units = 0
    for symbol, count in shares.items():
        mark = tape.price_units(session, symbol, "close")
        units += count * (_last_mark(tape, session, symbol, taken) if mark is None else mark)
    return from_units(units)


def _last_mark(tape: Tape, session: date, symbol: str, taken: Mapping[date, Sequence[BookedSplit]]) -> int:
    split_on = [day for day, splits in taken.items() if any(each.symbol == symbol for each in splits)]
    found = last_close(lambda day: tape.price_units(day, symbol, "close"), session, split_on)
    if found is None:
        raise DataError(
            f"{symbol} is held after {session} and has had no price for more than {LAST_CLOSE_SESSIONS} "
            "sessions, or none since a split, so the account cannot be valued; the daily run would wait for "
            "a person here. Give it the closes that it is worth, or end its membership of the universe while "
            "it still trades"
        )
    return found[1]
