"""Order types and crosses in the loop over history: limits that a gap leaves unfilled, internal trades."""

from datetime import date
from decimal import Decimal

import pandas as pd
import pytest

from hrp_core.calendar import nyse
from hrp_core.market import SampleSource
from hrp_core.portfolio.types import OrderType, PortfolioLimits, Strategy
from hrp_core.replay import History, Policy, ReplayedSession, replay

START, GAP, END = date(2010, 1, 4), date(2010, 1, 5), date(2010, 1, 15)
MOMENTUM = Strategy("T-1", "momentum", "momentum_12_1", "rank", Decimal(1), {"top_pct": 0.25})


@pytest.fixture(scope="module")
def prices() -> pd.DataFrame:
    """The sample, each session opening at the close before, but for GAP: 10 % higher."""
    frame = SampleSource().load(date(2008, 6, 2), date(2010, 2, 1))
    frame = frame.sort_values(["symbol", "session"], ignore_index=True)
    before = frame.groupby("symbol")["close"].shift()
    frame["open"] = before.where(frame["session"] != GAP, (before * 1.1).round(4)).round(2)
    return frame


def run(prices: pd.DataFrame, order_type: OrderType) -> list[ReplayedSession]:
    policy = Policy((MOMENTUM,), PortfolioLimits(order_type=order_type, min_order_value=Decimal(0)))
    sessions = nyse().between(START, END)
    return replay(History.from_prices(prices), sessions, lambda _: policy, cash=Decimal(100_000))


def test_a_gap_beyond_the_limit_fills_nothing_and_the_next_session_plans_it_again(prices) -> None:
    first, second, *_ = run(prices, OrderType.LIMIT_ON_OPEN)
    assert {order.order_type for order in first.plan.orders} == {OrderType.LIMIT_ON_OPEN}
    assert len(first.plan.orders) >= 5
    assert (first.fills, first.cash) == ((), Decimal(100_000))
    assert {order.symbol for order in second.plan.orders} == {order.symbol for order in first.plan.orders}
    assert {fill.symbol for fill in second.fills} == {order.symbol for order in second.plan.orders}


def test_a_limit_fills_at_the_open_and_never_beyond_itself(prices) -> None:
    opens = prices.set_index(["session", "symbol"])["open"]
    fills = 0
    for each in run(prices, OrderType.LIMIT_ON_OPEN):
        limits = {order.symbol: order.limit_price for order in each.plan.orders}
        for fill in each.fills:
            limit = limits[fill.symbol]
            assert limit is not None
            assert fill.price == Decimal(str(opens[nyse().next(each.session), fill.symbol]))
            assert (limit - fill.price) * fill.side.sign >= 0
            fills += 1
    assert fills > 5


@pytest.mark.parametrize(
    ("order_type", "column"),
    [
        (OrderType.MARKET, "open"),
        (OrderType.MARKET_ON_OPEN, "open"),
        (OrderType.MARKET_ON_CLOSE, "close"),
        (OrderType.LIMIT_ON_CLOSE, "close"),
    ],
)
def test_each_type_trades_at_its_own_official_price(prices, order_type: OrderType, column: str) -> None:
    official = prices.set_index(["session", "symbol"])[column]
    fills = [fill for each in run(prices, order_type) for fill in each.fills]
    assert len(fills) > 5
    for fill in fills:
        price = official[nyse().next(fill.session), fill.symbol]
        assert fill.price == Decimal(str(price)).quantize(Decimal("0.0001"))


def test_opposed_strategies_cross_at_the_open_and_sum_to_the_account(prices) -> None:
    strategies = tuple(
        Strategy(name, name, model, "rank", Decimal("0.5"), {"top_pct": 0.25})
        for name, model in (("T-1", "momentum_12_1"), ("T-2", "ret_5"))
    )
    policy = Policy(strategies, PortfolioLimits().without_rules())
    history = History.from_prices(prices)
    sessions = nyse().between(START, date(2010, 1, 29))
    results = replay(history, sessions, lambda _: policy, cash=Decimal(100_000))
    opens = prices.set_index(["session", "symbol"])["open"]
    for each in results:
        for cross in each.crosses:
            assert cross.price == Decimal(str(opens[nyse().next(each.session), cross.symbol]))
            assert sum(shares for _, shares in cross.shares) == 0
        held: dict[str, int] = {}
        for mine in each.ledger.strategy_shares.values():
            for symbol, shares in mine.items():
                held[symbol] = held.get(symbol, 0) + shares
        assert {symbol: shares for symbol, shares in held.items() if shares} == each.ledger.shares
    assert sum(len(each.crosses) for each in results) > 2
