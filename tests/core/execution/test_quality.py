from datetime import date, datetime
from decimal import Decimal

import pandas as pd
import pytest

from hrp_core.calendar import NEW_YORK
from hrp_core.execution.quality import Assumed, assumed_fills, quality_frame, summarise_quality
from hrp_core.ledger.types import Contract, Intent
from hrp_core.portfolio.types import OrderSide, OrderType

D, E = date(2022, 12, 2), date(2022, 12, 5)


def bars(*, opening: float | None = 101.0, split: float | None = None) -> pd.DataFrame:
    def bar(session: date, symbol: str, first: float | None, close: float, factor: float | None = None):
        known = {"open": first, "high": 110.0, "low": 90.0, "close": close, "volume": None}
        return {"session": session, "symbol": symbol, **known, "split_factor": factor}

    rows = [bar(D, "AAA", 100.0, 100.0), bar(E, "AAA", opening, 102.0, split)]
    return pd.DataFrame([*rows, bar(D, "BBB", 50.0, 50.0), bar(E, "BBB", 50.0, 51.0)])


def fill(symbol: str, side: str, shares: int, price: str, intent_id: str | None, **more) -> dict:
    return {
        "session": D,
        "exec_id": f"{symbol}.{side}.01",
        "intent_id": intent_id,
        "order_ref": f"S221202-{symbol}",
        "strategy_id": "HYP-2026-001",
        "symbol": symbol,
        "side": side,
        "shares": shares,
        "price": Decimal(price),
        "commission": Decimal("1.0000"),
        "executed_at": datetime(2022, 12, 5, 9, 30, tzinfo=NEW_YORK),
        "mode": "sim",
        "account": "DU1",
        **more,
    }


def intent(symbol: str, side: OrderSide, quantity: int, kind: OrderType = OrderType.MARKET) -> Intent:
    limit = Decimal("95") if kind is OrderType.LIMIT else None
    return Intent(
        f"i-{symbol}",
        "plan",
        Contract(symbol, 1),
        side,
        quantity,
        "main",
        kind,
        limit,
        Decimal(100),
        (("HYP-2026-001", side.sign * quantity),),
    )


def test_a_purchase_above_the_decision_close_is_a_cost_and_so_is_a_sale_below_it() -> None:
    fills = pd.DataFrame([fill("AAA", "buy", 10, "101.5", "i-AAA"), fill("BBB", "sell", 20, "49.5", "i-BBB")])
    frame = quality_frame(fills, bars(), {"i-AAA": Assumed(Decimal(101), Decimal(1), 10)}, D)
    bought, sold = frame.iloc[0], frame.iloc[1]
    assert (bought["shortfall_usd"], bought["slippage_usd"]) == (Decimal(15), Decimal(5))
    assert bought["shortfall_bps"] == pytest.approx(150)
    assert bought["slippage_bps"] == pytest.approx(5 / 1010 * 1e4)
    assert (bought["assumed_price"], bought["assumed_commission"]) == (Decimal(101), Decimal(1))
    assert (sold["shortfall_usd"], sold["assumed_price"]) == (Decimal(10), None)
    summary = summarise_quality(frame)
    assert summary.shortfall_bps == pytest.approx(25 / 2000 * 1e4)
    assert summary.commission_bps == pytest.approx(2 / (1015 + 990) * 1e4)
    assert summary.assumed_bps == pytest.approx(100)


def test_after_a_split_the_decision_close_is_taken_at_the_new_basis() -> None:
    fills = pd.DataFrame([fill("AAA", "buy", 40, "25.5", "i-AAA")])
    frame = quality_frame(fills, bars(opening=25.0, split=4.0), {}, D)
    assert frame["decision_close"].iloc[0] == Decimal(25)
    assert frame["shortfall_usd"].iloc[0] == Decimal(20)


def test_what_is_not_known_is_null_and_not_zero() -> None:
    fills = pd.DataFrame(
        [fill("AAA", "buy", 10, "101", "i-AAA", commission=None), fill("BBB", "buy", 1, "50", None)]
    )
    frame = quality_frame(fills, bars(opening=None), {}, D)
    assert frame["open"].iloc[0] is None
    assert pd.isna(frame["slippage_bps"].iloc[0])
    # Nobody here decided an order that was placed elsewhere.
    assert frame["decision_close"].iloc[1] is None
    assert summarise_quality(frame).value == 1010
    assert summarise_quality(frame.iloc[:1]).commission_bps is None
    assert summarise_quality(frame.iloc[:0]).shortfall_bps is None


def test_crosses_count_for_the_strategies_and_not_for_the_account() -> None:
    cross = {"exec_id": "X1", "order_ref": "X1", "commission": None}
    fills = pd.DataFrame(
        [
            fill("AAA", "buy", 10, "101", None, **cross),
            fill("AAA", "sell", 10, "101", None, **{**cross, "strategy_id": "HYP-2026-002"}),
        ]
    )
    frame = quality_frame(fills, bars(), {}, D)
    assert frame["is_cross"].all()
    assert sum(frame["shortfall_usd"]) == 0
    assert summarise_quality(frame).value == 0


def test_the_assumption_is_what_the_matching_engine_does_with_the_order() -> None:
    orders = [
        intent("AAA", OrderSide.BUY, 1000),
        intent("BBB", OrderSide.SELL, 10, OrderType.MARKET_ON_CLOSE),
    ]
    assert assumed_fills(orders, bars(), D) == {
        "i-AAA": Assumed(Decimal("101.0000"), Decimal("5.0000"), 1000),
        "i-BBB": Assumed(Decimal("51.0000"), Decimal("1.0000"), 10),
    }
    # The low of the session reaches the limit.
    assert assumed_fills([intent("AAA", OrderSide.BUY, 10, OrderType.LIMIT)], bars(), D)["i-AAA"].price == 95
    before = bars()
    assert assumed_fills(orders, before.loc[before["session"] == D], D) == {}
