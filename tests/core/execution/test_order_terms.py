"""Order types on the wire, ticks, and when each type may be sent."""

from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from order_support import BentBroker, D, E, at, freeze, manager, planned, sync

from hrp_core.calendar import nyse
from hrp_core.errors import RefusedError
from hrp_core.execution.broker import OrderRequest
from hrp_core.execution.order_terms import TERMS, passive_price, tick_of
from hrp_core.execution.orders import Order
from hrp_core.execution.send_window import SendAt, send_window
from hrp_core.ledger.journal import Journal
from hrp_core.ledger.types import OrderStatus, PlanStatus
from hrp_core.portfolio.types import OrderSide, OrderType

S = OrderStatus
PRICES = st.decimals("0.0001", "5000", places=4)
TICKS = st.sampled_from([Decimal("0.0001"), Decimal("0.01"), Decimal("0.05")])


@given(PRICES, TICKS, st.sampled_from(OrderSide))
def test_a_limit_is_on_the_tick_at_most_one_tick_away_and_never_on_the_worse_side(
    price: Decimal, min_tick: Decimal, side: OrderSide
) -> None:
    tick = tick_of(price, min_tick)
    if side is OrderSide.BUY and price < tick:
        with pytest.raises(RefusedError, match="below one tick"):
            passive_price(price, min_tick, side)
        return
    rounded = passive_price(price, min_tick, side)
    assert rounded % tick == 0
    assert 0 <= (price - rounded) * side.sign < tick
    assert passive_price(rounded, tick, side) == rounded


@pytest.mark.parametrize("price", ["NaN", "0", "-1", "Infinity"])
def test_what_is_no_price_is_never_a_limit(price: str) -> None:
    with pytest.raises(RefusedError, match="is no price"):
        passive_price(Decimal(price), Decimal("0.01"), OrderSide.BUY)


def test_a_limit_that_the_exchange_would_refuse_is_sent_on_its_tick(
    journal: Journal, broker: BentBroker
) -> None:
    sent: list[OrderRequest] = []
    broker.on_place = sent.append
    manager(broker, journal).submit_order(
        Order("KO", OrderSide.BUY, 10, OrderType.LIMIT, limit_price=Decimal("66.1299"))
    )
    assert [(request.limit_price, request.tif) for request in sent] == [(Decimal("66.12"), "DAY")]


@pytest.mark.parametrize("order_type", list(OrderType))
def test_every_order_type_travels_to_the_broker_and_trades(
    journal: Journal, broker: BentBroker, order_type: OrderType
) -> None:
    limit = Decimal("70") if TERMS[order_type].has_limit else None
    orders = manager(broker, journal)
    order = orders.submit_order(Order("KO", OrderSide.BUY, 10, order_type, limit_price=limit))
    assert order.status is S.SUBMITTED
    broker.advance(at(E, "16:15"))
    sync(broker, journal)
    found = orders.get_order(order.order_id)
    assert found is not None
    assert found.status is S.FILLED


HALF_DAY = date(2022, 11, 25)
BEFORE = date(2022, 11, 23)


@pytest.mark.parametrize(
    ("order_type", "session", "closes"),
    [
        (OrderType.MARKET, D, at(E, "09:25")),
        (OrderType.LIMIT, D, at(E, "09:25")),
        (OrderType.MARKET_ON_OPEN, D, at(E, "09:25")),
        (OrderType.LIMIT_ON_OPEN, D, at(E, "09:25")),
        (OrderType.MARKET_ON_CLOSE, D, at(E, "15:45")),
        (OrderType.LIMIT_ON_CLOSE, D, at(E, "15:45")),
        (OrderType.MARKET, BEFORE, at(HALF_DAY, "09:25")),
        (OrderType.MARKET_ON_CLOSE, BEFORE, at(HALF_DAY, "12:45")),
    ],
)
def test_each_order_type_has_its_cut_off_on_half_days_too(
    order_type: OrderType, session: date, closes: datetime
) -> None:
    window = send_window(nyse(), session, order_type)
    assert window.closes == closes
    assert window.opens == nyse().close(session) + (at(D, "16:10") - at(D, "16:00"))


def test_a_preopen_plan_waits_for_nine_of_the_execution_session(journal: Journal, broker: BentBroker) -> None:
    frozen = freeze(journal, broker, planned("AAPL", 10))
    with pytest.raises(RefusedError, match="may be sent from Fri 2022-12-16 09:00 to Fri 2022-12-16 09:25"):
        manager(broker, journal, send_at=SendAt.PREOPEN).submit_plan(frozen.plan_id)
    broker.advance(at(E, "09:00"))
    report = manager(broker, journal, send_at=SendAt.PREOPEN).submit_plan(frozen.plan_id)
    assert report.count(S.SUBMITTED) == 1


def test_past_the_open_orders_for_the_close_are_sent_and_the_others_expire(
    journal: Journal, broker: BentBroker
) -> None:
    closing = replace(planned("KO", 10), order_type=OrderType.MARKET_ON_CLOSE)
    frozen = freeze(journal, broker, planned("AAPL", 10), closing)
    broker.advance(at(E, "11:00"))
    report = manager(broker, journal).submit_plan(frozen.plan_id)
    assert [intent.status for intent in report.intents] == [S.EXPIRED, S.SUBMITTED]
    assert report.status is PlanStatus.SENT
