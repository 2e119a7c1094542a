"""What the engine does with an order, by the time it arrives and by the prices there are."""

import re
from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from hrp_core.calendar import nyse
from hrp_core.errors import RefusedError
from hrp_core.matching import (
    Engine,
    EngineState,
    NewOrder,
    OrderAccepted,
    OrderActivated,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    OrderState,
    Refusal,
    Side,
    Tape,
)
from hrp_core.matching.account import Account


def buy(symbol="AAA", quantity=10, **fields):
    return NewOrder(symbol, Side.BUY, quantity, **fields)


def sell(symbol="AAA", quantity=10, **fields):
    return NewOrder(symbol, Side.SELL, quantity, **fields)


def kinds(events):
    return [type(event) for event in events]


def test_an_evening_order_waits_for_the_next_open_and_fills_at_the_official_open(engine, at):
    market = engine()
    (accepted,) = market.place(buy(order_ref="ref-1"))
    assert isinstance(accepted, OrderAccepted)
    assert accepted.order.state is OrderState.HELD
    assert accepted.order.active_from == at("2022-11-22", "09:30")
    assert market.advance(at("2022-11-22", "09:29")) == []
    (filled,) = market.advance(at("2022-11-22", "09:30"))
    assert isinstance(filled, OrderFilled)
    assert (filled.fill.price_units, filled.fill.quantity, filled.fill.order_ref) == (110_000, 10, "ref-1")
    assert filled.time == at("2022-11-22", "09:30")
    assert market.account.cash_units == 1_000_000_000 - 1_100_000 - filled.fill.commission_units
    assert market.open_orders == ()


def test_where_there_is_no_open_it_fills_at_the_official_close(engine, at):
    market = engine()
    market.place(buy("BBB"))
    activated, filled = market.advance(at("2022-11-22", "16:00"))
    assert isinstance(activated, OrderActivated)
    assert (activated.order.state, activated.time) == (OrderState.WORKING, at("2022-11-22", "09:30"))
    assert isinstance(filled, OrderFilled)
    assert (filled.fill.price_units, filled.time) == (210_000, at("2022-11-22", "16:00"))


def test_an_order_during_the_session_fills_at_that_sessions_close(engine, at):
    market = engine("2022-11-22", "11:00")
    (accepted,) = market.place(buy())
    assert (accepted.order.state, accepted.order.session) == (OrderState.WORKING, date(2022, 11, 22))
    (filled,) = market.advance(at("2022-11-22", "16:00"))
    assert isinstance(filled, OrderFilled)
    assert filled.fill.price_units == 115_000


def test_a_name_without_any_price_that_session_lets_the_order_expire_at_the_close(engine, at):
    market = engine("2022-11-22", "17:00")
    market.place(buy("GAP"))
    activated, expired = market.advance(at("2022-11-23", "20:00"))
    assert isinstance(activated, OrderActivated)
    assert isinstance(expired, OrderCancelled)
    assert (expired.order.code, expired.time) == (202, at("2022-11-23", "16:00"))
    assert "2022-11-23 closed without a price for GAP" in expired.order.reason
    assert market.open_orders == ()
    assert market.account.cash_units == 1_000_000_000


@pytest.mark.parametrize(
    ("day", "clock", "state", "session"),
    [
        ("2022-11-22", "08:00", OrderState.HELD, "2022-11-22"),  # before the open: today
        ("2022-11-22", "09:30", OrderState.WORKING, "2022-11-22"),
        ("2022-11-22", "15:59:59", OrderState.WORKING, "2022-11-22"),
        ("2022-11-22", "16:00", OrderState.CANCELLED, "2022-11-23"),
        ("2022-11-22", "16:04:59", OrderState.CANCELLED, "2022-11-23"),
        ("2022-11-22", "16:05", OrderState.HELD, "2022-11-23"),
        ("2022-11-24", "12:00", OrderState.HELD, "2022-11-25"),  # Thanksgiving
        ("2022-11-25", "12:59", OrderState.WORKING, "2022-11-25"),  # half day
        ("2022-11-25", "13:00", OrderState.CANCELLED, "2022-11-28"),
        ("2022-11-25", "13:05", OrderState.HELD, "2022-11-28"),
        ("2022-11-26", "10:00", OrderState.HELD, "2022-11-28"),  # Saturday
    ],
)
def test_the_time_of_arrival_decides_session_and_state(engine, day, clock, state, session):
    market = engine(day, clock)
    last = market.place(buy())[-1]
    assert (last.order.state, last.order.session) == (state, date.fromisoformat(session))


def test_an_order_just_after_the_close_is_accepted_and_cancelled(engine, at):
    market = engine("2022-11-22", "16:02")
    accepted, cancelled = market.place(buy())
    assert kinds([accepted, cancelled]) == [OrderAccepted, OrderCancelled]
    assert cancelled.order.code == 202
    assert market.advance(at("2022-11-28", "16:00")) == []


def test_orders_for_a_half_day_fill_at_its_early_close(engine, at):
    market = engine("2022-11-23", "18:00")
    market.place(buy("BBB"))
    _, filled = market.advance(at("2022-11-25", "13:00"))
    assert isinstance(filled, OrderFilled)
    assert filled.time == at("2022-11-25", "13:00")


def test_the_open_keeps_its_local_time_over_a_change_of_daylight_saving(at):
    # The clocks went back on Sunday 2022-11-06: the open moved from 13:30 to 14:30 UTC.
    sessions = nyse().between(date(2022, 11, 4), date(2022, 11, 7))
    ones = np.ones((len(sessions), 1))
    tape = Tape(tuple(sessions), ("AAA",), ones, ones, ones, ones, ones)
    market = Engine(tape, EngineState.opening(now=at("2022-11-04", "16:30"), cash=Decimal(1000)))
    market.place(buy())
    assert market.advance(at("2022-11-07", "09:29")) == []
    (filled,) = market.advance(at("2022-11-07", "09:30"))
    assert filled.time.utcoffset() == at("2022-11-07", "09:30").utcoffset()
    assert isinstance(filled, OrderFilled)
    assert filled.fill.exec_id.split(".")[1] == f"{1667831400:08x}"


def test_sales_at_the_open_pay_for_purchases_at_the_same_open(engine, at):
    market = engine(cash=1_000)
    market.place(buy("AAA", 80))
    market.advance(at("2022-11-22", "16:30"))
    market.place(buy("GAP", 1))  # no price on the 23rd; keeps its place and takes nothing
    market.place(buy("AAA", 70))
    market.place(sell("AAA", 80))
    events = market.advance(at("2022-11-23", "09:30"))
    fills = [event.fill for event in events if isinstance(event, OrderFilled)]
    assert [(fill.side, fill.quantity) for fill in fills] == [(Side.SELL, 80), (Side.BUY, 70)]


def test_purchases_are_served_first_come_first_served_and_the_unaffordable_one_is_cancelled(engine, at):
    market = engine(cash=200)
    for quantity in (10, 10, 5):
        market.place(buy("AAA", quantity))
    first, second, third = market.advance(at("2022-11-22", "09:30"))
    assert kinds([first, second, third]) == [OrderFilled, OrderCancelled, OrderFilled]
    assert second.order.code == 201
    assert "insufficient funds" in second.order.reason
    assert second.order.filled == 0
    assert market.account.cash_units >= 0


def test_cash_may_be_spent_to_the_last_unit(tape, at):
    for cash, shares in ((Decimal(111), 10), (Decimal("110.9999"), 0)):  # ten at 11.00 and 1.00 commission
        market = Engine(tape, EngineState.opening(now=at("2022-11-21", "16:30"), cash=cash))
        market.place(buy("AAA", 10))
        market.advance(at("2022-11-22", "09:30"))
        assert market.account.shares("AAA") == shares


def test_a_cash_account_cannot_sell_what_it_does_not_hold_or_sells_already(engine, at):
    market = engine()
    (refused,) = market.place(sell())
    assert isinstance(refused, OrderRejected)
    assert (refused.order.code, refused.order.state) == (201, OrderState.REJECTED)
    market.place(buy("AAA", 10))
    market.advance(at("2022-11-22", "16:30"))
    (first,) = market.place(sell("AAA", 6))
    (second,) = market.place(sell("AAA", 6))
    assert kinds([first, second]) == [OrderAccepted, OrderRejected]
    assert "6 already being sold" in second.order.reason
    market.cancel(first.order.perm_id)
    assert kinds(market.place(sell("AAA", 10))) == [OrderAccepted]


@pytest.mark.parametrize(
    ("order", "code"),
    [(buy("XXX"), 200), (buy(order_type="TRAIL"), 387), (buy(tif="GTC"), 201)],
)
def test_what_the_engine_does_not_know_is_rejected_with_the_brokers_code(engine, order, code):
    (rejected,) = engine().place(order)
    assert isinstance(rejected, OrderRejected)
    assert rejected.order.code == code


def test_a_scripted_refusal_rejects_any_order(engine):
    (rejected,) = engine().place(buy(), Refusal(201, "because"))
    assert (rejected.order.code, rejected.order.reason) == (201, "because")


def test_a_quantity_that_is_not_positive_is_a_programming_error(engine):
    with pytest.raises(ValueError, match="quantity must be positive"):
        engine().place(buy(quantity=0))


def test_cancelling_ends_an_open_order_and_nothing_else(engine, at):
    market = engine()
    (accepted,) = market.place(buy())
    (cancelled,) = market.cancel(accepted.order.perm_id)
    assert (cancelled.order.state, cancelled.order.code) == (OrderState.CANCELLED, 202)
    with pytest.raises(KeyError):
        market.cancel(accepted.order.perm_id)
    assert market.advance(at("2022-11-22", "20:00")) == []


def test_the_clock_goes_forward_only_and_not_beyond_the_last_priced_session(engine, at):
    market = engine("2022-11-22", "16:30")
    with pytest.raises(RefusedError, match="only goes forward"):
        market.advance(at("2022-11-22", "16:29"))
    market.advance(at("2022-11-30", "23:59"))
    with pytest.raises(RefusedError, match="prices end with session 2022-11-30"):
        market.advance(at("2022-12-01", "00:00"))
    assert market.now == at("2022-11-30", "23:59")


def test_an_engine_cannot_begin_beyond_the_prices(tape, at):
    with pytest.raises(RefusedError, match="prices end"):
        Engine(tape, EngineState.opening(now=at("2022-12-01", "10:00"), cash=Decimal(1)))


def test_midnight_in_new_york_empties_the_lists_of_the_day(engine, at):
    market = engine()
    market.place(buy())
    market.advance(at("2022-11-22", "23:59"))
    assert (len(market.fills), len(market.completed)) == (1, 1)
    market.advance(at("2022-11-23", "00:00"))
    assert (market.fills, market.completed) == ((), ())
    assert market.fill_count == 1
    assert market.account.shares("AAA") == 10


def test_execution_ids_look_like_the_brokers_and_do_not_depend_on_when_the_order_arrived(engine, at):
    def exec_ids(market):
        market.place(buy())
        market.place(buy("GAP"))
        return [event.fill.exec_id for event in market.advance(at("2022-11-22", "09:30"))]

    early, late = exec_ids(engine()), exec_ids(engine("2022-11-22", "09:00"))
    assert early == late
    assert all(re.fullmatch(r"0000[0-9a-f]{4}\.[0-9a-f]{8}\.0[12]\.01", exec_id) for exec_id in early)
    assert set(exec_ids(engine(seed=7))).isdisjoint(early)


def test_a_sale_realizes_proceeds_minus_average_cost_commissions_included(engine, at):
    market = engine()
    market.place(buy("AAA", 100))
    market.advance(at("2022-11-22", "16:30"))  # at 11.00, commission 1.00
    position = market.account.position("AAA")
    assert position.average_cost == Decimal("11.010000")
    market.place(sell("AAA", 40))
    (sold,) = market.advance(at("2022-11-23", "09:30"))  # at 12.00, commission 1.00
    assert sold.fill.realized_units == 40 * 120_000 - 10_000 - 4_404_000
    assert market.account.realized_units == sold.fill.realized_units
    assert market.account.shares("AAA") == 60


def test_net_liquidation_is_marked_at_the_last_official_close(engine, at):
    market = engine()
    market.place(buy("AAA", 100))
    market.advance(at("2022-11-22", "12:00"))
    cash = market.account.cash_units
    assert market.net_liquidation_units() == cash + 100 * 105_000  # the close of the 21st
    market.advance(at("2022-11-22", "16:00"))
    assert market.net_liquidation_units() == cash + 100 * 115_000


def test_before_any_official_close_a_position_is_marked_at_its_execution(at):
    sessions = (date(2022, 11, 21), date(2022, 11, 22))
    opens = np.array([[np.nan, 5.0], [7.0, 5.0]])
    closes = np.array([[np.nan, 5.0], [8.0, 5.0]])
    tape = Tape(sessions, ("NEW", "OLD"), opens, opens, opens, closes, opens)
    market = Engine(tape, EngineState.opening(now=at("2022-11-21", "16:30"), cash=Decimal(1000)))
    market.place(buy("NEW", 10))
    market.advance(at("2022-11-22", "10:00"))
    assert market.net_liquidation_units() == market.account.cash_units + 10 * 70_000


@pytest.mark.parametrize(("shares", "paid"), [(40, 0), (2, 125_000), (0, 625_000)])
def test_a_split_keeps_the_cost_and_the_money_adds_up(shares: int, paid: int) -> None:
    account = Account(10_000_000)
    account.apply("KO", Side.BUY, 10, 250_000, 10_000)
    account.split("KO", shares, paid)
    assert account.shares("KO") == shares
    cost = sum(position.cost_units for position in account.positions)
    assert cost == (2_510_000 if shares else 0)
    assert account.cash_units + cost == account.opening_cash_units + account.realized_units
