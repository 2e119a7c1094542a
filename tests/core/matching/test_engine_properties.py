"""Laws of the engine under any sequence of orders, cancellations and moves of the clock."""

from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hrp_core.calendar import nyse
from hrp_core.errors import RefusedError
from hrp_core.matching import Engine, EngineState, NewOrder, OrderFilled, OrderState, Side, Tape
from hrp_core.matching.state import state_from_json, state_to_json

SYMBOLS = ("AAA", "BBB", "CCC")

KINDS = st.sampled_from(
    [("MKT", "DAY"), ("LMT", "DAY"), ("MKT", "OPG"), ("LMT", "OPG"), ("MOC", "DAY"), ("LOC", "DAY")]
)


def new_order(kind, limit, **fields):
    order_type, tif = kind
    price = Decimal(limit) / 100 if order_type in ("LMT", "LOC") else None
    return NewOrder(order_type=order_type, tif=tif, limit_price=price, **fields)


ORDERS = st.builds(
    new_order,
    kind=KINDS,
    limit=st.integers(1500, 2600),
    symbol=st.sampled_from(SYMBOLS),
    side=st.sampled_from(list(Side)),
    quantity=st.integers(1, 60),
    order_ref=st.sampled_from(["", "r1", "r2"]),
)
STEPS = st.lists(
    st.one_of(
        ORDERS,
        st.integers(1, 72).map(lambda hours: timedelta(hours=hours)),
        st.sampled_from(["cancel", "restart"]),
    ),
    max_size=40,
)


@st.composite
def tapes(draw):
    sessions = nyse().between(date(2022, 11, 18), date(2022, 12, 9))
    shape = (len(sessions), len(SYMBOLS))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    prices = 20 * np.exp(np.cumsum(rng.normal(0, 0.05, shape), axis=0))
    opens = np.where(rng.random(shape) < 0.3, np.nan, prices * 1.01)
    closes = np.where(rng.random(shape) < 0.1, np.nan, prices)
    closes[-1] = prices[-1]
    return Tape(tuple(sessions), SYMBOLS, opens, prices * 1.03, prices * 0.97, closes, np.ones(shape))


def run(market, steps, *, restart):
    """Play the steps; return every event, and the engine at the end."""
    events = []
    for step in steps:
        if isinstance(step, NewOrder):
            events += market.place(step)
        elif isinstance(step, timedelta):
            try:
                events += market.advance(market.now + step)
            except RefusedError:
                continue
        elif step == "cancel" and market.open_orders:
            events += market.cancel(market.open_orders[0].perm_id)
        elif step == "restart" and restart:
            state = market.state()
            assert state_from_json(state_to_json(state)) == state
            market = Engine(market.tape, state_from_json(state_to_json(state)))
    return events, market


@pytest.fixture(scope="module")
def start():
    return nyse().close(date(2022, 11, 18)) + timedelta(minutes=30)


@settings(max_examples=60)
@given(tape=tapes(), steps=STEPS)
def test_money_and_shares_are_conserved(start, tape, steps):
    events, market = run(
        Engine(tape, EngineState.opening(now=start, cash=Decimal(2000))), steps, restart=False
    )
    account = market.account
    cost = sum(position.cost_units for position in account.positions)
    assert account.cash_units + cost == account.opening_cash_units + account.realized_units
    assert account.cash_units >= 0
    fills = [event.fill for event in events if isinstance(event, OrderFilled)]
    flow = sum(
        (1 if fill.side is Side.SELL else -1) * fill.quantity * fill.price_units - fill.commission_units
        for fill in fills
    )
    assert account.cash_units == account.opening_cash_units + flow
    for symbol in SYMBOLS:
        signed = sum(
            (1 if fill.side is Side.BUY else -1) * fill.quantity for fill in fills if fill.symbol == symbol
        )
        assert account.shares(symbol) == signed >= 0
    assert account.realized_units == sum(fill.realized_units or 0 for fill in fills)


@settings(max_examples=60)
@given(tape=tapes(), steps=STEPS)
def test_every_order_ends_once_and_time_never_runs_back(start, tape, steps):
    market = Engine(tape, EngineState.opening(now=start, cash=Decimal(2000)))
    events, market = run(market, steps, restart=False)
    assert [event.time for event in events] == sorted(event.time for event in events)
    last = {event.order.perm_id: event.order for event in events}
    ended = [event.order.perm_id for event in events if not event.order.state.is_open]
    assert len(ended) == len(set(ended))
    assert {order.perm_id for order in market.open_orders} == {
        perm_id for perm_id, order in last.items() if order.state.is_open
    }
    for order in last.values():
        assert order.filled == (order.quantity if order.state is OrderState.FILLED else 0)
    ids = [event.fill.exec_id for event in events if isinstance(event, OrderFilled)]
    assert len(ids) == len(set(ids))


@settings(max_examples=60)
@given(tape=tapes(), steps=STEPS)
def test_a_restored_engine_goes_on_exactly_like_the_one_that_never_stopped(start, tape, steps):
    opening = EngineState.opening(now=start, cash=Decimal(2000), seed=3)
    unbroken, one = run(Engine(tape, opening), steps, restart=False)
    restarted, other = run(Engine(tape, opening), steps, restart=True)
    assert unbroken == restarted
    assert one.state() == other.state()
