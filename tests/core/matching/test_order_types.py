"""Limit, auction and closing orders: when they trade, at which price, and when they come too late."""

from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrp_core.calendar import nyse
from hrp_core.errors import RefusedError
from hrp_core.matching import (
    Engine,
    EngineState,
    NewOrder,
    OrderCancelled,
    OrderFilled,
    OrderRejected,
    OrderState,
    Side,
    Tape,
)
from hrp_core.matching.rules import price_in_range
from hrp_core.matching.state import state_from_json, state_to_json


def order(kind="MKT", limit=None, side=Side.BUY, quantity=10, tif="DAY", symbol="AAA"):
    return NewOrder(
        symbol, side, quantity, kind, tif, limit_price=None if limit is None else Decimal(str(limit))
    )


@pytest.fixture
def market(at):
    """2022-11-22 to 11-25 (a half day): opens at 10, low 9, high 12, closes at 11; NOX has a close alone."""
    sessions = nyse().between(date(2022, 11, 21), date(2022, 11, 25))
    shape = (len(sessions), 2)

    def column(value):
        return np.column_stack([np.full(shape[0], float(value)), np.full(shape[0], np.nan)])

    close = column(11)
    close[:, 1] = 5.0
    tape = Tape(tuple(sessions), ("AAA", "NOX"), column(10), column(12), column(9), close, column(1000))

    def make(day="2022-11-21", clock="16:30", shares=0, **arguments):
        state = EngineState.opening(now=at("2022-11-18", "16:30"), cash=Decimal(100_000))
        engine = Engine(tape, state, **arguments)
        if shares:
            engine.place(order(quantity=shares))
        engine.advance(at(day, clock))
        return engine

    return make


def outcome(engine, moment):
    """Return how the one order ended: (time, price) of its fill, or the code it was cancelled with."""
    for event in engine.advance(moment):
        if isinstance(event, OrderFilled):
            return event.time.strftime("%H:%M"), event.fill.price_units / 10_000
        if isinstance(event, OrderCancelled):
            return event.time.strftime("%H:%M"), event.order.code
    return None


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (order("LMT", 10.5), ("09:30", 10)),  # marketable at the open: at the open, not at the limit
        (order("LMT", 10), ("09:30", 10)),
        (order("LMT", 9.5), ("16:00", 9.5)),  # the low reaches it
        (order("LMT", 8.99), ("16:00", 202)),  # nothing does
        (order("LMT", 9.8, side=Side.SELL), ("09:30", 10)),
        (order("LMT", 11.5, side=Side.SELL), ("16:00", 11.5)),  # the high reaches it
        (order("LMT", 12.01, side=Side.SELL), ("16:00", 202)),
        (order("MKT", tif="OPG"), ("09:30", 10)),
        (order("LMT", 10, tif="OPG"), ("09:30", 10)),
        (order("LMT", 9.99, tif="OPG"), ("09:30", 202)),  # what the auction does not fill ends there
        (order("MKT", tif="OPG", symbol="NOX"), ("09:30", 202)),
        (order("MOC"), ("16:00", 11)),
        (order("LOC", 11), ("16:00", 11)),
        (order("LOC", 10.99), ("16:00", 202)),
        (order("LOC", 11, side=Side.SELL), ("16:00", 11)),
        (order("LMT", 5, symbol="NOX"), ("16:00", 5)),  # no open, no range: the close
    ],
)
def test_an_order_of_each_type_trades_where_it_may_and_ends_where_it_must(market, at, new, expected):
    engine = market(shares=10)
    engine.place(new)
    assert outcome(engine, at("2022-11-22", "17:00")) == expected


def test_a_limit_order_that_came_after_the_open_gets_nothing_from_the_range(market, at):
    engine = market("2022-11-22", "11:00")
    engine.place(order("LMT", 9.5))
    assert outcome(engine, at("2022-11-22", "17:00")) == ("16:00", 202)


@pytest.mark.parametrize(
    ("day", "clock", "new", "taken"),
    [
        ("2022-11-22", "09:27:59", order(tif="OPG"), True),
        ("2022-11-22", "09:28", order(tif="OPG"), False),
        ("2022-11-22", "12:00", order("LMT", 10, tif="OPG"), False),
        ("2022-11-22", "16:05", order(tif="OPG"), True),  # for the next open
        ("2022-11-22", "15:49:59", order("MOC"), True),
        ("2022-11-22", "15:50", order("MOC"), False),
        ("2022-11-22", "15:50", order("LOC", 11), False),
        ("2022-11-25", "12:49:59", order("MOC"), True),  # half day
        ("2022-11-25", "12:50", order("MOC"), False),
        ("2022-11-22", "15:59", order(), True),
    ],
)
def test_auction_orders_that_come_too_late_are_refused(market, day, clock, new, taken):
    (event,) = market(day, clock).place(new)
    assert isinstance(event, OrderRejected) is not taken
    if not taken:
        assert event.order.code == 201
        assert "had to arrive before" in event.order.reason


@pytest.mark.parametrize("limit", [None, 0, -1, 10.005])
def test_a_price_off_the_tick_is_refused_with_110(market, limit):
    (event,) = market().place(order("LMT", limit))
    assert (event.order.state, event.order.code) == (OrderState.REJECTED, 110)


@given(
    limit=st.integers(1, 300),
    low=st.integers(1, 200),
    spread=st.integers(0, 100),
    side=st.sampled_from(list(Side)),
)
def test_a_range_fill_is_inside_the_range_and_never_worse_than_the_limit(limit, low, spread, side):
    price = price_in_range(side, limit, low, low + spread)
    if price is None:
        assert low > limit if side is Side.BUY else low + spread < limit
    else:
        assert low <= price <= low + spread
        assert price <= limit if side is Side.BUY else price >= limit


def test_partial_fills_pay_the_minimum_once_and_the_rest_expires(market, at):
    engine = market(lots=lambda _, shares: (min(shares, 4),))
    engine.place(order(quantity=10))
    first, second, ended = engine.advance(at("2022-11-22", "17:00"))
    assert [(e.fill.quantity, e.fill.commission_units) for e in (first, second)] == [(4, 4_000), (4, 4_400)]
    assert first.order.state is OrderState.WORKING
    assert (ended.order.state, ended.order.code, ended.order.filled) == (OrderState.CANCELLED, 202, 8)
    assert engine.account.shares("AAA") == 8


def test_a_partly_filled_order_survives_a_restart(market, at):
    engine = market(lots=lambda _, shares: (min(shares, 4),))
    engine.place(order(quantity=10))
    engine.advance(at("2022-11-22", "12:00"))
    again = Engine(engine.tape, state_from_json(state_to_json(engine.state())))
    (rest,) = again.advance(at("2022-11-22", "16:00"))
    assert isinstance(rest, OrderFilled)
    assert rest.fill.quantity == 6


def test_participation_caps_a_session_at_a_share_of_average_volume(at):
    sessions = nyse().between(date(2022, 10, 3), date(2022, 11, 4))
    flat = np.full((len(sessions), 2), 10.0)
    volume = np.full((len(sessions), 2), 1000.0)
    volume[:, 1] = np.nan
    tape = Tape(tuple(sessions), ("AAA", "DARK"), flat, flat, flat, flat, volume)
    state = EngineState.opening(now=at("2022-11-02", "16:30"), cash=Decimal(100_000), participation_bps=500)
    engine = Engine(tape, state)
    for quantity in (30, 30):
        engine.place(order(quantity=quantity))
    engine.place(order(quantity=500, symbol="DARK"))  # without volume there is nothing to take a share of
    events = engine.advance(at("2022-11-03", "17:00"))
    fills = [(e.fill.symbol, e.fill.quantity) for e in events if isinstance(e, OrderFilled)]
    assert fills == [("AAA", 30), ("AAA", 20), ("DARK", 500)]
    assert [e.order.filled for e in events if isinstance(e, OrderCancelled)] == [20]


def test_a_cancellation_that_comes_too_late_is_confirmed_and_the_order_fills(market, at):
    engine = market()
    (accepted,) = engine.place(order())
    (cancelled,) = engine.cancel(accepted.order.perm_id, too_late=True)
    assert isinstance(cancelled, OrderCancelled)
    assert engine.open_orders == ()
    engine = Engine(engine.tape, state_from_json(state_to_json(engine.state())))
    (filled,) = engine.advance(at("2022-11-22", "10:00"))
    assert (filled.order.state, filled.order.code) == (OrderState.FILLED, 0)
    assert [done.state for done in engine.completed] == [OrderState.FILLED]


def test_a_correction_and_a_bust_restate_cash_position_and_order(market, at):
    engine = market()
    engine.place(order(quantity=100))
    engine.advance(at("2022-11-22", "17:00"))
    before = engine.account.cash_units
    (corrected,) = engine.correct(1, Decimal("9.50"))
    assert isinstance(corrected, OrderFilled)
    assert corrected.fill.exec_id.endswith(".02")
    assert engine.account.cash_units == before + 100 * 5_000
    assert engine.account.position("AAA").average_cost == Decimal("9.510000")
    with pytest.raises(RefusedError, match="no execution 1 stands"):
        engine.correct(1, None)
    (busted,) = engine.correct(2, None)
    assert (busted.fill.quantity, busted.order.filled, engine.account.positions) == (0, 0, ())
    assert engine.account.cash_units == engine.account.opening_cash_units


def test_a_purchase_whose_shares_are_sold_cannot_be_busted(market, at):
    engine = market("2022-11-21", "16:30")
    engine.place(order(quantity=10))
    engine.advance(at("2022-11-22", "11:00"))
    engine.place(order(quantity=10, side=Side.SELL))
    engine.advance(at("2022-11-22", "17:00"))
    with pytest.raises(RefusedError, match="have been sold"):
        engine.correct(1, None)
    realized = engine.account.realized_units
    engine.correct(2, None)  # the sale
    assert engine.account.shares("AAA") == 10
    assert engine.account.realized_units == realized - realized


def test_a_sale_whose_shares_are_gone_by_then_is_cancelled(market, at):
    engine = market()
    engine.place(order(quantity=10))
    engine.advance(at("2022-11-22", "11:00"))
    engine.place(order(quantity=10, side=Side.SELL))
    engine.correct(1, None)
    (cancelled,) = engine.advance(at("2022-11-22", "17:00"))
    assert (cancelled.order.state, cancelled.order.code) == (OrderState.CANCELLED, 201)


def test_an_edit_changes_quantity_and_limit_of_an_open_order(market, at):
    engine = market()
    (accepted,) = engine.place(order("LMT", 8))
    perm_id = accepted.order.perm_id
    (edited,) = engine.edit(perm_id, quantity=5, limit_price=Decimal(10))
    assert (edited.order.quantity, edited.order.limit_units) == (5, 100_000)
    (filled,) = engine.advance(at("2022-11-22", "10:00"))
    assert filled.fill.quantity == 5
    with pytest.raises(KeyError):
        engine.edit(perm_id, quantity=3)
