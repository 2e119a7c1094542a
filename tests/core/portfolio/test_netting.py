from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrp_core.money import to_units
from hrp_core.portfolio.construction import Book, Targets, to_price_units
from hrp_core.portfolio.netting import apportion, drop_small_orders, net_crosses, net_orders
from hrp_core.portfolio.types import OrderSide, PlannedOrder


def orders_of(before: list[list[int]], target: list[list[int]]) -> tuple[PlannedOrder, ...]:
    """Return the orders of strategies S0, S1, ... in symbols A, B, ... at $10."""
    return net_orders(*inputs(before, target))


def crosses_of(before: list[list[int]], target: list[list[int]]) -> dict[str, dict[str, int]]:
    return {cross.symbol: dict(cross.shares) for cross in net_crosses(*inputs(before, target))}


def inputs(
    before: list[list[int]], target: list[list[int]]
) -> tuple[Sequence[str], Sequence[str], Book, Targets]:
    held, wanted = np.array(before), np.array(target)
    count, names = held.shape
    book = Book(
        price=np.full(names, 100_000),
        in_universe=np.ones(names, dtype=bool),
        removed=np.zeros(names, dtype=bool),
        before=held,
        prediction=np.zeros(held.shape),
        signal=np.zeros(held.shape),
        capital=[Fraction(1, count)] * count,
        holds=[None] * count,
    )
    targets = Targets(wanted, np.zeros(held.shape, dtype=np.int8))
    return "ABCDEFGH"[:names], [f"S{index}" for index in range(count)], book, targets


def test_two_strategies_that_buy_one_name_make_one_order():
    (order,) = orders_of([[0], [5]], [[10], [12]])
    assert (order.side, order.quantity, order.leg) == (OrderSide.BUY, 17, "increase")
    assert order.allocations == (("S0", 10), ("S1", 7))
    assert order.reference_price == Decimal(10)


def test_strategies_that_trade_against_each_other_cross_and_order_the_difference():
    (order,) = orders_of([[0], [9]], [[4], [0]])
    assert (order.side, order.quantity, order.leg) == (OrderSide.SELL, 5, "decrease")
    assert order.allocations == (("S1", -5),)
    assert crosses_of([[0], [9]], [[4], [0]]) == {"A": {"S0": 4, "S1": -4}}


def test_strategies_that_cancel_out_order_nothing():
    assert orders_of([[0], [4]], [[4], [0]]) == ()
    assert crosses_of([[0], [4]], [[4], [0]]) == {"A": {"S0": 4, "S1": -4}}


def test_the_larger_side_gives_up_for_a_cross_in_proportion():
    (order,) = orders_of([[0], [0], [10]], [[20], [11], [0]])
    assert crosses_of([[0], [0], [10]], [[20], [11], [0]]) == {"A": {"S0": 6, "S1": 4, "S2": -10}}
    assert (order.quantity, order.allocations) == (21, (("S0", 14), ("S1", 7)))


def test_an_order_too_small_to_send_leaves_the_cross():
    symbols, names, book, targets = inputs([[0], [100]], [[104], [0]])
    left = drop_small_orders(book, targets, Decimal(100))
    assert left.shares.tolist() == [[100], [0]]
    assert net_orders(symbols, names, book, left) == ()
    (cross,) = net_crosses(symbols, names, book, left)
    assert cross.shares == (("S0", 100), ("S1", -100))


def test_decreases_come_before_increases_each_by_symbol():
    orders = orders_of([[5, 0, 5, 0]], [[0, 3, 2, 1]])
    assert [(order.symbol, order.leg) for order in orders] == [
        ("A", "decrease"),
        ("C", "decrease"),
        ("B", "increase"),
        ("D", "increase"),
    ]


@pytest.mark.parametrize(("before", "after", "side"), [(5, -3, OrderSide.SELL), (-5, 3, OrderSide.BUY)])
def test_a_flip_is_an_exit_leg_and_an_entry_leg(before, after, side):
    first, second = orders_of([[before]], [[after]])
    assert (first.leg, first.quantity, second.leg, second.quantity) == ("decrease", 5, "increase", 3)
    assert first.side is second.side is side


SHARES = st.lists(st.lists(st.integers(-50, 50), min_size=3, max_size=3), min_size=3, max_size=3)


@given(SHARES, SHARES)
def test_orders_and_their_allocations_sum_to_the_change_of_the_account(before, target):
    orders = orders_of(before, target)
    change = np.array(target) - np.array(before)
    for index, symbol in enumerate("ABC"):
        mine = [order for order in orders if order.symbol == symbol]
        assert sum(order.side.sign * order.quantity for order in mine) == change[:, index].sum()
        for order in mine:
            assert order.quantity > 0
            assert sum(shares for _, shares in order.allocations) == order.side.sign * order.quantity
            assert all(shares * order.side.sign > 0 for _, shares in order.allocations)
        crossed = crosses_of(before, target).get(symbol, {})
        assert sum(crossed.values()) == 0
        for row in range(3):
            given_to = sum(dict(order.allocations).get(f"S{row}", 0) for order in mine)
            assert given_to + crossed.get(f"S{row}", 0) == change[row, index]


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=6), st.integers(-2000, 2000))
def test_apportion_sums_to_the_total_and_is_within_one_of_the_proportion(parts, total):
    whole = sum(parts)
    if whole == 0:
        total = 0
    shares = apportion(total, parts)
    assert sum(shares) == total
    for share, part in zip(shares, parts, strict=True):
        assert abs(share - (Fraction(total * part, whole) if whole else 0)) < 1


def test_apportion_gives_the_odd_share_to_the_largest_remainder_then_to_the_first():
    assert apportion(10, [1, 1, 1]) == [4, 3, 3]
    assert apportion(3, [1, 5]) == [1, 2]
    assert apportion(-3, [-1, -5]) == [-1, -2]
    assert apportion(0, [3, -3]) == [0, 0]


@given(
    st.lists(
        st.floats(0.0001, 1e6)
        | st.integers(1, 10**9).map(lambda units: units / 10**5)  # ties at the fifth decimal
        | st.sampled_from([float("nan"), 0.0, -1.0, float("inf")]),
        max_size=8,
    )
)
def test_prices_in_units_equal_money_rounded_one_by_one(prices):
    expected = [to_units(price) if 0 < price < float("inf") else 0 for price in prices]
    assert to_price_units(np.array(prices, dtype=float)).tolist() == expected
