"""The commission schedule, by hand-computed table and by its laws."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrp_core.matching.commission import fill_commission, half_even, order_commission

DOLLAR = 10_000


@pytest.mark.parametrize(
    ("shares", "price", "commission"),
    [
        (0, "100", 0),
        (100, "50", 10_000),  # the minimum: $1.00
        (200, "50", 10_000),  # exactly the minimum
        (201, "50", 10_050),  # $0.005 a share beyond it
        (10_000, "50", 500_000),
        (1, "50", 5_000),  # the cap, 1 % of $50, is below the minimum
        (1000, "0.10", 10_000),  # the cap equals the minimum
        (1000, "0.25", 25_000),  # 1 % of $250 is below $5.00
        (1, "0.0050", 0),  # 0.5 ten-thousandths: half to even, down
        (3, "0.0050", 2),  # 1.5 ten-thousandths: half to even, up
    ],
)
def test_commission_is_the_fixed_schedule(shares, price, commission):
    value = int(float(price) * DOLLAR) * shares
    assert order_commission(shares, value) == commission


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 5_000_000)), min_size=1, max_size=6))
def test_partial_fills_together_pay_the_commission_of_one_order(fills):
    shares = value = paid = 0
    for quantity, price in fills:
        paid += fill_commission(quantity, quantity * price, shares, value)
        shares += quantity
        value += quantity * price
    assert paid == order_commission(shares, value)


@given(st.integers(1, 10_000), st.integers(1, 10_000_000))
def test_commission_never_exceeds_one_percent_nor_undercuts_the_minimum_without_the_cap(shares, price):
    value = shares * price
    commission = order_commission(shares, value)
    assert commission <= half_even(value, 100)
    assert commission >= min(DOLLAR, half_even(value, 100))


@pytest.mark.parametrize(
    ("numerator", "expected"), [(5, 0), (15, 2), (25, 2), (26, 3), (24, 2), (-5, 0), (-15, -2)]
)
def test_ties_go_to_the_even_neighbour(numerator, expected):
    assert half_even(numerator, 10) == expected
