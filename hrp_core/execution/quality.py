"""Execution quality: what each fill cost against the prices of the decision and of the open.

What belongs here: implementation shortfall, and what replay assumed for the same order. What does not: fills
themselves (`bookkeeping`) and storing the rows.

A paper portfolio trades at the price it was decided at; implementation shortfall is what the real one falls
behind it (A. Perold, "The implementation shortfall: paper versus reality", Journal of Portfolio Management
14(3), 1988). Of one fill, with sign = +1 for a purchase and -1 for a sale:

    shortfall_usd = sign * (price - decision_close) * shares      against the official close of D
    slippage_usd  = sign * (price - open) * shares                against the official open of E

Positive is a cost. Basis points are of the benchmark's value. Commissions stand beside it and are not in it;
nor is what was decided and never filled (Perold's opportunity cost), which no fill can show.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

import pandas as pd

from hrp_core.calendar import nyse
from hrp_core.execution.order_terms import TERMS, passive_price
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import Intent
from hrp_core.matching import Engine, EngineState, NewOrder, OrderFilled, OrderRejected, Position, Side, Tape
from hrp_core.money import from_units, is_price, to_money, to_units
from hrp_core.portfolio.types import OrderSide, Purpose
from hrp_core.store import Store, read_table, table

# The engine is asked when the schedule would send, with money for every order: replay's own account is poorer
# only where the real one was, and its fills would then not be of the same order.
_SENT_AFTER_CLOSE = timedelta(minutes=90)
_PLENTY = Decimal(10**12)
_BPS = 10_000
_PRICES = ("open", "high", "low", "close", "volume")
_COLUMNS = tuple(column.name for column in table("execution_quality").columns)


@dataclass(frozen=True, slots=True)
class Assumed:
    """What the matching engine does with one whole order.

    Attributes:
        price: average over its fills, USD a share.
        commission: USD for all its shares.
        shares: how many it filled.
    """

    price: Decimal
    commission: Decimal
    shares: int


@dataclass(frozen=True, slots=True)
class QualitySummary:
    """Fills of a session together, crosses left out: they cost the account nothing.

    Attributes:
        value: traded value of the fills with a decision close, USD.
        shortfall_usd: sum over those fills.
        shortfall_bps: of their value at the decision close; None without such a fill. `slippage_bps` likewise
            of the open, `commission_bps` of what was traded, `assumed_bps` as `shortfall_bps` at the prices
            that replay assumed.
    """

    value: float
    shortfall_usd: float
    shortfall_bps: float | None
    slippage_bps: float | None
    commission_bps: float | None
    assumed_bps: float | None


def session_quality(store: Store, journal: Journal, session: date) -> pd.DataFrame:
    """Return the rows of `execution_quality` of one session, from its stored fills and prices.

    Benchmarks that are not stored yet are null: the open of E before its bar is loaded, and always where the
    source has none.

    Args:
        store: holds `fills` of the session, and `prices`.
        journal: the orders behind the fills.
        session: decision session D.

    Raises:
        NotReadyError: no fills or prices were ever written.
    """
    execution_session = nyse().next(session)
    fills = read_table(store, table("fills"), sessions=[session])
    prices = read_table(store, table("prices"), sessions=[session, execution_session])
    prices = prices.loc[prices["symbol"].isin(set(fills["symbol"]))]
    wanted = {str(intent_id) for intent_id in fills["intent_id"].dropna()}
    intents = {
        intent.intent_id: intent
        for plan in journal.plans(session, session, Purpose.DAILY)
        for intent in plan.intents
        if intent.intent_id in wanted
    }
    assumed = assumed_fills(list(intents.values()), prices, session)
    return quality_frame(fills, prices, assumed, session)


def assumed_fills(intents: Sequence[Intent], prices: pd.DataFrame, session: date) -> dict[str, Assumed]:
    """Return what the matching engine does with orders of one session, by intent_id.

    Args:
        intents: orders decided on `session`; one that the engine refuses or does not fill is left out.
        prices: rows of the table `prices` of `session` and of the session after it.
        session: decision session D.

    Returns:
        Nothing while the bars of the execution session are not there.
    """
    calendar = nyse()
    execution_session = calendar.next(session)
    if not intents or not (prices["session"] == execution_session).any():
        return {}
    tape = Tape.from_frame(prices[["session", "symbol", *_PRICES]])
    start = calendar.close(session) + _SENT_AFTER_CLOSE
    engine = Engine(tape, _account_for(intents, start))
    placed: dict[int, Intent] = {}
    for intent in intents:
        terms, limit, contract = TERMS[intent.order_type], intent.limit_price, intent.contract
        order = NewOrder(
            symbol=contract.symbol,
            side=Side.BUY if intent.side is OrderSide.BUY else Side.SELL,
            quantity=intent.quantity,
            order_type=terms.order_type,
            tif=terms.tif,
            limit_price=None if limit is None else passive_price(limit, contract.min_tick, intent.side),
        )
        for event in engine.place(order):
            if not isinstance(event, OrderRejected):
                placed[event.order.perm_id] = intent
    filled: dict[str, list[tuple[int, int, int]]] = {}
    for event in engine.advance(calendar.close(execution_session)):
        if isinstance(event, OrderFilled):
            fill = event.fill
            intent_id = placed[fill.perm_id].intent_id
            filled.setdefault(intent_id, []).append((fill.quantity, fill.price_units, fill.commission_units))
    found = {}
    for intent_id, parts in filled.items():
        shares = sum(quantity for quantity, _, _ in parts)
        value = from_units(sum(quantity * price for quantity, price, _ in parts))
        commission = from_units(sum(each for _, _, each in parts))
        found[intent_id] = Assumed(to_money(value / shares), commission, shares)
    return found


def quality_frame(
    fills: pd.DataFrame, prices: pd.DataFrame, assumed: Mapping[str, Assumed], session: date
) -> pd.DataFrame:
    """Return one row a fill: its prices, benchmarks and differences.

    Args:
        fills: rows of the table `fills` of one session.
        prices: rows of `prices` of the session and of the one after it, of at least the names filled.
        assumed: by intent_id; of a fill without an entry the assumption is null.
        session: decision session D.
    """
    execution_session = nyse().next(session)
    close, opening, split = {}, {}, {}
    for day, symbol, first, last, factor in zip(
        *(prices[name].tolist() for name in ("session", "symbol", "open", "close", "split_factor")),
        strict=True,
    ):
        if day == session and is_price(last):
            close[symbol] = to_money(last)
        elif day == execution_session:
            if is_price(first):
                opening[symbol] = to_money(first)
            if is_price(factor):
                split[symbol] = Decimal(repr(factor))
    rows = []
    for fill in fills.to_dict(orient="records"):
        symbol, shares, price = fill["symbol"], int(fill["shares"]), fill["price"]
        is_cross = fill["order_ref"] == fill["exec_id"]
        ours = is_cross or fill["intent_id"] is not None
        # After a split the fill is at the new basis, the close of D at the old one.
        decided = close.get(symbol) if ours else None
        decided = None if decided is None else to_money(decided / split.get(symbol, Decimal(1)))
        sign = 1 if fill["side"] == OrderSide.BUY.value else -1
        expected = assumed.get(fill["intent_id"]) if fill["intent_id"] is not None else None
        rows.append(
            {
                **{name: fill[name] for name in ("session", "exec_id", "strategy_id", "symbol", "side")},
                "is_cross": is_cross,
                "shares": shares,
                "price": price,
                "decision_close": decided,
                "open": opening.get(symbol),
                **_against("shortfall", sign, shares, price, decided),
                **_against("slippage", sign, shares, price, opening.get(symbol)),
                "commission": fill["commission"],
                "assumed_price": None if expected is None else expected.price,
                "assumed_commission": None
                if expected is None
                else to_money(expected.commission * shares / expected.shares),
                "mode": fill["mode"],
                "account": fill["account"],
            }
        )
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def summarise_quality(frame: pd.DataFrame) -> QualitySummary:
    """Return the totals of a session, weighted by value.

    Args:
        frame: rows of `execution_quality`.
    """
    rows = frame.loc[~frame["is_cross"].astype(bool)] if len(frame) else frame
    decided = rows.loc[rows["decision_close"].notna()]
    opened = rows.loc[rows["open"].notna()]
    charged = rows.loc[rows["commission"].notna()]
    expected = decided.loc[decided["assumed_price"].notna()]
    sign = expected["side"].map({"buy": 1, "sell": -1})
    behind = (expected["assumed_price"] - expected["decision_close"]) * expected["shares"] * sign
    return QualitySummary(
        value=float((decided["price"] * decided["shares"]).sum()),
        shortfall_usd=float(decided["shortfall_usd"].sum()),
        shortfall_bps=_bps(decided["shortfall_usd"], decided["decision_close"] * decided["shares"]),
        slippage_bps=_bps(opened["slippage_usd"], opened["open"] * opened["shares"]),
        commission_bps=_bps(charged["commission"], charged["price"] * charged["shares"]),
        assumed_bps=_bps(behind, expected["decision_close"] * expected["shares"]),
    )


def _against(
    name: str, sign: int, shares: int, price: Decimal, benchmark: Decimal | None
) -> dict[str, Decimal | float | None]:
    if benchmark is None:
        return {f"{name}_usd": None, f"{name}_bps": None}
    cost = sign * (price - benchmark) * shares
    return {f"{name}_usd": to_money(cost), f"{name}_bps": float(cost / (benchmark * shares)) * _BPS}


def _bps(cost: pd.Series, value: pd.Series) -> float | None:
    total = value.sum()
    return float(cost.sum()) / float(total) * _BPS if total else None


def _account_for(intents: Sequence[Intent], start: datetime) -> EngineState:
    """Return an account that can pay every purchase and holds every share that is sold."""
    sold: dict[str, int] = {}
    for intent in intents:
        if intent.side is OrderSide.SELL:
            sold[intent.contract.symbol] = sold.get(intent.contract.symbol, 0) + intent.quantity
    units = to_units(_PLENTY)
    return EngineState(
        now=start,
        seed=0,
        cash_units=units,
        opening_cash_units=units,
        realized_units=0,
        positions=tuple(Position(symbol, shares, 0, 1) for symbol, shares in sorted(sold.items())),
    )
