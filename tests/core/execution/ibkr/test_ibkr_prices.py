"""What IB's prices mean: none but finite positive ones pass, delayed ones price no order (F31, F32)."""

import math
from decimal import Decimal
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrp_core.errors import BrokerError
from hrp_core.execution.broker import Quote, QuoteQuality
from hrp_core.execution.ibkr_prices import (
    RawDataType,
    RawHalt,
    RawTick,
    has_figures,
    to_bar,
    to_preview,
    to_quote,
)
from hrp_core.portfolio.types import OrderSide

UNSET = 1.7976931348623157e308
ROWS = st.lists(
    st.builds(RawDataType, st.integers(0, 6))
    | st.builds(
        RawTick,
        st.integers(1, 90),
        st.floats() | st.sampled_from([-1.0, 0.0, math.nan, UNSET, 1e-9]) | st.floats(0.01, 1e6),
    ),
    max_size=12,
)


@given(ROWS)
def test_whatever_comes_a_quote_has_finite_positive_prices_or_none(rows: list[RawTick | RawDataType]) -> None:
    quote = to_quote("AAPL", rows)
    prices = [quote.bid, quote.ask, quote.last, quote.close]
    for price in prices:
        assert price is None or (price.is_finite() and price > 0)
    assert (quote.quality is QuoteQuality.NONE) == (prices == [None] * 4)


@given(ROWS, st.sampled_from(list(OrderSide)))
def test_a_quote_with_one_delayed_price_never_prices_an_order(
    rows: list[RawTick | RawDataType], side: OrderSide
) -> None:
    assert to_quote("AAPL", [*rows, RawTick(68, 100.0)]).order_price(side) is None
    assert to_quote("AAPL", [RawDataType(3), *rows]).order_price(side) is None


@pytest.mark.parametrize(
    "value", [Decimal("NaN"), Decimal(-1), Decimal(0), Decimal("Infinity"), None], ids=str
)
def test_a_quote_made_by_anyone_keeps_no_false_price(value: Decimal | None) -> None:
    quote = Quote("AAPL", value, value, Decimal(100), value, QuoteQuality.LIVE)
    assert (quote.bid, quote.ask, quote.last, quote.close) == (None, None, Decimal(100), None)
    assert Quote("AAPL", value, value, value, value, QuoteQuality.LIVE).quality is QuoteQuality.NONE


@pytest.mark.parametrize(
    ("kind", "quality"),
    [(1, "live"), (2, "frozen"), (3, "delayed"), (4, "delayed"), (9, "delayed")],
)
def test_the_broker_says_what_its_prices_are_worth(kind: int, quality: str) -> None:
    assert to_quote("AAPL", [RawDataType(kind), RawTick(4, 100.0)]).quality == quality


@pytest.mark.parametrize(("value", "halted"), [(-1, False), (0, False), (1, True), (2, True)])
def test_a_halt_of_either_kind_is_a_halt(value: float, halted: bool) -> None:
    assert to_quote("AAPL", [RawTick(9, 98.0), RawHalt(value)]).is_halted is halted


def test_an_order_is_priced_from_the_other_side_of_the_market_else_from_the_last_trade() -> None:
    both = to_quote("AAPL", [RawTick(1, 99.5), RawTick(2, 100.5), RawTick(4, 100.0), RawTick(9, 98.0)])
    assert both.order_price(OrderSide.BUY) == Decimal("100.5")
    assert both.order_price(OrderSide.SELL) == Decimal("99.5")
    last = to_quote("AAPL", [RawTick(1, -1.0), RawTick(2, -1.0), RawTick(4, 100.0)])
    assert last.order_price(OrderSide.BUY) == last.order_price(OrderSide.SELL) == Decimal("100.0")
    assert to_quote("AAPL", [RawTick(9, 98.0)]).order_price(OrderSide.BUY) is None


def test_an_unknown_volume_is_none() -> None:
    raw = SimpleNamespace(date="20221205", open=1.0, high=2.0, low=0.5, close=1.5, volume=-1.0)
    assert math.isnan(to_bar(raw).volume)


def state(**changes: str | float) -> SimpleNamespace:
    figures: dict[str, str | float] = {
        "initMarginBefore": "1000.0",
        "initMarginChange": "250.5",
        "equityWithLoanBefore": "100000.0",
        "equityWithLoanChange": "-1.0",
        "commission": 1.0,
        "maxCommission": UNSET,
        "warningText": "careful",
    }
    return SimpleNamespace(**figures | changes)


@pytest.mark.parametrize("figure", ["", str(UNSET), "inf", "nan"])
def test_an_answer_without_margins_is_no_preview(figure: str) -> None:
    assert has_figures(state())
    assert not has_figures(state(initMarginChange=figure))
    with pytest.raises(BrokerError, match="lacks its margin or equity"):
        to_preview(state(equityWithLoanBefore=figure))


def test_a_commission_that_depends_on_the_venue_is_its_upper_end() -> None:
    assert to_preview(state()).commission == Decimal(1)
    assert to_preview(state(commission=UNSET, maxCommission=2.5)).commission == Decimal("2.5")
    assert to_preview(state(commission=UNSET)).commission is None
    assert to_preview(state()).warning == "careful"
