import logging
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrp_core.errors import DataError
from hrp_core.portfolio import ConversionConfig, SignalConverter
from hrp_core.portfolio.types import OrderSide, PlannedOrder, Reason

NAN = float("nan")


def signals(**rows: tuple[float, float]) -> pd.DataFrame:
    """Return a frame of symbol=(prediction, signal)."""
    return pd.DataFrame(
        [(symbol, prediction, signal) for symbol, (prediction, signal) in rows.items()],
        columns=["symbol", "prediction", "signal"],
    )


def converter(value: float = 100_000, **limits) -> SignalConverter:
    return SignalConverter(ConversionConfig(value, **limits))


def brief(orders: list[PlannedOrder]) -> list[tuple[str, str, int]]:
    return [(order.side.value, order.symbol, order.quantity) for order in orders]


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"max_position_pct": 0.0}, "max_position_pct must be between 0 and 1"),
        ({"max_position_pct": 1.5}, "max_position_pct must be between 0 and 1"),
        ({"max_position_pct": NAN}, "max_position_pct must be between 0 and 1"),
        ({"max_positions": 0}, "max_positions must be positive"),
        ({"min_order_value": -1}, "min_order_value must not be negative"),
    ],
)
def test_a_wrong_limit_is_refused(limits, says):
    with pytest.raises(ValueError, match=says):
        ConversionConfig(100_000, **limits)


@pytest.mark.parametrize("value", [0, -1, NAN, float("inf")])
def test_a_portfolio_without_a_value_is_refused(value):
    with pytest.raises(ValueError, match="portfolio_value must be positive"):
        ConversionConfig(value)


def test_defaults_are_20_names_a_tenth_each_and_orders_of_100_dollars():
    config = ConversionConfig(Decimal(1000))
    assert (config.max_positions, config.max_position_pct, config.min_order_value) == (20, 0.10, 100)


def test_names_are_bought_whole_at_the_largest_weight_the_strongest_first():
    orders = converter().signals_to_orders(
        signals(A=(1.0, 1.0), B=(3.0, 1.0), C=(2.0, 0.0)), current_prices={"A": 33.0, "B": 7.0, "C": 5.0}
    )
    assert brief(orders) == [("buy", "B", 1428), ("buy", "A", 303)]


def test_many_names_share_the_portfolio_equally():
    rows = {f"S{index:02d}": (float(index), 1.0) for index in range(16)}
    orders = converter().signals_to_orders(signals(**rows), current_prices=dict.fromkeys(rows, 10.0))
    assert {order.quantity for order in orders} == {625}


def test_at_most_max_positions_names_are_bought_and_they_are_the_strongest():
    rows = {name: (float(index), 1.0) for index, name in enumerate("ABCDE")}
    conversion = converter(max_positions=2).convert(signals(**rows), current_prices=dict.fromkeys(rows, 10.0))
    assert [order.symbol for order in conversion.orders] == ["E", "D"]
    assert conversion.skipped == dict.fromkeys("ABC", Reason.DROP_MAX_POSITIONS)


@pytest.mark.parametrize("price", [NAN, 0.0, -1.0, float("inf"), None])
def test_a_name_without_a_price_is_skipped_with_a_reason_and_takes_no_place(price, caplog):
    with caplog.at_level(logging.WARNING):
        orders = converter(max_positions=1).signals_to_orders(
            signals(A=(2.0, 1.0), B=(1.0, 1.0)), current_prices={"A": price, "B": 10.0}
        )
    assert brief(orders) == [("buy", "B", 1000)]
    assert "no order for A: skip_no_price" in caplog.text


def test_prices_are_required():
    with pytest.raises(ValueError, match="current_prices is required"):
        converter().signals_to_orders(signals(A=(1.0, 1.0)))


def test_orders_under_the_smallest_value_are_skipped():
    conversion = converter(5000, max_position_pct=0.019).convert(
        signals(A=(1.0, 1.0)), current_prices={"A": 1.0}
    )
    assert conversion.orders == ()
    assert conversion.skipped == {"A": Reason.DROP_SMALL_ORDER}


def test_with_positions_it_rebalances_exits_first_then_decreases_then_increases():
    orders = converter().signals_to_orders(
        signals(NEW=(1.0, 1.0), MORE=(4.0, 1.0), LESS=(3.0, 1.0), OUT=(2.0, 0.0), SAME=(5.0, 1.0)),
        current_prices=dict.fromkeys(["NEW", "MORE", "LESS", "OUT", "SAME"], 10.0),
        current_positions={"MORE": 100, "LESS": 1500, "OUT": 70, "SAME": 1000},
    )
    assert brief(orders) == [
        ("sell", "OUT", 70),
        ("sell", "LESS", 500),
        ("buy", "MORE", 900),
        ("buy", "NEW", 1000),
    ]


def test_a_held_name_without_score_or_price_is_kept():
    conversion = converter().convert(
        signals(A=(NAN, 0.0), B=(1.0, 0.0)),
        current_prices={"A": 10.0, "C": 10.0},
        current_positions={"A": 5, "B": 5, "C": 5},
    )
    assert conversion.orders == ()
    assert conversion.skipped == {
        "A": Reason.HOLD_NO_SCORE,
        "B": Reason.HOLD_NO_PRICE,
        "C": Reason.HOLD_NO_SCORE,
    }


def test_the_method_makes_the_signals_of_a_frame_that_has_none():
    predictions = pd.DataFrame({"symbol": list("ABC"), "prediction": [1.0, 2.0, -1.0]})
    prices = dict.fromkeys("ABC", 10.0)
    assert [o.symbol for o in converter().signals_to_orders(predictions, current_prices=prices)] == ["B"]
    by_threshold = converter().signals_to_orders(predictions, "threshold", prices)
    assert [order.symbol for order in by_threshold] == ["B", "A"]
    with pytest.raises(ValueError, match="Unknown method"):
        converter().signals_to_orders(predictions, "best", prices)


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (pd.DataFrame({"symbol": ["A"], "signal": [1.0]}), "no column 'prediction'"),
        (pd.concat([signals(A=(1.0, 1.0))] * 2), "A has two signals"),
        (
            pd.concat([signals(A=(1.0, 1.0)).assign(session=1), signals(B=(1.0, 1.0)).assign(session=2)]),
            "several sessions",
        ),
    ],
)
def test_signals_of_the_wrong_shape_are_refused(frame, says):
    with pytest.raises(DataError, match=says):
        converter().signals_to_orders(frame, current_prices={"A": 1.0})


def test_a_fraction_of_a_share_is_no_position():
    with pytest.raises(ValueError, match=r"position of A is 1\.5"):
        converter().signals_to_orders(
            signals(A=(1.0, 1.0)), current_prices={"A": 1.0}, current_positions={"A": 1.5}
        )


def test_no_signals_and_no_positions_give_no_orders():
    assert converter().signals_to_orders(signals(), current_prices={}) == []


@given(
    st.dictionaries(
        st.sampled_from("ABCDEFGH"),
        st.tuples(st.floats(-1, 1) | st.just(NAN), st.sampled_from([0.0, 1.0])),
        min_size=1,
    ),
    st.dictionaries(st.sampled_from("ABCDEFGH"), st.floats(0.5, 900)),
    st.dictionaries(st.sampled_from("ABCDEFGH"), st.integers(1, 500)),
    st.integers(1, 6),
)
def test_every_order_respects_the_limits(rows, prices, positions, max_positions):
    value = 20_000
    orders = converter(value, max_positions=max_positions, max_position_pct=0.2).signals_to_orders(
        signals(**rows), current_prices=prices, current_positions=positions
    )
    held = dict(positions)
    for order in orders:
        assert order.quantity * float(order.reference_price) >= 100
        held[order.symbol] = held.get(order.symbol, 0) + order.side.sign * order.quantity
        if order.side is OrderSide.BUY:
            assert held[order.symbol] * float(order.reference_price) <= value * 0.2
    assert min(held.values(), default=0) >= 0
    entered = [symbol for symbol in held if symbol not in positions]
    assert len(entered) <= max_positions
